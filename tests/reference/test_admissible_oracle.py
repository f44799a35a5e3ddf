"""Chapter 15 twice: numpy in float64, and exact fractions written from the clauses."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.reference.admissible_cases import CASES, JUMPS, RENAMED, SHAPES, Asked, X, exact, normal

from quant_reference.admissible import OPERATIONS, Arithmetic, Bounds, Step, evaluate
from quant_reference.oracle import Machine, Tensor, balls, layers, reals

ARITHMETICS = {
    "float32": Arithmetic(),
    "float16": Arithmetic("float16", "float32"),
    "float16-sums": Arithmetic("float16", "float16"),
}
BEFORE = Step("conv2d", ("first", "kernel", "shift"), "x")
FIRST, KERNEL, SHIFT = normal(20, 2, 3, 5, 6), normal(21, 4, 3, 1, 1), normal(22, 4)


def assert_agree(numpy_form: Bounds, oracle_form: Tensor) -> None:
    """The oracle's radii, and above them no more than ADM-1 adds for float64."""
    assert numpy_form.shape == oracle_form.shape
    columns = (a.ravel().tolist() for a in (numpy_form.value, numpy_form.rigorous,
                                            numpy_form.probable))  # fmt: skip
    for value, rigorous, probable, ball in zip(*columns, oracle_form.items, strict=True):
        if balls.infinite(ball.value):
            assert value in (np.inf, -np.inf)
        else:
            # float64 may lose 16 units of 2^-53 in each of a few steps, and what ADM-1 allows of
            # the operands' values passes through the operation: within a part of the radius.
            slack = abs(ball.value) * Fraction(1, 2**44)
            slack += 0 if balls.infinite(ball.probable) else ball.probable * Fraction(1, 2**20)
            assert abs(Fraction(value) - ball.value) <= slack
        for got, want in ((rigorous, ball.rigorous), (probable, ball.probable)):
            assert np.isinf(got) == balls.infinite(want)
            if np.isfinite(got) and not balls.infinite(ball.value):
                # ADM-1 adds 2^-26 of the radius and 2^-49 of the value in each step; a slope of
                # the next step may multiply either.
                most = want * (1 + Fraction(1, 2**20)) + abs(ball.value) * Fraction(1, 2**44)
                assert want * (1 - Fraction(1, 2**48)) <= Fraction(got) <= most


def both(
    steps: list[Step], operands: dict[str, NDArray[Any]], arithmetic: Arithmetic
) -> tuple[Bounds, Tensor]:
    dtype = np.dtype(arithmetic.values)
    held = {name: array.astype(dtype) for name, array in operands.items()}
    machine = Machine.named(arithmetic.values, arithmetic.accumulate)
    found = evaluate(steps, held, arithmetic)[steps[-1].output]
    by_oracle = layers.evaluate(steps, {k: exact(v) for k, v in held.items()}, machine)
    return found, by_oracle[steps[-1].output]


def test_every_operation_is_asked() -> None:
    assert {case.op for case in CASES} | RENAMED | SHAPES == set(OPERATIONS)


@pytest.mark.parametrize("arithmetic", ARITHMETICS.values(), ids=ARITHMETICS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_exact_operands(case: Asked, arithmetic: Arithmetic) -> None:
    assert_agree(*both([case.step], case.operands, arithmetic))


@pytest.mark.parametrize("arithmetic", ARITHMETICS.values(), ids=ARITHMETICS)
@pytest.mark.parametrize(
    "case",
    [
        case
        for case in CASES
        if case.operands.get("x") is X and case.op not in ("log", "sqrt", "rsqrt", "embedding")
    ],
    ids=lambda case: case.name,
)
def test_operands_with_radii(case: Asked, arithmetic: Arithmetic) -> None:
    """The operation behind a convolution, whose result has radii."""
    rest = {name: array for name, array in case.operands.items() if name != "x"}
    operands = {"first": FIRST, "kernel": KERNEL, "shift": SHIFT, **rest}
    found, by_oracle = both([BEFORE, case.step], operands, arithmetic)
    assert found.rigorous.any() or case.op in JUMPS
    assert_agree(found, by_oracle)


@pytest.mark.parametrize("op", ["log", "sqrt", "rsqrt"])
def test_functions_of_positive_operands_with_radii(op: str) -> None:
    steps = [Step("exp", ("x",), "e"), Step(op, ("e",), "result")]
    assert_agree(*both(steps, {"x": X}, Arithmetic()))


def test_numbers_in_a_program() -> None:
    steps = [Step("mul", ("x", 0.1), "y"), Step("add", ("y", 0.5), "z")]
    assert_agree(*both(steps, {"x": X}, Arithmetic()))


def test_the_real_functions_of_the_oracle() -> None:
    """Against digits from tables (Abramowitz and Stegun; OEIS A001113, A099286, A002161)."""
    tens = Fraction(10**30)

    def digits(value: Fraction) -> int:
        return round(value * tens)

    assert digits(reals.exp(Fraction(1))) == 2718281828459045235360287471353
    assert digits(reals.erf(Fraction(1))) == 842700792949714869341220635083
    assert digits(reals.sqrt(reals.pi())) == 1772453850905516027298167483341
    assert digits(reals.tanh(Fraction(1))) == 761594155955764888119458282605
    assert digits(reals.log(Fraction(2))) == 693147180559945309417232121458
    assert digits(reals.erf(Fraction(-1))) == -842700792949714869341220635083
    assert reals.power(Fraction(4), Fraction(3, 2)) - 8 < Fraction(1, 10**80)
