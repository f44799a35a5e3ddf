"""Verdicts by sets, element by element, each set written down by hand (ADM-12)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.conformance.sets import E4M3, INT8

from quant_conformance.layers import float_layer_of, layer_arguments, layer_inputs, layer_of
from quant_conformance.verdicts.admissible import judge_admissible, judge_information
from quant_reference import QParams, QuantizationSpec
from quant_reference.admissible import Arithmetic, FloatLayer, Layer, QuantizedTensor, Step
from quant_vectors import Case

INT4 = {**INT8, "dtype": "int4"}


def asked(spec: Any) -> Case:
    return Case("layer/x", "layer", "layer", ("ADM-12",), (), "made for a test", "admissible", spec)


def ends(*columns: tuple[Any, Any, Any, Any], dtype: Any) -> dict[str, Any]:
    """Sets from (low, likely_low, likely_high, high) of each element."""
    table = np.array(columns).T
    names = ("low", "likely_low", "likely_high", "high")
    return {name: row.astype(dtype) for name, row in zip(names, table, strict=True)}


CODES = ends((3, 3, 3, 3), (-2, -1, 1, 2), (-128, -128, 127, 127), dtype=np.int8)


@pytest.mark.parametrize(
    ("codes", "verdict", "said"),
    [
        ([3, 0], "admissible", ""),
        ([3, 2], "unlikely", "codes[1]: likely is -1 (bits 0xff) to 1 (bits 0x01), got 2"),
        ([3, -3], "wrong", "codes[1]: admissible is -2 (bits 0xfe) to 2 (bits 0x02), got -3"),
        ([4, 2], "wrong", "codes[0]: admissible is 3 (bits 0x03), got 4"),
        ([1, 3], "wrong", "codes[0]: admissible is 3 (bits 0x03), got 1"),  # the furthest
    ],
)
def test_integer_codes(codes: list[int], verdict: str, said: str) -> None:
    sets = {name: end[:2] for name, end in CODES.items()}
    found = judge_admissible(asked(INT8), sets, {"codes": np.array(codes, np.int8)})
    assert found[0].value == verdict
    assert found[1].startswith(said)


def test_what_may_be_anything_is_undecided_and_no_excuse() -> None:
    right, wrong = np.array([3, 0, 7], np.int8), np.array([2, 0, 7], np.int8)
    verdict, said = judge_admissible(asked(INT8), CODES, {"codes": right})
    assert verdict.value == "undecided"
    assert "1 of 3 elements are undecided" in said
    assert judge_admissible(asked(INT8), CODES, {"codes": wrong})[0].value == "wrong"


def test_single_codes_are_exact() -> None:
    sets = {name: end[:1] for name, end in CODES.items()}
    found = judge_admissible(asked(INT8), sets, {"codes": np.array([3], np.int8)})
    assert found == ("exact", "")


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        (0x80, "admissible"),  # −0
        (0x00, "admissible"),  # +0
        (0x81, "admissible"),  # the least negative number
        (0x01, "admissible"),
        (0x02, "wrong"),
        (0x82, "wrong"),
        (0x7F, "wrong"),  # NaN
    ],
)
def test_float_codes_are_ordered_by_value(code: int, verdict: str) -> None:
    sets = ends((0x81, 0x81, 0x01, 0x01), dtype=np.uint8)
    found = judge_admissible(asked(E4M3), sets, {"codes": np.array([code], np.uint8)})
    assert found[0].value == verdict


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (None, "no codes were given"),
        (np.zeros(2, np.int8), "codes has shape (2,), expected (1,)"),
        (np.zeros(1, np.int16), "codes has dtype int16, expected int8"),
        (np.array([9], np.int8), "code outside the width of int4"),
    ],
)
def test_what_is_no_answer(given: Any, said: str) -> None:
    sets = ends((-1, -1, 1, 1), dtype=np.int8)
    outputs = {} if given is None else {"codes": given}
    verdict, text = judge_admissible(asked(INT4), sets, outputs)
    assert verdict.value == "wrong"
    assert said in text


VALUES = ends(
    (1.0, 1.5, 2.5, 3.0), (-np.inf, -np.inf, np.inf, np.inf), (np.inf,) * 4, dtype=np.float32
)


@pytest.mark.parametrize(
    ("value", "verdict"),
    [
        (1.5, "admissible"),
        (2.5, "admissible"),
        (1.25, "unlikely"),
        (3.0, "unlikely"),
        (3.5, "wrong"),
        (np.nan, "wrong"),
        (np.inf, "wrong"),
        (-np.inf, "wrong"),
    ],
)
def test_values(value: float, verdict: str) -> None:
    sets = {name: end[:1] for name, end in VALUES.items()}
    found = judge_admissible(asked(None), sets, {"values": np.array([value], np.float32)})
    assert found[0].value == verdict


def test_infinite_values_and_unknown_ones() -> None:
    unknown = {name: end[1:2] for name, end in VALUES.items()}
    infinite = {name: end[2:] for name, end in VALUES.items()}
    for value in (0.0, np.inf, np.nan):
        given = {"values": np.array([value], np.float32)}
        assert judge_admissible(asked(None), unknown, given)[0].value == "undecided"
        right = value == np.inf
        verdict = judge_admissible(asked(None), infinite, given)[0].value
        assert verdict == ("exact" if right else "wrong")


def test_a_right_answer_is_told_from_the_recorded_one() -> None:
    sets = {name: end[:2] for name, end in CODES.items()}
    sets["codes"] = np.array([3, 0], np.int8)
    given = {"codes": np.array([3, 1], np.int8)}
    verdict, said = judge_admissible(asked(INT8), sets, given)
    assert (verdict.value, said) == ("admissible", "1 of 2 codes are not the recorded ones")


@pytest.mark.parametrize(
    ("given", "verdict", "said"),
    [
        ([1.0, np.nan], "exact", ""),
        ([1.0, 2.0], "policy", "1 of 2 values differ, which are not finite"),
    ],
)
def test_information(given: list[float], verdict: str, said: str) -> None:
    expected = {"values": np.array([1.0, np.nan], np.float32)}
    found = judge_information(expected, {"values": np.array(given, np.float32)})
    assert (found[0].value, found[1]) == (verdict, said)


def test_information_of_another_shape_is_wrong() -> None:
    expected = {"values": np.zeros(2, np.float32)}
    found = judge_information(expected, {"values": np.zeros(3, np.float32)})
    assert (found[0].value, found[1]) == ("wrong", "values has shape (3,), expected (2,)")


def test_information_says_how_far_off_it_is() -> None:
    # Signal 1 + 9 = 10, noise 0.1² = 0.01: a thousand to one are 30 dB.
    expected = {"values": np.array([1.0, 3.0], np.float32)}
    found = judge_information(expected, {"values": np.array([1.1, 3.0], np.float32)})
    assert found[1] == "1 of 2 values differ, SQNR 30.0 dB"


def test_a_layer_comes_back_from_its_tensors() -> None:
    spec = QuantizationSpec("int8")
    scale, zero = np.full((1, 1), 0.5, np.float32), np.zeros((1, 1), np.int32)
    qparams = QParams(scale, zero)
    operands = {
        "x": QuantizedTensor(np.array([[1, 2]], np.int8), spec, qparams),
        "bias": np.array([1.5], np.float32),
    }
    steps = (Step("add", ("x", "bias"), "y", {"alpha": 2.0}),)
    layer = Layer(steps, operands, spec, qparams, Arithmetic("float16", "float32"))
    tensors = layer_inputs(layer)
    assert set(tensors) == {
        *("x", "x:scale", "x:zero_point", "bias", "output:scale", "output:zero_point")
    }
    arguments = layer_arguments(layer)
    case = Case(
        "layer/x", "layer", "layer", ("ADM-13",), (), "c", "admissible", spec.to_dict(),
        arguments=arguments,
    )  # fmt: skip
    back = layer_of(case, tensors)
    assert (back.steps, back.arithmetic, back.output_spec) == (steps, layer.arithmetic, spec)
    assert np.array_equal(back.values()["x"], [[0.5, 1.0]])
    assert back.values()["bias"].dtype == np.float16
    floats = float_layer_of(case, tensors)
    assert isinstance(floats, FloatLayer)
    assert np.array_equal(floats.bounds().value, [[3.5, 4.0]])


def test_two_tensors_of_one_name_are_refused() -> None:
    spec = QuantizationSpec("int8")
    scale, zero = np.ones((1,), np.float32), np.zeros((1,), np.int32)
    operands = {
        "x": QuantizedTensor(np.zeros(1, np.int8), spec, QParams(scale, zero)),
        "x:scale": np.ones(1, np.float32),
    }
    layer = FloatLayer((Step("neg", ("x",), "y"),), operands)
    with pytest.raises(ValueError, match="two tensors called"):
        layer_inputs(layer)
