"""Pairwise covering: every two choices meet in some row, without a row for every combination."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

Row = dict[str, str]
Pair = frozenset[tuple[str, str]]  # of two (factor, choice)


def cover_pairs(
    rows: Sequence[Row], factors: Mapping[str, Sequence[str]], *, complete: bool = True
) -> list[Row]:
    """Give each row a choice of each factor so that all pairs of choices occur.

    A pair is a choice of a new factor with a choice of any other factor, old or new. Rows are
    kept, in order, and filled greedily: the choice that brings most unseen pairs, the least used
    one among equals. Pairs that are still missing get rows of their own at the end, made from
    the first row that has the pair's old choice.

    Args:
        rows: The combinations that must be there, each with the same old factors.
        factors: New factor -> its choices.
        complete: Add rows until every pair is there; without, each row is filled as well as it
            goes.

    Returns:
        The rows with all factors.
    """
    used = {(f, c): 0 for f, choices in factors.items() for c in choices}
    seen: set[Pair] = set()
    filled: list[Row] = []

    def fill(row: Row) -> None:
        whole = dict(row)
        for factor, choices in factors.items():
            if factor not in whole:
                whole[factor] = min(
                    choices,
                    key=lambda c: (-len(_pairs(whole, factor, c) - seen), used[factor, c]),
                )
            used[factor, whole[factor]] += 1
        seen.update(frozenset(pair) for pair in combinations(whole.items(), 2))
        filled.append(whole)

    for row in rows:
        fill(row)
    for pair in required_pairs(rows, factors) if complete else ():
        if pair not in seen:
            base = next((r for r in rows if pair & set(r.items())), rows[0])
            fill(base | dict(pair))
    return filled


def required_pairs(rows: Sequence[Row], factors: Mapping[str, Sequence[str]]) -> list[Pair]:
    """List the pairs that :func:`cover_pairs` promises, in a fixed order."""
    choices: dict[str, dict[str, None]] = {}
    for row in rows:
        for factor, choice in row.items():
            choices.setdefault(factor, {})[choice] = None
    for factor, new in factors.items():
        choices.setdefault(factor, {}).update(dict.fromkeys(new))
    return [
        frozenset({(f, a), (g, b)})
        for f, g in combinations(choices, 2)
        if f in factors or g in factors
        for a in choices[f]
        for b in choices[g]
    ]


def _pairs(row: Row, factor: str, choice: str) -> set[Pair]:
    return {frozenset({(f, c), (factor, choice)}) for f, c in row.items() if f != factor}
