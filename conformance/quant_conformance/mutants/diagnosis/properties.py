"""Properties of elements, made of what is known of them and of where the wrong ones lie."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quant_conformance.mutants.diagnosis.facet import Facet
from quant_conformance.mutants.diagnosis.facets import facets_of
from quant_conformance.verdicts.answers import Answer, Mask

MODULI = (2, 3, 4, 5, 8, 16, 32, 64)
"""Periods that positions are tried with."""

FEW = 8
"""Values of an index that are tried one by one."""


class Property(NamedTuple):
    """Something that holds for some elements, as the rest of "the elements where …"."""

    text: str
    holds: Mask


def joined(answers: Sequence[Answer]) -> list[Facet]:
    """Puts the facets of many answers one behind the other, NaN where an answer lacks one."""
    sizes = [answer.wrong.size for answer in answers]
    ends = np.cumsum(sizes)
    found: dict[str, Facet] = {}
    for answer, size, end in zip(answers, sizes, ends, strict=True):
        for facet in facets_of(answer):
            if facet.text not in found:
                found[facet.text] = Facet(facet.kind, facet.text, np.full(ends[-1], np.nan))
            found[facet.text].values[end - size : end] = facet.values
    order = ("word", "truth", "index", "size")
    return sorted(found.values(), key=lambda facet: order.index(facet.kind))


def properties(facets: Sequence[Facet], wrong: Mask) -> Iterator[Property]:
    """Yields the properties to try, those first that say most to a person.

    Args:
        facets: what is known of the elements.
        wrong: the elements in question; bounds and indices are chosen by them.
    """
    for facet in facets:
        text, values = facet.text, facet.values
        if facet.kind in ("truth", "word"):
            yield Property(text, values == 1)
        elif facet.kind == "index":
            yield from _of_index(text, values, wrong)
        else:
            yield from _of_size(text, values, wrong)
    for facet in facets:
        if facet.kind == "truth":
            yield Property(_denied(facet.text), facet.values == 0)


def _denied(text: str) -> str:
    if " saturates" in text:
        return text.replace(" saturates", " does not saturate", 1)
    return text.replace(" is ", " is not ", 1)


def _of_index(text: str, values: NDArray[Any], wrong: Mask) -> Iterator[Property]:
    seen = np.unique(values[wrong & ~np.isnan(values)]).astype(int)
    for value in seen[:FEW].tolist():
        yield Property(f"{text} is {value}", values == value)
    yield Property(f"{text} is not 0", values > 0)
    for modulus in MODULI:
        for rest in np.unique(seen % modulus).tolist()[:FEW]:
            word = ("even", "odd")[rest] if modulus == 2 else f"{rest} modulo {modulus}"
            yield Property(f"{text} is {word}", np.fmod(values, modulus) == rest)


def _of_size(text: str, values: NDArray[Any], wrong: Mask) -> Iterator[Property]:
    """Powers of two right below the least and right above the greatest of the wrong elements."""
    seen = values[wrong & np.isfinite(values)]
    if not seen.size or not seen.max() > 0:
        return
    above = math.frexp(float(seen.max()))[1]  # 2**above is greater
    yield Property(f"|{text}| is below {_power(above)}", values < math.ldexp(1.0, above))
    if seen.min() > 0:
        below = math.frexp(float(seen.min()))[1] - 1
        least = math.ldexp(1.0, below)
        yield Property(f"|{text}| is at least {_power(below)}", values >= least)


def _power(exponent: int) -> str:
    return f"{math.ldexp(1.0, exponent):g}" if -4 <= exponent <= 16 else f"2^{exponent}"
