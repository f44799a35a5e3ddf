"""The page of the architectures: a row for each cell, and the counts that the bars are about."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from importlib import metadata
from typing import Any

from quant_conformance.models.architectures import ARCHITECTURES

Result = dict[str, Any]

TARGETS = ("coreai-32", "coreai-16", "coreml-32", "coreml-16")
LABELS = {
    "coreai-32": "Core AI, 32 bit",
    "coreai-16": "Core AI, 16 bit",
    "coreml-32": "Core ML, 32 bit",
    "coreml-16": "Core ML, 16 bit",
}

GREEN = ("exact", "admissible")


def is_left_out(target: Result) -> bool:
    """Whether the converter refuses the float model, too, so that nothing is to be judged."""
    return target["verdict"] == "refused" and "float" in target


def page(results: Iterable[Result]) -> str:
    """Writes the page.

    Args:
        results: what ``architecture_cell`` made of each cell.
    """
    order = {name: index for index, name in enumerate(ARCHITECTURES)}
    cells = sorted(
        (r for r in results if r["name"] in order),
        key=lambda r: (order[r["name"]], r["config"], r["mode"]),
    )
    judged = [r for r in cells if "missing" not in r]
    lines = [
        "# Architectures that others wrote",
        "",
        f"{len({r['name'] for r in judged})} of the {len(ARCHITECTURES)} architectures of "
        f"`make architectures`, {len(judged)} cells: each prepared, "
        "calibrated on three batches, trained one step, exported to both targets in 32 and in "
        "16 bits, judged tensor by tensor, and frozen as vectors that the reference answers. "
        f"Made{_commits(judged)} with {_versions()}. Times are those of the machine that made the "
        "page, which may have run several cells at a time.",
        "",
        *_counts(judged),
        "",
        "`refused`: our exporter or the converter refuses the model, and says why; `–`: the "
        "converter refuses the float model, too, as it is, so that the cell is left out of the "
        "counts. `quantized`: of the parameters that products, convolutions and embeddings "
        "read. What the other words mean is in the README.",
        "",
        "| architecture | config, mode | "
        + " | ".join(LABELS[t] for t in TARGETS)
        + " | quantizers | quantized | replayed | s | MB |",
        "|---|---|" + "---|" * len(TARGETS) + "--:|--:|---|--:|--:|",
        *(_row(r) for r in judged),
        "",
        *_reasons(judged),
    ]
    missing = sorted({r["name"] for r in cells if "missing" in r})
    if missing:
        lines += ["", f"Not installed where the page was made: {', '.join(missing)}."]
    if unasked := [name for name in ARCHITECTURES if name not in {r["name"] for r in cells}]:
        lines += ["", f"Not run for this page: {', '.join(unasked)}."]
    return "\n".join(lines).rstrip() + "\n"


def _counts(cells: Sequence[Result]) -> list[str]:
    heads = "| target | judged | green | share | wrong | unpaired | left out |"
    lines = [heads, "|---|" + "--:|" * 6]
    for target in TARGETS:
        found = [_target(r, target) for r in cells]
        held = [t for t in found if not is_left_out(t)]
        counts = Counter(t["verdict"] for t in held)
        green = sum(counts[word] for word in GREEN)
        share = f"{100 * green / len(held):.0f} %" if held else ""
        lines.append(
            f"| {LABELS[target]} | {len(held)} | {green} | {share} | {counts['wrong']} | "
            f"{counts['unpaired']} | {len(found) - len(held)} |"
        )
    return lines


def _target(result: Result, target: str) -> Result:
    found: Result | None = result.get("targets", {}).get(target)
    if found is not None:
        return found
    return {"verdict": "failed", "detail": result.get("error", "")}


def _row(result: Result) -> str:
    words = ["–" if is_left_out(t) else t["verdict"] for t in (_target(result, n) for n in TARGETS)]
    replayed = result.get("replayed", {})
    told = (replayed.get("error") and "failed") or _replayed(replayed)
    return (
        f"| {result['name']} | {result['config']}, {result['mode']} | {' | '.join(words)} | "
        f"{result.get('quantizers', '')} | {_percent(result)} | {told} | "
        f"{result.get('seconds', '')} | "
        f"{result.get('megabytes', '')} |"
    )


def _percent(result: Result) -> str:
    """The quantized share of the parameters; 99.99 % does not become 100 %."""
    if "share" not in result:
        return ""
    return f"{int(1000 * result['share']) / 10:.1f} %"


def _commits(cells: Sequence[Result]) -> str:
    """Which sources made the results, where they are known."""
    found = sorted({r["commit"] for r in cells if r.get("commit")})
    return f" at {', '.join(f'`{one}`' for one in found)}" if found else ""


def _replayed(counts: Result) -> str:
    return ", ".join(f"{n} {word}" for word, n in counts.items())


def _reasons(cells: Sequence[Result]) -> list[str]:
    """What keeps cells from being green, by its text, the most frequent first."""
    found: dict[str, list[str]] = {}
    for result in cells:
        for target in TARGETS:
            told = _target(result, target)
            if told["verdict"] in GREEN or is_left_out(told):
                continue
            text = told.get("detail") or (told.get("failing") or [""])[0]
            place = f"{result['name']} ({result['config']}, {result['mode']}, {target})"
            found.setdefault(f"{told['verdict']}: {text}"[:200], []).append(place)
    if not found:
        return []
    lines = ["## What is not green", ""]
    for text, where in sorted(found.items(), key=lambda item: -len(item[1])):
        more = f", and {len(where) - 4} more" if len(where) > 4 else ""
        lines.append(f"- {text.replace('|', '/')}: {', '.join(where[:4])}{more}")
    return lines


def _versions() -> str:
    packages = ("torch", "coreai-torch", "coremltools", "timm", "transformers")
    told = []
    for name in packages:
        try:
            told.append(f"{name} {metadata.version(name).partition('+')[0]}")
        except metadata.PackageNotFoundError:
            told.append(f"no {name}")
    return ", ".join(told)
