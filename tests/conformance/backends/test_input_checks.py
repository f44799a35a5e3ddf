"""Kernels that leave the checking of arguments to their caller are not wrong for it."""

from __future__ import annotations

import numpy as np
import pytest

import quant_vectors
from quant_conformance import Backend
from quant_conformance.runner.invoke import invoke


class Unchecking(Backend):
    """Answers whatever it is given."""

    name = "unchecking"
    checks_input = False

    def quantize(self, x, spec, qparams):
        return np.zeros(x.shape, np.int8)

    def validate_spec(self, mapping):
        return None


class Checking(Unchecking):
    """Claims to check, and does not."""

    checks_input = True


@pytest.mark.parametrize(
    ("operation", "verdict"),
    [("quantize", "unsupported"), ("validate_spec", "answer")],
)
def test_a_kernel_that_leaves_checks_to_its_caller_is_not_wrong(operation, verdict):
    arguments = {"mapping": {"dtype": "int9"}} if operation == "validate_spec" else {}
    case = quant_vectors.Case(
        id="refused",
        family="quantize",
        clauses=("Q-8",),
        operation=operation,
        flags=(),
        spec={},
        target="weight",
        arguments=arguments,
        inputs={},
        expected={},
        result="refused",
        rule="exact",
        policy=None,
        choice=None,
        alternatives={},
        comment="scale zero",
    )
    tensors = {
        "x": np.ones((2, 2), np.float32),
        "scale": np.zeros((1, 1), np.float32),
        "zero_point": np.zeros((1, 1), np.int32),
    }
    assert invoke(Unchecking(), case, tensors, "quick").kind == verdict
    assert invoke(Checking(), case, tensors, "quick").kind == "answer"
