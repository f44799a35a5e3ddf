"""Which property tells the wrong elements from the right ones, where no known bug does.

A property is named only where chance does not explain it and right elements do not deny it. It is
taken for chance as long as either of two draws would give it: wrong elements drawn from all, or
cases drawn from all and then wrong elements within each of them, since elements of one case are
alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from quant_conformance.mutants.diagnosis.facets import comparable
from quant_conformance.mutants.diagnosis.properties import Property, joined, properties
from quant_conformance.verdicts.answers import Answer, Mask

CHANCE = math.log(1e-7)
"""A property is named where chance is less likely than that; some hundreds are tried."""

AT_MOST = 3
"""Properties that are named for one operation, and parts that one may have."""

SHARPER = 0.5
"""A property, and each further part of it, leaves at most this share of right elements."""

SHARP = 0.05
"""Right elements, as a share of the wrong ones, that need no further part to be distinguished."""


@dataclass(frozen=True)
class Trait:
    """A property of wrong elements.

    Attributes:
        text: the property, as the rest of "the elements where …".
        holds: for each answer, the wrong elements that have it.
        right: the right elements that have it.
        of_right: the right elements that were looked at.
    """

    text: str
    holds: tuple[Mask, ...]
    right: int
    of_right: int


def characterize(answers: Sequence[Answer], unexplained: Sequence[Mask]) -> list[Trait]:
    """Names what wrong elements have in common and right ones have not.

    Args:
        answers: all answers of one operation, right ones included.
        unexplained: for each, the wrong elements in question. Other wrong elements count neither
            as wrong nor as right.

    Returns:
        Up to three properties, each of wrong elements of its own; none where none is sure.
    """
    usable = [answer.wrong.size > 0 and comparable(answer) for answer in answers]
    kept = [answer for answer, use in zip(answers, usable, strict=True) if use]
    masks = [mask for mask, use in zip(unexplained, usable, strict=True) if use]
    if not any(mask.any() for mask in masks):
        return []
    inquiry = _Inquiry(kept, np.concatenate(masks))
    found: list[Trait] = []
    while len(found) < AT_MOST and inquiry.wrong.any():
        named = inquiry.common() or inquiry.sufficient()
        if named is None:
            break
        text, wrong = named.text, inquiry.wrong & named.holds
        parts = iter(np.split(wrong, np.cumsum([answer.wrong.size for answer in kept])[:-1]))
        holds = tuple(
            next(parts) if use else np.zeros(answer.wrong.size, np.bool_)
            for answer, use in zip(answers, usable, strict=True)
        )
        right = inquiry.right
        found.append(Trait(text, holds, _count(right & named.holds), _count(right)))
        inquiry.wrong = inquiry.wrong & ~named.holds
    return found


class _Inquiry:
    """The elements of many answers, one behind the other."""

    def __init__(self, answers: Sequence[Answer], wrong: Mask) -> None:
        sizes = [answer.wrong.size for answer in answers]
        self.wrong = wrong
        self.right = ~np.concatenate([answer.wrong for answer in answers])
        self._case = np.repeat(np.arange(len(answers)), sizes)
        self._properties = list(properties(joined(answers), wrong))

    def common(self) -> Property | None:
        """The sharpest property that all wrong elements have, of up to three parts."""
        candidates = [p for p in self._properties if not (self.wrong & ~p.holds).any()]
        pool, texts = self.wrong | self.right, list[str]()
        for _ in range(AT_MOST):
            left = _count(pool & self.right)
            found: tuple[int, Property] | None = None
            for candidate in candidates:
                right = _count(pool & self.right & candidate.holds)
                better = right < (left if found is None else found[0])
                if better and self._chance(pool, candidate.holds, self.wrong) < CHANCE:
                    found = right, candidate
            if found is None or (texts and found[0] > SHARPER * left):
                break
            texts.append(found[1].text)
            pool = pool & found[1].holds
            if found[0] <= SHARP * _count(self.wrong):
                break
        if not texts or _count(pool & self.right) > SHARPER * _count(self.right):
            return None
        return Property(" and ".join(texts), pool)

    def sufficient(self) -> Property | None:
        """The property of most wrong elements that no right element has."""
        pool = self.wrong | self.right
        best: tuple[int, Property] | None = None
        for candidate in self._properties:
            count = _count(self.wrong & candidate.holds)
            if count <= (0 if best is None else best[0]) or (self.right & candidate.holds).any():
                continue
            if self._chance(pool, self.wrong, pool & candidate.holds) < CHANCE:
                best = count, candidate
        return None if best is None else best[1]

    def _chance(self, pool: Mask, marked: Mask, drawn: Mask) -> float:
        """Log of the probability that all of ``drawn`` fall on marked elements of a pool."""
        marked = marked & pool
        evenly = self._draw(_count(pool), _count(marked), _count(drawn))
        in_pool, in_marked, in_drawn = (self._by_case(m) for m in (pool, marked, drawn))
        cases = self._draw(*(_count(counts > 0) for counts in (in_pool, in_marked, in_drawn)))
        within = self._draws(in_pool, in_marked, in_drawn)
        return float(max(evenly, cases + within))

    def _by_case(self, mask: Mask) -> NDArray[np.int64]:
        return np.bincount(self._case[mask], minlength=int(self._case[-1]) + 1)

    def _draw(self, pool: int, marked: int, drawn: int) -> float:
        return self._draws(np.array([pool]), np.array([marked]), np.array([drawn]))

    def _draws(
        self, pool: NDArray[np.int64], marked: NDArray[np.int64], drawn: NDArray[np.int64]
    ) -> float:
        """Log of the product of C(marked, drawn) / C(pool, drawn)."""
        log = self._factorials
        return float(np.sum(log[marked] - log[marked - drawn] - log[pool] + log[pool - drawn]))

    @cached_property
    def _factorials(self) -> NDArray[np.float64]:
        counts = np.arange(1, self.wrong.size + 1)
        return np.concatenate([[0.0], np.cumsum(np.log(counts))])


def _count(mask: NDArray[np.bool_]) -> int:
    return int(np.count_nonzero(mask))
