"""Sentences of SPEC.md that say "every", "never" or "exact", each held to the numpy form.

A claim is quoted, so that whoever changes the sentence comes by here. What it is tried on is as
much as a second allows: every code, every exponent, every special value in every scheme.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from tests.reference.support import DTYPES, FLOATS, INTEGERS, Array, label, numbers, specs

import quant_reference
from quant_reference import (
    FORMATS,
    QParams,
    QuantizationSpec,
    compute_qparams,
    decode,
    dequantize,
    encode,
    fake_quantize,
    fake_quantize_gradient,
    make_observer,
    oracle,
    pack,
    quantize,
    value_range,
)

SPEC = (Path(quant_reference.__file__).parent / "SPEC.md").read_text(encoding="utf-8")
F32 = np.float32
NAN, INF = np.float32(np.nan), np.float32(np.inf)
EPS = 2.0**-23
# Zeros, subnormals, ordinary numbers, ties, the ends of every dtype, infinities and NaN.
SPECIAL = np.array(
    [
        0.0,
        -0.0,
        1e-45,
        -1e-40,
        2e-38,
        0.5,
        -0.5,
        1.5,
        -2.5,
        300.0,
        -7e4,
        3e38,
        -3e38,
        INF,
        -INF,
        NAN,
    ],
    np.float32,
)
CLAIMS: list[tuple[str, Callable[[], None]]] = []


def claim(sentence: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    def add(check: Callable[[], None]) -> Callable[[], None]:
        CLAIMS.append((sentence, check))
        return check

    return add


def integers() -> Iterator[QuantizationSpec]:
    yield from (spec for spec in specs() if spec.format.is_integer)


def all_codes(spec: QuantizationSpec) -> Array:
    fmt = spec.format
    if fmt.is_integer:
        return np.arange(int(fmt.quant_min), int(fmt.quant_max) + 1).astype(fmt.code_dtype)
    return np.arange(2**fmt.bits, dtype=np.uint8)


def params(spec: QuantizationSpec, scale: float, minval: float = -1.0) -> Iterator[QParams]:
    """One for each of some zero points."""
    for zero_point in sorted({int(spec.quant_min), 1, int(spec.quant_max)}):
        yield QParams(
            np.array([scale], F32), np.array([zero_point], np.int32), np.array([minval], F32)
        )


@claim("a fused multiply-add would give 0.1 (0x1.99999ap-4) here.")
def _() -> None:
    scale, minval = Fraction(float(F32(0.1))), Fraction(float(F32(-0.2)))
    fused = oracle.round_to(oracle.number(3 * scale + minval), oracle.FLOAT32)
    assert float(fused) == float.fromhex("0x1.99999ap-4") == float(F32(0.1))


@claim("the product with the reciprocal is below 1.5 and its code 1")
def _() -> None:
    x, scale = F32(0.0015), F32(0.001)
    assert x / scale == 1.5
    assert np.rint(x * (F32(1) / scale)) == 1


@claim("every negative *x* that rounds to zero, gives the code of −0")
def _() -> None:
    for name in FLOATS:
        least = float(decode(np.array([1], np.uint8), name)[0])
        for x in (-0.0, -1e-45, -least / 4, -least / 2):
            assert encode(np.array([x], F32), name)[0] == 1 << (FORMATS[name].bits - 1)


@claim("The tie between zero and the least subnormal goes to zero (the even code).")
def _() -> None:
    for name in FLOATS:
        tie = decode(np.array([1], np.uint8), name) / F32(2)
        assert encode(tie, name)[0] == 0
        assert encode(np.nextafter(tie, INF), name)[0] == 1


@claim("every finite code of every format is exact in float32 (2^−127 is a subnormal float32)")
def _() -> None:
    for name, fmt in FORMATS.items():
        codes = np.arange(1 << fmt.bits).astype(np.uint8).view(fmt.code_dtype)
        if fmt.is_integer:
            codes = all_codes(QuantizationSpec(name))
        values = decode(codes.astype(fmt.code_dtype), name)
        exact = [oracle.decode(int(code), fmt) for code in codes]
        finite = [(v, e) for v, e in zip(values, exact, strict=True) if e.kind == "finite"]
        assert all(Fraction(float(v)) == e.exact for v, e in finite)
    assert decode(np.array([0], np.uint8), "float8_e8m0fnu")[0] == F32(2.0**-127)


@claim("8-bit codes are the bytes themselves")
def _() -> None:
    codes = np.arange(-128, 128).astype(np.int8)
    for order in ("low_first", "high_first"):
        assert pack(codes, "int8", order).tobytes() == codes.tobytes()


@claim("is the same as `symmetric` for an unsigned one")
def _() -> None:
    for name in (n for n in INTEGERS if n.startswith("u")):
        one, other = (QuantizationSpec(name, s) for s in ("symmetric", "symmetric_with_clipping"))
        assert (one.quant_min, one.quant_max) == (other.quant_min, other.quant_max)


@claim("which is exact. All arithmetic is float32. An empty tensor gives an empty result.")
def _() -> None:
    for dtype, spec in product(DTYPES.values(), specs()):
        qparams = next(params(spec, 1.0))
        empty = np.empty((0,), dtype)
        assert quantize(empty, spec, qparams).shape == (0,)
        assert fake_quantize(empty, spec, qparams).dtype == dtype
        assert fake_quantize_gradient(empty, empty, spec, qparams).shape == (0,)
        assert dequantize(empty.astype(spec.format.code_dtype), spec, qparams).shape == (0,)


@claim("It is compared in every floating-point result except in `lo`, `hi` and `minval`")
def _() -> None:
    """And in those three it shows in no output."""
    for spec in integers():
        positive, negative = np.zeros(1, F32), -np.zeros(1, F32)
        for one, other in product((positive, negative), repeat=2):
            a, b = compute_qparams(one, -one, spec), compute_qparams(other, -other, spec)
            assert a.scale.tobytes() == b.scale.tobytes()
            assert np.array_equal(a.zero_point, b.zero_point)  # type: ignore[arg-type]
        if spec.qformulation == "minval":
            for x in SPECIAL.reshape(-1, 1):
                a, b = (QParams(np.ones(1, F32), None, zero) for zero in (positive, negative))
                assert quantize(x, spec, a) == quantize(x, spec, b)
                assert fake_quantize(x, spec, a).tobytes() == fake_quantize(x, spec, b).tobytes()
            for code in all_codes(spec).reshape(-1, 1):
                assert dequantize(code, spec, a).tobytes() == dequantize(code, spec, b).tobytes()


def ranges() -> Iterator[tuple[Array, Array]]:
    for dtype in DTYPES.values():
        with np.errstate(over="ignore"):
            values = SPECIAL.astype(dtype)
        for a, b in product(values, repeat=2):
            x = np.array([a, b])
            yield value_range(x, QuantizationSpec(), "weight")


@functools.cache
def scales() -> list[tuple[QuantizationSpec, QParams]]:
    found = list(ranges())
    return [(spec, compute_qparams(lo, hi, spec)) for spec in specs() for lo, hi in found]


@claim("Every scale of a spec but an e8m0 one is at least eps = 2^−23, or NaN")
def _() -> None:
    for spec, qparams in scales():
        if spec.scale_dtype is None:
            assert qparams.scale[0] >= EPS or np.isnan(qparams.scale[0])


@claim("eps is exact in all three dtypes")
def _() -> None:
    assert all(float(np.array(EPS).astype(dtype)) == EPS for dtype in DTYPES.values())


@claim("never rounded up, except to the least scale")
def _() -> None:
    for spec in (s for s in specs() if s.scale_dtype):
        for exponent in range(-149, 128):
            for factor in (1.0, 1.5, 2 - 2.0**-23):
                hi = np.array([np.float64(factor) * 2.0**exponent], F32)
                scale = float(compute_qparams(-hi * 0, hi, spec).scale[0])
                # Floor: a power of two p with p · 2^max_pow2 <= max_abs < 2p · 2^max_pow2.
                times = (
                    Fraction(float(hi[0])) / Fraction(2) ** spec.format.max_pow2 / Fraction(scale)
                )
                assert 1 <= times < 2 or (scale == 2.0**-126 and times < 2)


@claim("No finite range leads beyond 2^125")
def _() -> None:
    hi = np.array([np.finfo(F32).max])
    e8m0 = [compute_qparams(-hi * 0, hi, s).scale[0] for s in specs() if s.scale_dtype]
    assert max(e8m0) == 2.0**125


@claim("whatever the formulation")
def _() -> None:
    one = np.ones(1, F32)
    for spec in specs():
        qparams = compute_qparams(-one, one, spec)
        assert (qparams.zero_point is None) == (qparams.minval is None) != spec.format.is_integer


@claim("(For float16 and bfloat16 operands that equals one rounding of the exact result.)")
def _() -> None:
    """The quotient by each of the divisors, at every bfloat16 and float16 number."""
    divisors = (
        255.0,
        254.0,
        127.5,
        127.0,
        15.0,
        14.0,
        7.5,
        7.0,
        3.0,
        2.0,
        1.5,
        1.0,
        448.0,
        57344.0,
    )
    bits = np.arange(0x7C00, dtype=np.uint16)
    for name in ("float16", "bfloat16"):
        dtype = DTYPES[name]
        values = bits.view(dtype).astype(np.float64)
        for divisor in divisors:
            twice = (values.astype(F32) / F32(divisor)).astype(dtype).astype(np.float64)
            # float64 is off by 2^-53 of the quotient; a tie of the dtype is exact in it, or is
            # further from the quotient than that, because the divisor has 16 bits at most.
            once = (values / divisor).astype(dtype).astype(np.float64)
            assert np.array_equal(twice, once), (name, divisor)


@claim("With a NaN scale, fake_quantize and dequantize give NaN for every element of the block.")
def _() -> None:
    for spec in specs():
        for qparams in params(spec, np.nan):
            assert np.isnan(fake_quantize(SPECIAL, spec, qparams)).all()
            assert np.isnan(dequantize(all_codes(spec), spec, qparams)).all()


@claim("With an infinite one, fake_quantize gives NaN, too")
def _() -> None:
    for spec in (s for s in specs() if s.scale_dtype is None):
        for minval in (-1.0, 0.0, -3e38, -np.inf, np.nan):
            for qparams in params(spec, np.inf, minval):
                for dtype in DTYPES.values():
                    with np.errstate(over="ignore"):
                        x = SPECIAL.astype(dtype)
                    assert np.isnan(fake_quantize(x, spec, qparams)).all(), label(spec)


@claim("dequantize follows DQ-1 to DQ-3, so that 0 · ∞ is NaN and every other product an infinity")
def _() -> None:
    for spec in (s for s in specs() if s.scale_dtype is None):
        codes = all_codes(spec)
        for qparams in params(spec, np.inf):
            assert qparams.zero_point is not None
            zero = decode(codes, spec.format)
            if spec.format.is_integer:
                offset = spec.quant_min if spec.qformulation == "minval" else qparams.zero_point
                zero = zero - offset
            with np.errstate(invalid="ignore"):
                got = dequantize(codes, spec, qparams)
            nan = (zero == 0) | np.isnan(zero)
            assert np.isnan(got[nan]).all()
            assert np.array_equal(got[~nan], np.copysign(INF, zero[~nan]))
    # The block that named this sentence: it is not NaN throughout.
    qparams = QParams(np.array([np.inf], F32), np.array([0], np.int32))
    got = dequantize(np.array([0, 1, -5], np.int8), QuantizationSpec(), qparams)
    assert np.isnan(got[0])
    assert got[1:].tolist() == [np.inf, -np.inf]


@claim("quantize stores what Q-3 to Q-6 say of a quotient that is zero or NaN.")
def _() -> None:
    for spec in integers():
        for scale, qparams in ((s, p) for s in (np.nan, np.inf) for p in params(spec, s)):
            assert qparams.zero_point is not None
            wanted = spec.quant_min if spec.qformulation == "minval" else qparams.zero_point[0]
            wanted = np.clip(wanted, spec.quant_min, spec.quant_max)
            assert set(quantize(SPECIAL, spec, qparams).tolist()) == {int(wanted)}, scale
    for spec in (s for s in specs() if not s.format.is_integer):
        for scale in (np.nan, np.inf) if spec.scale_dtype is None else (np.nan,):
            values = decode(quantize(SPECIAL, spec, QParams(np.array([scale], F32))), spec.format)
            assert (np.isnan(values) | (values == 0)).all()


@claim("Where the scale is not finite the zero_point is the zero code of QP-4.")
def _() -> None:
    for spec, qparams in scales():
        if spec.format.is_integer and not np.isfinite(qparams.scale[0]):
            code = 0 if spec.format.kind == "int" else 2 ** (spec.format.bits - 1)
            assert qparams.zero_point is not None
            assert qparams.zero_point[0] == code


@claim("(reference; with a finite scale it dequantizes to 0)")
def _() -> None:
    for spec in (s for s in integers() if s.qformulation == "zp"):
        for scale in (2.0**-149, 1.0, 3e38):
            for qparams in params(spec, scale):
                codes = quantize(np.array([np.nan], F32), spec, qparams)
                assert dequantize(codes, spec, qparams).tobytes() == np.zeros(1, F32).tobytes()


@claim("q = zero_point gives +0, or NaN where the scale is not finite")
def _() -> None:
    for spec in (s for s in integers() if s.qformulation == "zp"):
        for scale in (2.0**-149, 1.0, 3e38, np.inf, np.nan):
            for qparams in params(spec, scale):
                assert qparams.zero_point is not None
                codes = qparams.zero_point.astype(spec.format.code_dtype)
                got = dequantize(codes, spec, qparams)
                if np.isfinite(scale):
                    assert got.tobytes() == np.zeros(1, F32).tobytes()
                else:
                    assert np.isnan(got).all()


@claim("is quantized to the zero point gives +0, also for −0 and for small negative x")
def _() -> None:
    x = np.array([-0.0, 0.0, -1e-45, -0.4, 0.4, -0.5], F32)
    for spec in (s for s in integers() if s.qformulation == "zp"):
        for qparams in params(spec, 1.0):
            assert fake_quantize(x, spec, qparams).tobytes() == np.zeros(6, F32).tobytes()


@claim("any conversion to an integer type: 3e9/1 is quant_max, a quotient of ±infinity goes to")
def _() -> None:
    x = np.array([3e9, np.inf, -np.inf], F32)
    for spec in integers():
        for qparams in params(spec, 1.0):
            ends = [spec.quant_max, spec.quant_max, spec.quant_min]
            assert quantize(x, spec, qparams).tolist() == ends


@claim("the difference is exact")
def _() -> None:
    for spec in (s for s in integers() if s.qformulation == "zp"):
        for qparams in params(spec, 1.0):
            assert qparams.zero_point is not None
            wanted = all_codes(spec).astype(int) - int(qparams.zero_point[0])
            assert dequantize(all_codes(spec), spec, qparams).tolist() == wanted.tolist()


@claim("whatever the incoming gradient, infinities and NaN included")
def _() -> None:
    for spec in specs():
        for qparams in params(spec, 1.0):
            outside = np.full(SPECIAL.shape, 1e6, F32)
            got = fake_quantize_gradient(outside, SPECIAL, spec, qparams)
            assert got.tobytes() == np.zeros_like(SPECIAL).tobytes()
            nan = np.full(SPECIAL.shape, np.nan, F32)  # GRAD-4
            got = fake_quantize_gradient(nan, SPECIAL, spec, qparams)
            assert got.tobytes() == np.zeros_like(SPECIAL).tobytes()


@claim("A NaN stays in a moving average and in a global range, and is gone from a static one")
def _() -> None:
    for kind, stays in (("moving_average", True), ("global_minmax", True), ("static", False)):
        observer = make_observer(kind, QuantizationSpec(), "activation")  # type: ignore[arg-type]
        for batch in ([1.0, np.nan], [1.0, 2.0], [3.0, -1.0]):
            observer = observer.update(np.array(batch, F32))
        assert observer.lo is not None
        assert bool(np.isnan(observer.lo).any()) is stays


@claim("a single fixed bound is averaged with itself like any other, so that rounding may move it")
def _() -> None:
    moved = set()
    for bound in np.linspace(0.1, 2, 64):
        spec = QuantizationSpec(float_range=(None, float(bound)))
        observer = make_observer("moving_average", spec, "activation", 0.1)
        batches = [np.array([-1.0], F32)] * 2
        first = observer.update(batches[0])
        second = first.update(batches[1])
        assert first.hi is not None
        assert second.hi is not None
        moved.add(int(second.hi.view(np.int32)[0]) - int(first.hi.view(np.int32)[0]))
    assert moved <= {-1, 0, 1}
    assert len(moved) > 1


@claim("the other still turns NaN, and QP-8 makes the scale NaN")
def _() -> None:
    x = np.array([1.0, np.nan], F32)
    for spec, bounds in product(specs(), ((-1.0, None), (None, 1.0))):
        fixed = QuantizationSpec.from_dict({**spec.to_dict(), "float_range": bounds})
        lo, hi = value_range(x, fixed, "activation")
        assert np.isnan(hi if bounds[1] is None else lo).all()
        assert np.isnan(compute_qparams(lo, hi, fixed).scale).all()


@claim("in float32 throughout")
def _() -> None:
    """FQ-1, FQ-2 and FQ-3: the composition, NaN aside, rounded once more to x's dtype."""
    for spec, dtype in product(specs(), DTYPES.values()):
        for qparams in params(spec, 0.5):
            with np.errstate(over="ignore"):
                x = SPECIAL.astype(dtype)
                wanted = dequantize(quantize(x, spec, qparams), spec, qparams).astype(dtype)
            got = fake_quantize(x, spec, qparams)
            nan = np.isnan(x)
            assert np.isnan(got[nan]).all()
            assert got[~nan].tobytes() == wanted[~nan].tobytes()


@pytest.mark.parametrize(
    ("sentence", "check"), CLAIMS, ids=[sentence[:60] for sentence, _ in CLAIMS]
)
def test_the_sentence_is_there_and_true(sentence: str, check: Callable[[], None]) -> None:
    assert SPEC.count(sentence) == 1
    check()


def test_the_oracle_agrees_about_scales_that_are_not_finite() -> None:
    """The oracle was written from the clauses; what it says of QP-8 is what the clause says."""
    for spec in (s for s in specs() if s.scale_dtype is None):
        for scale, minval in product((np.nan, np.inf), (-1.0, -np.inf)):
            for qparams in params(spec, scale, minval):
                block = oracle.BlockQParams(
                    numbers(qparams.scale)[0],
                    int(qparams.zero_point[0]),  # type: ignore[index]
                    numbers(qparams.minval)[0],  # type: ignore[arg-type]
                )
                for x in numbers(SPECIAL):
                    assert oracle.fake_quantize(x, spec, block, "float32").is_nan
