"""Bad input is refused with what was given, what is allowed, and a clause that exists."""

import pickle
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import quant_reference
from quant_reference import (
    FormatError,
    GranularityError,
    InputError,
    PerBlock,
    PerChannel,
    QParams,
    QuantError,
    QuantizationSpec,
    SpecError,
    block_shape,
    compute_qparams,
    decode,
    dequantize,
    encode,
    fake_quantize,
    fake_quantize_gradient,
    get_format,
    make_observer,
    pack,
    quantize,
    unpack,
    value_range,
)

SPEC_MD = Path(quant_reference.__file__).with_name("SPEC.md").read_text(encoding="utf-8")
CLAUSES = set(re.findall(r"^### ([A-Z0-9]+-\d+) ", SPEC_MD, re.MULTILINE))

INT8 = QuantizationSpec()
CLIPPED = QuantizationSpec(qscheme="symmetric_with_clipping")
MINVAL = QuantizationSpec(qformulation="minval")
FP8 = QuantizationSpec("float8_e4m3fn")
FP4 = QuantizationSpec("float4_e2m1fn")
X = np.zeros((2, 3), np.float32)
ONE = np.ones((1, 1), np.float32)
ZERO = np.zeros((1, 1), np.int32)
LEAST = np.full((1, 1), -128, np.int32)
PAIR = np.ones((1, 2), np.float32)
FLOAT8 = np.zeros(2, ml_dtypes.float8_e4m3fn)
CODES = np.zeros((2, 3), np.int8)


def scale_of(value: float, dtype: Any = np.float32) -> QParams:
    return QParams(np.array([[value]], dtype), ZERO, -ONE)


# What is done; the error's class and clause; what its message names as given and as allowed.
# fmt: off
CASES: dict[str, tuple[Callable[[], object], type[QuantError], str, str, str]] = {
    "unknown format": (lambda: encode(X, "int3"),
        FormatError, "FMT-4", "int3", "uint4"),
    "close format": (lambda: get_format("float8_e4m4fn"),
        FormatError, "FMT-4", "e4m4", "float8"),
    "unknown dtype": (lambda: QuantizationSpec("int16"),
        FormatError, "FMT-4", "int16", "int8"),
    "scale format as dtype": (lambda: QuantizationSpec("float8_e8m0fnu"),
        SpecError, "SPEC-1", "float8_e8m0fnu", "int8"),
    "unknown key": (lambda: QuantizationSpec.from_dict({"qschema": 1}),
        SpecError, "SPEC-1", "qschema", "qscheme"),
    "object dtype": (lambda: encode(np.array([1.0, None]), "int8"),
        InputError, "ENC-1", "dtype('O')", "float16, bfloat16 or float32"),
    "strings": (lambda: quantize(np.array(["1"]), INT8, scale_of(1)),
        InputError, "Q-1", "<U1", "float32"),
    "float64": (lambda: fake_quantize(X.astype(np.float64), INT8, scale_of(1)),
        InputError, "FQ-1", "float64", "float32"),
    "integers": (lambda: quantize(X.astype(np.int32), INT8, scale_of(1)),
        InputError, "Q-1", "int32", "float32"),
    "a float8 array": (lambda: encode(FLOAT8, "float8_e5m2"),
        InputError, "ENC-1", "float8_e4m3fn", "bfloat16"),
    "object codes": (lambda: decode(np.array([1, None]), "int8"),
        InputError, "DEC-1", "dtype('O')", "int8"),
    "wide code": (lambda: dequantize(CODES + np.int8(8), QuantizationSpec("int4"), scale_of(1)),
        InputError, "DQ-4", "8", "-8 to 7"),
    "codes of another dtype": (lambda: dequantize(CODES.astype(np.int32), INT8, scale_of(1)),
        InputError, "DQ-4", "int32", "int8"),
    "object bytes": (lambda: unpack(np.array([None]), "int4", "low_first", 1),
        InputError, "PACK-1", "dtype('O')", "uint8, 1-D"),
    "wide code to pack": (lambda: pack(np.array([16], np.uint8), "uint4", "low_first"),
        InputError, "PACK-1", "16", "0 to 15"),
    "NaN to an integer": (lambda: encode(np.array([np.nan], np.float32), "uint8"),
        InputError, "ENC-7", "NaN", "numbers"),
    "no power of two": (lambda: encode(np.array([3.0], np.float32), "float8_e8m0fnu"),
        FormatError, "ENC-6", "3.0", "powers of two"),
    "wrong rank": (lambda: quantize(X, INT8, QParams(ONE[0], ZERO[0])),
        InputError, "Q-8", "(1,)", "rank"),
    "blocks that do not divide": (lambda: quantize(X, INT8, QParams(PAIR, PAIR.astype(np.int32))),
        InputError, "Q-8", "(1, 2)", "divides"),
    "indivisible block": (lambda: block_shape((2, 3), PerBlock(1, 2), "weight"),
        GranularityError, "GRAN-6", "2", "a divisor of 3"),
    "axis out of range": (lambda: block_shape((2, 3), PerChannel(2), "weight"),
        GranularityError, "GRAN-6", "2", "-2 to 1"),
    "axis missing": (lambda: value_range(X, QuantizationSpec(granularity=PerChannel()), "weight"),
        GranularityError, "GRAN-6", "None", "-2 to 1"),
    "empty tensor": (lambda: make_observer("static", INT8, "weight").update(X[:0, :2]),
        InputError, "RANGE-5", "(0, 2)", "at least one element"),
    "a range without zero": (lambda: compute_qparams(ONE, ONE, INT8),
        InputError, "RANGE-1", "1.", "lo <= 0 <= hi"),
    "scale of zero": (lambda: quantize(X, INT8, scale_of(0)),
        InputError, "Q-8", "0", "positive"),
    "negative scale": (lambda: quantize(X, INT8, scale_of(-1)),
        InputError, "Q-8", "-1", "positive"),
    "minus infinity as scale": (lambda: fake_quantize(X, INT8, scale_of(-np.inf)),
        InputError, "Q-8", "-inf", "+infinity"),
    "scale of float64": (lambda: quantize(X, INT8, scale_of(1, np.float64)),
        InputError, "Q-8", "float64", "float32"),
    "scale of object": (lambda: quantize(X, INT8, QParams(np.array([[None]]), ZERO)),
        InputError, "Q-8", "dtype('O')", "float32"),
    "no scale": (lambda: quantize(X, INT8, QParams(None, ZERO)),
        InputError, "Q-8", "None", "float32"),
    "e8m0 scale of 3": (lambda: quantize(X, FP4, QParams(3 * ONE)),
        InputError, "Q-8", "3.0", "power of two"),
    "e8m0 scale of infinity": (lambda: quantize(X, FP4, QParams(np.inf * ONE)),
        InputError, "Q-8", "inf", "power of two"),
    "e8m0 scale too small": (lambda: quantize(X, FP4, QParams(np.float32(2.0**-128) * ONE)),
        InputError, "Q-8", "e-39", "2**-127"),
    "no zero point": (lambda: quantize(X, INT8, QParams(ONE)),
        InputError, "Q-8", "None", "int32"),
    "zero point of int64": (lambda: dequantize(CODES, INT8, QParams(ONE, ZERO.astype(np.int64))),
        InputError, "Q-8", "int64", "int32"),
    "zero point too great": (lambda: quantize(X, INT8, QParams(ONE, ZERO + np.int32(128))),
        InputError, "Q-8", "128", "-128 to 127"),
    "zero point dropped by clipping": (lambda: quantize(X, CLIPPED, QParams(ONE, LEAST)),
        InputError, "Q-8", "-128", "-127 to 127"),
    "no minval": (lambda: fake_quantize(X, MINVAL, QParams(ONE, ZERO)),
        InputError, "Q-8", "None", "float32"),
    "minval of another shape": (lambda: quantize(X, MINVAL, QParams(ONE, None, PAIR)),
        InputError, "Q-8", "(1, 2)", "(1, 1)"),
    "zero point of another shape": (lambda: quantize(X, INT8, QParams(ONE, PAIR.astype(np.int32))),
        InputError, "Q-8", "(1, 2)", "(1, 1)"),
    "grad of another shape": (lambda: fake_quantize_gradient(X, X.T, INT8, scale_of(1)),
        InputError, "GRAD-1", "(3, 2)", "(2, 3)"),
    "one infinite bound": (lambda: QuantizationSpec(float_range=(None, float("inf"))),
        SpecError, "SPEC-4", "inf", "finite"),
    "unknown observer": (lambda: make_observer("histogram", INT8, "activation"),
        SpecError, "OBS-1", "histogram", "moving_average"),
    "scale_dtype that is no scale": (lambda: replace(FP8, scale_dtype="float16"),
        SpecError, "SPEC-3", "float16", "None, float8_e8m0fnu"),
    "scale_dtype that is no name": (lambda: replace(FP8, scale_dtype=["x"]),
        SpecError, "SPEC-3", "['x']", "None, float8_e8m0fnu"),
    "a spec's plain form": (lambda: quantize(X, INT8.to_dict(), scale_of(1)),
        SpecError, "SPEC-1", "int8", "a QuantizationSpec"),
    "no spec to dequantize": (lambda: dequantize(CODES, None, scale_of(1)),
        SpecError, "SPEC-1", "None", "a QuantizationSpec"),
    "no spec for a range": (lambda: value_range(X, None, "weight"),
        SpecError, "SPEC-1", "None", "a QuantizationSpec"),
    "no spec for qparams": (lambda: compute_qparams(-ONE, ONE, "int8"),
        SpecError, "SPEC-1", "int8", "a QuantizationSpec"),
    "no spec for an observer": (lambda: make_observer("static", None, "weight"),
        SpecError, "SPEC-1", "None", "a QuantizationSpec"),
    "a tuple of qparams": (lambda: fake_quantize(X, INT8, (ONE, ZERO)),
        InputError, "Q-8", "array", "a QParams"),
    "no qparams": (lambda: fake_quantize_gradient(X, X, INT8, None),
        InputError, "Q-8", "None", "a QParams"),
    "lo and hi of two dtypes": (lambda: compute_qparams(-ONE, ONE.astype(np.float16), INT8),
        InputError, "QP-9", "float16", "one dtype"),
}
# fmt: on


@pytest.mark.parametrize("case", CASES)
def test_the_error_says_what_was_given_what_is_allowed_and_the_clause(case: str) -> None:
    action, error, clause, given, allowed = CASES[case]
    with pytest.raises(error) as refusal:
        action()
    raised = refusal.value
    assert type(raised) is error
    assert isinstance(raised, ValueError)
    assert raised.clause == clause
    assert clause in CLAUSES
    assert given in raised.given
    assert allowed in raised.allowed
    message = str(raised)
    for part in (raised.what, raised.given, raised.allowed, f"[{clause}]"):
        assert part
        assert part in message
    assert "\n" not in message


@pytest.mark.parametrize("case", CASES)
def test_an_error_survives_a_process_boundary(case: str) -> None:
    with pytest.raises(QuantError) as refusal:
        CASES[case][0]()
    copy = pickle.loads(pickle.dumps(refusal.value))
    assert type(copy) is type(refusal.value)
    assert str(copy) == str(refusal.value)
    assert (copy.given, copy.allowed, copy.clause) == (
        refusal.value.given,
        refusal.value.allowed,
        refusal.value.clause,
    )


def test_what_was_given_is_shortened() -> None:
    with pytest.raises(FormatError) as refusal:
        get_format("x" * 5000)
    assert len(str(refusal.value)) < 600


def test_every_clause_that_the_sources_cite_exists() -> None:
    cited = set()
    for path in Path(quant_reference.__file__).parent.rglob("*.py"):
        cited |= set(re.findall(r'clause="([^"]+)"', path.read_text(encoding="utf-8")))
    assert cited
    assert cited <= CLAUSES
