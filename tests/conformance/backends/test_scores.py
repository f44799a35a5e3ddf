"""Every shipped adapter on every frozen vector: nothing unexpected, nothing stale, much exact."""

from __future__ import annotations

import pytest

from quant_conformance.runner.questions import Limits
from quant_conformance.runner.runs import Plan, Runner
from quant_conformance.verdicts.verdict import Verdict
from quant_vectors import VectorSet, load_frozen

pytestmark = pytest.mark.peers

# A floor under exact answers: an adapter that calls everything unsupported would fail nothing.
EXACT = {
    "numpy-reference": 6000,
    "ml-dtypes": 400,
    "torch": 1500,
    "torchao": 2500,
    "onnxruntime": 1800,
    "onnxruntime-nonsaturating": 200,
    "onnx-reference": 2000,
    "gfloat": 1000,
    "coreai-opt": 4500,
    "coreai-runtime": 2300,
    "coreai-torch": 800,
    "coreml-mil": 300,
}

EXPORTED = ("coreai-torch", "coreml-mil")  # each batch of cases is a model that is converted
MARKS = {
    **dict.fromkeys(EXPORTED, pytest.mark.slow),
    **dict.fromkeys(("torch", "torchao"), pytest.mark.cpu),
}
NAMES = [pytest.param(name, marks=MARKS.get(name, ())) for name in sorted(EXACT)]


@pytest.fixture(scope="module")
def vectors() -> VectorSet:
    return load_frozen()


@pytest.mark.parametrize("name", NAMES)
def test_a_backend_shows_what_is_known_of_it(name: str, vectors: VectorSet) -> None:
    # Its graph mode takes up to a minute for a model, so that only eager ones are in both tiers.
    limits = Limits(tier="quick" if name == "coreai-opt" else "full")
    run = Runner(vectors, vectors.cases, Plan(limits, isolate=False)).run(name)
    if run.problem == "unavailable":
        pytest.skip(run.text)
    assert run.problem is None, run.text
    assert [f"{result.id}: {result.detail}" for result in run.failures] == []
    assert list(run.stale) == []
    assert run.summary.get("exact", 0) >= EXACT[name]


@pytest.mark.parametrize("name", ["onnxruntime", "numpy-reference"])
def test_some_systems_have_no_known_failure(name: str, vectors: VectorSet) -> None:
    run = Runner(vectors, vectors.cases, Plan(isolate=False)).run(name)
    if run.problem == "unavailable":
        pytest.skip(run.text)
    assert not any(result.verdict == Verdict.EXPECTED for result in run.results)
