"""How far answers are from the right ones, in steps of their own grid: codes or ulps.

Where a case admits a set of answers, it is the distance from the set under the rigorous bound.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from quant_conformance.protocol import Array
from quant_conformance.verdicts.admissible import answer_name, beyond, code_format
from quant_conformance.verdicts.answers import Answer
from quant_conformance.verdicts.bits import Ordinals, bits_of, is_float, ordinals
from quant_conformance.verdicts.exact import ZERO_SIGN_UNSEEN

if TYPE_CHECKING:
    from quant_vectors import Case

UNMEASURED = frozenset({"packed"})
"""Outputs whose bytes hold several codes, so that a distance between them means nothing."""


@dataclass
class Distances:
    """Distances of one output of one operation, over all its elements.

    Attributes:
        operation: the operation.
        output: the output.
        unit: "codes" for steps on a grid of codes, "ulps" for steps between neighbouring floats.
        counts: distance (actual - expected) to number of elements; right ones count at 0.
        zero_signs: elements that differ in the sign of a zero alone.
        nans: elements where one side is NaN and the other is not.
    """

    operation: str
    output: str
    unit: str
    counts: Counter[int] = field(default_factory=Counter)
    zero_signs: int = 0
    nans: int = 0

    @property
    def total(self) -> int:
        """Number of elements."""
        return self.counts.total() + self.zero_signs + self.nans

    @property
    def differing(self) -> int:
        """Number of elements that are not right."""
        return self.total - self.counts[0]


def distances_of(answers: Iterable[Answer]) -> list[Distances]:
    """Measures answers element by element; one of another shape or dtype has no distance.

    Args:
        answers: right and wrong answers of one backend.

    Returns:
        One entry per operation and output, in order of appearance.
    """
    found: dict[tuple[str, str], Distances] = {}

    def entry(case: Case, name: str, want: Array) -> Distances:
        unit = "ulps" if is_float(want) else "codes"
        return found.setdefault((case.operation, name), Distances(case.operation, name, unit))

    for answer in answers:
        case = answer.case
        if case.rule == "admissible":
            name, low = answer_name(case), answer.expected["low"]
            got: Any = answer.actual.get(name)
            if comparable(low, got):
                _count(entry(case, name, low), *beyond(got, answer.expected, "", code_format(case)))
            continue
        for name, want in answer.expected.items():
            got = answer.actual.get(name)
            if name not in UNMEASURED and comparable(want, got):
                fmt = code_format(case) if name == "codes" else None
                _add(entry(case, name, want), want, got, fmt)
    return list(found.values())


def comparable(want: object, got: object) -> bool:
    """Tells whether two outputs are arrays that can be compared element by element."""
    return (
        isinstance(want, np.ndarray)
        and isinstance(got, np.ndarray)
        and (want.shape, want.dtype) == (got.shape, got.dtype)
        and want.dtype.itemsize <= 4
    )


def _add(entry: Distances, want: Array, got: Array, fmt: str | None) -> None:
    expected, expected_nan = ordinals(want, fmt)
    actual, actual_nan = ordinals(got, fmt)
    one_nan = expected_nan != actual_nan
    both_nan = expected_nan & actual_nan
    steps = np.where(both_nan, 0, actual - expected)
    zero_sign = (steps == 0) & (bits_of(want) != bits_of(got)) & ~both_nan & ~one_nan
    zero_sign &= entry.output not in ZERO_SIGN_UNSEEN
    entry.zero_signs += int(np.count_nonzero(zero_sign))
    _count(entry, steps[~zero_sign], one_nan[~zero_sign])


def _count(entry: Distances, steps: Ordinals, nan: NDArray[np.bool_]) -> None:
    entry.nans += int(np.count_nonzero(nan))
    values, counts = np.unique(steps[~nan], return_counts=True)
    entry.counts.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))


def buckets(counts: Mapping[int, int]) -> list[tuple[int, int, int]]:
    """Gathers distances into classes whose width doubles: 0, 1, 2, 3-4, 5-8, 9-16, ….

    Args:
        counts: distance to number of elements.

    Returns:
        (least, greatest, number) for each class from the lowest that occurs to the highest,
        empty ones between them included; the class of 0 is always there.
    """
    classes: Counter[int] = Counter()
    for distance, count in counts.items():
        classes[_class(distance)] += count
    low, high = min([0, *classes]), max([0, *classes])
    return [(*_limits(number), classes[number]) for number in range(low, high + 1)]


def _class(distance: int) -> int:
    number = 1 + (abs(distance) - 1).bit_length() if distance else 0
    return -number if distance < 0 else number


def _limits(number: int) -> tuple[int, int]:
    size = abs(number)
    # 1, 2, 3-4, 5-8: a class ends at a power of two, and begins behind the one before.
    greatest = 1 << (size - 1) if size else 0
    least = greatest // 2 + 1 if size else 0
    return (-greatest, -least) if number < 0 else (least, greatest)
