"""One cell of the zoo: a model, a config, a mode and a backend, all the way to a file and back."""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass
from pathlib import Path

from quant_conformance.export_matrix.expected_weights import (
    Expected,
    expected_weights,
    missing_weights,
)
from quant_conformance.gate.check import export_prepared, open_program
from quant_conformance.gate.document import FAILING
from quant_conformance.gate.judging.comparison import compare
from quant_conformance.gate.recording.recorder import record
from quant_conformance.models.zoo import CONFIGS
from quant_conformance.models.zoo.prepare import Prepared, build, prepare
from quant_conformance.runtimes.quiet import quiet
from quant_reference.admissible import Arithmetic


@dataclass(frozen=True)
class Cell:
    """What came of one cell.

    Attributes:
        weights: quantized weights in the model.
        wrong: names of those whose codes or qparams in the file are not the reference's.
        sqnr: signal to quantization-noise ratio of the executed output against the prepared
            model's, in dB; infinite where they are equal.
        failed: tensors that leave their bounds, each with how many elements do.
        undecided: tensors whose bounds are too wide to decide, likewise.
        error: why the cell failed, or None.
    """

    weights: int = 0
    wrong: tuple[str, ...] = ()
    sqnr: float = math.nan
    failed: tuple[str, ...] = ()
    undecided: tuple[str, ...] = ()
    error: str | None = None

    @property
    def text(self) -> str:
        """The cell as the table shows it."""
        if self.error is not None:
            return f"failed: {self.error}"
        ratio = "exact" if math.isinf(self.sqnr) else f"{self.sqnr:.0f} dB"
        wrong = f"weights that differ: {len(self.wrong)}" if self.wrong else ""
        failed = f"tensors that fail: {len(self.failed)}" if self.failed else ""
        undecided = f"undecided: {len(self.undecided)}" if self.undecided else ""
        return ", ".join(filter(None, [ratio, wrong, failed, undecided]))


def run_cell(model: str, config: str, mode: str, backend: str, cast_16bit: bool = False) -> Cell:
    """Take one model all the way; failures become cells too.

    Args:
        model: Name in ``MODELS``.
        config: Name in ``CONFIGS``.
        mode: "graph" or "eager".
        backend: "coreai" or "coreml".
        cast_16bit: Whether the exported program computes in 16 bits.
    """
    with quiet(), tempfile.TemporaryDirectory(prefix="zoo-") as folder:
        try:
            return _run(prepare(model, config, mode), config, backend, cast_16bit, Path(folder))
        except Exception as error:
            lines = str(error).strip().splitlines() or [""]
            return Cell(error=f"{type(error).__name__}: {lines[0][:200]}")


def _run(made: Prepared, config: str, backend: str, cast_16bit: bool, folder: Path) -> Cell:
    known = expected_weights(made.model, made.example, recomputed=not CONFIGS[config].train)
    recording = record(made.model, made.example)
    path = export_prepared(made.quantizer, made.example, backend, cast_16bit, folder)
    program = open_program(path)
    try:
        found = compare(recording, program, arithmetic_of(backend, cast_16bit))
        wrong = missing_weights(known, list(program.weights.values()), cast_16bit)
    finally:
        program.close()
    failing = [x for x in found.layers if x.verdict in FAILING]
    undecided = tuple(f"{x.name}: {x.detail}" for x in failing if x.verdict == "undecided")
    failed = tuple(f"{x.name}: {x.detail}" for x in failing if x.verdict != "undecided")
    sqnr = math.inf if found.end_to_end.sqnr is None else found.end_to_end.sqnr
    return Cell(len(known), tuple(wrong), sqnr, failed, undecided)


def arithmetic_of(backend: str, half: bool) -> Arithmetic:
    """What a file computes in; Core AI makes sums in float16 in 16 bits (docs/findings.md).

    Args:
        backend: "coreai" or "coreml".
        half: whether it was cast to 16 bits.
    """
    sums = "float16" if half and backend == "coreai" else "float32"
    return Arithmetic("float16" if half else "float32", sums)


__all__ = ["Cell", "Expected", "arithmetic_of", "build", "run_cell"]
