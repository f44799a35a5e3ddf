"""What x, or the codes, and the qparams say of each element of an elementwise answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant_conformance.mutants.diagnosis.facet import Facet, along, numbers, subnormal, truth
from quant_conformance.protocol import Array
from quant_conformance.verdicts.answers import Answer
from quant_conformance.verdicts.bits import CODE_DTYPES, code_values
from quant_reference.blocks import spread
from quant_reference.formats import Format, get_format

DIRECT = ("encode", "decode")
WITH_QPARAMS = ("quantize", "dequantize", "fake_quantize", "gradient")


def facets_of_input(answer: Answer, shape: tuple[int, ...]) -> Iterator[Facet]:
    """What x, or the codes, and the qparams of an elementwise operation show.

    Args:
        answer: an answer of one of the operations above.
        shape: of its output.
    """
    spec = dict(answer.case.spec or {})
    fmt = get_format(str(answer.case.arguments.get("format") or spec["dtype"]))
    with np.errstate(all="ignore"):
        if "codes" in answer.inputs:
            yield from _of_codes(answer.inputs["codes"], fmt)
        elif "x" in answer.inputs:
            yield from _of_x(answer, spec, fmt, shape)
        if answer.case.operation in WITH_QPARAMS:
            yield from _of_qparams(answer.inputs, shape)


def _of_codes(codes: Array, fmt: Format) -> Iterator[Facet]:
    name = fmt.name if fmt.name in CODE_DTYPES else None
    values = numbers(codes, name)
    yield truth("the code is odd", (codes & 1) == 1)
    yield truth("the code is negative", np.signbit(values))
    yield truth("the code is subnormal", subnormal(codes, name))
    yield truth("the code is the greatest of its format", values == fmt.quant_max)
    yield truth("the code is the least of its format", values == fmt.quant_min)
    yield Facet("size", "the code", np.abs(values).reshape(-1))


def _of_x(
    answer: Answer, spec: Mapping[str, Any], fmt: Format, shape: tuple[int, ...]
) -> Iterator[Facet]:
    x = answer.inputs["x"]
    wide = x.astype(np.float32)
    yield truth("x is negative", wide < 0)
    yield truth("x is negative or -0", np.signbit(wide) & ~np.isnan(wide))
    yield truth("x is -0", (wide == 0) & np.signbit(wide))
    yield truth("x is 0", wide == 0)
    yield truth("x is NaN", np.isnan(wide))
    yield truth("x is infinite", np.isinf(wide))
    yield truth("x is subnormal", subnormal(x, None))
    yield Facet("size", "x", np.abs(wide.astype(np.float64)).reshape(-1))
    quotient, offset = _quotient(answer, spec, wide, shape)
    if quotient is None or fmt.kind == "scale":
        return
    if not fmt.is_integer and fmt.name not in CODE_DTYPES:  # ml_dtypes cannot say what ties are
        return
    steps = np.abs(quotient)
    clip = 1 if spec.get("qscheme") == "symmetric_with_clipping" and fmt.kind == "int" else 0
    least, greatest = fmt.quant_min + clip, fmt.quant_max
    if fmt.is_integer:
        tie, before = steps - np.floor(steps) == 0.5, np.rint(quotient) + offset
        beside = np.abs(steps - np.floor(steps) - 0.5) < 1e-4
    else:
        between = _midpoints(fmt)
        tie, before = np.isin(steps, between), quotient
        near = between[np.minimum(np.searchsorted(between, steps), between.size - 1)]
        beside = np.abs(steps - near) < 1e-4 * near
    yield truth("the quotient is a tie", tie & np.isfinite(steps))
    yield truth("the quotient is a tie or right beside one", (tie | beside) & np.isfinite(steps))
    yield truth("the code saturates", (before > greatest) | (before < least))
    yield truth("the code saturates above", before > greatest)
    yield truth("the code saturates below", before < least)
    code = np.clip(before, least, greatest)
    if fmt.is_integer:
        yield truth("the code is odd", np.fmod(code, 2) != 0)
        yield truth("the code is negative", code < 0)
        yield truth("the code before the clamp is negative", before < 0)
        yield truth("the code is the greatest in use", code == greatest)
        yield truth("the code is the least in use", code == least)
    elif isinstance(answer.expected.get("codes"), np.ndarray):
        yield truth("the code is odd", (answer.expected["codes"] & 1) == 1)
    if "minval" in answer.inputs:
        yield Facet("size", "(x - minval)/scale", steps.astype(np.float64).reshape(-1))
        steps = np.abs(wide / _spread(answer.inputs, shape)["scale"])
    if answer.case.operation in WITH_QPARAMS:
        yield Facet("size", "x/scale", steps.astype(np.float64).reshape(-1))


def _quotient(
    answer: Answer, spec: Mapping[str, Any], wide: Array, shape: tuple[int, ...]
) -> tuple[Array | None, Any]:
    """What is rounded, in float32, and what is added to it; None where that cannot be told."""
    if answer.case.operation == "encode":
        return wide, 0
    found = _spread(answer.inputs, shape)
    if "scale" not in found:
        return None, 0
    if "minval" in found:
        least = get_format(str(spec["dtype"])).quant_min
        least += spec.get("qscheme") == "symmetric_with_clipping" and least < 0
        return (wide - found["minval"]) / found["scale"], least
    return wide / found["scale"], found.get("zero_point", 0)


def _of_qparams(inputs: Mapping[str, Array], shape: tuple[int, ...]) -> Iterator[Facet]:
    found = _spread(inputs, shape)
    if "scale" not in found:
        return
    scale = found["scale"]
    yield truth("the scale is subnormal", subnormal(scale, None))
    yield truth("the scale is a power of two", np.frexp(scale)[0] == 0.5)
    yield truth("the scale is not finite", ~np.isfinite(scale))
    yield Facet("size", "the scale", np.abs(scale.astype(np.float64)).reshape(-1))
    if "zero_point" in found:
        yield truth("the zero point is not 0", found["zero_point"] != 0)
        yield truth("the zero point is odd", np.fmod(found["zero_point"], 2) != 0)
    blocks = inputs["scale"].shape
    split = [axis for axis, count in enumerate(blocks) if count > 1]
    number = np.arange(int(np.prod(blocks))).reshape(blocks)
    block = spread(number, shape).reshape(-1).astype(np.float64)
    per_channel = len(split) == 1 and blocks[split[0]] == shape[split[0]]
    none = np.full(block.size, np.nan)
    yield Facet("index", "the channel", block if per_channel else none)
    yield Facet("index", "the block", none if per_channel or not split else block)
    yield truth("it is of the last channel or block", block == number.size - 1)
    within = none
    if len(split) == 1 and not per_channel:
        length = shape[split[0]] // blocks[split[0]]
        within = np.broadcast_to(along(shape, split[0]) % length, shape).reshape(-1)
        yield truth("it is the last of its block", within == length - 1)
    yield Facet("index", "the position in its block", within.astype(np.float64))


def _spread(inputs: Mapping[str, Array], shape: tuple[int, ...]) -> dict[str, Array]:
    names = [name for name in ("scale", "zero_point", "minval") if name in inputs]
    if any(inputs[name].ndim != len(shape) for name in names):
        return {}
    return {name: spread(inputs[name], shape) for name in names}


def _midpoints(fmt: Format) -> NDArray[np.float64]:
    codes = np.arange(2 ** (fmt.bits - 1), dtype=np.uint8)
    values = code_values(codes, fmt.name).astype(np.float64)
    values = np.unique(values[np.isfinite(values)])
    return np.asarray((values[1:] + values[:-1]) / 2)
