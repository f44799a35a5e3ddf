"""What the prepared model fixes, in 32 and in 16 bits, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from quant_conformance.gate.recording.quantizers import QuantizerFacts
from quant_conformance.gate.recording.recorder import Quantization, Recording
from quant_conformance.gate.regions.expected import Expected, FileReads, to_half
from quant_conformance.verdicts.bits import code_ordinals
from quant_conformance.verdicts.noise import NOT_FINITE, sqnr
from quant_reference import QParams, QuantizationSpec

SCALE = np.float32(0.1).reshape(1, 1)  # no float16 value
X = np.float32([[0.3, -1.0, 12.7, 99.0]])
CODES = np.int8([[3, -10, 127, 127]])


def quantized(
    spec: QuantizationSpec, qparams: QParams, x: np.ndarray = X
) -> tuple[Quantization, Recording]:
    values = {"x": x, "q": x, "bias": np.float32([1 / 3, 1e-9, -1e-9, 0.0])}
    quantization = Quantization(QuantizerFacts("x", "activation", spec, qparams), "x", "q")
    return quantization, Recording(values, ["x"], ["q"], {"bias"}, [], [quantization])


INT8 = quantized(QuantizationSpec(), QParams(SCALE, np.int32([[0]])))
MINVAL = quantized(
    QuantizationSpec("uint8", "asymmetric", "minval"), QParams(SCALE, None, np.float32([[-0.7]]))
)
E8M0 = quantized(
    QuantizationSpec("float8_e4m3fn", scale_dtype="float8_e8m0fnu"),
    QParams(np.float32([[2.0**-40]])),
)


def test_float32() -> None:
    quantization, recording = INT8
    expected = Expected(recording, half=False)
    np.testing.assert_array_equal(expected.codes(quantization), CODES)
    assert expected.qparams(quantization) is quantization.facts.qparams
    values = CODES.astype(np.float32) * SCALE
    np.testing.assert_array_equal(expected.operand("q"), values)
    np.testing.assert_array_equal(expected.operand("x"), X)
    np.testing.assert_array_equal(expected.operand("bias"), recording.values["bias"])
    assert not expected.bounds("q").rigorous.any()


def test_float16_rounds_scales_and_what_is_dequantized_by_them() -> None:
    quantization, recording = INT8
    expected = Expected(recording, half=True)
    half = np.float32(np.float16(0.1))
    np.testing.assert_array_equal(expected.codes(quantization), CODES)  # the prepared model's
    np.testing.assert_array_equal(expected.qparams(quantization).scale, [[half]])
    values = (CODES.astype(np.float32) * half).astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(expected.operand("q"), values)
    np.testing.assert_array_equal(expected.operand("x"), X.astype(np.float16))


def test_float16_leaves_a_scale_that_the_file_keeps_wide() -> None:
    quantization, recording = INT8
    expected = Expected(recording, half=True, reads=FileReads(wide=frozenset({"q"})))
    assert expected.qparams(quantization).scale == SCALE
    values = (CODES.astype(np.float32) * SCALE).astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(expected.operand("q"), values)


def test_a_cast_may_leave_a_parameter_alone_but_no_value() -> None:
    _, recording = INT8
    expected = Expected(recording, half=True)
    bias = recording.values["bias"]
    np.testing.assert_array_equal(expected.operand("bias", cast=False), bias)
    rounded = [np.float32(np.float16(1 / 3)), 2.0**-24, -(2.0**-24), 0.0]
    np.testing.assert_array_equal(expected.operand("bias"), np.float32(rounded))
    np.testing.assert_array_equal(expected.operand("x", cast=False), X.astype(np.float16))


def test_scales_that_are_powers_of_two_are_not_cast() -> None:
    quantization, recording = E8M0
    expected = Expected(recording, half=True)
    assert expected.qparams(quantization).scale == 2.0**-40


def test_minval_in_16_bits_is_known_up_to_its_two_roundings() -> None:
    quantization, recording = MINVAL
    expected = Expected(recording, half=True)
    qparams = expected.qparams(quantization)
    assert qparams.minval == np.float32(np.float16(-0.7))
    levels = expected.codes(quantization).astype(np.float64)
    exact = levels * float(np.float16(0.1)) + float(np.float16(-0.7))
    bounds = expected.bounds("q")
    np.testing.assert_allclose(bounds.value, exact, rtol=0, atol=1e-12)  # float64's own roundings
    # As a program may compute it: product and sum each rounded to float16, or the sum alone.
    twice = np.float16(np.float16(levels * float(np.float16(0.1))) + np.float16(-0.7))
    for given in (twice, exact.astype(np.float16)):
        assert (np.abs(given - bounds.value) <= bounds.rigorous).all()
    unit = np.abs(exact).max() * 2.0**-11
    assert (bounds.rigorous <= 3 * unit + 2.0**-24).all()


def test_what_a_file_misreads_is_what_follows_from_it() -> None:
    _, recording = INT8
    expected = Expected(recording, half=False).with_reads(FileReads(values={"q": 2 * X}))
    np.testing.assert_array_equal(expected.operand("q"), 2 * X)
    np.testing.assert_array_equal(expected.operand("q", scale=0.5), CODES * np.float32(0.5))


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_the_prepared_model_s_own_fake_quantize_is_checked(broken: float) -> None:
    quantization, recording = INT8
    expected = Expected(recording, half=False)
    assert not expected.agrees(quantization)  # "q" holds what was not quantized
    recording.values["q"] = CODES.astype(np.float32) * SCALE
    assert expected.agrees(quantization)
    recording.values["q"] = X
    odd, other = quantized(
        quantization.facts.spec, quantization.facts.qparams, np.full_like(X, broken)
    )
    assert Expected(other, half=False).agrees(odd) == np.isnan(broken)


def test_to_half_keeps_what_is_not_zero_and_the_sign_of_zero() -> None:
    given = np.float32([0.0, -0.0, 2.0**-25, -(2.0**-26), 65504.0, 1e6, 1 / 3])
    found = to_half(given)
    assert found.dtype == np.float32
    wanted = [0.0, -0.0, 2.0**-24, -(2.0**-24), 65504.0, np.inf, np.float32(np.float16(1 / 3))]
    assert found.tobytes() == np.float32(wanted).tobytes()


def test_distances_of_codes_are_steps_on_the_grid() -> None:
    assert code_ordinals(np.int8([-128, 127]), QuantizationSpec()).tolist() == [-128, 127]
    spec = QuantizationSpec("float8_e4m3fn")
    assert code_ordinals(np.uint8([0x00, 0x80, 0x01, 0x81, 0x7E]), spec).tolist() == [
        0,
        0,
        1,
        -1,
        126,
    ]


def test_sqnr_by_hand() -> None:
    assert sqnr(np.float32([1, 2]), np.float32([1, 2])) is None
    assert sqnr(np.float32([1.1]), np.float32([1])) == pytest.approx(
        20.0, abs=1e-4
    )  # 0.1 in float32
    assert sqnr(np.float32([np.nan]), np.float32([1])) == NOT_FINITE
