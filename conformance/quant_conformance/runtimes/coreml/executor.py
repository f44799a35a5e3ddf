"""Evaluates a saved .mlpackage: quantization by the reference, everything else by torch.

coremltools cannot predict on Linux; the program is read back from disk and walked. All
arithmetic is float32; a result that the program types as float16 is rounded to it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from quant_conformance.runtimes.coreml.elementwise import ELEMENTWISE
from quant_conformance.runtimes.coreml.operands import Inputs, Result
from quant_conformance.runtimes.coreml.places import PLACES
from quant_conformance.runtimes.coreml.quantization import (
    CONSTANT_EXPRESSIONS,
    QUANTIZATION,
    stored_tensor,
)
from quant_conformance.runtimes.coreml.reductions import REDUCTIONS
from quant_conformance.runtimes.coreml.shapes import SHAPES
from quant_conformance.runtimes.coreml.weighted import LAYERS
from quant_conformance.runtimes.errors import (
    ExecutorError,
    UnsupportedOperationError,
    check_feeds,
)
from quant_conformance.runtimes.kernels import plain_sums
from quant_conformance.runtimes.stored import StoredTensor

Array = NDArray[Any]

OPERATIONS = {**ELEMENTWISE, **LAYERS, **REDUCTIONS, **SHAPES, **PLACES, **QUANTIZATION}
"""Every operation that the evaluator has."""

_UNKNOWN = object()
"""Stands for a value that follows from an operation which the evaluator lacks."""

_NUMPY = {"fp16": np.float16, "fp32": np.float32, "int32": np.int32, "bool": np.bool_}


class MilExecutor:
    """A function of a saved ML program.

    Args:
        path: the .mlpackage (a folder).
        function: its function.
        partial: whether a program with operations that the evaluator lacks is opened all the same;
            then :meth:`trace` leaves out what follows from them.

    Attributes:
        inputs: input names, in order.
        outputs: output names, in order.
        shapes: those of the inputs and those of the outputs, in order.
        operations: operation type to count, constants left out.
        stored: name of the tensor to the quantized weights in the file.
        lacking: types of the operations that the evaluator was found to lack, or a form of them.

    Raises:
        ExecutorError: no such package or function.
        UnsupportedOperationError: operations that the evaluator lacks, all of them named; not where
            ``partial``.
    """

    def __init__(self, path: Path | str, function: str = "main", *, partial: bool = False) -> None:
        program = _load(Path(path))
        if function not in program.functions:
            raise ExecutorError(f"no function {function!r}; there are {sorted(program.functions)}")
        body = program.functions[function]
        self.inputs: tuple[str, ...] = tuple(body.inputs)
        self.outputs: tuple[str, ...] = tuple(var.name for var in body.outputs)
        self.shapes = (_shapes(body.inputs.values()), _shapes(body.outputs))
        self._output_types = {var.name: _element(var) for var in body.outputs}
        operations = [op for op in body.operations if op.op_type != "const"]
        self.operations = Counter(op.op_type for op in operations)
        known = {*OPERATIONS, *CONSTANT_EXPRESSIONS}
        self._partial = partial
        self.lacking = set(self.operations) - known
        if self.lacking and not partial:
            raise UnsupportedOperationError(self.lacking)
        self.stored: dict[str, StoredTensor] = {}
        self._constants: dict[str, Any] = {}
        self._steps: list[Any] = []
        for op in operations:
            self._read_constants(op.inputs.values())
            if op.op_type in CONSTANT_EXPRESSIONS:
                self._expand(op)
            else:
                self._steps.append(op)
        self._read_constants(body.outputs)  # an output may be a constant, which no step reads

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Evaluates the function.

        Args:
            feeds: every input by name.

        Returns:
            Every output by name, in the program's dtypes.

        Raises:
            ExecutorError: wrong names.
            UnsupportedOperationError: a form of an operation that the evaluator lacks.
        """
        values = self._evaluated(feeds)
        return {name: self._numpy(values[name], self._output_types[name]) for name in self.outputs}

    def trace(
        self,
        feeds: Mapping[str, Array],
        names: Iterable[str],
        replaced: Mapping[str, Array] | None = None,
    ) -> dict[str, Array]:
        """Evaluates the function and returns the named intermediate values as they are.

        Args:
            feeds: every input by name.
            names: values to return.
            replaced: values whose readers get these arrays instead; what is returned for them is
                still what the program computes.

        Returns:
            The values by name; where the program was opened in part, without those that follow
            from an operation that the evaluator lacks.
        """
        wanted = set(names)
        computed: dict[str, Any] = {}
        values = self._evaluated(feeds, replaced or {}, computed)
        values |= computed
        unknown = {name for name, value in values.items() if value is _UNKNOWN}
        if missing := wanted - set(values):
            raise ExecutorError(f"the program has no value named {sorted(missing)}")
        return {name: values[name].numpy() for name in wanted - unknown}

    @property
    def steps(self) -> tuple[Any, ...]:
        """Coremltools' operations in order, constants and dequantized weights left out."""
        return tuple(self._steps)

    @property
    def quantized(self) -> dict[str, str]:
        """Name of each value that a ``quantize`` reads -> name of its codes."""
        steps = (op for op in self._steps if op.op_type == "quantize")
        return {op.inputs["input"].name: op.outputs[0].name for op in steps}

    def _evaluated(
        self,
        feeds: Mapping[str, Array],
        replaced: Mapping[str, Array] | None = None,
        computed: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        check_feeds(feeds, self.inputs)
        values = dict(self._constants)
        for name, array in feeds.items():
            values[name] = _tensor(np.asarray(array))
        with torch.no_grad(), plain_sums():
            for op in self._steps:
                for var, value in zip(op.outputs, self._results(op, values), strict=True):
                    known = value is not _UNKNOWN
                    values[var.name] = _rounded(value, _element(var)) if known else value
                    if replaced and computed is not None and var.name in replaced:
                        computed[var.name] = values[var.name]
                        values[var.name] = _tensor(replaced[var.name])
        return values

    def _results(self, op: Any, values: Mapping[str, Any]) -> tuple[Any, ...]:
        """What an operation gives; :data:`_UNKNOWN` where that cannot be told."""
        given = {n: _resolved(v, values) for n, v in op.inputs.items()}
        unknown = (_UNKNOWN,) * len(op.outputs)
        read = (v if isinstance(v, list) else [v] for v in given.values())
        if op.op_type in self.lacking or any(v is _UNKNOWN for part in read for v in part):
            return unknown
        try:
            return _listed(_called(op, Inputs(op.op_type, given)))
        except UnsupportedOperationError as error:  # a form of the operation
            if not self._partial:
                raise
            self.lacking.update(error.operations)
            return unknown

    def _read_constants(self, values: Iterable[Any]) -> None:
        for value in values:
            for var in value if isinstance(value, list | tuple) else [value]:
                if var is not None and var.val is not None and var.name not in self._constants:
                    self._constants[var.name] = _constant(var.val)

    def _expand(self, op: Any) -> None:
        values = {n: var.val for n, var in op.inputs.items() if var is not None}
        codes = op.inputs["data" if "data" in op.inputs else "quantized_data"]
        stored = stored_tensor(op.op_type, values, _element(codes))
        (var,) = op.outputs
        self.stored[var.name] = stored
        exact = torch.from_numpy(stored.dequantized())
        self._constants[var.name] = _rounded(exact, _element(var))

    @staticmethod
    def _numpy(value: torch.Tensor, element: str) -> Array:
        array: Array = value.numpy()
        return array.astype(_NUMPY.get(element, array.dtype))


def _load(path: Path) -> Any:
    if not path.is_dir():
        raise ExecutorError(f"there is no .mlpackage folder at {path}")
    import coremltools
    from coremltools.converters.mil.frontend.milproto.load import load

    spec = coremltools.utils.load_spec(str(path))
    if spec.WhichOneof("Type") != "mlProgram":
        raise ExecutorError(f"{path.name} is not an ML program")
    weights = str(path / "Data" / "com.apple.CoreML" / "weights")
    return load(spec, spec.specificationVersion, weights)


def _shapes(variables: Iterable[Any]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(int(n) for n in var.shape) for var in variables)


def _element(var: Any) -> str:
    from coremltools.converters.mil.mil.types import builtin_to_string

    return str(builtin_to_string(var.dtype))


def _constant(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic) and np.asarray(value).dtype.kind in "fiub":
        return _tensor(np.asarray(value))
    return value


def _tensor(array: Array) -> torch.Tensor:
    kind = array.dtype.kind
    if kind == "f":
        return torch.from_numpy(np.array(array, np.float32))
    if kind in "iu" and array.dtype.itemsize > 1:
        return torch.from_numpy(array.astype(np.int64))
    return torch.from_numpy(np.array(array))


def _resolved(value: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(value, list | tuple):
        return [_resolved(item, values) for item in value]
    return None if value is None else values[value.name]


def _called(op: Any, given: Inputs) -> Result:
    try:
        return OPERATIONS[op.op_type](given)
    except UnsupportedOperationError:
        raise
    except Exception as error:
        raise ExecutorError(f"{op.op_type} {op.outputs[0].name}: {error}") from error


def _listed(result: Result) -> tuple[torch.Tensor, ...]:
    return result if isinstance(result, tuple) else (result,)


def _rounded(value: torch.Tensor, element: str) -> torch.Tensor:
    if element == "fp16":
        return value.to(torch.float16).to(torch.float32)
    return value.to(torch.float32) if value.dtype == torch.float64 else value
