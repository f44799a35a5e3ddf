"""What a file computes a tensor from, by its operations alone: no value decides it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from quant_conformance.gate.alignment.reading import Reading
from quant_conformance.gate.regions.region import Region


@dataclass(frozen=True)
class Path:
    """The operations of a file between tensors that are known and one that is asked for.

    Attributes:
        between: names of the values on the way, the last one with them.
        ends: names of the known values and constants that it begins at.
    """

    between: frozenset[str]
    ends: frozenset[str]


class Paths:
    """The paths of one file.

    Args:
        reading: the file beside a recording.
    """

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._operations = reading.operations
        first, recording = reading.regions.first_alike, reading.recording
        inputs = [name for name, (kind, _) in self._operations.items() if kind == "input"]
        self._known: dict[str, str] = {}
        """Known value of the file -> the first result of the model that is alike."""
        for ours, partner in reading.pairing.partners.items():
            self._known[partner.codes] = first.get(ours, ours)
        for ours, name in reading.floats.items():
            self._known[name] = first.get(ours, ours)
        for ours, name in zip(recording.inputs, inputs, strict=False):
            self._known[name] = ours

    def to(self, name: str, constants: Collection[str] = ()) -> Path:
        """The path to a value of the file.

        Args:
            name: the value.
            constants: constants at which it ends, too.
        """
        between, ends, waiting = {name}, set[str](), [*self._reads(name)]
        while waiting:
            value = waiting.pop()
            if value in self._known or value in constants:
                ends.add(value)
            elif value not in between:
                between.add(value)
                waiting += self._reads(value)
        return Path(frozenset(between), frozenset(ends))

    def ours(self, path: Path) -> set[str]:
        """The results of the model that a path begins at, by the first that is alike."""
        return {self._known[name] for name in path.ends if name in self._known}

    def wanted(self, region: Region) -> set[str]:
        """The results of the model that a region begins at, as :meth:`ours` gives them."""
        first, kept = self._reading.regions.first_alike, self._reading.pairing.kept
        varying = {*self._reading.floats, *self._reading.recording.inputs}
        varying |= {q.result for q in self._reading.regions.activations}
        return {first.get(kept(n), kept(n)) for n in region.operands if n in varying}

    def result(self, region: Region) -> str | None:
        """The file's value for the result of a region, or None where it has none."""
        quantization = region.quantization
        if quantization is None:
            return self._reading.name_of(region.target)
        for where in (self._reading.pairing.partners, self._reading.misshapen):
            found = where.get(quantization.result)
            if found is not None:
                return found.codes
        return None

    def _reads(self, name: str) -> tuple[str, ...]:
        return self._operations.get(name, ("", ()))[1]
