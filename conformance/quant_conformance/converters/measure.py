"""One operation through one converter, run, and held to its bounds."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from quant_conformance.converters.cases import Case
from quant_conformance.gate.recording.recorder import Recording, record
from quant_conformance.gate.regions.region import Region, Regions
from quant_conformance.protocol import Array
from quant_conformance.runtimes import CoreAIExecutor, MilExecutor, UnsupportedOperationError
from quant_conformance.runtimes.coreai.client import Runtime
from quant_conformance.runtimes.quiet import quiet
from quant_reference.admissible import VERDICTS, Bounds, evaluate, judge_values
from quant_reference.errors import InputError

TARGETS = ("coreai", "coreml")
WAYS = ("alone", "exported")
"""By the converter as it is, and by ``quant_torch.export``."""


@dataclass(frozen=True)
class Cell:
    """What came of an operation.

    Attributes:
        verdict: one of the gate's verdicts on tensors; "differs" where the gate has no bound and
            some bit differs; "refused" where the converter, or the exporter, refuses it; "not run"
            where the file cannot be run here.
        detail: how far off, or why.
    """

    verdict: str
    detail: str = ""

    @property
    def text(self) -> str:
        """For a table."""
        return self.verdict + (f": {self.detail}" if self.detail else "")


class Function(nn.Module):  # type: ignore[misc]
    """A function as a model.

    Args:
        function: of tensors.
    """

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Any:
        """Calls it."""
        return self.function(*inputs)


def measure(case: Case, target: str, way: str) -> Cell:
    """Takes an operation through a converter.

    Args:
        case: the operation.
        target: one of ``TARGETS``.
        way: one of ``WAYS``.
    """
    model = Function(case.function).eval()
    with quiet(), tempfile.TemporaryDirectory(prefix="converters-") as folder:
        try:
            path = _convert(model, case.inputs, target, way, Path(folder))
        except Exception as error:  # the converter's, which are judged here
            return Cell("refused", _first(error))
        try:
            answers = _run(path, case.inputs)
        except UnsupportedOperationError as error:
            return Cell("not run", _first(error))
        except Exception as error:
            return Cell("crashed", _first(error))
        return judged(record(model, case.inputs), answers)


def _convert(
    model: nn.Module, inputs: tuple[Tensor, ...], target: str, way: str, folder: Path
) -> Path:
    from quant_torch.export import save_coreai, save_coreml

    path = folder / ("m.aimodel" if target == "coreai" else "m.mlpackage")
    if way == "exported":
        save: Any = save_coreai if target == "coreai" else save_coreml
        save(model, inputs, path)
    else:
        convert_alone(model, inputs, target, path)
    return path


def convert_alone(model: nn.Module, inputs: tuple[Tensor, ...], target: str, path: Path) -> None:
    """Converts a float model as its converter's documentation says, without our rewriting.

    Args:
        model: the model.
        inputs: of one forward pass.
        target: one of ``TARGETS``.
        path: of the file to write.
    """
    if target == "coreai":
        _alone_coreai(model, inputs, path)
    else:
        _alone_coreml(model, inputs, path)


def _alone_coreai(model: nn.Module, inputs: tuple[Tensor, ...], path: Path) -> None:
    import coreai_torch

    with torch.no_grad():
        program = torch.export.export(model, inputs)
    program = program.run_decompositions(coreai_torch.get_decomp_table())
    converter = coreai_torch.TorchConverter()
    converter.add_exported_program(program)
    converter.to_coreai().save_asset(path)


def _alone_coreml(model: nn.Module, inputs: tuple[Tensor, ...], path: Path) -> None:
    import coremltools

    with torch.no_grad():
        traced = torch.jit.trace(model, inputs, check_trace=False)
    kinds = {torch.float32: np.float32}
    types = [
        coremltools.TensorType(shape=tuple(x.shape), dtype=kinds.get(x.dtype, np.int32))
        for x in inputs
    ]
    converted = coremltools.convert(
        traced,
        convert_to="mlprogram",
        minimum_deployment_target=coremltools.target.iOS26,
        compute_precision=coremltools.precision.FLOAT32,
        inputs=types,
    )
    converted.save(str(path))


def _run(path: Path, inputs: tuple[Tensor, ...]) -> list[Array]:
    arrays = [x.numpy() for x in inputs]
    if path.suffix == ".mlpackage":
        mil = MilExecutor(path)
        answers = mil.run(dict(zip(mil.inputs, arrays, strict=True)))
        return [answers[name] for name in mil.outputs]
    with CoreAIExecutor(path, runtime=_runtime()) as coreai:
        answers = coreai.run(dict(zip(coreai.inputs, arrays, strict=True)))
        return [answers[name] for name in coreai.outputs]


@cache
def _runtime() -> Runtime:
    """One Core AI process for all operations; a crash costs only the operation at which it came."""
    return Runtime(timeout=60.0)


def judged(recording: Recording, answers: Sequence[Array]) -> Cell:
    """Holds the outputs of a program to the bounds of those of a model; the worst of them.

    Args:
        recording: of the model.
        answers: the outputs, in order.
    """
    if len(answers) != len(recording.outputs):
        return Cell("wrong", f"{len(answers)} outputs for {len(recording.outputs)}")
    regions = {region.target: region for region in Regions(recording).build([])}
    cells = []
    for name, answer in zip(recording.outputs, answers, strict=True):
        wanted = recording.values[name]
        if answer.size != wanted.size:
            return Cell("wrong", f"shape {answer.shape} for {wanted.shape}")
        region = regions.get(name)
        got = answer.reshape(wanted.shape)
        bounds = None if region is None else _bounds(region, recording)
        if np.array_equal(got, wanted, equal_nan=wanted.dtype.kind == "f"):
            cells.append(Cell("exact"))
        elif bounds is None or wanted.dtype.kind != "f":
            cells.append(Cell("differs", _distance(got, wanted)))
        else:
            verdict = VERDICTS[int(judge_values(got.astype(wanted.dtype), bounds).max())]
            cells.append(Cell(verdict, "" if verdict == "admissible" else _distance(got, wanted)))
    order = [*VERDICTS, "differs"]
    return max(cells, key=lambda cell: order.index(cell.verdict) if cell.verdict in order else 0)


def _bounds(region: Region, recording: Recording) -> Bounds | None:
    """What the gate knows of a result; None where it has no bound for these arguments."""
    if not region.steps or region.lacking:
        return None
    operands = {operand: recording.values[operand] for operand in region.operands}
    try:
        return evaluate(region.steps, operands)[region.target]
    except InputError:
        return None


def _distance(got: Array, wanted: Array) -> str:
    """How far off the worst element is, in the words of a table."""
    a, b = got.astype(np.float64), wanted.astype(np.float64)
    apart = (a != b) & ~(np.isnan(a) & np.isnan(b))
    index = np.argmax(np.where(apart, np.nan_to_num(np.abs(a - b), nan=np.inf), -1))
    return f"{a.flat[index]:.6g} for {b.flat[index]:.6g}"


def _first(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    detail = lines[1].strip() if len(lines) > 1 and lines[1].startswith("  ") else lines[0]
    detail = re.sub(r" at \S+\.py:\d+", "", detail)  # in this folder, on this machine
    return f"{type(error).__name__}: {detail}"[:160]
