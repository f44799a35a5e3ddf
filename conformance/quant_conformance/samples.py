"""Wrong answers in bits, element by element, as a report shows them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from quant_conformance.bits import CODE_DTYPES, Written, code_values, written
from quant_conformance.compare import differing, driver_of, in_order, rules_for, smallest_first
from quant_conformance.diagnosis import Answer
from quant_conformance.protocol import Array

ELEMENTS = 4
"""Elements that a sample holds at most."""

ON_THE_LINE = frozenset({"encode", "decode", "quantize"})
"""Operations whose wrong elements have a place on the number line of a float format."""


@dataclass(frozen=True)
class Point:
    """A wrong element on the number line of a float format.

    Attributes:
        format: the format.
        operation: what was asked.
        x: what was to be encoded: the input, divided by the scale for ``quantize``; None for
            ``decode``.
        expected: value of the right code (or the right value).
        actual: value of the code that was given (or the value).
    """

    format: str
    operation: str
    x: float | None
    expected: float
    actual: float


@dataclass(frozen=True)
class Element:
    """One wrong element.

    Attributes:
        index: its position.
        inputs: by name, the elements at this position of the inputs of the output's shape.
        expected: the right element.
        actual: the one that was given.
        point: where it stands on the number line of a float format, or None.
    """

    index: tuple[int, ...]
    inputs: tuple[tuple[str, Written], ...]
    expected: Written
    actual: Written
    point: Point | None = None


@dataclass(frozen=True)
class Sample:
    """Some wrong elements of one answer.

    Attributes:
        case: id of the case.
        operation: its operation.
        output: the output that they are of.
        differing: how many of its elements are wrong.
        size: how many it has.
        elements: those with the smallest inputs first.
    """

    case: str
    operation: str
    output: str
    differing: int
    size: int
    elements: tuple[Element, ...]


def samples_of(answers: Iterable[Answer]) -> list[Sample]:
    """Takes a sample of each answer that differs in elements, of the first output that does."""
    found = (_sample(answer) for answer in answers)
    return [sample for sample in found if sample is not None]


def _sample(answer: Answer) -> Sample | None:
    case = answer.case
    rules = rules_for(case.operation, case.arguments, case.spec or {})
    tensors = {k: v for k, v in answer.expected.items() if isinstance(v, np.ndarray)}
    for name, want in in_order(tensors):
        got = answer.actual.get(name)
        if not isinstance(got, np.ndarray) or (got.shape, got.dtype) != (want.shape, want.dtype):
            continue
        differs = differing(name, want, got, None)
        if not differs.any():
            continue
        driver = driver_of(answer.inputs, want.shape)
        indices = smallest_first(
            differs, None if driver is None else answer.inputs[driver], ELEMENTS
        )
        fmt = rules.code_format if name == "codes" else None
        elements = tuple(_element(answer, want, got, index, fmt) for index in indices)
        count = int(np.count_nonzero(differs))
        return Sample(case.id, case.operation, name, count, want.size, elements)
    return None


def _element(
    answer: Answer, want: Array, got: Array, index: tuple[int, ...], fmt: str | None
) -> Element:
    inputs = tuple(
        (name, written(tensor, index))
        for name, tensor in answer.inputs.items()
        if tensor.shape == want.shape
    )
    point = _point(answer, want, got, index, fmt)
    expected, actual = written(want, index, fmt), written(got, index, fmt)
    return Element(index, inputs, expected, actual, point)


def _point(
    answer: Answer, want: Array, got: Array, index: tuple[int, ...], fmt: str | None
) -> Point | None:
    operation = answer.case.operation
    if operation not in ON_THE_LINE:
        return None
    if operation == "decode":
        name = str(answer.case.arguments["format"])
        if name not in CODE_DTYPES:
            return None
        return Point(name, operation, None, float(want[index]), float(got[index]))
    if fmt is None:
        return None
    x = answer.inputs["x"]
    value = np.float32(x[index])
    if operation == "quantize":
        with np.errstate(all="ignore"):
            value = value / _of_block(answer.inputs["scale"], x.shape, index)
    return Point(fmt, operation, float(value), _value(want, index, fmt), _value(got, index, fmt))


def _value(codes: Array, index: tuple[int, ...], fmt: str) -> float:
    return float(code_values(np.asarray(codes[index]), fmt))


def _of_block(scale: Array, shape: tuple[int, ...], index: tuple[int, ...]) -> np.float32:
    """Returns the scale of the block that the element stands in (SPEC.md, 0 Conventions)."""
    block = tuple(
        i * blocks // extent for i, blocks, extent in zip(index, scale.shape, shape, strict=True)
    )
    return np.float32(scale[block])
