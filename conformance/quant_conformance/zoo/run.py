"""One cell of the zoo: a model, a config, a mode and a backend, all the way to a file and back."""

from __future__ import annotations

import contextlib
import io
import logging
import math
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from quant_conformance.executors import CoreAIExecutor, MilExecutor
from quant_conformance.zoo import CONFIGS
from quant_conformance.zoo.prepare import Prepared, build, prepare
from quant_conformance.zoo.weights import Expected, expected_weights, missing_weights

Array = NDArray[Any]


@dataclass(frozen=True)
class Cell:
    """What came of one cell.

    Attributes:
        weights: quantized weights in the model.
        wrong: names of those whose codes or qparams in the file are not the reference's.
        sqnr: signal to quantization-noise ratio of the executed output against the prepared
            model's, in dB; infinite where they are equal.
        equal: share of output elements with the same bits.
        error: why the cell failed, or None.
    """

    weights: int = 0
    wrong: tuple[str, ...] = ()
    sqnr: float = math.nan
    equal: float = math.nan
    error: str | None = None

    @property
    def text(self) -> str:
        """The cell as the table shows it."""
        if self.error is not None:
            return f"failed: {self.error}"
        ratio = "exact" if math.isinf(self.sqnr) else f"{self.sqnr:.0f} dB"
        return ratio if not self.wrong else f"{ratio}, {len(self.wrong)} weights differ"


def run_cell(model: str, config: str, mode: str, backend: str, cast_16bit: bool = False) -> Cell:
    """Take one model all the way; failures become cells too.

    Args:
        model: Name in ``MODELS``.
        config: Name in ``CONFIGS``.
        mode: "graph" or "eager".
        backend: "coreai" or "coreml".
        cast_16bit: Whether the exported program computes in 16 bits.
    """
    with _quiet(), tempfile.TemporaryDirectory(prefix="zoo-") as folder:
        try:
            return _run(prepare(model, config, mode), config, backend, cast_16bit, Path(folder))
        except Exception as error:
            lines = str(error).strip().splitlines() or [""]
            return Cell(error=f"{type(error).__name__}: {lines[0][:200]}")


def _run(made: Prepared, config: str, backend: str, cast_16bit: bool, folder: Path) -> Cell:
    known = expected_weights(made.model, made.example, recomputed=not CONFIGS[config].train)
    with torch.no_grad():
        wanted = made.model(*made.example)
    given, stored = _exported(made.quantizer, made.example, backend, cast_16bit, folder)
    wrong = missing_weights(known, stored, cast_16bit)
    return Cell(len(known), tuple(wrong), *_compared(given, wanted.numpy()))


def _exported(
    quantizer: Any, example: tuple[Any, ...], backend: str, cast_16bit: bool, folder: Path
) -> tuple[Array, list[Any]]:
    from quant_torch.export import to_coreai, to_coreml

    feeds = [x.numpy() for x in example]
    if backend == "coreai":
        path = to_coreai(quantizer, example, folder / "model.aimodel", cast_16bit=cast_16bit)
        if cast_16bit:
            feeds = [f.astype(np.float16) if f.dtype == np.float32 else f for f in feeds]
        with CoreAIExecutor(path) as executor:
            (output,) = executor.run(dict(zip(executor.inputs, feeds, strict=True))).values()
            return output, list(executor.stored)
    precision = "float16" if cast_16bit else "float32"
    path = to_coreml(quantizer, example, folder / "model.mlpackage", compute_precision=precision)
    evaluator = MilExecutor(path)
    (output,) = evaluator.run(dict(zip(evaluator.inputs, feeds, strict=True))).values()
    return output, list(evaluator.stored.values())


def _compared(given: Array, wanted: Array) -> tuple[float, float]:
    """SQNR in dB and the share of equal elements."""
    given = given.astype(np.float64)
    noise = float(np.sum((given - wanted) ** 2))
    signal = float(np.sum(wanted.astype(np.float64) ** 2))
    ratio = math.inf if noise == 0 else 10 * math.log10(max(signal, 1e-300) / noise)
    return ratio, float(np.mean(given == wanted))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps converters' progress bars and notes about versions away."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stderr(io.StringIO()),
            contextlib.redirect_stdout(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


__all__ = ["Cell", "Expected", "build", "run_cell"]
