"""What is known of each element of an answer: its input, its code, its place, its case."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from quant_conformance.mutants.diagnosis.facet import Facet, along, numbers, subnormal, truth
from quant_conformance.mutants.diagnosis.facets_input import DIRECT, WITH_QPARAMS, facets_of_input
from quant_conformance.protocol import Array
from quant_conformance.verdicts.answers import Answer
from quant_conformance.verdicts.bits import CODE_DTYPES
from quant_reference.formats import get_format

TAILS = (2, 4, 8, 16, 32, 64)
"""Widths of loops whose rest at the end of a row may go another way."""


def facets_of(answer: Answer) -> Iterator[Facet]:
    """Yields what is known of the elements of an answer, all outputs one after the other.

    An answer of other shapes or dtypes than the right ones has no elements to compare; ask
    :func:`comparable` first.
    """
    pairs = _outputs(answer)
    count = sum(right.size for _, right in pairs)
    if len(pairs) == 1 and answer.case.operation in (*DIRECT, *WITH_QPARAMS):
        yield from facets_of_input(answer, pairs[0][1].shape)
    for text in _words(answer):
        yield Facet("word", text, np.full(count, True))
    if len(pairs) > 1:
        for name, _ in pairs:
            holds = [np.full(right.size, name == other) for other, right in pairs]
            yield Facet("truth", f"the output is {name}", np.concatenate(holds))
    by_output = [list(_of_output(answer, name, right)) for name, right in pairs]
    for facets in zip(*by_output, strict=True):
        values = np.concatenate([facet.values for facet in facets])
        yield Facet(facets[0].kind, facets[0].text, values)


def comparable(answer: Answer) -> bool:
    """Tells whether the outputs have the shapes and dtypes of the right ones."""
    pairs = _outputs(answer)
    return bool(pairs) and all(
        isinstance(got := answer.actual[name], np.ndarray)
        and (got.shape, got.dtype) == (right.shape, right.dtype)
        for name, right in pairs
    )


def _outputs(answer: Answer) -> list[tuple[str, Array]]:
    """The right outputs in the order in which ``Answer.wrong`` marks them."""
    if answer.case.rule == "admissible":
        return [(name, answer.expected["low"]) for name in answer.actual]
    return [
        (name, answer.expected[name])
        for name in answer.actual
        if isinstance(answer.expected.get(name), np.ndarray)
    ]


def _words(answer: Answer) -> Iterator[str]:
    """What holds for the whole case."""
    case, spec = answer.case, dict(answer.case.spec or {})
    name = str(case.arguments.get("format") or spec.get("dtype") or "")
    if name:
        fmt = get_format(name)
        yield f"the format is {name}"
        yield f"the format is {'an integer' if fmt.is_integer else 'a float'} format"
        yield f"a code has {fmt.bits} bits"
        if fmt.is_integer:
            yield f"codes are {'signed' if fmt.kind == 'int' else 'unsigned'}"
    taken = answer.inputs.get("x", answer.inputs.get("batch_0"))
    if taken is not None:
        yield f"x is {taken.dtype}"
        if taken.dtype != np.float32:
            yield "x has 16 bits"
        yield f"x has {taken.ndim} axes"
    if name and spec:
        yield from _words_of_spec(spec)
    for key in ("order", "kind", "module_kind"):
        if key in case.arguments:
            yield f"the {key} is {case.arguments[key]}"
    if "batch_1" in answer.inputs:
        yield "there is more than one batch"
    if case.target is not None:
        yield f"the tensor is {'a weight' if case.target == 'weight' else 'an activation'}"


def _words_of_spec(spec: Mapping[str, Any]) -> Iterator[str]:
    granularity = dict(spec.get("granularity") or {})
    kind = str(granularity.get("type", "per_tensor"))
    yield f"the granularity is {kind}"
    if kind != "per_tensor":
        yield "the granularity is not per_tensor"
    axis = granularity.get("axis")
    if isinstance(axis, int):
        yield f"the axis is {axis}"
        yield f"the axis is {'negative' if axis < 0 else 'not negative'}"
    for key in ("qscheme", "qformulation", "scale_dtype"):
        if spec.get(key) is not None:
            yield f"the {key} is {spec[key]}"
    bounds = spec.get("float_range") or (None, None)
    if any(bound is not None for bound in bounds):
        yield "float_range fixes a bound"


def _of_output(answer: Answer, name: str, right: Array) -> Iterator[Facet]:
    """What the right output itself shows, and where each element lies."""
    fmt = _code_format(answer, name)
    values = numbers(right, fmt)
    with np.errstate(all="ignore"):
        yield truth("the right result is negative", np.signbit(values))
        yield truth("the right result is zero", values == 0)
        yield truth("the right result is NaN", np.isnan(values))
        yield truth("the right result is infinite", np.isinf(values))
        yield truth("the right result is subnormal", subnormal(right, fmt))
        yield Facet("size", "the right result", np.abs(values).reshape(-1))
    yield from _places(right.shape)


def _places(shape: tuple[int, ...]) -> Iterator[Facet]:
    size = int(np.prod(shape))
    position = np.arange(size)
    row = shape[-1] if shape else 1
    column = position % row if size else position
    yield Facet("index", "the position in the flat tensor", position.astype(np.float64))
    yield Facet("index", "the position in its row", column.astype(np.float64))
    yield truth("it is the last of its row", column == row - 1)
    yield truth("it is the last of the tensor", position == size - 1)
    for width in TAILS:
        rest = column >= row - row % width
        yield truth(f"it is in the tail of a row, behind whole groups of {width}", rest)
        rest = position >= size - size % width
        yield truth(f"it is in the tail of the tensor, behind whole groups of {width}", rest)
    for axis in range(4):
        there = np.full(size, np.nan)
        if axis < len(shape):
            there = np.broadcast_to(along(shape, axis), shape).reshape(-1).astype(np.float64)
        yield Facet("index", f"the index along axis {axis}", there)


def _code_format(answer: Answer, name: str) -> str | None:
    fmt = str(answer.case.arguments.get("format") or (answer.case.spec or {}).get("dtype"))
    return fmt if name == "codes" and fmt in CODE_DTYPES else None
