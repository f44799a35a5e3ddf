"""Sets of admissible codes, and the verdict on codes and values (ADM-11, ADM-12)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant_reference._arrays import Array
from quant_reference.admissible.arithmetic import FLOAT32, Arithmetic
from quant_reference.admissible.bounds import Bounds
from quant_reference.blocks import spread
from quant_reference.encoding import code_array
from quant_reference.errors import InputError
from quant_reference.legality import checked_params
from quant_reference.qparams import QParams
from quant_reference.quantize import quantize
from quant_reference.spec import QuantizationSpec

VERDICTS = ("admissible", "unlikely", "wrong", "undecided")
"""What is said of one element; the arrays of verdicts hold indices into this (ADM-12)."""

ADMISSIBLE, UNLIKELY, WRONG, UNDECIDED = range(4)


@dataclass(frozen=True, eq=False)
class AdmissibleCodes:
    """For each element the codes that correct arithmetic can give, as a range (ADM-11).

    Float formats are ordered by value, −0 before +0.

    Attributes:
        low: Least code of the rigorous set.
        high: Greatest code of the rigorous set.
        likely_low: Least code of the probable set.
        likely_high: Greatest code of the probable set.
        spec: Of the codes.
    """

    low: Array
    high: Array
    likely_low: Array
    likely_high: Array
    spec: QuantizationSpec

    @property
    def single(self) -> dict[str, float]:
        """Share of elements with exactly one value, under each bound."""
        pairs = {
            "rigorous": (self.low, self.high),
            "probable": (self.likely_low, self.likely_high),
        }
        return {
            kind: float((_values(low, self.spec) == _values(high, self.spec)).mean())
            if low.size
            else 1.0
            for kind, (low, high) in pairs.items()
        }

    @property
    def undecided(self) -> NDArray[np.bool_]:
        """Where even the probable set holds every code in use."""
        least, greatest = _extremes(self.spec)
        return np.asarray(
            (_order(self.likely_low, self.spec) <= least)
            & (_order(self.likely_high, self.spec) >= greatest)
        )


@dataclass(frozen=True, eq=False)
class AdmissibleValues:
    """For each element of a float result the values that correct arithmetic can give (ADM-12).

    In the dtype of values; where nothing is known the ends are infinite.

    Attributes:
        low: Least value of the rigorous set.
        high: Greatest value of the rigorous set.
        likely_low: Least value of the probable set.
        likely_high: Greatest value of the probable set.
    """

    low: Array
    high: Array
    likely_low: Array
    likely_high: Array


def admissible_values(bounds: Bounds, arithmetic: Arithmetic = FLOAT32) -> AdmissibleValues:
    """Round the ends of an interval outward to the dtype of values (ADM-12).

    Args:
        bounds: Of the result.
        arithmetic: Its ``values`` are the grid that computed values lie on.
    """
    rigorous, probable = (outward(bounds, kind, arithmetic) for kind in ("rigorous", "probable"))
    return AdmissibleValues(*rigorous, *probable)


def admissible_codes(
    bounds: Bounds,
    spec: QuantizationSpec,
    qparams: QParams,
    arithmetic: Arithmetic = FLOAT32,
) -> AdmissibleCodes:
    """Quantize the ends of what a computed value may be (ADM-11).

    Quantize is monotone for a positive scale, so all codes between the two are admissible and no
    other. Where nothing is known of the value, or the scale is not finite, every code is.

    Args:
        bounds: Of the value before quantization.
        spec: Gives dtype, qscheme and qformulation.
        qparams: Rank of the value, one entry per block.
        arithmetic: Its ``values`` are the grid that computed values lie on.

    Raises:
        InputError: qparams that do not tile the value or are not legal (Q-8).
    """
    scale, *_ = checked_params(bounds.shape, spec, qparams, "Q-8")
    codes = []
    for kind in ("rigorous", "probable"):
        low, high = outward(bounds, kind, arithmetic)
        codes += [quantize(low, spec, qparams), quantize(high, spec, qparams)]
    if not np.isfinite(scale).all():
        # What is stored in the blocks whose scale is no number is a policy (Q-6, QP-8).
        lost = _broken(bounds.shape, scale)
        ends = _end_codes(spec)
        codes = [np.where(lost, end, code) for end, code in zip(ends * 2, codes, strict=True)]
    return AdmissibleCodes(codes[0], codes[1], codes[2], codes[3], spec)


def outward(bounds: Bounds, kind: str, arithmetic: Arithmetic) -> tuple[NDArray[Any], NDArray[Any]]:
    """Ends of an interval, rounded outward to the dtype of values; a zero end with its sign.

    A zero at the lower end is −0 and at the upper one +0, since the sign of a zero that a sum
    leaves depends on the order (ADM-11).
    """
    dtype = arithmetic.value.dtype
    low, high = bounds.ends(kind)
    exact = getattr(bounds, kind) == 0
    # The subtraction and the addition were rounded once in float64.
    low = np.where(exact, low, np.nextafter(low, -np.inf))
    high = np.where(exact, high, np.nextafter(high, np.inf))
    with np.errstate(over="ignore"):
        below, above = low.astype(dtype), high.astype(dtype)
    with np.errstate(invalid="ignore"):
        below = np.where(below > low, np.nextafter(below, dtype.type(-np.inf)), below)
        above = np.where(above < high, np.nextafter(above, dtype.type(np.inf)), above)
    below = np.where(below == 0, dtype.type(-0.0), below)
    above = np.where(above == 0, dtype.type(0.0), above)
    return below, above


def judge_codes(codes: Array, admissible: AdmissibleCodes) -> NDArray[np.uint8]:
    """Verdict on each code, as an index into :data:`VERDICTS` (ADM-12).

    Args:
        codes: In the shape and dtype of the set.
        admissible: The set.

    Raises:
        InputError: Another shape or dtype, or a code outside the format's width.
    """
    spec = admissible.spec
    given = code_array(codes, spec.format, "ADM-12")
    if given.shape != admissible.low.shape:
        raise InputError(
            "codes: shape", given=given.shape, allowed=str(admissible.low.shape), clause="ADM-12"
        )
    order = _order(given, spec)
    inside = (order >= _order(admissible.low, spec)) & (order <= _order(admissible.high, spec))
    likely = (order >= _order(admissible.likely_low, spec)) & (
        order <= _order(admissible.likely_high, spec)
    )
    return _verdicts(inside, likely, admissible.undecided)


def judge_values(x: Array, bounds: Bounds, arithmetic: Arithmetic = FLOAT32) -> NDArray[np.uint8]:
    """Verdict on each value of a result that is not quantized, as for codes (ADM-12).

    Args:
        x: float16 or float32, in the shape of the bounds.
        bounds: Of the result.
        arithmetic: Its ``values`` are the grid that computed values lie on.

    Raises:
        InputError: Another shape or dtype.
    """
    given = np.asarray(x)
    if given.dtype not in (np.float16, np.float32, np.float64) or given.shape != bounds.shape:
        raise InputError(
            "values",
            given=f"{given.dtype} of shape {given.shape}",
            allowed=f"float16 or float32 of shape {bounds.shape}",
            clause="ADM-12",
        )
    return judge_value_sets(given, admissible_values(bounds, arithmetic))


def judge_value_sets(x: Array, admissible: AdmissibleValues) -> NDArray[np.uint8]:
    """Verdict on each value by the ends of its sets (ADM-12).

    Args:
        x: In the shape of the sets.
        admissible: The sets; infinite probable ends on both sides decide nothing.
    """
    inside = (x >= admissible.low) & (x <= admissible.high)
    likely = (x >= admissible.likely_low) & (x <= admissible.likely_high)
    unknown = np.isneginf(admissible.likely_low) & np.isposinf(admissible.likely_high)
    return _verdicts(inside, likely, unknown)


def count_verdicts(verdicts: NDArray[np.uint8]) -> dict[str, int]:
    """How many elements got each verdict, by name."""
    counts = Counter(verdicts.ravel().tolist())
    return {name: counts.get(index, 0) for index, name in enumerate(VERDICTS)}


def _verdicts(
    inside: NDArray[np.bool_], likely: NDArray[np.bool_], undecided: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    told = np.where(likely, ADMISSIBLE, np.where(inside, UNLIKELY, WRONG))
    return np.where(undecided, UNDECIDED, told).astype(np.uint8)


def _order(codes: Array, spec: QuantizationSpec) -> NDArray[np.int32]:
    """Place of a code in the order of values; a NaN is beyond every number."""
    if spec.format.is_integer:
        return codes.astype(np.int32)
    bits = spec.format.bits
    magnitude = (codes & (2 ** (bits - 1) - 1)).astype(np.int32)
    negative = codes >> (bits - 1) == 1
    order = np.where(negative, -1 - magnitude, magnitude)
    beyond = magnitude > _greatest_code(spec)
    return np.where(beyond, np.int32(2**bits), order).astype(np.int32)


def _values(codes: Array, spec: QuantizationSpec) -> NDArray[np.int32]:
    """Place of a code in the order of values, where the two zeros are one."""
    order = _order(codes, spec)
    return order if spec.format.is_integer else np.where(order == -1, 0, order)


def _greatest_code(spec: QuantizationSpec) -> int:
    """Bit code of the greatest finite value."""
    one = np.full((1,), spec.quant_max, np.float32)
    unit = QParams(np.ones((1,), np.float32))
    return int(quantize(one, spec, unit)[0])


def _end_codes(spec: QuantizationSpec) -> list[Any]:
    """Least and greatest code in use."""
    fmt = spec.format
    if fmt.is_integer:
        return [np.dtype(fmt.code_dtype).type(n) for n in (spec.quant_min, spec.quant_max)]
    greatest = _greatest_code(spec)
    return [np.uint8(greatest | 1 << (fmt.bits - 1)), np.uint8(greatest)]


def _extremes(spec: QuantizationSpec) -> tuple[int, int]:
    least, greatest = _end_codes(spec)
    return int(_order(np.asarray(least), spec)), int(_order(np.asarray(greatest), spec))


def _broken(shape: tuple[int, ...], scale: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Elements whose block has no finite scale."""
    return spread(~np.isfinite(scale), shape)
