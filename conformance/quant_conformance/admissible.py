"""Judges an answer by the set of admissible ones that a case holds (SPEC.md, ADM-12)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from quant_conformance.bits import CODE_DTYPES, bits_of, is_float, show
from quant_conformance.protocol import Array
from quant_conformance.verdicts import Verdict
from quant_reference import QuantError
from quant_reference.admissible import VERDICTS, AdmissibleCodes, judge_codes
from quant_reference.formats import get_format
from quant_reference.spec import QuantizationSpec

if TYPE_CHECKING:
    from quant_vectors import Case

Judged = tuple[Verdict, str]
"""A verdict, and what is to be said of it."""

WORST_FIRST = (Verdict.WRONG, Verdict.UNLIKELY, Verdict.UNDECIDED)

_ENDS = ("low", "high", "likely_low", "likely_high")

_INDEX = {Verdict(word): index for index, word in enumerate(VERDICTS)}


def judge_admissible(
    case: Case, expected: Mapping[str, Array], outputs: Mapping[str, Any]
) -> Judged:
    """Judges a case with rule "admissible".

    A result is as bad as its worst element, and exact where no element has more than one
    admissible value.

    Args:
        case: the case; its answer is ``codes`` if it has a spec, else ``values``.
        expected: the ends of the sets, in the dtype of the answer.
        outputs: the backend's answer.
    """
    name = "values" if case.spec is None else "codes"
    low, given = expected["low"], outputs.get(name)
    said = _unlike(name, given, low)
    if said or given is None:
        return Verdict.WRONG, said
    if case.spec is None:
        fmt, single = None, bool(np.array_equal(low, expected["high"]))
        words = _judge_values(given, expected)
    else:
        spec = QuantizationSpec.from_dict(dict(case.spec))
        fmt = spec.dtype if spec.dtype in CODE_DTYPES else None
        admissible = AdmissibleCodes(**{end: expected[end] for end in _ENDS}, spec=spec)
        single = admissible.single["rigorous"] == 1.0
        try:
            words = judge_codes(given, admissible)
        except QuantError as error:  # a code that the format does not have
            return Verdict.WRONG, " ".join(str(error).split())
    for verdict in WORST_FIRST:
        marked = words == _INDEX[verdict]
        if marked.any():
            return verdict, _sentence(name, given, expected, marked, verdict, fmt)
    return (Verdict.EXACT if single else Verdict.ADMISSIBLE), ""


def judge_information(expected: Mapping[str, Array], outputs: Mapping[str, Any]) -> Judged:
    """Judges a case with rule "information": only an answer of another shape or dtype is wrong.

    Args:
        expected: the recorded ``values``.
        outputs: the backend's answer.

    Returns:
        EXACT for the recorded bits, POLICY with a sentence for others.
    """
    want, given = expected["values"], outputs.get("values")
    said = _unlike("values", given, want)
    if said or given is None:
        return Verdict.WRONG, said
    differs = ~((given == want) | (np.isnan(given) & np.isnan(want)))
    count = int(np.count_nonzero(differs))
    if not count:
        return Verdict.EXACT, ""
    return Verdict.POLICY, f"{count} of {want.size} values differ, {_ratio(given, want)}"


def _judge_values(given: Array, expected: Mapping[str, Array]) -> NDArray[np.uint8]:
    low, high, likely_low, likely_high = (expected[end] for end in _ENDS)
    inside = (given >= low) & (given <= high)
    likely = (given >= likely_low) & (given <= likely_high)
    unknown = np.isneginf(likely_low) & np.isposinf(likely_high)
    words = np.where(likely, _INDEX[Verdict.ADMISSIBLE], _INDEX[Verdict.WRONG])
    words = np.where(inside & ~likely, _INDEX[Verdict.UNLIKELY], words)
    return np.where(unknown, _INDEX[Verdict.UNDECIDED], words).astype(np.uint8)


def _unlike(name: str, given: Any, want: Array) -> str:
    """What makes the answer no answer, or nothing."""
    if given is None:
        return f"no {name} were given"
    if given.shape != want.shape:
        return f"{name} has shape {given.shape}, expected {want.shape}"
    if given.dtype != want.dtype:
        return f"{name} has dtype {given.dtype}, expected {want.dtype}"
    return ""


def _sentence(
    name: str,
    given: Array,
    expected: Mapping[str, Array],
    marked: NDArray[np.bool_],
    verdict: Verdict,
    fmt: str | None,
) -> str:
    """The element that is furthest outside, what it may be, and how many there are."""
    ends = _ENDS[2:] if verdict is Verdict.UNLIKELY else _ENDS[:2]
    low, high = (expected[end] for end in ends)
    # Steps on the grid, so that distances of codes, of floats and of infinities are finite.
    place, least, greatest = (_places(array, fmt) for array in (given, low, high))
    beyond = np.maximum(least - place, place - greatest)
    index = np.unravel_index(int(np.argmax(np.where(marked, beyond, -1))), given.shape)
    at = tuple(int(i) for i in index)
    where = f"{name}[{', '.join(map(str, at))}]" if at else name
    limits = f"{show(low, at, fmt)} to {show(high, at, fmt)}"
    if low[at] == high[at]:
        limits = show(low, at, fmt)
    word = "likely" if verdict is Verdict.UNLIKELY else "admissible"
    count = int(np.count_nonzero(marked))
    elements = "element is" if given.size == 1 else "elements are"
    return (
        f"{where}: {word} is {limits}, got {show(given, at, fmt)}; "
        f"{count} of {given.size} {elements} {verdict.value}"
    )


def _places(array: Array, fmt: str | None) -> NDArray[np.int64]:
    """Numbers the elements along their grid, so that neighbours differ by one."""
    if fmt is None and not is_float(array):
        return array.astype(np.int64)
    width = 8 * array.dtype.itemsize if fmt is None else get_format(fmt).bits
    bits = bits_of(array).astype(np.int64)
    magnitude = bits & ((1 << (width - 1)) - 1)
    return np.where(bits >> (width - 1) & 1, -magnitude, magnitude)


def _ratio(given: Array, want: Array) -> str:
    """Signal to noise, for people."""
    a, b = given.astype(np.float64), want.astype(np.float64)
    noise, signal = float(np.sum((a - b) ** 2)), float(np.sum(b**2))
    if not np.isfinite(noise) or signal == 0:
        return "which are not finite" if not np.isfinite(noise) else "beside zeros"
    return f"SQNR {10 * np.log10(signal / noise):.1f} dB"
