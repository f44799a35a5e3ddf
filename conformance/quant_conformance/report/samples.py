"""Wrong answers in bits, element by element, as a report shows them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from quant_conformance.protocol import Array
from quant_conformance.report.distances import comparable
from quant_conformance.verdicts.admissible import answer_name, beyond, code_format
from quant_conformance.verdicts.answers import Answer
from quant_conformance.verdicts.bits import CODE_DTYPES, Written, code_values, written
from quant_conformance.verdicts.exact import differing, driver_of, in_order, smallest_first

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
        expected: the right element, or the ends of what is admissible: ``1 … 2``.
        actual: the one that was given.
        point: where it is on the number line of a float format, or None.
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
    if case.rule == "admissible":
        return _outside(answer)
    fmt = code_format(case)
    tensors = {k: v for k, v in answer.expected.items() if isinstance(v, np.ndarray)}
    for name, want in in_order(tensors):
        got: Any = answer.actual.get(name)
        if not comparable(want, got):
            continue
        differs = differing(name, want, got, None)
        if not differs.any():
            continue
        driver = driver_of(answer.inputs, want.shape)
        indices = smallest_first(
            differs, None if driver is None else answer.inputs[driver], ELEMENTS
        )
        code = fmt if name == "codes" else None
        elements = tuple(_element(answer, want, got, index, code) for index in indices)
        count = int(np.count_nonzero(differs))
        return Sample(case.id, case.operation, name, count, want.size, elements)
    return None


def _outside(answer: Answer) -> Sample | None:
    """Samples elements outside their admissible sets: the rigorous, or else the probable ones."""
    case, ends = answer.case, answer.expected
    name, fmt = answer_name(case), code_format(case)
    got: Any = answer.actual.get(name)
    if not comparable(ends["low"], got):
        return None
    for prefix in ("", "likely_"):
        steps, nan = beyond(got, ends, prefix, fmt)
        differs = (steps != 0) | nan
        if differs.any():
            furthest = np.argsort(-np.abs(np.where(nan, 1 << 40, steps)), axis=None, kind="stable")
            places = zip(*np.unravel_index(furthest[:ELEMENTS], got.shape), strict=True)
            indices = [tuple(int(i) for i in place) for place in places]
            elements = tuple(
                Element(
                    index,
                    (),
                    _interval(ends[f"{prefix}low"], ends[f"{prefix}high"], index, fmt),
                    written(got, index, fmt),
                )
                for index in indices
                if differs[index]
            )
            return Sample(case.id, case.operation, name, int(differs.sum()), got.size, elements)
    return None


def _interval(low: Array, high: Array, index: tuple[int, ...], fmt: str | None) -> Written:
    """Writes the ends of a set as one, where they are."""
    least, greatest = written(low, index, fmt), written(high, index, fmt)
    if least == greatest:
        return least
    return Written(*(f"{a} … {b}" if a else "" for a, b in zip(least, greatest, strict=True)))


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
    """Returns the scale of the block that the element is in (CONV-6)."""
    block = tuple(
        i * blocks // extent for i, blocks, extent in zip(index, scale.shape, shape, strict=True)
    )
    return np.float32(scale[block])
