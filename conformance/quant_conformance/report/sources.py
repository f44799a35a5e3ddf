"""What one element of an answer follows from: its block, its qparams, its sums."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

import quant_reference as ref
from quant_conformance.layers import Tensors, float_layer_of, layer_of
from quant_conformance.plain_layers import Layers
from quant_conformance.protocol import Array
from quant_conformance.verdicts.bits import show
from quant_reference.admissible import QuantizedTensor

if TYPE_CHECKING:
    from quant_vectors import Case

Index = tuple[int, ...]

SHOWN = 8
"""Elements of a block or of an operand that are shown."""

PROBES = 2000
"""Evaluations of a layer that are spent on one element."""


def from_blocks(inputs: Tensors, shape: Index, index: Index) -> Iterator[str]:
    """Writes the block of each input that an element of a parameter is of, and the other way round.

    Args:
        inputs: the inputs of a case.
        shape: shape of the output that the element is in.
        index: its position.
    """
    for name, tensor in inputs.items():
        if tensor.shape == shape or tensor.ndim != len(shape):
            continue
        if _divides(shape, tensor.shape):  # a block of data for each element
            yield from _block(name, tensor, shape, index)
        elif _divides(tensor.shape, shape):  # one parameter for each block
            extents = zip(index, shape, tensor.shape, strict=True)
            place = tuple(i * blocks // extent for i, extent, blocks in extents)
            yield f"{_at(name, place)}  {show(tensor, place)}"


def from_operands(case: Case, tensors: Tensors, index: Index) -> Iterator[str]:
    """Writes the elements of a layer's operands that an element of its result is computed from.

    They are found by marking: where a NaN in an operand makes the result NaN, it was read.
    """
    layer = layer_of(case, tensors) if case.operation == "layer" else float_layer_of(case, tensors)
    marking = _Marking()
    with np.errstate(all="ignore"):
        value = marking.computed(layer)[index]
    yield f"computed   {_number(value)} by plain numpy, before it is quantized"
    left = PROBES
    for name, operand in layer.operands.items():
        shape = operand.codes.shape if isinstance(operand, QuantizedTensor) else operand.shape
        if not isinstance(operand, QuantizedTensor) and operand.dtype.kind != "f":
            continue  # an index cannot be marked

        def reads(flat: Array, name: str = name) -> bool:
            marking.mark(name, flat)
            with np.errstate(all="ignore"):
                return bool(np.isnan(marking.computed(layer)[index]))

        found, spent = _read(reads, int(np.prod(shape)), left)
        left -= spent
        places = [tuple(int(i) for i in np.unravel_index(flat, shape)) for flat in found]
        marking.mark(name, np.zeros(0, np.int64))
        values = marking.plain(operand, np.dtype(layer.arithmetic.values))
        count = f"{len(places)} of {values.size} elements" + ("" if left > 0 else " at least")
        yield f"from {name}{_box(places)}: {count}" + (", the first are" if places[SHOWN:] else "")
        for place in places[:SHOWN]:
            code = ""
            if isinstance(operand, QuantizedTensor):
                code = f"code {operand.codes[place]} = "
            yield f"  {_at(name, place)}  {code}{_number(values[place])}"


def _divides(blocks: Index, extents: Index) -> bool:
    return all(b and e % b == 0 for b, e in zip(blocks, extents, strict=True))


def _block(name: str, tensor: Array, blocks: Index, index: Index) -> Iterator[str]:
    sizes = [extent // count for extent, count in zip(tensor.shape, blocks, strict=True)]
    starts = [i * size for i, size in zip(index, sizes, strict=True)]
    ranges = [slice(start, start + size) for start, size in zip(starts, sizes, strict=True)]
    block = tensor[tuple(ranges)]
    where = ", ".join(f"{part.start}:{part.stop}" for part in ranges)
    words = f"{name}[{where}]  {block.size} element" + ("" if block.size == 1 else "s")
    values = block.astype(np.float64).reshape(-1)
    numbers = values[~np.isnan(values)]
    if numbers.size:
        words += f", least {_number(numbers.min())}, greatest {_number(numbers.max())}"
    if numbers.size < block.size:
        words += f", {block.size - numbers.size} NaN"
    yield words
    for n, at in enumerate(np.ndindex(block.shape)):
        if n == SHOWN:
            yield f"  … and {block.size - SHOWN} more"
            return
        place = tuple(start + i for start, i in zip(starts, at, strict=True))
        yield f"  {_at(name, place)}  {show(tensor, place)}"


class _Marking(Layers):
    """Plain numpy, with NaN in chosen elements of one operand."""

    quantize = staticmethod(ref.quantize)
    dequantize = staticmethod(ref.dequantize)

    def __init__(self) -> None:
        super().__init__()
        self._name = ""
        self._flat: Array = np.zeros(0, np.int64)
        self._values: dict[int, Array] = {}
        self._target: int | None = None

    def mark(self, name: str, flat: Array) -> None:
        self._name, self._flat = name, flat

    def plain(self, operand: QuantizedTensor | Array, values: np.dtype[Any]) -> Array:
        if id(operand) not in self._values:
            self._values[id(operand)] = super().operand(operand, values)
        return self._values[id(operand)]

    def computed(self, layer: Any) -> Array:
        marked = layer.operands.get(self._name)
        self._target = None if marked is None or not self._flat.size else id(marked)
        return super().computed(layer)

    def operand(self, operand: QuantizedTensor | Array, values: np.dtype[Any]) -> Array:
        found = self.plain(operand, values)
        if id(operand) == self._target:
            found = found.copy()
            found.reshape(-1)[self._flat] = np.nan
        return found


def _read(reads: Callable[[Array], bool], size: int, probes: int) -> tuple[list[int], int]:
    """Finds the elements that are read, by halves; returns them and the evaluations spent."""
    waiting, found, spent = [np.arange(size)], list[int](), 0
    while waiting and spent < probes:
        part = waiting.pop()
        spent += 1
        if part.size and reads(part):
            if part.size == 1:
                found.append(int(part[0]))
            else:
                half = part.size // 2
                waiting += [part[half:], part[:half]]  # the first half comes first
    return found, spent


def _box(places: list[Index]) -> str:
    """Writes the least box that holds all of them."""
    if not places or not places[0]:
        return ""
    ends = [(min(axis), max(axis) + 1) for axis in zip(*places, strict=True)]
    return f"[{', '.join(str(a) if b - a == 1 else f'{a}:{b}' for a, b in ends)}]"


def _at(name: str, place: Index) -> str:
    return f"{name}[{', '.join(map(str, place))}]"


def _number(value: Any) -> str:
    return f"{float(value):.9g}"
