"""The command ``record``."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from quant_conformance.commands.check_export import RECORDING, Mode, require
from quant_conformance.report.plain import spelled

if TYPE_CHECKING:
    from quant_conformance.gate.freezing.vector_set import Summary


def record(
    model: Annotated[
        str, typer.Argument(help="module:factory or path/file.py:factory; see docs/gate.md.")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the vectors; it is made.")],
    config: Annotated[Path | None, typer.Option(help="Quantizer config (YAML).")] = None,
    mode: Annotated[Mode | None, typer.Option(help="Overrides the config's.")] = None,
    data: Annotated[
        str | None, typer.Option(help="file.npz or module:loader; the last pass is recorded.")
    ] = None,
    layers: Annotated[
        str | None,
        typer.Option(help="Only tensors in whose name this regular expression is found."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace vectors that are there.")
    ] = False,
) -> None:
    """Freeze a quantized model as vectors: each layer, and the whole, with what is admissible."""
    require("record", RECORDING)
    recorder = import_module("quant_conformance.gate.freezing.vector_set")
    subjects = import_module("quant_conformance.gate.recording.subject")
    recorder.check_out(out, overwrite)  # before the model, which may take minutes
    subject = subjects.load_subject(model, data)
    chosen = subjects.load_config(config, None if mode is None else mode.value)
    told = {
        "config": None if subject.prepared is not None else str(config or "default"),
        "mode": None if subject.prepared is not None else str(chosen.execution_mode.value),
        "data": data,
    }
    origin = ", ".join([model, *(f"{key} {value}" for key, value in told.items() if value)])
    summary = recorder.record_set(
        subject, chosen, out, layers=layers, overwrite=overwrite, origin=origin
    )
    print_summary(summary, out, Console() if sys.stdout.isatty() else Console(width=110))
    if not summary.cases:  # a set that nothing can be held to
        raise typer.Exit(2)


def print_summary(summary: Summary, out: Path, console: Console) -> None:
    """Prints what was recorded, what was left out, and what to do with it."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("tensor", "computed by"):
        table.add_column(name, overflow="fold")
    for name in ("elements", "one code"):
        table.add_column(name, justify="right")
    for case in summary.cases:
        single = "interval" if case.single is None else _percent(case.single)
        single = "not judged" if case.why_not else single
        name, steps = (spelled(t, console.encoding) for t in (case.name, case.computed_by))
        table.add_row(Text(name), Text(steps), f"{case.elements}", single)
    console.print(table)
    for case in summary.cases:
        if case.why_not:
            console.print(Text(f"for information {case.name}: {case.why_not}"))
    for name, reason in summary.left_out.items():
        console.print(Text(f"left out {name}: {reason}"))
    size = f"{summary.bytes / 1000:,.0f} kB"
    console.print(Text(f"{len(summary.cases)} cases, {len(summary.left_out)} left out, {size}"))
    console.print(
        Text(f"Hold a backend to them: quant-conformance run --vectors {out} --backend BACKEND")
    )


def _percent(share: float) -> str:
    # Never round up to "all".
    return "100 %" if share == 1 else f"{min(share * 100, 99.9):.1f} %"
