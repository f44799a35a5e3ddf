"""Constants that a model has several times and a file once, because they are equal.

Weights are paired with what is stored by their values, one to one. Of equal ones that cannot tell
which is which, nor need there be one for each: converters keep equal constants once. Which of them
a layer has is then told by what the file computes its result from.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from quant_conformance.gate.regions.region import Region
from quant_conformance.protocol import Array

Operations = Mapping[str, tuple[str, tuple[str, ...]]]


@dataclass(frozen=True)
class Known:
    """Where a file has the results of regions.

    Attributes:
        operations: those of the file.
        results: target of a region -> its value in the file.
        fixed: values of the file at which regions begin -> what they hold.
        stored: names of the quantized constants in the file.
    """

    operations: Operations
    results: Mapping[str, str]
    fixed: Mapping[str, Array]
    stored: Collection[str]

    def read_by(self, region: Region) -> set[str] | None:
        """The quantized constants that the result of a region is made of, or None: not known."""
        target = self.results.get(region.target)
        if target is None:
            return None
        found, seen, waiting = set[str](), set[str](), [target]
        while waiting:
            name = waiting.pop()
            if name in self.stored:
                found.add(name)
            elif name not in seen and (name not in self.fixed or self._is_again(name, target)):
                seen.add(name)
                waiting += self.operations.get(name, ("", ()))[1]
        return found

    def _is_again(self, name: str, target: str) -> bool:
        """Whether a fixed value holds what the target does: it may be quantized more than once."""
        if name == target or target not in self.fixed:
            return name == target
        return np.array_equal(self.fixed[name].reshape(-1), self.fixed[target].reshape(-1))


def shared(
    pairs: Mapping[str, str],
    alike: Mapping[str, str],
    regions: Iterable[Region],
    known: Known,
    repeated: Collection[str] = (),
) -> dict[str, str]:
    """Gives equal constants those of the file that their layers read.

    Args:
        pairs: result of a weight's quantizer -> name in the file, one to one.
        alike: result of every weight's quantizer -> the first one that is equal.
        regions: those that read them.
        known: where the file has their results.
        repeated: results of those that are read by what the model computes a second time alone.

    Returns:
        The pairs, where several may have one name.
    """
    members: dict[str, list[str]] = {}
    for result, first in alike.items():
        members.setdefault(first, []).append(result)
    several = [group for group in members.values() if len(group) > 1]
    if not several:
        return dict(pairs)
    reads = _reads(regions, known, {name for group in several for name in group})
    found = dict(pairs)
    for group in several:
        candidates = list(dict.fromkeys(pairs[name] for name in group if name in pairs))
        own = {n: [c for c in candidates if c in (reads.get(n) or ())] for n in group}
        claimed = {name for names in own.values() for name in names}
        for name in group:
            paired = pairs.get(name)
            if own[name]:
                found[name] = paired if paired in own[name] else own[name][0]
            elif reads.get(name) is not None and name not in repeated:
                # The file computes the layer, and without any of them.
                if paired in claimed:
                    del found[name]
            elif paired is None and candidates:
                found[name] = candidates[0]
    return found


def _reads(
    regions: Iterable[Region], known: Known, names: Collection[str]
) -> dict[str, set[str] | None]:
    reads: dict[str, set[str] | None] = {}
    for region in regions:
        wanted = [name for name in region.operands if name in names]
        made_of = known.read_by(region) if wanted else None
        if made_of is not None:
            for name in wanted:
                reads[name] = (reads.get(name) or set()) | made_of
    return reads
