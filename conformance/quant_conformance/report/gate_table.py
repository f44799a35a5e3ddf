"""The gate's document on a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from quant_conformance.gate.document import FAILING, GateDocument, Layer
from quant_conformance.report.plain import spelled

SHOWN_FAILURES = 10
"""Failed tensors whose details are printed."""

WIDE = 100
"""Columns from which on a tensor and what computes it are side by side."""


def print_document(document: GateDocument, console: Console) -> None:
    """Prints the tensors, the weights, the whole model and the verdict."""
    if document.layers:
        console.print(_layers(document, console))
    _print_shares(document, console)
    _print_weights(document, console)
    end = document.end_to_end
    if end is not None:
        top1 = "" if end.top1 is None else f", same greatest output in {end.top1:.1%} of rows"
        console.print(
            f"end to end: {_ratio(end.sqnr)}, {end.flipped:.3%} of codes flipped{top1}",
            highlight=False,
        )
    failed = [layer for layer in document.layers if layer.verdict in FAILING]
    for layer in failed[:SHOWN_FAILURES]:
        console.print(Text(_failure(layer)))
    if len(failed) > SHOWN_FAILURES:
        console.print(f"… and {len(failed) - SHOWN_FAILURES} more tensors")
    if document.unpaired:
        console.print(f"unpaired: {document.unpaired} tensors and weights", highlight=False)
    if document.detail:
        console.print(Text(document.detail))
    console.print(Text(f"verdict: {document.verdict}", style="bold"))


def _layers(document: GateDocument, console: Console) -> Table:
    # Verdicts and figures are never broken; where that leaves little room, what computes a tensor
    # is below its name.
    narrow = console.width < WIDE
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("tensor",) if narrow else ("tensor", "computed by"):
        table.add_column(name, overflow="fold")
    table.add_column("verdict", no_wrap=True)
    for name in ("one code", "flipped", "SQNR"):
        table.add_column(name, justify="right", no_wrap=True)
    for layer in document.layers:
        named = [Text(spelled(text, console.encoding)) for text in (layer.name, layer.operation)]
        table.add_row(
            *([Text("\n  ").join(named)] if narrow else named),
            Text(layer.verdict, style="" if layer.verdict not in FAILING else "bold red"),
            "" if layer.single is None else f"{layer.single:.1%}",
            f"{layer.flipped:.2%}" if layer.flipped else "·",
            _ratio(layer.sqnr),
        )
    return table


def _print_weights(document: GateDocument, console: Console) -> None:
    wrong = [weight for weight in document.weights if weight.verdict != "exact"]
    if document.weights:
        right = len(document.weights) - len(wrong)
        console.print(f"weights: {right} of {len(document.weights)} exact", highlight=False)
    for weight in wrong[:SHOWN_FAILURES]:
        console.print(Text(f"  {weight.verdict} {weight.name} ({weight.dtype}): {weight.detail}"))
    if len(wrong) > SHOWN_FAILURES:
        console.print(f"  … and {len(wrong) - SHOWN_FAILURES} more weights")


def _print_shares(document: GateDocument, console: Console) -> None:
    shares = document.shares
    if shares is None:
        return
    parts = [
        f"{_share(done, whole)} of {whole:,} {what}"
        for done, whole, what in (
            (shares.quantized_parameters, shares.parameters, "parameters"),
            (shares.quantized_multiply_adds, shares.multiply_adds, "multiply-adds"),
        )
    ]
    small = f", less than the {shares.wanted:.4g} wanted" if shares.too_small else ""
    console.print(f"quantized: {' and '.join(parts)}{small}", highlight=False)
    for one in shares.in_float[:SHOWN_FAILURES]:
        why = f": {one.reason}" if one.reason else ""
        console.print(Text(f"  in float {one.name} ({one.parameters:,}, {one.operation}){why}"))
    if len(shares.in_float) > SHOWN_FAILURES:
        console.print(f"  … and {len(shares.in_float) - SHOWN_FAILURES} more")


def _share(done: int, whole: int) -> str:
    """A share that is not rounded up to all."""
    exact = done / whole if whole else 1.0
    return f"{exact:.1%}" if done == whole else f"{min(exact, 0.999):.1%}"


def _failure(layer: Layer) -> str:
    lines = [f"{layer.verdict} {layer.name} [{', '.join(layer.clauses)}]: {layer.detail}"]
    worst = layer.worst
    if worst is not None:
        lines.append(
            f"  at {worst.index}: got {worst.got:g}, admissible {worst.low:g} to {worst.high:g} "
            f"(likely {worst.likely_low:g} to {worst.likely_high:g}), exact value {worst.value!r}"
        )
    if layer.repro is not None:
        lines.append(f"  reproduce with: python {layer.repro}/reproduce.py")
    return "\n".join(lines)


def _ratio(sqnr: float | None) -> str:
    return "exact" if sqnr is None else f"{sqnr:.1f} dB"
