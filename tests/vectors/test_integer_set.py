"""The frozen set of integer layers: its promises, its rules apart, and the oracle's answers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from importlib.resources import files
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from tests.vectors.sets import loaded

import quant_reference
from quant_conformance.generate import INTEGER
from quant_conformance.rule_questions.integers import POLICY, layer_of, requantization_of
from quant_conformance.rule_questions.names import expanded, shortened
from quant_reference.integer import POOL_RULES, RULES, SUMS, accumulators_of, rule_names
from quant_reference.oracle import integers
from quant_vectors import (
    INTEGER_FAMILIES,
    Case,
    SchemaError,
    VectorSet,
    joined,
    load,
    load_frozen,
)

FOLDER = files("quant_vectors") / INTEGER
SPEC = (files(quant_reference) / "SPEC.md").read_text(encoding="utf-8")
CLAUSES = set(re.findall(r"^### (INT-\d+) ", SPEC, re.MULTILINE))
NAMES = [name for rule in RULES.values() for name in rule_names(rule)]


def vectors() -> VectorSet:
    return loaded(INTEGER)


def answers(case: Case) -> dict[str, np.ndarray[Any, Any]]:
    """The distinct answers of a case, by the rules that give them."""
    found = {str(case.choice): vectors().expected(case), **vectors().alternatives(case)}
    return {names: outputs["codes"] for names, outputs in found.items()}


def told() -> Iterator[Case]:
    yield from (case for case in vectors() if case.rule == "policy")


def test_it_is_small_and_has_its_families_clauses_and_flags() -> None:
    assert vectors().families == INTEGER_FAMILIES
    assert sum(f.stat().st_size for f in FOLDER.iterdir()) <= 6_000_000  # type: ignore[attr-defined]
    assert {clause for case in vectors() for clause in case.clauses} == CLAUSES
    assert {flag for case in vectors() for flag in case.flags} == set(vectors().flags)


def test_only_distinct_answers_are_stored_each_with_its_rules() -> None:
    for case in told():
        assert case.policy == POLICY
        found = answers(case)
        assert len({codes.tobytes() for codes in found.values()}) == len(found) > 1, case.id
        named = [name for names in found for name in expanded(names)]
        assert len(named) == len(set(named)), case.id
        assert set(named) <= {*NAMES, *POOL_RULES}
        assert all(shortened(expanded(names)) == names for names in found)


NARROW = {"fixed16_up", "fixed16_up_reduced", "shift_up", "shift_floor", "shift_away"}
"""Rules whose multipliers have so few bits that the orders of their evaluation hardly show."""


def same(first: str, second: str) -> bool:
    """Whether two rules are told by no case, and why.

    A rule in float32 rounds M to float32, so that two orders are one; and where M has 24 bits a
    product in float64 is exact but for the greatest accumulators.
    """
    (one, _, order), (other, _, another) = first.partition("@"), second.partition("@")
    orders = {order or RULES[one].order, another or RULES[other].order}
    if one == other:
        return (
            one in NARROW
            or (RULES[one].dtype == "float32" and orders <= {"float64", "float64_to_float32"})
            or (
                RULES[one].dtype == "float32"
                and orders == {"float32_product_division", "float32_product_float64_division"}
            )
        )
    pairs = ({"float64_even", "fixed_even"}, {"float64_away", "fixed_away"})
    narrow = len(orders) == 1 and all("float32" in o and "float64_div" not in o for o in orders)
    return {one, other} in pairs and narrow


def test_every_rule_is_told_from_every_other_by_a_case() -> None:
    """A swapped rule is a wrong answer, or another rule's name, in some case."""
    place = {name: index for index, name in enumerate(NAMES)}
    apart = np.zeros((len(NAMES), len(NAMES)), bool)
    for case in told():
        group = np.full(len(NAMES), -1)
        for number, names in enumerate(answers(case)):
            group[[place[name] for name in expanded(names) if name in place]] = number
        both = (group[:, None] >= 0) & (group[None] >= 0)
        apart |= both & (group[:, None] != group[None])
    for first, second in combinations(NAMES, 2):
        assert apart[place[first], place[second]] or same(first, second), (first, second)
    for first, second in combinations(RULES, 2):
        assert apart[place[first], place[second]], (first, second)


@pytest.mark.parametrize("op", ["linear", "conv2d", "add", "avg_pool2d", "mean", "cat", "mul"])
def test_an_operation_tells_the_usual_rules_apart(op: str) -> None:
    usual = ["float32_even", "fixed_up", "double", "fixed_away", "fixed_floor"]
    apart = set()
    for case in told():
        if case.arguments.get("op") == op:
            by_rule = {n: number for number, ns in enumerate(answers(case)) for n in expanded(ns)}
            apart |= {p for p in combinations(usual, 2) if by_rule[p[0]] != by_rule[p[1]]}
    assert apart == set(combinations(usual, 2))


def few(size: int, seed: str) -> list[int]:
    """Up to six elements of an answer."""
    rng = np.random.default_rng(sum(map(ord, seed)))
    return sorted(set(rng.integers(0, size, 6).tolist())) if size else []


@pytest.mark.parametrize("operation", ["requantize", "linear", "conv2d", "conv_transpose2d"])
def test_the_oracle_gives_the_answers_of_their_rules(operation: str) -> None:
    """Of requantizations, and of layers from their accumulators."""
    for case in told():
        layer = case.operation == "integer_layer"
        if (case.arguments["op"] if layer else case.operation) != operation:
            continue
        inputs = vectors().inputs(case)
        if layer:
            asked = layer_of(case, inputs)
            assert asked.op in SUMS
            acc = accumulators_of(asked)
            axis = acc.ndim - 1 if asked.op == "linear" else 1
            scales = (asked.operands[0].scale, asked.operands[1].scale, asked.output_scale)
            zero, dtype = asked.output_zero_point, asked.output_dtype
            bounds = (asked.quant_min, asked.quant_max)
        else:
            params = requantization_of(case, inputs)
            acc, axis = inputs["acc"], params.axis
            scales = (params.input_scale, params.weight_scale, params.output_scale)
            zero, dtype = params.zero_point, params.dtype
            bounds = (params.quant_min, params.quant_max)
        for names, codes in answers(case).items():
            rule = expanded(names)[-1]
            for flat in few(acc.size, case.id + names):
                index = np.unravel_index(flat, acc.shape)
                weight = scales[1].reshape(-1)
                own = weight[index[axis] if weight.size > 1 else 0]
                exact = tuple(Fraction(float(s)) for s in (scales[0].item(), own, scales[2].item()))
                wanted = integers.requantize(int(acc[index]), exact, rule, zero, dtype, bounds)  # type: ignore[arg-type]
                assert codes[index] == wanted, (case.id, rule, index)


def test_what_must_be_refused_is_there() -> None:
    refused = [case for case in vectors() if case.result == "refused"]
    assert {clause for case in refused for clause in case.clauses} == {"INT-3", "INT-8"}
    assert len(refused) >= 10


def test_all_sets_are_run_as_one() -> None:
    both = load_frozen()
    blocks = load("block_v1")
    assert len(both) == len(load()) + len(vectors()) + len(blocks)
    assert both.version == "v1 + integer_v1 + block_v1"
    assert both.manifest["sets"] == {
        "v1": load().digest, INTEGER: vectors().digest, "block_v1": blocks.digest
    }  # fmt: skip
    assert both.digest not in (load().digest, vectors().digest)
    assert both.digest == load_frozen().digest
    case = vectors().cases[0]
    np.testing.assert_array_equal(both.inputs(case)["acc"], vectors().inputs(case)["acc"])
    with pytest.raises(SchemaError, match="requantize"):
        joined([both, vectors()])
