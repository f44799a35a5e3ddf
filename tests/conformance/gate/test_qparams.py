"""What is said of qparams, sums and weights in a file that differ from the prepared model's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from quant_conformance.gate.alignment.constants import Constants
from quant_conformance.gate.alignment.rescaled_sums import Rescaled, rescaled
from quant_conformance.gate.alignment.stored_qparams import (
    differing_qparams,
    differing_weight,
    pair_weights,
    read_values,
)
from quant_conformance.gate.document import Weight
from quant_conformance.gate.judging.weight_verdicts import judge_weight
from quant_conformance.gate.recording.quantizers import QuantizerFacts
from quant_conformance.gate.recording.recorder import Quantization, Recording
from quant_conformance.gate.regions.expected import Expected
from quant_conformance.runtimes.program import (
    ProgramQuantizer,
    Readout,
    RescaledSum,
    as_prepared,
    converted,
)
from quant_conformance.runtimes.stored import StoredTensor
from quant_reference import PerChannel, QParams, QuantizationSpec, quantize

SPEC = QuantizationSpec("uint8", "asymmetric")
MINVAL = QuantizationSpec("uint8", "asymmetric", "minval")


def f32(*values: float) -> Any:
    return np.float32(values)


def qparams(scale: float = 0.5, zero_point: int = 3) -> QParams:
    return QParams(np.full((1, 1), scale, np.float32), np.full((1, 1), zero_point, np.int32))


def readout(scale: float = 0.5, zero_point: int | None = 3, offset: float | None = None) -> Readout:
    return Readout(
        np.float32(scale),
        None if zero_point is None else np.uint8(zero_point),
        None if offset is None else np.float32(offset),
    )


def quantizer(*readouts: Readout, dtype: str = "uint8") -> ProgramQuantizer:
    return ProgramQuantizer("%4", "%3", dtype, (2, 4), readouts[0], readouts[1:])


NEXT = float(np.nextafter(np.float32(0.5), np.float32(1)))


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (quantizer(readout(), readout()), ""),
        (quantizer(readout(), readout(), dtype="int8"), "int8 in the file, uint8 in the prepared"),
        (quantizer(readout(NEXT)), f"quantize: scale is {NEXT!r} in the file, 0.5 in the prepared"),
        (quantizer(readout(), readout(NEXT)), "dequantize: scale is"),
        (quantizer(readout(), readout(), readout(zero_point=4)), "dequantize: zero_point is 4.0"),
        (quantizer(readout(zero_point=None)), "quantize: zero_point is 0.0 in the file, 3.0"),
        (quantizer(Readout(f32(0.5, 0.5), np.uint8([3, 3]))), "has 2 entries in the file, 1 in"),
        (quantizer(readout(float("nan"))), "scale is nan in the file"),
    ],
)
def test_the_first_difference_is_told(found: ProgramQuantizer, said: str) -> None:
    told = differing_qparams(found, SPEC, qparams())
    assert said in told
    assert bool(told) == bool(said)


def test_equal_scales_that_are_nan_do_not_differ() -> None:
    broken = float("nan")
    assert differing_qparams(quantizer(readout(broken)), SPEC, qparams(broken)) == ""


def test_minval_is_compared_as_an_offset() -> None:
    wanted = QParams(np.full((1, 1), 0.5, np.float32), None, np.full((1, 1), -2, np.float32))
    assert differing_qparams(quantizer(readout(0.5, None, -2)), MINVAL, wanted) == ""
    said = differing_qparams(quantizer(readout(0.5, None, -2.5)), MINVAL, wanted)
    assert said == "quantize: minval is -2.5 in the file, -2.0 in the prepared model"
    assert "minval is 0.0 in the file" in differing_qparams(
        quantizer(readout(0.5, None)), MINVAL, wanted
    )


def test_scales_along_another_axis() -> None:
    spec = QuantizationSpec("int8", granularity=PerChannel(1))
    wanted = QParams(f32(1, 2, 3, 4).reshape(1, 4), np.zeros((1, 4), np.int32))
    scales, zeros = f32(1, 2, 3, 4), np.zeros(4, np.int8)
    right = quantizer(Readout(scales, zeros, None, 1), dtype="int8")
    assert differing_qparams(right, spec, wanted) == ""
    last = quantizer(Readout(scales, zeros, None, -1), dtype="int8")
    assert differing_qparams(last, spec, wanted) == ""
    wrong = quantizer(Readout(scales, zeros, None, 0), dtype="int8")
    assert differing_qparams(wrong, spec, wanted) == "scales along axis 0, not 1"
    other = quantizer(Readout(f32(1, 2, 3.5, 5), zeros, None, 1), dtype="int8")
    said = "quantize: scale [2] is 3.5 in the file, 3.0 in the prepared model (2 of 4 entries"
    assert differing_qparams(other, spec, wanted).startswith(said)


def test_int8_stored_as_uint8_means_the_same() -> None:
    spec = QuantizationSpec("int8")
    file = ProgramQuantizer(
        "%4", "%3", "uint8", (2, 4), readout(0.5, 131), (readout(0.5, 131), readout(0.5, 130))
    )
    twin = as_prepared(file, "int8")
    assert twin.dtype == "int8"
    assert [int(r.zero_point) for r in (twin.quantize, *twin.dequantize)] == [3, 3, 2]  # type: ignore[arg-type]
    assert as_prepared(file, "float8_e4m3fn") is file
    assert "zero_point is 2.0" in differing_qparams(twin, spec, qparams())
    codes = np.uint8([0, 127, 128, 255])
    np.testing.assert_array_equal(converted(codes, "uint8", "int8"), np.int8([-128, -1, 0, 127]))
    back = converted(np.int8([-128, -1, 0, 127]), "int8", "uint8")
    np.testing.assert_array_equal(back, codes)
    assert converted(codes, "uint8", "float8_e4m3fn") is codes


def test_what_readers_get_by_hand() -> None:
    codes = np.uint8([[0, 3, 5, 255]])
    one = read_values(quantizer(readout(), readout(0.25, 5)), codes, SPEC)
    np.testing.assert_array_equal(one, f32(-1.25, -0.5, 0, 62.5)[None])  # type: ignore[arg-type]
    assert read_values(quantizer(readout(), readout(), readout(0.25)), codes, SPEC) is None
    assert read_values(quantizer(readout()), codes, SPEC) is None
    values = read_values(quantizer(readout(), readout(0.5, None, -2)), codes, MINVAL)
    np.testing.assert_array_equal(values, f32(-2, -0.5, 0.5, 125.5)[None])  # type: ignore[arg-type]
    rows = Readout(f32(1, 2), np.uint8([0, 1]), None, 0)
    values = read_values(quantizer(readout(), rows), np.uint8([[1, 2], [1, 2]]), SPEC)
    np.testing.assert_array_equal(values, f32(1, 2, 0, 2).reshape(2, 2))  # type: ignore[arg-type]


def summed(*scales: float, result: float) -> RescaledSum:
    return RescaledSum(("a", "b"), (scales[0], scales[1]), (3, 3), "c", result)


def activation(name: str) -> Quantization:
    return Quantization(QuantizerFacts(name, "activation", SPEC, qparams()), name, f"q {name}")


@pytest.mark.parametrize(
    ("half", "found", "right"),
    [
        (False, summed(1.5, 1.0, result=0.25), True),  # by the second
        (False, summed(1.0, 2 / 3, result=1 / 6), False),  # float64 quotients
        (False, summed(1.0, float(f32(2 / 3)[0]), result=float(f32(1 / 6)[0])), True),
        (False, summed(1.5, 1.0, result=0.5), False),
        (False, summed(1.0, 1.5, result=0.25), False),
        (True, summed(1.0, float(np.float16(2 / 3)), result=float(np.float16(1 / 6))), True),
        (True, summed(1.0, float(f32(2 / 3)[0]), result=float(f32(1 / 6)[0])), False),
    ],
)
def test_the_scales_of_a_sum_are_quotients(half: bool, found: RescaledSum, right: bool) -> None:
    scales = (qparams(3.0), qparams(2.0), qparams(0.5))
    checked = rescaled(found, (activation("x"), activation("y")), scales, half)
    if right:
        assert checked == Rescaled({"q x": found.scales[0], "q y": found.scales[1]}, found.scale)
    else:
        assert isinstance(checked, str)
        assert "which are no quotients of 3.0, 2.0 and 0.5" in checked


# --- weights ---

WEIGHT = QuantizationSpec("int8", granularity=PerChannel(0))
X = np.random.default_rng(3).normal(size=(3, 4)).astype(np.float32)
OURS = QParams(f32(0.02, 0.03, 0.04).reshape(3, 1), np.zeros((3, 1), np.int32))
CODES = quantize(X, WEIGHT, OURS)


def weight() -> tuple[list[Quantization], Recording]:
    facts = QuantizerFacts("linear.weight", "weight", WEIGHT, OURS)
    return [Quantization(facts, "w", "q")], Recording({"w": X, "q": X}, states={"w"})


def stored(codes: Any = CODES, scale: Any = OURS.scale, zero_point: Any = None) -> StoredTensor:
    zeros = np.zeros(scale.shape, np.int8) if zero_point is None else zero_point
    return StoredTensor("int8", np.asarray(codes), scale, zeros)


def judged(
    quantizations: list[Quantization], recording: Recording, stored: dict[str, StoredTensor]
) -> list[Weight]:
    expected = Expected(recording, half=False)
    pairs = pair_weights(quantizations, expected, stored)
    differences = {
        q.result: said
        for q in quantizations
        if q.result in pairs and (said := differing_weight(q, expected, stored[pairs[q.result]]))
    }
    constants = Constants(pairs, differences)
    return [judge_weight(q, expected.codes(q), constants, dead=False) for q in quantizations]


def verdict(*tensors: StoredTensor) -> tuple[str, str]:
    (one,) = judged(*weight(), {str(i): t for i, t in enumerate(tensors)})
    assert (one.name, one.dtype, one.granularity) == ("linear.weight", "int8", "per_channel")
    return one.verdict, one.detail


def test_a_right_weight_among_others() -> None:
    other = stored(CODES[::-1].copy())
    assert verdict(other, stored()) == ("exact", "")
    # A converter may keep a kernel in another shape.
    assert verdict(stored(CODES.reshape(3, 4, 1), OURS.scale.reshape(3, 1, 1))) == ("exact", "")


def test_a_wrong_code() -> None:
    codes = CODES.copy()
    codes[1, 2] += 1
    assert verdict(stored(codes)) == (
        "wrong",
        f"codes[1, 2] is {codes[1, 2]} in the file, {CODES[1, 2]} in the prepared model "
        "(1 of 12 codes differ)",
    )


def test_a_wrong_scale_and_a_wrong_zero_point() -> None:
    scale = OURS.scale.copy()
    scale[2] = np.nextafter(scale[2], np.float32(1))
    assert verdict(stored(scale=scale))[1].startswith(f"scale [2] is {float(scale[2, 0])!r} in the")
    zero_point = np.int8([[0], [1], [0]])
    assert verdict(stored(zero_point=zero_point))[1].startswith("zero_point [1] is 1.0 in the file")


def test_scales_of_the_other_axis_are_no_right_weight() -> None:
    square = np.float32([[1, -2], [3, 4]])
    spec, ours = WEIGHT, QParams(f32(0.25, 0.5).reshape(2, 1), np.zeros((2, 1), np.int32))
    facts = QuantizerFacts("w", "weight", spec, ours)
    recording = Recording({"w": square, "q": square}, states={"w"})
    codes = quantize(square, spec, ours)
    turned = StoredTensor("int8", codes, ours.scale.T.copy(), np.zeros((1, 2), np.int8))
    (found,) = judged([Quantization(facts, "w", "q")], recording, {"w": turned})
    assert (found.verdict, found.detail) == ("wrong", "equal codes and qparams along other axes")


def test_another_type_is_right_where_the_values_are() -> None:
    small = np.clip(CODES, -8, 7)
    recording = Recording({"w": small * OURS.scale, "q": X}, states={"w"})
    facts = QuantizerFacts("w", "weight", WEIGHT, OURS)
    for codes, right in ((small, "exact"), (np.minimum(small, 6), "wrong")):
        tensor = StoredTensor("int4", codes, OURS.scale, np.zeros((3, 1), np.int8))
        (found,) = judged([Quantization(facts, "w", "q")], recording, {"w": tensor})
        assert found.verdict == right
    assert found.detail == "stored as int4, not int8, with other values"


def test_a_weight_that_is_not_there() -> None:
    missing = ("wrong", "no int8 weight of shape (3, 4) in the file")
    assert verdict() == missing
    assert verdict(stored(CODES[:2], OURS.scale[:2])) == missing


@pytest.mark.parametrize(
    ("given", "clauses"),
    [
        ({}, "QP-1 QP-2 QP-4 Q-3 DQ-1"),
        ({"qscheme": "asymmetric"}, "QP-1 QP-3 QP-4 Q-3 DQ-1"),
        ({"qformulation": "minval"}, "QP-1 QP-2 QP-5 Q-4 DQ-2"),
        ({"dtype": "float8_e4m3fn"}, "QP-6 Q-5 DQ-3"),
        ({"dtype": "float8_e4m3fn", "scale_dtype": "float8_e8m0fnu"}, "QP-7 Q-5 DQ-3"),
    ],
)
def test_the_clauses_of_a_weight_are_those_of_its_spec(given: Any, clauses: str) -> None:
    spec, one = QuantizationSpec(**given), np.ones((1, 1), np.float32)
    integer, minval = spec.format.is_integer, spec.qformulation == "minval"
    zeros = np.zeros((1, 1), np.int32) if integer and not minval else None
    facts = QuantizerFacts("w", "weight", spec, QParams(one, zeros, -one if minval else None))
    recording = Recording({"w": X, "q": X}, states={"w"})
    (found,) = judged([Quantization(facts, "w", "q")], recording, {})
    assert found.clauses == clauses.split()
