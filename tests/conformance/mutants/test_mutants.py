"""The tables of mutants, the pipeline they are made of, and the hunt."""

from __future__ import annotations

import re
from types import FunctionType
from typing import Any

import numpy as np
import pytest
from tests.conformance.sets import INT8, ONE, ZERO_POINT, Draft, encodes, f32, make_set

from quant_conformance.mutants import MUTANTS, PITFALLS, Mutant, Mutated, exchanged, wrong
from quant_conformance.mutants.exchanged import patched
from quant_conformance.mutants.hunt import Hunter
from quant_conformance.mutants.model import known
from quant_conformance.mutants.report import kill_rates
from quant_conformance.verdicts.clauses import spec_clauses
from quant_reference import QParams, QuantizationSpec, SpecError, quantize
from quant_vectors import BLOCK_FAMILIES, FAMILIES, INTEGER_FAMILIES


def test_a_step_has_one_name() -> None:
    names = [
        name
        for module in exchanged.MODULES
        for name, value in vars(module).items()
        if isinstance(value, FunctionType) and value.__globals__ is vars(module)
    ]
    assert sorted(names) == sorted(set(names))
    assert set(names) < exchanged.STEPS.keys()


def test_only_the_backend_that_has_a_bug_sees_it() -> None:
    """Steps are exchanged beside the reference and not in it."""
    x = f32(0.5, 1.5, 2.5)
    asked = x, QuantizationSpec(), QParams(ONE, ZERO_POINT)
    away, up = (patched(round_code=to) for to in (lambda p, v: v + 1, lambda p, v: v + 2))
    assert away.quantize(*asked).tolist() == [1, 2, 3]
    assert up.quantize(*asked).tolist() == [2, 3, 4]
    assert away.fake_quantize(*asked).tolist() == [1.5, 2.5, 3.5]
    assert quantize(*asked).tolist() == Mutated().quantize(*asked).tolist() == [0, 2, 2]


def test_the_right_step_calls_the_exchanged_ones() -> None:
    backend = patched(
        widen=lambda p, x: p.right.widen(x) * 2,
        quantize=lambda p, x, *rest: p.right.quantize(-x, *rest),
    )
    codes = backend.quantize(f32(3), QuantizationSpec(), QParams(ONE, ZERO_POINT))
    assert codes.tolist() == [-6]


def test_a_step_that_does_not_exist_cannot_be_exchanged() -> None:
    with pytest.raises(AttributeError, match="no step 'rint'"):
        patched(rint=np.trunc)
    with pytest.raises(AttributeError, match="no step 'rint'"):
        _ = Mutated().rint


def test_ids_are_unique_and_there_are_enough() -> None:
    names = [mutant.id for mutant in MUTANTS]
    assert len(set(names)) == len(names) >= 120


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.id)
def test_a_row_is_sound(mutant: Mutant) -> None:
    assert mutant.bug[0].islower()
    assert not mutant.bug.endswith(".")
    assert mutant.clauses
    assert set(mutant.clauses) <= spec_clauses().keys()
    assert mutant.families
    assert set(mutant.families) <= {*FAMILIES, *INTEGER_FAMILIES, *BLOCK_FAMILIES}
    assert mutant.steps
    assert all(exchanged.is_step(step) for step in mutant.steps)
    assert mutant.pitfall in {"", *PITFALLS}
    assert len(set(mutant.families)) == len(mutant.families)


@pytest.mark.parametrize("pitfall", PITFALLS)
def test_every_pitfall_has_a_mutant(pitfall: str) -> None:
    assert any(mutant.pitfall == pitfall for mutant in MUTANTS)
    assert all(re.search(r"\w/[\w-]+#\d+$|ONNX", place) for place in PITFALLS[pitfall].seen)


def hunt(mutant: Mutant, drafts: list[Draft], **options: Any) -> list[str]:
    vectors = make_set(drafts)
    (found,) = Hunter(vectors, vectors.cases, **options).hunt([mutant])
    return [case.id for case in found.killers]


def ties() -> list[Draft]:
    params = {"scale": ONE, "zero_point": ZERO_POINT}
    answers = {"even": (0.5, 0), "odd": (1.5, 2), "plain": (1.25, 1)}
    return [
        Draft(
            f"quantize/{name}",
            "quantize",
            {"x": f32(x), **params},
            {"codes": np.array([code], np.int8)},
            more={"spec": INT8},
        )
        for name, (x, code) in answers.items()
    ]


def test_the_hunt_tells_who_caught_a_mutant() -> None:
    away = next(mutant for mutant in MUTANTS if mutant.id == "ties-away")
    assert hunt(away, ties()) == ["quantize/even"]
    odd = next(mutant for mutant in MUTANTS if mutant.id == "ties-to-odd")
    assert hunt(odd, ties()) == ["quantize/even", "quantize/odd"]
    assert hunt(odd, ties(), first_kill=True) == ["quantize/even"]


def raises(error: Exception) -> Any:
    def step(*_: Any) -> Any:
        raise error

    return step


@pytest.mark.parametrize(
    ("steps", "caught"),
    [
        ({}, False),
        ({"quantize": raises(RuntimeError("broken"))}, True),
        ({"quantize": lambda *_: None}, True),
        ({"quantize": lambda p, x, *_: x}, True),
        ({"widen": lambda p, x: x.__imul__(2)}, True),
    ],
    ids=["right", "raises", "no-answer", "wrong-dtype", "writes-into-its-input"],
)
def test_whatever_a_mutant_does_is_judged(steps: dict[str, Any], caught: bool) -> None:
    mutant = known("made", "is made for a test", "Q-2", ("quantize",), **steps)
    assert bool(hunt(mutant, ties())) is caught


def refusing() -> list[Draft]:
    mapping = {"dtype": "int3"}
    more = {"arguments": {"mapping": mapping}, "result": "refused"}
    return [Draft("invalid_spec/int3", "validate_spec", more=more)]


@pytest.mark.parametrize(
    ("step", "caught"),
    [
        (lambda p, m: {}, True),
        (raises(SpecError("dtype", given="int3", allowed="int4", clause="SPEC-1")), False),
        # Tripping over the question is no refusal of it.
        (raises(KeyError("int3")), True),
    ],
    ids=["accepts", "refuses", "trips"],
)
def test_a_refusal_is_told_from_a_blunder(step: Any, caught: bool) -> None:
    mutant = known("made", "is made", "SPEC-1", ("invalid_spec",), tolerated=step)
    assert bool(hunt(mutant, refusing())) is caught


def test_a_mutant_is_not_asked_families_that_it_does_not_list() -> None:
    vectors = make_set([*ties(), *encodes(2)])
    mutant = known("made", "is made", "Q-2", ("decode", "quantize"), round_code=lambda p, v: v + 5)
    (found,) = Hunter(vectors, vectors.cases).hunt([mutant])
    assert (found.family, found.asked, len(found.killers)) == ("quantize", 3, 3)


def test_a_mutant_counts_as_killed_only_if_every_family_caught_it() -> None:
    vectors = make_set([*ties(), *encodes(2)])
    families = ("quantize", "encode")
    both = known("both", "is made", "Q-2", families, widen=lambda p, x: 8 * x)
    one = known("one", "is made", "Q-2 Q-1", families, round_code=lambda p, v: v + 5)
    assert kill_rates(Hunter(vectors, vectors.cases).hunt([both, one])) == {
        "Q-2": (1, 2),
        "Q-1": (0, 1),
    }


@pytest.mark.parametrize(
    ("select", "size", "marked"),
    [
        (wrong.tail(8), 11, [8, 9, 10]),
        (wrong.tail(8), 16, []),
        (wrong.body(4), 6, [0, 1, 2, 3]),
    ],
)
def test_selectors_mark_what_a_loop_leaves_over(select: Any, size: int, marked: list[int]) -> None:
    assert np.flatnonzero(select(np.zeros(size))).tolist() == marked
    assert np.flatnonzero(wrong.row_tail(8)(np.zeros((2, 9)))).tolist() == [8, 17]
    assert wrong.row_tail(8)(np.float32(1)).shape == ()


def test_a_limited_bug_bites_only_where_it_is_limited_to() -> None:
    mutant = next(m for m in MUTANTS if m.id == "ties-away-in-tail-of-8")
    x = np.full(11, 0.5, np.float32)
    qparams = QParams(ONE, ZERO_POINT)
    codes = mutant.backend().quantize(x, QuantizationSpec(), qparams)
    assert codes.tolist() == [0] * 8 + [1] * 3


def test_wrong_rounding_does_what_its_name_says() -> None:
    v = f32(-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 1.25, -1.75, np.inf)
    table = {
        wrong.ties_away: [-3, -2, -1, 1, 2, 3],
        wrong.ties_up: [-2, -1, 0, 1, 2, 3],
        wrong.ties_down: [-3, -2, -1, 0, 1, 2],
        wrong.ties_to_zero: [-2, -1, 0, 0, 1, 2],
        wrong.ties_to_odd: [-3, -1, -1, 1, 1, 3],
    }
    for function, answers in table.items():
        assert function(v).tolist() == [*answers, 1, -2, np.inf], function
    just_below = np.nextafter(np.float32(0.5), np.float32(0))
    assert wrong.half_and_floor(just_below) == 1
    assert wrong.ties_up(just_below) == 0


def test_fma_rounds_once() -> None:
    a = np.float32(1 + 2**-12)
    # The square is 1 + 2^-11 + 2^-24, of which float32 keeps no 2^-24.
    assert wrong.fma(a, a, np.float32(-1 - 2**-11)) == 2.0**-24
    assert a * a + np.float32(-1 - 2**-11) == 0


def test_casts_first_as_x86_does() -> None:
    v = f32(3e9, -3e9, 300, -129, np.inf, -np.inf, 5)
    int32 = wrong.cast_first(32)(None, v, -128, 127)
    assert int32.tolist() == [-128, -128, 127, -128, -128, -128, 5]
    int8 = wrong.cast_first(64, "int8")(None, v, -128, 127)
    # 3e9 is 0xB2D05E00: its low byte is 0; 300 is 0x12C: 44; -129 wraps to 127.
    assert int8.tolist() == [0, 0, 44, 127, 0, 0, 5]
