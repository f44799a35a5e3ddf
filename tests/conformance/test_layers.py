"""The family ``layer``: what it holds, whom it catches, and how its verdicts are carried on."""

from __future__ import annotations

import functools
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.conformance.sets import make_set
from tests.reference.admissible_cases import CASES, Asked

from quant_conformance.backends.numpy_reference import NumpyReference
from quant_conformance.generate.builder import Builder
from quant_conformance.generate.families.layer_tensors import SPECS
from quant_conformance.layers import layer_of
from quant_conformance.mutants import Mutant, Mutated
from quant_conformance.mutants.diagnosis import diagnose, sentence
from quant_conformance.mutants.tables.layers import LAYERS
from quant_conformance.plain_layers import Layers
from quant_conformance.report.diff import compare_results
from quant_conformance.report.documents import junit_text
from quant_conformance.report.results import results_schema, results_text
from quant_conformance.runner.invoke import invoke
from quant_conformance.runner.run import Run
from quant_conformance.verdicts.answers import answers_of
from quant_conformance.verdicts.expectations import load_expectations
from quant_conformance.verdicts.judge import judge
from quant_conformance.verdicts.verdict import CaseResult, Verdict
from quant_reference import QParams, QuantizationSpec
from quant_reference.admissible import (
    OPERATIONS,
    Arithmetic,
    FloatLayer,
    Layer,
    Step,
    judge_values,
)
from quant_reference.admissible.operations import CLAUSES
from quant_vectors import Case, SetWriter, VectorError, VectorSet, load

ARITHMETICS = (Arithmetic(), Arithmetic("float16", "float32"))


@functools.cache
def frozen() -> VectorSet:
    return load()


@functools.cache
def layers() -> tuple[Case, ...]:
    return tuple(case for case in frozen() if case.family == "layer")


def results(backend: Any) -> list[CaseResult]:
    return [
        judge(frozen(), case, invoke(backend, case, frozen().inputs(case), "full"))
        for case in layers()
    ]


# What the family holds


def test_every_operation_that_computes_has_a_case() -> None:
    """Value-preserving ones are there by some of their kind."""
    asked = {step["op"] for case in layers() for step in case.arguments["steps"]}
    of_clause = {clause: {op for op in asked if CLAUSES[op] == clause} for clause in
                 set(CLAUSES.values())}  # fmt: skip
    everything = {op for op in OPERATIONS if CLAUSES.get(op) in ("ADM-7", "ADM-8", "ADM-9",
                                                                  "ADM-10")}  # fmt: skip
    assert everything <= asked
    assert {"add", "sub", "mul"} <= of_clause["ADM-4"]
    assert {"linear", "matmul", "einsum", "mean", "sum", "conv1d", "conv2d", "conv3d",
            "conv_transpose1d", "conv_transpose2d", "avg_pool2d",
            "adaptive_avg_pool2d"} <= of_clause["ADM-2"]  # fmt: skip
    assert {"div", "relu", "relu6", "hardtanh", "tanh", "max_pool2d", "cat", "embedding",
            "flatten", "neg"} <= of_clause["ADM-5"]  # fmt: skip


def test_every_kind_of_spec_is_there() -> None:
    kinds = {json.dumps(spec, sort_keys=True) for case in layers()
             for spec in case.arguments["operands"].values() if isinstance(spec, dict)}  # fmt: skip
    assert len(kinds) >= 14
    assert {case.spec["dtype"] for case in layers() if case.spec} >= {
        "int8", "uint8", "uint4", "float8_e4m3fn", "float8_e5m2"}  # fmt: skip
    weights = {spec.dtype for spec, target in SPECS.values() if target == "weight"}
    assert weights == {"int8", "int4", "uint4", "int2", "float8_e4m3fn", "float4_e2m1fn",
                       "float8_e5m2"}  # fmt: skip
    halves = [c for c in layers() if c.arguments["arithmetic"]["values"] == "float16"]
    assert 4 <= len(halves) <= len(layers()) / 4


def test_the_sets_say_something() -> None:
    """No element is undecided, and nearly all have one code; 41 layers of 51 have nothing else."""
    single = elements = 0
    for case in layers():
        sets = layer_of(case, frozen().inputs(case)).admissible()
        assert not sets.undecided.any(), case.id
        single += int((sets.low == sets.high).sum())
        elements += sets.low.size
    assert single / elements > 0.95


def test_each_clause_of_the_chapter_has_a_case() -> None:
    named = {clause for case in layers() for clause in case.clauses}
    assert {f"ADM-{n}" for n in range(1, 14)} <= named


# Who is right, and who is caught


@pytest.mark.parametrize("values", ["float32", "float16"])
def test_indices_that_are_moved_stay_whole_numbers(values: str) -> None:
    """A column of a table of indices: 2049 is no float16, and no float is an index of numpy."""
    table = np.arange(2050, dtype=np.float32).reshape(-1, 1) % 7
    steps = (
        Step("select", ("tokens",), "first", {"dim": 1, "index": 0}),
        Step("embedding", ("first", "table"), "row", {}),
    )
    operands = {"tokens": np.array([[2049, 3]], np.int32), "table": table}
    layer = FloatLayer(steps, operands, Arithmetic(values, "float32"))
    assert NumpyReference().float_layer(layer).tolist() == [[2049 % 7]]


@pytest.mark.parametrize("arithmetic", ARITHMETICS, ids=lambda a: a.values)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_plain_evaluation_is_admissible(case: Asked, arithmetic: Arithmetic) -> None:
    operands = {n: a.astype(np.int32) if n == "i" else a for n, a in case.operands.items()}
    layer = FloatLayer((case.step,), operands, arithmetic)
    result = Layers().float_layer(layer)
    assert result.dtype == np.dtype(arithmetic.values)
    words = judge_values(result, layer.bounds(), arithmetic)
    known = words != 3  # undecided: a power that overflows float16
    assert (words[known] == 0).all()
    assert known.mean() > 0.99


@pytest.mark.parametrize("backend", [NumpyReference, Mutated])
def test_right_backends_pass(backend: Any) -> None:
    counts = Counter(result.verdict for result in results(backend()))
    assert set(counts) == {Verdict.EXACT, Verdict.ADMISSIBLE}
    assert counts[Verdict.EXACT] >= 40


@pytest.mark.parametrize("mutant", LAYERS, ids=lambda mutant: mutant.id)
def test_a_mutant_is_caught_and_named(mutant: Mutant) -> None:
    """Its bug is the explanation of all that it gets wrong."""
    backend, answers = mutant.backend(), []
    for case in layers():
        inputs = frozen().inputs(case)
        answers += answers_of(frozen(), case, inputs, invoke(backend, case, inputs, "full"))
    (found,) = diagnose(answers)
    assert mutant.id in sentence(found)
    assert found.matched == found.total > 0


def test_sums_of_one_sided_errors_are_unlikely_and_not_wrong() -> None:
    mutant = next(m for m in LAYERS if m.id == "layer-sums-toward-zero")
    failed = [r for r in results(mutant.backend()) if r.verdict is not Verdict.EXACT
              and r.verdict is not Verdict.ADMISSIBLE]  # fmt: skip
    assert [(r.id, r.verdict) for r in failed] == [("layer/sum-of-3072", Verdict.UNLIKELY)]
    assert "likely is" in failed[0].detail


# How the verdicts are carried on


def test_undecided_and_unlikely_fail_unless_expected(tmp_path: Path) -> None:
    judged = [
        CaseResult(f"layer/{verdict}", "layer", ("ADM-12",), (), verdict, "detail")
        for verdict in (Verdict.ADMISSIBLE, Verdict.UNLIKELY, Verdict.UNDECIDED)
    ]
    run = Run("b", "b", {}, {"version": "v1", "digest": "0"}, tuple(judged))
    assert [r.id for r in run.failures] == ["layer/unlikely", "layer/undecided"]
    assert junit_text([run]).count("<failure") == 2
    path = tmp_path / "known.toml"
    path.write_text(
        "\n".join(
            f'[[expect]]\ncases = "layer/{v}"\nverdict = "{v}"\nreason = "known"'
            for v in ("unlikely", "undecided")
        )
    )
    replaced, stale = load_expectations(path).apply(judged, [], {})
    assert [r.verdict for r in replaced] == [Verdict.ADMISSIBLE] + [Verdict.EXPECTED] * 2
    assert stale == []


def test_results_files_know_the_verdicts() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    judged = [
        CaseResult(f"layer/{v}", "layer", ("ADM-12",), (), v)
        for v in (Verdict.ADMISSIBLE, Verdict.UNLIKELY, Verdict.UNDECIDED)
    ]
    known = CaseResult("layer/x", "layer", (), (), Verdict.EXPECTED, "x", was=Verdict.UNLIKELY)
    run = Run("b", "b", {}, {"version": "v1", "digest": "0"}, (*judged, known))
    document = json.loads(results_text([run]))
    jsonschema.validate(document, results_schema())


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        ("exact", "admissible", "changed"),
        ("admissible", "unlikely", "worse"),
        ("undecided", "admissible", "better"),
        ("unlikely", "wrong", "changed"),
    ],
)
def test_a_comparison_of_runs_ranks_them(before: str, after: str, kind: str) -> None:
    def runs(verdict: str) -> Any:
        return {"b": {"cases": [{"id": "layer/x", "verdict": verdict, "detail": ""}]}}

    (change,) = compare_results(runs(before), runs(after))
    assert change.kind == kind


def undecided_layer() -> Layer:
    """3,000 products of ±1 that cancel, summed in float16: the result may be anything."""
    signs = np.where(np.arange(3000) % 2, np.float32(1), np.float32(-1))[None]
    return Layer(
        (Step("linear", ("x", "w"), "y"),),
        {"x": np.ones((1, 3000), np.float32), "w": signs},
        QuantizationSpec("int8"),
        QParams(np.full((1, 1), 4, np.float32), np.zeros((1, 1), np.int32)),
        Arithmetic("float16", "float16"),
    )


def test_a_case_that_decides_nothing_is_undecided_and_no_vector() -> None:
    assert undecided_layer().admissible().undecided.all()
    builder = Builder(SetWriter("v1", "test", "0", {}))
    with pytest.raises(VectorError, match="not admissible, or undecided"):
        builder.add_layer("layer/made", undecided_layer(), flags=[], comment="made for a test")


def test_sets_of_ones_own_hold_layers_too() -> None:
    """The smallest one: a relu of one value."""
    from tests.conformance.sets import Draft

    from quant_conformance.layers import layer_arguments, layer_inputs

    layer = Layer(
        (Step("relu", ("x",), "y"),),
        {"x": np.array([-1.5, 2.5], np.float32)},
        QuantizationSpec("int8"),
        QParams(np.ones(1, np.float32), np.zeros(1, np.int32)),
    )
    sets = layer.admissible()
    ends = {e: getattr(sets, e) for e in ("low", "high", "likely_low", "likely_high")}
    assert [end.tolist() for end in ends.values()] == [[0, 2]] * 4
    draft = Draft(
        "layer/relu",
        "layer",
        layer_inputs(layer),
        ends,
        more={
            "rule": "admissible",
            "spec": layer.output_spec.to_dict(),
            "arguments": layer_arguments(layer),
        },
    )
    vectors = make_set([draft])
    case = vectors.cases[0]
    outcome = invoke(NumpyReference(), case, vectors.inputs(case), "full")
    assert judge(vectors, case, outcome).verdict is Verdict.EXACT
