"""float32 to float16: what stays, and what is rewritten."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import fx

from quant_torch._torch_internals import OpOverload
from quant_torch.casting._program import (
    SHAPE_ONLY,
    Program,
    dtype_of,
    packet,
    update_value,
)
from quant_torch.casting._subnormals import misread

LARGEST = 65504.0
"""The greatest finite float16."""

LEAST = 2.0**-24
"""The least positive float16, a subnormal; smaller numbers become this one and not zero."""

_F32, _F16 = torch.float32, torch.float16
_BIT_CAST = torch.ops.aten.view.dtype


class Float16Pass:
    """One run of the pass over one program.

    Args:
        program: The program.
        keeps: Whether the user wants an operation in float32.
    """

    def __init__(self, program: Program, keeps: Callable[[fx.Node], bool]) -> None:
        self.program = program
        self.keeps = keeps
        self.wide: set[fx.Node] = set()  # constants with numbers that float16 cannot hold
        self.held: set[fx.Node] = set()  # tensors with numbers that would be misread
        self.kept: set[fx.Node] = set()  # operations that stay in float32
        # A program may hold float16 of its own, which stays as it is.
        self._were_float32 = {n for n in program.graph.nodes if dtype_of(n) is _F32}

    def run(self) -> None:
        """Change the program."""
        self._find_what_stays()
        mutated = self._mutated_buffers()
        for node in self.program.placeholders():
            if dtype_of(node) is _F32 and node not in self.wide and node not in self.held:
                tensor = self.program.tensor(node)
                if tensor is not None:
                    self.program.replace_tensor(node, to_float16(tensor))
                self.program.set_dtype(node, _F16)
        for node in self.program.operations():
            if node in self.kept:
                self._cast_inputs(node, _F16, _F32)
            elif isinstance(node.target, OpOverload):
                self._cast_inputs(node, _F32, _F16)
                self._rewrite(node)
            elif node.target is operator.getitem:
                update_value(node)
        self._cast_outputs(mutated)
        self.program.cast_example_inputs(_F32, _F16)
        self.program.finish()

    def _find_what_stays(self) -> None:
        self.held, folding = misread(self.program, lambda node: [n for _, n in _numbers(node)])
        self.kept |= folding
        for node in self.program.placeholders():
            tensor = self.program.tensor(node)
            if tensor is not None and tensor.dtype is _F32 and _exceeds(tensor):
                self.wide.add(node)
        constants = self.program.constants()
        for node in self.program.operations():
            if node.target is operator.getitem:
                if node.args[0] in self.wide:
                    self.wide.add(node)
                continue
            from_wide = any(source in self.wide for source in node.all_input_nodes)
            may_be_large = packet(node) in SHAPE_ONLY or node in constants
            if (from_wide and may_be_large) or _creates_large(node):
                self.wide.add(node)
            if from_wide or _must_stay(node) or self.keeps(node):
                self.kept.add(node)

    def _mutated_buffers(self) -> list[fx.Node | None]:
        """For each result of the program, the buffer that it is written to."""
        signature = self.program.exported.graph_signature
        names = {target: name for name, target in signature.inputs_to_buffers.items()}
        nodes = {node.name: node for node in self.program.placeholders()}
        written = {spec.arg.name: spec.target for spec in signature.output_specs if spec.target}
        results = self.program.results()
        return [
            nodes.get(names.get(written.get(getattr(result, "name", ""), ""), ""))
            for result in results
        ]

    def _cast_inputs(self, node: fx.Node, old: torch.dtype, new: torch.dtype) -> None:
        for source in node.all_input_nodes:
            if dtype_of(source) is old and (new is _F16 or source in self._were_float32):
                node.replace_input_with(source, self.program.cast(source, new))

    def _rewrite(self, node: fx.Node) -> None:
        before = node.meta.get("val")
        if node.target is torch.ops.aten._assert_tensor_metadata.default:
            return
        node.args = tuple(_halved(a) for a in node.args)
        node.kwargs = {k: _halved(v) for k, v in node.kwargs.items()}
        schema = node.target._schema.arguments
        creates = not node.all_input_nodes and dtype_of(node) is _F32
        if creates and any(a.name == "dtype" for a in schema):
            node.kwargs = {**node.kwargs, "dtype": _F16}
        if _touches_float(node, before):
            _round_numbers(node)
        update_value(node)
        if node.target is torch.ops.aten._to_copy.default and self._does_nothing(node):
            node.replace_all_uses_with(node.args[0])

    @staticmethod
    def _does_nothing(node: fx.Node) -> bool:
        return set(node.kwargs) <= {"dtype"} and dtype_of(node) == dtype_of(node.args[0])

    def _cast_outputs(self, mutated: list[fx.Node | None]) -> None:
        results = self.program.results()
        for index, (result, buffer) in enumerate(zip(results, mutated, strict=True)):
            if not isinstance(result, fx.Node):
                continue
            if buffer is not None:
                results[index] = self.program.cast(result, dtype_of(buffer) or dtype_of(result))
            elif dtype_of(result) is _F32 and result not in self.wide:
                results[index] = self.program.cast(result, _F16)
        self.program.set_output(results)


def to_float16(tensor: torch.Tensor) -> torch.Tensor:
    """float16 values: rounded to nearest, ties to even; nonzero ones at least ±2⁻²⁴.

    Args:
        tensor: float32.
    """
    rounded = tensor.detach().to(_F16)
    lost = (rounded == 0) & (tensor != 0)
    if lost.any():
        rounded = torch.where(lost, torch.full_like(rounded, LEAST).copysign(rounded), rounded)
    return rounded


def number_to_float16(value: float) -> float:
    """As :func:`to_float16`, for one number."""
    return float(to_float16(torch.tensor(value, dtype=_F32)))


def _exceeds(tensor: torch.Tensor) -> bool:
    if tensor.numel() == 0:
        return False
    low, high = torch.aminmax(tensor.detach())
    if torch.isfinite(low) and torch.isfinite(high):
        return bool(max(-low, high) > LARGEST)
    finite = tensor.detach().nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
    return bool(finite.abs().max() > LARGEST)


def _must_stay(node: fx.Node) -> bool:
    """Whether float16 cannot express an operation."""
    if not isinstance(node.target, OpOverload) or node.target is _BIT_CAST:
        return True
    if any(dtype_of(source) is torch.float8_e8m0fnu for source in node.all_input_nodes):
        return True
    return _touches_float(node, node.meta.get("val")) and _has_large_number(node)


def _creates_large(node: fx.Node) -> bool:
    if node.all_input_nodes or not isinstance(node.target, OpOverload):
        return False
    return dtype_of(node) is _F32 and _has_large_number(node)


def _has_large_number(node: fx.Node) -> bool:
    return any(math.isfinite(number) and abs(number) > LARGEST for _, number in _numbers(node))


def _touches_float(node: fx.Node, value: Any) -> bool:
    """Whether an operation reads or gives float32 or float16."""
    values = [value, *(source.meta.get("val") for source in node.all_input_nodes)]
    flat = [v for each in values for v in (each if isinstance(each, tuple | list) else [each])]
    return any(isinstance(v, torch.Tensor) and v.dtype in (_F32, _F16) for v in flat)


def _numbers(node: fx.Node) -> Iterator[tuple[int | str, float]]:
    """Where an operation has numbers that meet tensor elements, and the numbers."""
    for place, (name, kind), value in _arguments(node):
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if is_number and (kind in ("number", "Tensor") or name == "eps"):
            yield place, value


def _arguments(node: fx.Node) -> Iterator[tuple[int | str, tuple[str, str], Any]]:
    schema = node.target._schema.arguments
    kinds = [(a.name, _kind(a)) for a in schema]
    for place, (kind, value) in enumerate(zip(kinds, node.args, strict=False)):
        yield place, kind, value
    named = dict(kinds)
    for name, value in node.kwargs.items():
        yield name, (name, named.get(name, "")), value


def _kind(argument: Any) -> str:
    kind = argument.type
    if kind.kind() == "OptionalType":
        kind = kind.getElementType()
    return "number" if kind.kind() == "NumberType" else str(kind)


def _round_numbers(node: fx.Node) -> None:
    args, kwargs = list(node.args), dict(node.kwargs)
    for place, number in _numbers(node):
        if not isinstance(number, float):
            continue
        rounded = number_to_float16(number)
        if isinstance(place, int):
            args[place] = rounded
        else:
            kwargs[place] = rounded
    node.args, node.kwargs = tuple(args), kwargs


def _halved(argument: Any) -> Any:
    return _F16 if argument is _F32 else argument
