"""Reads a saved .mlpackage as the gate needs it, and evaluates it cut."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from quant_conformance.protocol import Array
from quant_conformance.runtimes import MilExecutor
from quant_conformance.runtimes.errors import UnloadableProgramError
from quant_conformance.runtimes.program import ProgramQuantizer, Readout, RescaledSum
from quant_conformance.runtimes.stored import StoredTensor

_MOVES = ("reshape", "transpose", "expand_dims", "squeeze", "slice_by_index", "slice_by_size")
"""Operations on codes that a converter may put between quantize and dequantize."""


class MilProgram:
    """A saved .mlpackage.

    Args:
        path: the package (a folder).

    Raises:
        UnloadableProgramError: no such package, or coremltools cannot load it.
    """

    kind = "coreml"

    def __init__(self, path: Path | str) -> None:
        try:
            self._executor = MilExecutor(path, partial=True)
        except Exception as error:  # whatever coremltools raises on files that are none of its own
            raise UnloadableProgramError(f"{Path(path).name}: {error}") from error
        self._summands = set[str]()
        self.inputs = self._executor.inputs
        self.outputs = self.handed_on = self._executor.outputs
        self.shapes = self._executor.shapes
        self.sums = tuple(self._sums())
        self.quantizers = tuple(self._quantizers())
        self.floats: dict[str, tuple[int, ...]] = {
            op.outputs[0].name: _shape(op.outputs[0])
            for op in self._executor.steps
            if _is_float(op.outputs[0])
        }

    @property
    def operations(self) -> dict[str, tuple[str, tuple[str, ...]]]:
        """The operations by what they make."""
        found: dict[str, tuple[str, tuple[str, ...]]] = dict.fromkeys(self.inputs, ("input", ()))
        for op in self._executor.steps:
            values = [v if isinstance(v, list | tuple) else (v,) for v in op.inputs.values()]
            names = tuple(str(var.name) for var in chain(*values) if var is not None)
            found |= {var.name: (str(op.op_type), names) for var in op.outputs}
        return found

    @property
    def lacking(self) -> tuple[str, ...]:
        """Operations that the evaluator lacks; what follows from them is not computed."""
        return tuple(sorted(self._executor.lacking))

    @property
    def weights(self) -> Mapping[str, StoredTensor]:
        """The quantized weights in the file."""
        return self._executor.stored

    def run(
        self, feeds: Sequence[Array], wanted: Sequence[str], replaced: Mapping[str, Array]
    ) -> dict[str, Array]:
        """Evaluates the program, cut at ``replaced``; see :class:`Program`."""
        shapes = {q.codes: q.shape for q in self.quantizers} | self.floats
        given = {name: array.reshape(shapes[name]) for name, array in replaced.items()}
        named = dict(zip(self.inputs, feeds, strict=True))
        return self._executor.trace(named, [*wanted, *replaced, *self.outputs], given)

    def save_region(
        self, path: Path, target: str, given: Mapping[str, Array]
    ) -> dict[str, Array] | None:
        """Nothing here can run a part of an ML program outside of this suite."""
        return None

    def close(self) -> None:
        """Nothing runs outside this process."""

    def _sums(self) -> Iterator[RescaledSum]:
        steps = self._executor.steps
        makers = {op.outputs[0].name: op for op in steps}
        for op in steps:
            if op.op_type != "quantize" or np.size(op.inputs["scale"].val) != 1:
                continue
            total = makers.get(op.inputs["input"].name)
            if total is not None and total.op_type == "relu":  # a factor passes through it
                total = makers.get(total.inputs["x"].name)
            if total is None or total.op_type not in ("add", "sub"):
                continue
            names = [str(total.inputs[side].name) for side in ("x", "y")]
            one, other = (self._summand(name, makers.get(name)) for name in names)
            if one is not None and other is not None and 1.0 in (one[1], other[1]):
                self._summands.update(names)
                yield RescaledSum(
                    (one[0], other[0]),
                    (one[1], other[1]),
                    (one[2], other[2]),
                    op.outputs[0].name,
                    float(np.asarray(op.inputs["scale"].val)),
                )

    def _summand(self, name: str, maker: Any) -> tuple[str, float, int] | None:
        """Codes, scale and zero point of what is dequantized by one scale, or is stored so."""
        stored = self.weights.get(name)
        if stored is not None and stored.scale.size == 1 and stored.minval is None:
            zero_point = 0 if stored.zero_point is None else int(stored.zero_point.reshape(-1)[0])
            return name, float(stored.scale.reshape(-1)[0]), zero_point
        if (
            maker is None
            or maker.op_type != "dequantize"
            or np.size(maker.inputs["scale"].val) != 1
        ):
            return None
        scale = float(np.asarray(maker.inputs["scale"].val))
        return str(maker.inputs["input"].name), scale, int(_zero_point(maker))

    def _quantizers(self) -> Iterator[ProgramQuantizer]:
        steps = self._executor.steps
        makers = {op.outputs[0].name: op for op in steps}

        def origin(var: Any) -> str:
            """The codes that a dequantize reads, before they were moved around."""
            maker = makers.get(var.name)
            while maker is not None and maker.op_type in _MOVES:
                var = maker.inputs["x"]
                maker = makers.get(var.name)
            return str(var.name)

        for op in steps:
            if op.op_type != "quantize":
                continue
            codes = op.outputs[0]
            readers = [
                _readout(reader)
                for reader in steps
                if reader.op_type == "dequantize"
                and origin(reader.inputs["input"]) == codes.name
                and reader.outputs[0].name not in self._summands
            ]
            yield ProgramQuantizer(
                codes.name,
                op.inputs["input"].name,
                str(op.inputs["output_dtype"].val),
                _shape(codes),
                _readout(op),
                tuple(readers),
            )


def _readout(op: Any) -> Readout:
    axis = op.inputs.get("axis")
    return Readout(
        np.asarray(op.inputs["scale"].val),
        _zero_point(op),
        None,
        0 if axis is None or axis.val is None else int(axis.val),
    )


def _zero_point(op: Any) -> Array:
    """What a quantize or dequantize adds or subtracts; zeros where nothing is said."""
    found = op.inputs.get("zero_point")
    if found is None:
        return np.zeros(np.shape(op.inputs["scale"].val), np.int32)
    return np.asarray(found.val)


def _shape(var: Any) -> tuple[int, ...]:
    return tuple(int(n) for n in var.shape)


def _is_float(var: Any) -> bool:
    return np.issubdtype(np.asarray(0).dtype if var.dtype is None else _numpy(var), np.floating)


def _numpy(var: Any) -> Any:
    from coremltools.converters.mil.mil.types import nptype_from_builtin

    return nptype_from_builtin(var.dtype) or np.int32
