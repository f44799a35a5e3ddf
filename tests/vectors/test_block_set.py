"""The frozen set of small formats and blocks: its promises, rules apart, the oracle's answers."""

from __future__ import annotations

import re
from importlib.resources import files
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from tests.reference.support import numbers
from tests.vectors.sets import loaded

import quant_reference
from quant_conformance.generate import BLOCK
from quant_conformance.rule_questions import is_told, output_of
from quant_conformance.rule_questions.blocks import STEPS, form_of, operand_of, rule_names_of
from quant_conformance.rule_questions.names import expanded
from quant_reference import oracle
from quant_reference.block import BlockTensor, rules_of
from quant_reference.block.scales import tensor_scale
from quant_reference.oracle import Number, block_scaling, number
from quant_vectors import BLOCK_FAMILIES, Case, VectorSet

FOLDER = files("quant_vectors") / BLOCK
SPEC = (files(quant_reference) / "SPEC.md").read_text(encoding="utf-8")
SMALL = {"FMT-5", "FMT-6", "FMT-7", "FMT-8", "ENC-8", "ENC-9", "ENC-10", "ENC-11", "PACK-4"}


def vectors() -> VectorSet:
    return loaded(BLOCK)


def answers(case: Case) -> dict[str, dict[str, Any]]:
    return {str(case.choice): vectors().expected(case), **vectors().alternatives(case)}


def test_it_is_small_and_has_its_families_clauses_and_flags() -> None:
    assert vectors().families == BLOCK_FAMILIES
    assert sum(f.stat().st_size for f in FOLDER.iterdir()) <= 2_000_000  # type: ignore[attr-defined]
    chapter = set(re.findall(r"^### (BLK-\d+) ", SPEC, re.MULTILINE))
    assert {clause for case in vectors() for clause in case.clauses} >= chapter | SMALL
    assert {flag for case in vectors() for flag in case.flags} == set(vectors().flags)


def test_only_distinct_answers_are_stored_each_with_its_rules() -> None:
    for case in vectors():
        if case.rule != "policy" or case.operation not in STEPS or not is_told(case):
            continue
        found = answers(case)
        output = output_of(case)
        assert len({one[output].tobytes() for one in found.values()}) == len(found) > 1, case.id
        named = [name for names in found for name in expanded(names)]
        assert sorted(named) == sorted(rule_names_of(case)), case.id


@pytest.mark.parametrize(
    ("policy", "step", "two_levels"),
    [
        ("mx_scale", "scale", False),
        ("nvfp4_scale", "scale", True),
        ("block_quotient", "quantize", True),
        ("block_product", "dequantize", True),
        ("block_dot", "dot", True),
    ],
)
def test_every_rule_is_told_from_every_other_by_a_case(
    policy: str, step: str, two_levels: bool
) -> None:
    apart: set[tuple[str, str]] = set()
    for case in vectors():
        if case.policy == policy:
            group = {n: i for i, names in enumerate(answers(case)) for n in expanded(names)}
            apart |= {(a, b) for a, b in combinations(group, 2) if group[a] != group[b]}
    for first, second in combinations(rules_of(step, two_levels), 2):
        assert {(first, second), (second, first)} & apart, (first, second)


@pytest.mark.parametrize("element", ["mxfp8_e4m3", "mxfp8_e5m2", "mxfp6_e2m3", "mxfp4", "mxint8"])
def test_every_format_tells_the_usual_scale_rules(element: str) -> None:
    apart: set[tuple[str, str]] = set()
    for case in vectors():
        if case.policy == "mx_scale" and case.arguments["block"]["name"] == element:
            group = {n: i for i, names in enumerate(answers(case)) for n in expanded(names)}
            apart |= {(a, b) for a, b in combinations(group, 2) if group[a] != group[b]}
    assert apart >= {("floor", "ceil"), ("floor", "even"), ("floor", "up_beyond")}


def of_scales(case: Case, rule: str) -> list[int]:
    """Scales along the last axis of the questions: other axes are held to it by its shape."""
    inputs = vectors().inputs(case)
    form = form_of(case.arguments["block"])
    x = np.moveaxis(inputs["x"].astype(np.float32), form.axis, -1)
    found = []
    for row in x.reshape(-1, x.shape[-1]):
        for start in range(0, row.size, form.size):
            part = numbers(row[start : start + form.size])
            if form.two_levels:
                amax = numbers(inputs["tensor_amax"])[0]
                found.append(block_scaling.unsigned_scale(part, amax, rule))
            else:
                found.append(block_scaling.mx_scale(part, form.element.name, rule))
    return found


def few(case: Case, size: int) -> list[int]:
    """Up to sixteen elements of an answer."""
    rng = np.random.default_rng(sum(map(ord, case.id)))
    return sorted(set(rng.integers(0, size, 16).tolist())) if size else []


def test_scales_are_the_oracles_under_the_rules_that_give_them() -> None:
    for case in vectors():
        if case.operation != "block_scale" or case.result is not None:
            continue
        axis = case.arguments["block"]["axis"]
        told = answers(case) if is_told(case) else {"": vectors().expected(case)}
        for names, codes in told.items():
            moved = np.moveaxis(codes["codes"], axis, -1)
            rules = expanded(names) if case.rule == "policy" and is_told(case) else ()
            rule = rules[-1] if rules else rule_names_of(case)[0]
            assert moved.ravel().tolist() == of_scales(case, rule), (case.id, rule)


@pytest.mark.parametrize("operation", ["block_quantize", "block_dequantize"])
def test_elements_are_the_oracles_under_the_rules_that_give_them(operation: str) -> None:
    for case in vectors():
        if case.operation != operation or case.result is not None:
            continue
        inputs, form = vectors().inputs(case), form_of(case.arguments["block"])
        amax = numbers(inputs["tensor_amax"])[0] if form.two_levels else None
        given = inputs["x" if operation == "block_quantize" else "codes"]
        for names, answer in answers(case).items():
            found = answer[output_of(case)]
            rule = expanded(names)[-1] if case.rule == "policy" else rule_names_of(case)[0]
            for flat in few(case, found.size):
                index = tuple(int(i) for i in np.unravel_index(flat, found.shape))
                axis = form.axis % found.ndim
                code = inputs["scales"][block_scaling.block_index(index, axis, form.size)]
                scale = oracle.decode(int(code), form.scale)
                inside = index[axis] < given.shape[axis]
                one = given[index] if inside else given.dtype.type(0)
                if operation == "block_quantize":
                    wanted: Any = block_scaling.element_code(
                        numbers(one)[0], scale, form.element.name, rule, amax
                    )
                    assert found[index] == wanted, (case.id, rule, index)
                else:
                    exact = block_scaling.value(int(one), scale, form.element.name, rule, amax)
                    same = found[index] == float(exact)
                    assert same or (exact.is_nan and np.isnan(found[index])), (case.id, rule)


def test_dot_products_and_layouts_are_the_oracles() -> None:
    for case in vectors():
        inputs = vectors().inputs(case)
        if case.operation == "scale_layout" and case.result is None:
            wanted = block_scaling.swizzled(inputs["scales"].tolist())
            assert vectors().expected(case)["packed"].tolist() == wanted
        if case.operation != "block_dot" or case.result is not None:
            continue
        operands = [operand_of(case, inputs, i) for i in range(2)]
        for names, answer in answers(case).items():
            rule = expanded(names)[-1] if case.rule == "policy" else "exact"
            pairs, outer = zip(*(_exact(t) for t in operands), strict=True)
            size = operands[0].form.size
            assert float(answer["values"]) == float(
                block_scaling.dot(pairs[0], pairs[1], size, rule, (outer[0], outer[1]))
            ), (case.id, rule)


def _exact(tensor: BlockTensor) -> tuple[list[tuple[Number, Number]], Number]:
    scales = [oracle.decode(int(s), tensor.form.scale) for s in tensor.scales]
    pairs = [
        (oracle.decode(c, tensor.form.element), scales[i // tensor.form.size])
        for i, c in enumerate(tensor.codes.tolist())
    ]
    if tensor.tensor_amax is None:
        return pairs, number(1)
    return pairs, numbers(tensor_scale(tensor.tensor_amax))[0]


def test_codecs_are_the_oracles_in_every_policy() -> None:
    for case in vectors():
        inputs, asked = vectors().inputs(case), case.arguments
        if case.result is not None or not case.family.startswith("format_"):
            continue
        for choice, answer in answers(case).items():
            if case.operation == "encode":
                policy = {} if case.policy in (None, "nan_payload") else {case.policy: choice}
                wanted: Any = [
                    oracle.encode(v, asked["format"], **policy)  # type: ignore[arg-type]
                    for v in numbers(inputs["x"])
                ]
                assert answer["codes"].ravel().tolist() == wanted, (case.id, choice)
            elif case.operation == "decode":
                exact = [
                    oracle.decode(c, asked["format"]) for c in inputs["codes"].ravel().tolist()
                ]
                np.testing.assert_array_equal(
                    answer["values"].ravel(), np.array([float(v) for v in exact], np.float32)
                )
            elif case.operation == "pack":
                wanted = oracle.pack(inputs["codes"].tolist(), asked["format"], asked["order"])
                assert answer["packed"].tolist() == wanted
            else:
                wanted = oracle.unpack(
                    inputs["packed"].tolist(), asked["format"], asked["order"], asked["count"]
                )
                assert answer["codes"].tolist() == wanted


def test_what_must_be_refused_is_there() -> None:
    refused = {c for case in vectors() if case.result == "refused" for c in case.clauses}
    assert refused >= {"BLK-2", "BLK-4", "BLK-5", "BLK-6", "BLK-7", "BLK-8", "FMT-4", "ENC-10"}
