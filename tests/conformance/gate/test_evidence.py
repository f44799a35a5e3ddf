"""A right file is not wrong however its tensors are paired; a wrong one is, whatever is missing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest
from tests.conformance.gate.planting import made
from tests.conformance.gate.test_thresholds import program, verdicts

from quant_conformance.gate.alignment import reading
from quant_conformance.gate.alignment.aligner import Aligner, Alignment
from quant_conformance.gate.alignment.pairing import Pairing
from quant_conformance.gate.alignment.thresholds import THRESHOLDS
from quant_conformance.gate.document import FAILING

pytest.importorskip("coremltools")
pytestmark = pytest.mark.filterwarnings("ignore")

Partners = dict[str, Any]


def mispaired(change: Callable[[Partners], Partners]) -> type[Aligner]:
    """An aligner that pairs quantizers otherwise than it would."""

    class Mispaired(Aligner):
        def best(self) -> Alignment:
            found = super().best()
            partners = change(dict(found.pairing.partners))
            pairing = Pairing(self._recording, self._regions, self._program, partners, self._limits)
            replaced = pairing.fixed_codes(self._expected)
            replaced |= {file: self._expected.operand(ours) for ours, file in found.floats.items()}
            computed = self._program.run(self._feeds, list(dict.fromkeys(self._wanted)), replaced)
            return replace(found, pairing=pairing, replaced=replaced, computed=computed)

    return Mispaired


def quantizers() -> list[str]:
    recording = made("mixed", "w8a8", "graph")[1]
    constants = {*recording.states}
    return [q.result for q in recording.quantizations if q.source not in constants]


@pytest.mark.parametrize("index", range(6))
def test_a_quantizer_that_was_not_found(index: int, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = quantizers()[index]
    aligner = mispaired(lambda partners: {n: q for n, q in partners.items() if n != gone})
    monkeypatch.setattr(reading, "Aligner", aligner)
    found = verdicts("none", THRESHOLDS)
    assert "wrong" not in found.values()
    assert any(verdict in FAILING for verdict in found.values())


def test_quantizers_taken_for_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    names = quantizers()
    shapes = {q.codes: q.shape for q in program("none").quantizers}
    tried = 0
    for one, other in combinations(names, 2):

        def swapped(partners: Partners, one: str = one, other: str = other) -> Partners:
            if one in partners and other in partners:
                sizes = {shapes[partners[n].codes] for n in (one, other)}
                if len(sizes) == 1:
                    partners[one], partners[other] = partners[other], partners[one]
            return partners

        monkeypatch.setattr(reading, "Aligner", mispaired(swapped))
        found = verdicts("none", THRESHOLDS)
        assert "wrong" not in found.values(), (one, other, found)
        tried += any(verdict in FAILING for verdict in found.values())
    assert tried > 0


@pytest.mark.parametrize("defect", ["no quantizer", "operands swapped", "another axis", "no bias"])
def test_a_defect_is_wrong_beside_a_quantizer_that_was_not_found(
    defect: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "wrong" in verdicts(defect, THRESHOLDS).values()
    first = quantizers()[0]
    aligner = mispaired(lambda partners: {n: q for n, q in partners.items() if n != first})
    monkeypatch.setattr(reading, "Aligner", aligner)
    assert "wrong" in verdicts(defect, THRESHOLDS).values()
