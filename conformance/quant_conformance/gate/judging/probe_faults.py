"""What a file computes wrong from probes, as it is told and saved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from quant_conformance.gate.regions.region import Region
from quant_conformance.protocol import Array


@dataclass(frozen=True)
class Fault:
    """A tensor that a file computes wrong from probes.

    Attributes:
        region: whose.
        name: of the result in the file.
        given: what stood in the program, by name.
        operands: what the region was computed from, by name.
        got: the codes or values.
        low: least that is admissible.
        high: greatest.
        wrong: marks the elements that are not.
        text: for people.
    """

    region: Region
    name: str
    given: Mapping[str, Array]
    operands: Mapping[str, Array]
    got: Array
    low: Array
    high: Array
    wrong: Array
    text: str


def fault_of(
    region: Region,
    name: str,
    given: Mapping[str, Array],
    operands: Mapping[str, Array],
    found: tuple[Array, Array, Array],
    wrong: Array,
    order: Callable[[Array], Array] = np.asarray,
) -> Fault | None:
    """A fault, or None where nothing is wrong.

    Args:
        region: whose.
        name: of the result in the file.
        given: what stood in the program, by name.
        operands: what the region was computed from, by name.
        found: the codes or values, the least and the greatest that are admissible.
        wrong: marks the elements that are not.
        order: codes as integers in the order of their values.
    """
    count = int(np.count_nonzero(wrong))
    if not count:
        return None
    got, low, high = (order(array) for array in found)
    with np.errstate(invalid="ignore"):
        beyond = np.nan_to_num(np.maximum(low - got, got - high).astype(np.float64), nan=np.inf)
    worst = int(np.argmax(np.where(wrong, beyond, -1)))
    at = tuple(int(n) for n in np.unravel_index(worst, got.shape))
    limits = f"{low[at]:g}" if low[at] == high[at] else f"{low[at]:g} to {high[at]:g}"
    source = ""
    if len(operands) == 1 and next(iter(operands.values())).shape == got.shape:
        source = f" for {next(iter(operands.values()))[at]!s}"
    text = (
        f"on probe inputs {count} of {got.size} elements wrong: at {list(at)} got "
        f"{got[at]:g}{source}, admissible is {limits}"
    )
    return Fault(region, name, given, operands, *found, wrong, text)
