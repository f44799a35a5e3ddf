"""The reference behind a pipe beside the reference in process, on the quick tier."""

from __future__ import annotations

import sys

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from quant_conformance.runner.questions import Limits
from quant_conformance.runner.runs import Plan, Runner
from quant_conformance.runner.selection import Selection, select_cases
from quant_vectors import Case, load_frozen

VECTORS = load_frozen()
QUICK = select_cases(VECTORS, Selection("quick"))
PIPE = f"pipe://{sys.executable} -m quant_conformance.wire.serve numpy-reference"


@pytest.mark.parametrize("reference", ["numpy-reference", PIPE], ids=["in-process", "pipe"])
@pytest.mark.parametrize("cases", [QUICK[:1], QUICK], ids=["start", "quick"])
def test_the_quick_tier(benchmark: BenchmarkFixture, reference: str, cases: list[Case]) -> None:
    """The time of a start is that of one case: take it off before the ratio, at most 1.3."""

    def run() -> None:
        runner = Runner(VECTORS, cases, Plan(Limits(), isolate=False))
        assert not runner.run(reference).failures

    benchmark.pedantic(run, rounds=3, warmup_rounds=1)
