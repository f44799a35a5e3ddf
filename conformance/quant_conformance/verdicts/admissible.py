"""Judges an answer by the set of admissible ones that a case holds (SPEC.md, ADM-12)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from quant_conformance.protocol import Array
from quant_conformance.verdicts.bits import CODE_DTYPES, Ordinals, ordinals, show
from quant_conformance.verdicts.noise import NOT_FINITE, sqnr
from quant_conformance.verdicts.verdict import Verdict
from quant_reference import QuantError
from quant_reference.admissible import (
    VERDICTS,
    AdmissibleCodes,
    AdmissibleValues,
    judge_codes,
    judge_value_sets,
)
from quant_reference.spec import QuantizationSpec
from quant_vectors.model import SETS

if TYPE_CHECKING:
    from quant_vectors import Case

Judged = tuple[Verdict, str]
"""A verdict, and what is to be said of it."""

WORST_FIRST = (Verdict.WRONG, Verdict.UNLIKELY, Verdict.UNDECIDED)

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
    name, fmt = answer_name(case), code_format(case)
    low, given = expected["low"], outputs.get(name)
    said = _unlike(name, given, low)
    if said or given is None:
        return Verdict.WRONG, said
    try:
        words = words_of(case, expected, given)
    except QuantError as error:  # a code that the format does not have
        return Verdict.WRONG, " ".join(str(error).split())
    for verdict in WORST_FIRST:
        marked = words == _INDEX[verdict]
        if marked.any():
            return verdict, _sentence(name, given, expected, marked, verdict, fmt)
    verdict = Verdict.EXACT if _single(case, expected) else Verdict.ADMISSIBLE
    return verdict, _beside(name, given, expected.get(name))


def _beside(name: str, given: Array, recorded: Array | None) -> str:
    """How far a right answer is from the one that a set was recorded with, if it was."""
    count = 0 if recorded is None else int(np.count_nonzero(given != recorded))
    return f"{count} of {given.size} {name} are not the recorded ones" if count else ""


def words_of(case: Case, expected: Mapping[str, Array], given: Array) -> NDArray[np.uint8]:
    """Verdict on each element of an answer of the right shape and dtype.

    Returns:
        Indices into ``quant_reference.admissible.VERDICTS``.

    Raises:
        QuantError: a code that the format does not have.
    """
    if case.spec is None:
        return judge_value_sets(given, AdmissibleValues(**{end: expected[end] for end in SETS}))
    return judge_codes(given, _codes(case, expected))


def _codes(case: Case, expected: Mapping[str, Array]) -> AdmissibleCodes:
    spec = QuantizationSpec.from_dict(dict(case.spec or {}))
    return AdmissibleCodes(**{end: expected[end] for end in SETS}, spec=spec)


def _single(case: Case, expected: Mapping[str, Array]) -> bool:
    """Whether no element has more than one admissible answer."""
    if case.spec is None:
        return bool(np.array_equal(expected["low"], expected["high"]))
    return _codes(case, expected).single["rigorous"] == 1.0


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


def code_format(case: Case) -> str | None:
    """Returns the float format whose codes the case's output ``codes`` holds, or None."""
    fmt = str(case.arguments.get("format") or (case.spec or {}).get("dtype"))
    return fmt if fmt in CODE_DTYPES else None


def answer_name(case: Case) -> str:
    """Names the output that is judged where the case admits a set (ADM-12)."""
    return "values" if case.spec is None else "codes"


def beyond(
    given: Array, ends: Mapping[str, Array], prefix: str, fmt: str | None
) -> tuple[Ordinals, NDArray[np.bool_]]:
    """Measures how far elements lie outside their admissible sets.

    Args:
        given: the answer.
        ends: ``low`` and ``high`` of each element's set, and ``likely_low`` and ``likely_high``.
        prefix: "" for the rigorous set, "likely_" for the probable one.
        fmt: the float format, if they are codes of one.

    Returns:
        Signed steps, 0 inside the set; and a mask of NaN elements whose set holds no NaN.
    """
    place, nan = ordinals(given, fmt)
    low, low_nan = ordinals(ends[f"{prefix}low"], fmt)
    high, high_nan = ordinals(ends[f"{prefix}high"], fmt)
    steps = np.minimum(place - low, 0) + np.maximum(place - high, 0)
    return np.where(nan, 0, steps), nan & ~low_nan & ~high_nan


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
    prefix = "likely_" if verdict is Verdict.UNLIKELY else ""
    low, high = expected[f"{prefix}low"], expected[f"{prefix}high"]
    steps, nan = beyond(given, expected, prefix, fmt)
    # Steps on the grid are finite even where an end is infinite; a NaN is further out than all.
    size = np.where(nan, np.iinfo(np.int64).max, np.abs(steps))
    index = np.unravel_index(int(np.argmax(np.where(marked, size, -1))), given.shape)
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


def _ratio(given: Array, want: Array) -> str:
    """Signal to noise, for people."""
    ratio = sqnr(given, want)
    if ratio == NOT_FINITE:
        return "which are not finite"
    if ratio is None or not want.any():
        return "beside zeros" if ratio is not None else "in the signs of zeros"
    return f"SQNR {ratio:.1f} dB"
