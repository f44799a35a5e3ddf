"""Comparisons and selections of values that have radii, beside the oracle (ADM-5)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.reference.admissible_cases import exact, normal
from tests.reference.test_admissible_oracle import assert_agree

from quant_reference.admissible import VERDICTS, Arithmetic, Bounds, Step, evaluate, judge_values
from quant_reference.oracle import Machine, layers

A, B = normal(30, 4, 8), normal(31, 8, 5)
SUM = Step("matmul", ("a", "b"), "s")
BINARY = (
    *("maximum", "minimum", "eq", "ne", "lt", "le", "gt", "ge"),
    *("logical_and", "logical_or", "logical_xor"),
)


def near() -> Any:
    """Numbers within and beyond the radii of the sum, and the sum itself, rounded."""
    found = evaluate([SUM], {"a": A, "b": B})["s"]
    share = np.array([0, 0.5, -0.5, 0.7, -0.7, 2, -2, 1000.0])[np.arange(20).reshape(4, 5) % 8]
    return (found.value + share * found.rigorous).astype(np.float32)


def both(*steps: Step) -> Bounds:
    """The last result, held to the oracle's."""
    operands = {"a": A, "b": B, "y": near(), "z": normal(32, 4, 5)}
    found = evaluate([SUM, *steps], operands, Arithmetic())[steps[-1].output]
    held = {name: exact(array) for name, array in operands.items()}
    machine = Machine.named("float32", "float32")
    oracle = layers.evaluate([SUM, *steps], held, machine)[steps[-1].output]
    assert_agree(found, oracle)
    return found


@pytest.mark.parametrize("order", [("s", "y"), ("y", "s")])
@pytest.mark.parametrize("op", BINARY)
def test_of_two(op: str, order: tuple[str, str]) -> None:
    found = both(Step("sub", order, "d"), Step(op, ("d", 0.0), "r"))
    plain = both(Step(op, order, "r"))
    if op in ("eq", "ne", "lt", "le", "gt", "ge"):
        for bounds in (found, plain):  # some are decided and some are not
            assert set(np.unique(bounds.rigorous)) == {0.0, 1.0}


@pytest.mark.parametrize(
    ("op", "shift"),
    [
        *(("floor", 0.0), ("ceil", 0.0), ("trunc", 1.0), ("round", 0.5), ("sign", 0.0)),
        *(("abs", 0.0), ("logical_not", 0.0)),
    ],
)
def test_of_one(op: str, shift: float) -> None:
    """At the place where the function jumps."""
    difference, moved = Step("sub", ("s", "y"), "d"), Step("add", ("d", shift), "h")
    found = both(difference, moved, Step(op, ("h",), "r"))
    assert found.rigorous.any()
    if op != "abs":
        assert not found.rigorous.all()


@pytest.mark.parametrize("op", ["amax", "amin"])
def test_along_axes(op: str) -> None:
    assert both(Step(op, ("s",), "r", {"dim": [1]})).rigorous.any()


def test_what_a_comparison_leaves_open_holds_both_and_nothing_beside() -> None:
    less = Step("lt", ("s", "y"), "less")
    found = both(less, Step("where", ("less", "z", "s"), "r"))
    open_ = evaluate([SUM, less], {"a": A, "b": B, "y": near()})["less"].rigorous == 1
    assert open_.any()
    assert not open_.all()
    z, s = normal(32, 4, 5), evaluate([SUM], {"a": A, "b": B})["s"].value.astype(np.float32)
    for given in (z, s):
        words = judge_values(given, found)
        assert (words[open_] == VERDICTS.index("admissible")).all()
    right = np.where(s < near(), z, s)
    assert (judge_values(right, found) == VERDICTS.index("admissible")).all()
    beside = np.maximum(z, s) + np.abs(z - s) * np.float32(1.01) + np.float32(1e-3)
    assert (judge_values(beside, found) == VERDICTS.index("wrong")).all()


def test_of_what_nothing_is_known_nothing_is_known() -> None:
    x = np.array([np.nan, 1.0, np.inf], np.float32)
    lost = Bounds(x.astype(float), np.array([np.inf, 0, 0]), np.array([np.inf, 0, 0]))
    for op in ("maximum", "minimum"):
        found = evaluate([Step(op, ("x", 0.0), "r")], {"x": lost})["r"]
        assert np.isinf(found.rigorous).tolist() == [True, False, False]
    for op in ("amax", "amin"):
        assert np.isinf(evaluate([Step(op, ("x",), "r")], {"x": lost})["r"].rigorous)
    either = evaluate([Step("where", ("x", 2.0, 3.0), "r")], {"x": lost})["r"]
    assert either.rigorous.tolist() == [1, 0, 0]


@pytest.mark.parametrize("op", ["embedding", "index"])
def test_what_an_undecided_place_chooses_is_unknown_and_the_rest_is_not(op: str) -> None:
    """The place of the greatest of two that are too near to tell apart, and of two that are not."""
    pair = Step("cat", ("s", "y"), "pair", {"dim": 1})
    place = Step("argmax", ("pair",), "place", {"dim": 1})
    order = ("place", "table") if op == "embedding" else ("table", "place")
    x = near()
    x[0] = -100.0  # a row whose greatest is one of the sums
    found = evaluate([SUM], {"a": A, "b": B})["s"].value
    x[1, 0] = np.float32(found[1].max())  # and one where it may be either
    operands = {"a": A, "b": B, "y": x, "table": normal(33, 10, 3)}
    steps = [SUM, pair, place, Step(op, order, "r")]
    bounds = evaluate(steps, operands)["r"]
    assert not bounds.rigorous[0].any()
    assert np.isinf(bounds.rigorous[1]).all()
    machine = Machine.named("float32", "float32")
    held = {name: exact(array) for name, array in operands.items()}
    assert_agree(bounds, layers.evaluate(steps, held, machine)["r"])
