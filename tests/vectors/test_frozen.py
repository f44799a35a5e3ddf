"""What the frozen set promises: schema, size, clauses, flags and policies."""

from __future__ import annotations

import json
import re
from collections import Counter
from functools import cache
from importlib.resources import files
from itertools import product
from typing import Any

import jsonschema
import pytest
from tests.vectors.sets import loaded, v1

import quant_reference
from quant_vectors import (
    BLOCK_FAMILIES,
    FAMILIES,
    FROZEN,
    INTEGER_FAMILIES,
    OPERATION_OUTPUTS,
    RELEASED,
)
from quant_vectors.model import SPEC_DEFAULTS

SPEC = (files(quant_reference) / "SPEC.md").read_text(encoding="utf-8")
SMALL_FORMATS = {
    "FMT-5", "FMT-6", "FMT-7", "FMT-8", "ENC-8", "ENC-9", "ENC-10", "ENC-11", "PACK-4"
}  # fmt: skip
"""Clauses of block_v1."""
CLAUSES = [
    clause
    for clause in re.findall(r"^### ([A-Z][A-Z0-9]*-\d+) ", SPEC, re.MULTILINE)
    # Sets of their own; conventions of all cases.
    if not clause.startswith(("INT-", "BLK-", "CONV-")) and clause not in SMALL_FORMATS
]
POLICIES = {
    "overflow": {"saturate", "saturate_finite", "nonsaturate"},
    "nan_to_integer": {"zero_point", "integer_zero", "quant_min", "quant_max"},
    "nan_payload": {"canonical", "any_nan"},
    "nan_in_e2m1": {"positive_zero", "negative_zero", "max", "min"},
    "zero_gradient_sign": {"positive_zero", "negative_zero"},
    "e8m0_nonfinite_range": {"nan_scale", "exponent_field"},
    "calibration_weights": {"float", "quantized"},
}
V1 = files("quant_vectors") / "v1"


@cache
def text(name: str) -> Any:
    return json.loads((V1 / name).read_text(encoding="utf-8"))


def schema(name: str) -> Any:
    path = files("quant_vectors") / "schemas" / f"{name}.schema.json"
    return json.loads(path.read_text(encoding="utf-8"))


SETS = {"v1": FAMILIES, "integer_v1": INTEGER_FAMILIES, "block_v1": BLOCK_FAMILIES}
KINDS = {"manifest.json": "manifest", "flags.json": "flags"}


def test_every_frozen_set_is_tried_here() -> None:
    assert tuple(SETS) == FROZEN


@pytest.mark.parametrize(
    ("version", "name"),
    [
        (version, name)
        for version, families in SETS.items()
        for name in (*KINDS, *(f"{family}.cases.json" for family in families))
    ],
)
def test_the_files_keep_their_schemas(version: str, name: str) -> None:
    rules = schema(KINDS.get(name, "cases"))
    jsonschema.Draft202012Validator.check_schema(rules)
    content = (files("quant_vectors") / version / name).read_text(encoding="utf-8")
    jsonschema.Draft202012Validator(rules).validate(json.loads(content))


def test_the_schema_refuses_what_the_loader_refuses() -> None:
    check = jsonschema.Draft202012Validator(schema("cases"))
    cases = text("encode.cases.json")
    exact = next(c for c in cases["cases"] if c["rule"] == "exact" and "expected" in c)
    policy = next(c for c in cases["cases"] if c["rule"] == "policy")
    broken = [
        {**exact, "id": "a b"},
        {**exact, "operation": "divide"},
        {**exact, "clauses": []},
        {**exact, "comment": "a\nb"},
        {**exact, "rule": "roughly"},
        {**exact, "result": "refused"},
        {**exact, "policy": "overflow"},
        {**exact, "rule": "admissible"},
        {**exact, "expected": {"low": "t0001", "high": "t0001"}},
        {**exact, "tolerance": 1},
        {**exact, "spec": {"qscheme": "asymmetric"}},
        {k: v for k, v in exact.items() if k != "expected"},
        {k: v for k, v in policy.items() if k != "alternatives"},
    ]
    for case in broken:
        assert not check.is_valid({**cases, "cases": [case]}), case


def test_there_are_enough_cases_and_they_are_small() -> None:
    assert len(v1()) >= 3000
    assert v1().families == FAMILIES
    assert sum(entry["bytes"] for entry in v1().manifest["files"].values()) <= 6_000_000
    assert sum(f.stat().st_size for f in V1.iterdir()) <= 6_000_000  # type: ignore[attr-defined]


def test_fields_that_a_spec_leaves_out_have_the_defaults_of_the_reference() -> None:
    full = quant_reference.QuantizationSpec().to_dict()
    assert dict(SPEC_DEFAULTS) == {k: v for k, v in full.items() if k != "dtype"}
    for family in FAMILIES:
        for short in text(f"{family}.cases.json")["cases"]:
            loaded = v1().case(short["id"]).spec
            assert (loaded is None) == ("spec" not in short)
            if loaded is not None:
                assert loaded.keys() == full.keys()
                assert not [k for k, v in short["spec"].items() if SPEC_DEFAULTS.get(k, ...) == v]
                assert quant_reference.QuantizationSpec.from_dict(short["spec"]).to_dict() == loaded


def test_the_documents_name_the_defaults_that_a_spec_leaves_out() -> None:
    readme = (V1.parent / "README.md").read_text(encoding="utf-8")  # type: ignore[attr-defined]
    rule = schema("cases")["$defs"]["case"]["properties"]["spec"]["description"]
    for name, value in SPEC_DEFAULTS.items():
        written = value if isinstance(value, str) else json.dumps(value)
        assert f"`{name}`" in readme
        assert written in readme
        plain = written.replace('"', "")
        assert f"{name} {plain}" in rule


def test_a_released_set_is_as_it_was_released() -> None:
    """The digest is written here once more, so that no edit of one file changes a released case."""
    released = "3b2eceb4f8907f9ab3edb0fcdd36b2681c94064e7603bd2096970ad0ff1e0f38"
    assert v1().digest == released == RELEASED["v1"]
    assert set(RELEASED) <= set(FROZEN)


@pytest.mark.parametrize("version", FROZEN)
def test_no_two_cases_ask_the_same(version: str) -> None:
    """Same question, same inputs: one of the two would be there for the count alone."""
    asked = Counter(
        (
            case.operation,
            json.dumps([case.spec, case.target, dict(case.arguments, tier=None)], sort_keys=True),
            tuple(sorted(case.inputs.items())),
        )
        for case in loaded(version)
    )
    assert [question for question, count in asked.items() if count > 1] == []


def test_names_of_cases_speak() -> None:
    for case in v1():
        assert case.family == case.id.split("/")[0]
        assert case.comment == case.comment.strip()


def test_every_vector_has_a_clause_that_exists() -> None:
    assert {clause for case in v1() for clause in case.clauses} == set(CLAUSES)


def test_every_flag_is_used_and_explained() -> None:
    assert {flag for case in v1() for flag in case.flags} == set(v1().flags)
    for case in v1():
        assert case.flags, case.id
        assert len(set(case.flags)) == len(case.flags), case.id
        assert len(set(case.clauses)) == len(case.clauses), case.id


LINKS = {
    "TiesToEven": "onnxruntime#25045",
    "TailElements": "onnxruntime#28606",
    "TruncationFloat16": "onnxruntime#32452",
    "E2M1Ties": "aiter#3992",
    "ReciprocalMultiply": "onnx#6433",
    "DoubleRounding": "triton#10846",
    "NarrowIntermediate": "flashinfer#5128",
    "WiderIntermediate": "ao#4725",
    "Saturation": "sglang#40581",
    "Overflow": "saturn-vectors#101",
    "Infinity": "ml_dtypes#260",
    "NaNEncoding": "hipBLASLt#5792",
    "NaNInRange": "TransformerEngine#3550",
    "Subnormals": "tilelang#2704",
    "NegativeZero": "onnx#5764",
    "NibbleOrder": "sparkinfer#761",
    "SignExtension": "keras#22338",
    "Int2Clamp": "XNNPACK#10460",
    "ZeroPointOffByOne": "onnxruntime#3442",
    "ZeroPointRounding": "webnn-baseline#101",
    "CastBeforeClamp": "executorch#22811",
    "E8M0Scale": "FlyDSL#590",
    "E8M0Extremes": "gfloat#62",
    "BlockAxis": "openvino#32917",
    "InterleavedBlocks": "onnxsim#749",
    "TieOffByOne": "onnxruntime#32132",
    "ObserverZeroRange": "pytorch#39239",
    "OneSidedRange": "pytorch#23838",
}


@pytest.mark.parametrize("flag", LINKS)
def test_every_known_bug_has_a_flag_with_a_place_to_see_it(flag: str) -> None:
    assert v1().flags[flag]["link"].endswith(LINKS[flag])


def test_policies_are_the_ones_of_the_spec() -> None:
    for case in v1():
        if case.rule == "policy":
            assert case.policy is not None
            assert case.choice is not None
            named = {case.choice, *case.alternatives}
            assert named <= POLICIES[case.policy], case.id
            for choice in named:
                assert f"`{choice}`" in SPEC or f"*{choice}*" in SPEC, choice
    for policy, choices in POLICIES.items():
        assert f"`{policy}`" in SPEC
        seen = {
            name
            for case in v1()
            if case.policy == policy
            for name in (case.choice, *case.alternatives)
        }
        assert seen == choices, policy


def test_some_case_tells_every_two_behaviours_of_a_policy_apart() -> None:
    for policy, choices in POLICIES.items():
        told: set[frozenset[str]] = set()
        for case in v1():
            if case.policy == policy:
                answers = {str(case.choice): case.expected, **case.alternatives}
                told |= {
                    frozenset((a, b))
                    for a, b in product(answers, repeat=2)
                    if answers[a] != answers[b]
                }
        wanted = {frozenset((a, b)) for a, b in product(choices, repeat=2) if a != b}
        # A code of another NaN is told from the canonical one by how it is compared.
        assert told >= wanted - {frozenset(("canonical", "any_nan"))}, policy


def test_outputs_have_the_shape_and_dtype_that_the_operation_promises() -> None:
    for case in v1():
        inputs, expected = v1().inputs(case), v1().expected(case)
        assert set(expected) <= set(OPERATION_OUTPUTS[case.operation])
        if case.operation in ("quantize", "fake_quantize", "gradient", "encode") and expected:
            (answer,) = expected.values()
            assert answer.shape == inputs["x"].shape, case.id
        if case.operation in ("fake_quantize", "gradient") and expected:
            assert answer.dtype == inputs["x"].dtype, case.id
        for name in ("lo", "hi", "scale", "zero_point", "minval"):
            if name in expected and "x" in inputs:
                assert expected[name].ndim == inputs["x"].ndim, case.id


def test_the_quick_tier_has_every_clause_and_every_flag() -> None:
    quick = [case for case in v1() if case.arguments.get("tier") != "full"]
    assert 3000 <= len(quick) < len(v1())
    assert {clause for case in quick for clause in case.clauses} == set(CLAUSES)
    assert {flag for case in quick for flag in case.flags} == set(v1().flags)
