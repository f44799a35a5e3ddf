"""SPEC-1 to SPEC-6: the specs that exist, and the ones that are refused."""

import dataclasses
import json
import math
import pickle
from typing import Any

import numpy as np
import pytest
from tests.reference.support import FLOATS, INTEGERS, label, specs

from quant_reference import (
    FormatError,
    PerChannel,
    PerTensor,
    QuantError,
    QuantizationSpec,
    SpecError,
    make_observer,
    value_range,
)


def test_spec_1_omitted_fields() -> None:
    spec = QuantizationSpec()
    assert spec == QuantizationSpec.from_dict({})
    assert spec.to_dict() == {
        "dtype": "int8",
        "qscheme": "symmetric",
        "qformulation": "zp",
        "granularity": {"type": "per_tensor"},
        "float_range": [None, None],
        "scale_dtype": None,
        "qparam_calculator_cls": "default",
        "range_calculator_cls": "minmax",
        "fake_quantize_cls": "default",
    }
    assert spec.granularity == PerTensor()


@pytest.mark.parametrize("spec", specs(), ids=label)
def test_spec_1_a_spec_and_its_plain_form(spec: QuantizationSpec) -> None:
    changed = dataclasses.replace(spec, granularity=PerChannel(-1), float_range=(-1, 0.5))
    for one in (spec, changed):
        plain = json.loads(json.dumps(one.to_dict()))
        assert QuantizationSpec.from_dict(plain) == one
        assert pickle.loads(pickle.dumps(one)) == one
    assert hash(spec) == hash(QuantizationSpec.from_dict(spec.to_dict()))


@pytest.mark.parametrize(
    "field",
    [
        {"qscheme": "affine"},
        {"qscheme": None},
        {"qscheme": ["symmetric"]},
        {"qformulation": "zero_point"},
        {"qparam_calculator_cls": "ema"},
        {"range_calculator_cls": "percentile"},
        {"fake_quantize_cls": "lsq"},
        {"dtype": "float8_e8m0fnu"},
        {"dtyp": "int8"},
        {"QSCHEME": "symmetric"},
        {1: 2},
    ],
)
def test_spec_1_unknown_keys_and_values_are_refused(field: dict[Any, Any]) -> None:
    with pytest.raises(SpecError, match="SPEC-1"):
        QuantizationSpec.from_dict(field)


def test_spec_1_a_near_miss_is_named() -> None:
    with pytest.raises(SpecError, match="did you mean 'qscheme'"):
        QuantizationSpec.from_dict({"qsheme": "symmetric"})


@pytest.mark.parametrize("mapping", [None, [], "int8", [("dtype", "int8")]])
def test_spec_1_a_spec_is_a_mapping(mapping: Any) -> None:
    with pytest.raises(SpecError, match="SPEC-1"):
        QuantizationSpec.from_dict(mapping)


@pytest.mark.parametrize("dtype", ["int16", "float32", None, np.int8, 8])
def test_spec_1_other_dtypes_are_refused(dtype: Any) -> None:
    with pytest.raises(FormatError, match="FMT-4"):
        QuantizationSpec(dtype)


def test_fmt_4_aliases_are_replaced() -> None:
    assert QuantizationSpec("float4_e2m1fn_x2").dtype == "float4_e2m1fn"
    spec = QuantizationSpec("float8_e4m3", scale_dtype="float8_e8m0")
    assert (spec.dtype, spec.scale_dtype) == ("float8_e4m3fn", "float8_e8m0fnu")


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    ("qscheme", "qformulation"),
    [
        ("asymmetric", "zp"),
        ("symmetric_with_clipping", "zp"),
        ("symmetric", "minval"),
        ("asymmetric", "minval"),
    ],
)
def test_spec_2_float_formats_are_symmetric_zp(dtype: str, qscheme: Any, qformulation: Any) -> None:
    with pytest.raises(SpecError, match="SPEC-2"):
        QuantizationSpec(dtype, qscheme, qformulation)


def test_spec_3_scale_dtypes() -> None:
    assert QuantizationSpec("float4_e2m1fn").scale_dtype == "float8_e8m0fnu"
    for dtype in ("float8_e4m3fn", "float8_e5m2"):
        assert QuantizationSpec(dtype).scale_dtype is None
        assert QuantizationSpec(dtype, scale_dtype="float8_e8m0fnu").scale_dtype is not None
        with pytest.raises(SpecError, match="SPEC-3"):
            QuantizationSpec(dtype, scale_dtype="float8_e4m3fn")
    for dtype in INTEGERS:
        with pytest.raises(SpecError, match="SPEC-3"):
            QuantizationSpec(dtype, scale_dtype="float8_e8m0fnu")
    with pytest.raises(QuantError):
        QuantizationSpec("float8_e4m3fn", scale_dtype="float32")


@pytest.mark.parametrize(
    "bounds",
    [
        (-1, None),
        (None, 1),
        (0, None),
        (None, 0),
        (0, 1),
        (-1, 0),
        (-1.5, 2),
        [-1, 1],
        (-1e-60, 1),
        (-1e-60, None),
        (0, 2.0**-149),
        (-(2.0**127), 2.0**127 - 2.0**104),
        (0, 3.4028235e38),
    ],
)
def test_spec_4_ranges_that_hold_zero(bounds: Any) -> None:
    kept = QuantizationSpec(float_range=bounds).float_range
    assert kept == tuple(bounds)
    assert all(bound is None or type(bound) is float for bound in kept)


@pytest.mark.parametrize(
    "bounds",
    [
        (1, 2),
        (-2, -1),
        (1, None),
        (None, -1),
        (0, 0),
        (-0.0, 0.0),
        (1, -1),
        (math.nan, None),
        (None, math.inf),
        (-math.inf, 1),
        (True, None),
        (False, True),
        (None, 10**400),
        # What counts is float32: no such bound, no such difference, one number for both.
        (-1, 1e39),
        (-3.4028236e38, None),
        (-3e38, 3e38),
        (-(2.0**127), 2.0**127),
        (-1e-60, 0),
        (-1e-60, 1e-46),
        ("-1", "1"),
        (-1,),
        (-1, 0, 1),
        (1j, None),
        None,
        5,
        {"lo": -1, "hi": 1},
    ],
)
def test_spec_4_other_ranges_are_refused(bounds: Any) -> None:
    with pytest.raises(SpecError, match="SPEC-4"):
        QuantizationSpec(float_range=bounds)


def test_spec_5_dynamic() -> None:
    for dtype in (*INTEGERS, *FLOATS):
        QuantizationSpec(dtype, qparam_calculator_cls="dynamic")
    refused: list[dict[str, Any]] = [
        {"qscheme": "symmetric_with_clipping"},
        {"float_range": (-1, 1)},
        {"float_range": (None, 1)},
        {"float_range": (-1, None)},
    ]
    for fields in refused:
        with pytest.raises(SpecError, match="SPEC-5"):
            QuantizationSpec(qparam_calculator_cls="dynamic", **fields)
        with pytest.raises(SpecError, match="SPEC-5"):
            make_observer("dynamic", QuantizationSpec(**fields), "activation")


def test_spec_5_dynamic_is_for_activations() -> None:
    spec = QuantizationSpec(qparam_calculator_cls="dynamic")
    x = np.ones((2, 2), np.float32)
    value_range(x, spec, "activation")
    with pytest.raises(SpecError, match="SPEC-5"):
        value_range(x, spec, "weight")
    with pytest.raises(SpecError, match="SPEC-5"):
        make_observer("dynamic", QuantizationSpec(), "weight")


CODES = {
    "int2": (-2, 1),
    "int4": (-8, 7),
    "int8": (-128, 127),
    "uint2": (0, 3),
    "uint4": (0, 15),
    "uint8": (0, 255),
    "float8_e4m3fn": (-448, 448),
    "float8_e5m2": (-57344, 57344),
    "float4_e2m1fn": (-6, 6),
}


@pytest.mark.parametrize("spec", specs(), ids=label)
def test_spec_6_codes_in_use(spec: QuantizationSpec) -> None:
    low, high = CODES[spec.dtype]
    clipped = spec.qscheme == "symmetric_with_clipping" and spec.dtype.startswith("int")
    assert (spec.quant_min, spec.quant_max) == (low + clipped, high)


def test_a_spec_cannot_be_changed() -> None:
    spec = QuantizationSpec()
    for field in dataclasses.fields(spec):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(spec, field.name, None)
    bounds = [-1.0, 1.0]
    plain = {"float_range": bounds, "granularity": {"type": "per_channel", "axis": 0}}
    spec = QuantizationSpec.from_dict(plain)
    bounds[0] = -5.0
    plain["granularity"]["axis"] = 1  # type: ignore[index, call-overload]
    assert spec.float_range == (-1.0, 1.0)
    assert spec.granularity == PerChannel(0)
    spec.to_dict()["float_range"][0] = 3
    assert spec.float_range == (-1.0, 1.0)


@pytest.mark.parametrize("granularity", [PerTensor(), PerChannel(0)])
def test_a_granularity_cannot_be_changed(granularity: Any) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        granularity.axis = 1
    assert len({granularity, type(granularity)(*dataclasses.astuple(granularity))}) == 1
