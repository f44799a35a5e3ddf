"""Wrong elements and distances, against numbers worked out by hand."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from tests.conformance.sets import E4M3, INT8, Draft, f32, make_set

from quant_conformance.report.distances import buckets, distances_of
from quant_conformance.report.samples import ELEMENTS, Point, samples_of
from quant_conformance.verdicts.answers import Answer
from quant_conformance.verdicts.bits import ordinals

NAN = np.float32(np.nan)
FP8 = {"arguments": {"format": "float8_e4m3fn"}}


def answer(operation: str, inputs: Any, expected: Any, actual: Any, **more: Any) -> Answer:
    drafted = Draft("encode/x", operation, inputs, expected, more=more)
    case = make_set([drafted]).cases[0]
    return Answer(case, inputs, expected, actual)


def codes(*values: int) -> Any:
    return np.array(values, np.uint8)


@pytest.mark.parametrize(
    ("array", "fmt", "numbers", "nan"),
    [
        # Neighbours differ by one; both zeros are 0; infinity follows the greatest value.
        (f32(0, -0.0, 2**-149, -(2**-149)), None, [0, 0, 1, -1], [0, 0, 0, 0]),
        (np.array([65504, np.inf, np.nan], np.float16), None, [0x7BFF, 0x7C00], [0, 0, 1]),
        (np.array([1, -1], ml_dtypes.bfloat16), None, [0x3F80, -0x3F80], [0, 0]),
        (codes(0, 0x80, 0x7E, 0xFE, 0x7F), "float8_e4m3fn", [0, 0, 126, -126], [0, 0, 0, 0, 1]),
        (codes(0, 8, 7, 15), "float4_e2m1fn", [0, 0, 7, -7], [0, 0, 0, 0]),
        (codes(0, 254, 255), "float8_e8m0fnu", [0, 254], [0, 0, 1]),
        (np.array([-128, 127], np.int8), None, [-128, 127], [0, 0]),
    ],
)
def test_ordinals(array: Any, fmt: str | None, numbers: list[int], nan: list[int]) -> None:
    found, is_nan = ordinals(array, fmt)
    assert is_nan.tolist() == list(map(bool, nan))
    assert found[~is_nan].tolist() == numbers


def test_distances_count_every_element_once() -> None:
    want = {"values": f32(1, 1, 0.0, NAN, NAN, 2)}
    got = {"values": np.nextafter(f32(1, 1, -0.0, NAN, 0, 2), f32(1, 2, -0.0, NAN, 0, 0))}
    spec = {"spec": INT8}
    answers = [answer("dequantize", {}, want, given, **spec) for given in (got, want)]
    (found,) = distances_of(answers)
    assert (found.operation, found.output, found.unit) == ("dequantize", "values", "ulps")
    # 1 twice, NaN twice, 2 and 0 once in the right answer add to the 1 and NaN of the other.
    assert found.counts == {0: 8, 1: 1, -1: 1}
    assert (found.zero_signs, found.nans) == (1, 1)
    assert (found.total, found.differing) == (12, 4)


def test_the_sign_of_a_bound_of_a_range_counts_as_little_as_for_the_verdict() -> None:
    (found,) = distances_of([answer("value_range", {}, {"lo": f32(0)}, {"lo": f32(-0.0)})])
    assert (found.counts, found.zero_signs) == ({0: 1}, 0)


def test_an_answer_of_another_shape_or_dtype_has_no_distance() -> None:
    want = {"codes": codes(1, 2)}
    for got in ({"codes": codes(1)}, {"codes": np.array([1, 2], np.int8)}, {}):
        assert distances_of([answer("encode", {}, want, got, **FP8)]) == []
        assert samples_of([answer("encode", {}, want, got, **FP8)]) == []


def test_packed_bytes_have_no_distance() -> None:
    want, got = {"packed": codes(0x21)}, {"packed": codes(0x12)}
    assert distances_of([answer("pack", {}, want, got, **FP8)]) == []


def within(low: Any, high: Any, likely_low: Any, likely_high: Any) -> dict[str, Any]:
    return {"low": low, "high": high, "likely_low": likely_low, "likely_high": likely_high}


def codes8(*values: int) -> Any:
    return np.array(values, np.int8)


def test_where_a_set_is_admissible_the_distance_is_from_the_set() -> None:
    ends = within(codes8(1, 1, 1, 1), codes8(3, 3, 3, 3), codes8(2, 2, 2, 2), codes8(2, 2, 2, 2))
    given = {"codes": codes8(-1, 1, 3, 7)}
    asked = answer("layer", {}, ends, given, rule="admissible", spec=INT8)
    (found,) = distances_of([asked])
    assert (found.output, found.unit) == ("codes", "codes")
    assert found.counts == {-2: 1, 0: 2, 4: 1}
    (sample,) = samples_of([asked])
    # The furthest outside first.
    assert [element.index for element in sample.elements] == [(3,), (0,)]
    assert sample.elements[0].expected == ("1 … 3", "", "0x01 … 0x03")
    assert sample.elements[0].actual == ("7", "", "0x07")
    assert (sample.differing, sample.size) == (2, 4)


def test_an_unlikely_answer_is_sampled_by_the_probable_set() -> None:
    ends = within(f32(1, 1), f32(2, 2), f32(1.5, 1.5), f32(1.5, 1.5))
    (sample,) = samples_of(
        [answer("float_layer", {}, ends, {"values": f32(1.5, 1.75)}, rule="admissible")]
    )
    assert [element.index for element in sample.elements] == [(1,)]
    assert sample.elements[0].expected == ("1.5", "0x1.8p+0", "0x3fc00000")
    right = answer("float_layer", {}, ends, {"values": f32(1.5, 1.5)}, rule="admissible")
    assert samples_of([right]) == []


def test_a_nan_outside_a_set_is_counted_as_one() -> None:
    ends = within(f32(1, NAN), f32(2, NAN), f32(1, NAN), f32(2, NAN))
    asked = answer("float_layer", {}, ends, {"values": f32(NAN, NAN)}, rule="admissible")
    (found,) = distances_of([asked])
    assert (found.counts, found.nans) == ({0: 1}, 1)
    (sample,) = samples_of([asked])
    assert [element.index for element in sample.elements] == [(0,)]


def test_codes_of_a_small_float_are_measured_on_its_grid_whatever_asks_for_them() -> None:
    # -2^-9 and 2^-9 are two steps apart, their codes 128.
    want, got = {"codes": codes(0x81)}, {"codes": codes(0x01)}
    (found,) = distances_of([answer("export_weights", {}, want, got, spec=E4M3)])
    assert found.counts == {2: 1}


def test_buckets_double() -> None:
    assert buckets({0: 5, 1: 1, 2: 2, 3: 3, 4: 4, 8: 8, -1: 7}) == [
        (-1, -1, 7),
        (0, 0, 5),
        (1, 1, 1),
        (2, 2, 2),
        (3, 4, 7),
        (5, 8, 8),
    ]
    assert buckets({}) == [(0, 0, 0)]
    assert buckets({-5: 1})[0] == (-8, -5, 1)


def test_the_elements_with_the_smallest_inputs_come_first_and_few_are_kept() -> None:
    x = f32(*range(10, 0, -1))
    want, got = {"codes": codes(*[1] * 10)}, {"codes": codes(*[2] * 10)}
    (sample,) = samples_of([answer("encode", {"x": x}, want, got, **FP8)])
    assert (sample.output, sample.differing, sample.size) == ("codes", 10, 10)
    assert [element.index for element in sample.elements] == [(9,), (8,), (7,), (6,)]
    assert len(sample.elements) == ELEMENTS
    assert sample.elements[0].inputs == (("x", ("1.0", "0x1p+0", "0x3f800000")),)
    assert sample.elements[0].expected == ("0.00195312", "0x1p-9", "0x01")


def test_a_right_answer_gives_no_sample() -> None:
    want = {"codes": codes(1)}
    assert samples_of([answer("encode", {"x": f32(1)}, want, want, **FP8)]) == []


def test_points_on_the_line() -> None:
    want, got = {"codes": codes(0x38)}, {"codes": codes(0x39)}
    (encoded,) = samples_of([answer("encode", {"x": f32(1.0625)}, want, got, **FP8)])
    assert encoded.elements[0].point == Point("float8_e4m3fn", "encode", 1.0625, 1.0, 1.125)
    want, got = {"values": f32(2**-9)}, {"values": f32(0)}
    (decoded,) = samples_of([answer("decode", {"codes": codes(1)}, want, got, **FP8)])
    assert decoded.elements[0].point == Point("float8_e4m3fn", "decode", None, 2**-9, 0.0)


def test_a_quantized_input_stands_where_its_quotient_does() -> None:
    inputs = {"x": f32(0, 0, 0, 8.5).reshape(2, 2), "scale": f32(1, 8).reshape(2, 1)}
    want, got = {"codes": codes(0, 0, 0, 0x38)}, {"codes": codes(0, 0, 0, 0x39)}
    want, got = ({"codes": t["codes"].reshape(2, 2)} for t in (want, got))
    (sample,) = samples_of([answer("quantize", inputs, want, got, spec=E4M3)])
    assert sample.elements[0].point == Point("float8_e4m3fn", "quantize", 1.0625, 1.0, 1.125)


def test_integers_and_other_operations_have_no_line() -> None:
    inputs = {"x": f32(1), "scale": f32(1), "zero_point": np.zeros(1, np.int32)}
    want, got = {"codes": np.array([1], np.int8)}, {"codes": np.array([2], np.int8)}
    (integer,) = samples_of([answer("quantize", inputs, want, got, spec=INT8)])
    want, got = {"values": f32(1)}, {"values": f32(2)}
    (fake,) = samples_of([answer("fake_quantize", inputs, want, got, spec=E4M3)])
    assert integer.elements[0].point is None
    assert fake.elements[0].point is None
