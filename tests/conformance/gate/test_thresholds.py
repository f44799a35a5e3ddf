"""No threshold of the alignment turns a wrong file into one that passes, wherever it is."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.conformance.gate.planting import (
    Change,
    argument,
    dropped,
    entry,
    exported,
    made,
    surplus,
    swapped,
)

from quant_conformance.gate.alignment.thresholds import THRESHOLDS, Thresholds, ranges
from quant_conformance.gate.check import open_program
from quant_conformance.gate.document import FAILING
from quant_conformance.gate.judging.comparison import compare
from quant_conformance.protocol import Array
from quant_conformance.runtimes.quiet import quiet
from quant_reference.admissible import Arithmetic

pytest.importorskip("coremltools")
pytestmark = pytest.mark.filterwarnings("ignore")

DEFECTS: Mapping[str, Change | None] = {
    "none": None,
    "no quantizer": dropped("fake_quantize_relu"),
    "a quantizer too many": surplus("conv2d", "fake_quantize_relu"),
    "operands swapped": swapped("sub", 0, 1),
    "another operand": argument("sub", 1, "fake_quantize_conv2d_1"),
    "another axis": argument("mean", 1, [2]),
    "a bias": entry("left.bias", 3, 1.5),
    "no bias": argument("linear", 2, None),
}


class Remembering:
    """A program that runs once for each question."""

    def __init__(self, program: Any) -> None:
        self._program, self._answers = program, dict[Any, dict[str, Array]]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._program, name)

    def run(
        self, feeds: Sequence[Array], wanted: Sequence[str], replaced: Mapping[str, Array]
    ) -> dict[str, Array]:
        given = tuple((name, array.tobytes()) for name, array in sorted(replaced.items()))
        key = (tuple(array.tobytes() for array in feeds), frozenset(wanted), given)
        if key not in self._answers:
            self._answers[key] = self._program.run(feeds, wanted, replaced)
        return self._answers[key]


@functools.cache
def program(defect: str) -> Any:
    """The file with a defect, opened."""
    with tempfile.TemporaryDirectory() as folder, quiet():
        path = exported("coreml", "mixed", "w8a8", "graph", False, Path(folder), DEFECTS[defect])
        return Remembering(open_program(path))


def verdicts(defect: str, limits: Thresholds) -> dict[str, str]:
    with quiet():
        recording = made("mixed", "w8a8", "graph")[1]
        found = compare(recording, program(defect), Arithmetic(), limits=limits)
    return {x.name: x.verdict for x in [*found.layers, *found.weights]}


def fails(defect: str, limits: Thresholds) -> bool:
    return any(verdict in FAILING for verdict in verdicts(defect, limits).values())


def drawn(seed: int) -> Thresholds:
    """Any values that are in their ranges."""
    rng = np.random.default_rng(seed)
    return Thresholds(
        **{
            name: int(rng.integers(least, greatest + 1))
            if isinstance(least, int)
            else float(rng.uniform(least, greatest))
            for name, (least, greatest) in ranges().items()
        }
    )


def test_what_is_right_passes_by_the_thresholds_as_they_are() -> None:
    assert not fails("none", THRESHOLDS)


@pytest.mark.parametrize("name", [f.name for f in fields(Thresholds)])
def test_a_wrong_file_fails_at_both_ends_of_a_threshold(name: str) -> None:
    for end in ranges()[name]:
        limits = replace(THRESHOLDS, **{name: end})
        passed = [d for d, plant in DEFECTS.items() if plant is not None and not fails(d, limits)]
        assert passed == [], end


@pytest.mark.parametrize("seed", range(6))
def test_a_wrong_file_fails_wherever_all_of_them_are(seed: int) -> None:
    limits = drawn(seed)
    assert [d for d, plant in DEFECTS.items() if plant is not None and not fails(d, limits)] == []


def test_a_right_file_is_not_wrong_wherever_they_are() -> None:
    """Where tensors are not found, that is said, and nothing is called wrong for it."""
    tried = [replace(THRESHOLDS, **{n: end}) for n, ends in ranges().items() for end in ends]
    found = [verdicts("none", limits) for limits in [*tried, *map(drawn, range(12))]]
    wrong = [{n: v for n, v in one.items() if v == "wrong"} for one in found]
    assert [one for one in wrong if one] == []


def test_each_threshold_has_a_reason_and_lies_in_its_range() -> None:
    for threshold in fields(Thresholds):
        assert len(threshold.metadata["reason"]) >= 20
        least, greatest = ranges()[threshold.name]
        assert least <= threshold.default <= greatest
        assert least < greatest
