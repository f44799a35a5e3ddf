"""The cross of models, configs, modes and backends, and its table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import metadata

from joblib import Parallel, delayed

from quant_conformance.export_matrix.cell import Cell, run_cell
from quant_conformance.models.zoo import BACKENDS, CONFIGS, MODES

Column = tuple[str, str, bool]
Key = tuple[str, str, str, str, bool]

COLUMNS: tuple[Column, ...] = tuple(
    (mode, backend, half) for backend in BACKENDS for mode in MODES for half in (False, True)
)
"""(mode, backend, whether in 16 bits)."""

_LABELS = {"coreai": "Core AI", "coreml": "Core ML"}


def cross(
    models: Sequence[str], configs: Sequence[str], columns: Sequence[Column], jobs: int = 1
) -> dict[Key, Cell]:
    """Run every cell that the backend can express.

    Args:
        models: Names.
        configs: Names.
        columns: What to run for each pair.
        jobs: Processes.
    """
    keys = [
        (model, config, *column)
        for model in models
        for config in configs
        for column in columns
        if column[1] == "coreai" or CONFIGS[config].coreml
    ]
    cells = Parallel(n_jobs=jobs, verbose=5)(delayed(run_cell)(*key) for key in keys)
    return dict(zip(keys, cells, strict=True))


def markdown(cells: Mapping[Key, Cell]) -> str:
    """The table as a page of the documentation."""
    columns = [c for c in COLUMNS if any(key[2:] == c for key in cells)]
    heads = [f"{_LABELS[b]}, {m}, {16 if half else 32} bit" for m, b, half in columns]
    failed = sum(cell.error is not None for cell in cells.values())
    differ = sum(bool(cell.wrong) for cell in cells.values())
    outside = sum(bool(cell.failed) for cell in cells.values())
    open_ = sum(bool(cell.undecided) for cell in cells.values())
    lines = [
        "# The zoo",
        "",
        f"{len(cells)} exports, each prepared, calibrated, finalized, saved, loaded and run; "
        f"{failed} failed, {differ} with weights in the file that are not the reference's, "
        f"{outside} with a tensor outside of its bounds, {open_} with one that no bound decides. "
        f"Made by `make zoo` with {_versions()}.",
        "",
        "A cell gives the ratio of signal to difference between the executed output and the",
        "prepared model's, or `exact` where no bit differs. In 32 bits only the order of",
        "accumulation differs, which now and then moves a code. In 16 bits every value is rounded",
        "to float16, which moves many: FP8 codes lie up to an eighth of their value apart. A dash",
        "is what Core ML cannot express. The figures are one processor's: on another one, sums",
        "are made in another order. The verdicts are the same.",
        "",
        "Every tensor is held to the bounds that its operations and inputs leave it. Undecided are",
        "sums of thousands of products in float16, as Core AI computes them: the bounds are then",
        "wider than what they should tell apart.",
        "",
        "| model | config | " + " | ".join(heads) + " |",
        "|---|---|" + "---|" * len(heads),
    ]
    for model, config in dict.fromkeys((key[0], key[1]) for key in cells):
        row = [cells.get((model, config, *column)) for column in columns]
        texts = ["–" if cell is None else cell.text.replace("|", "/") for cell in row]
        lines.append(f"| {model} | {config} | " + " | ".join(texts) + " |")
    return "\n".join(lines) + "\n"


def _versions() -> str:
    packages = ("torch", "coreai-core", "coreai-torch", "coremltools")
    return ", ".join(f"{name} {metadata.version(name).partition('+')[0]}" for name in packages)
