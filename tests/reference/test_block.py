"""BLK-1 to BLK-8: the numpy form beside exact fractions, under every rule."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from quant_reference import InputError, SpecError, block, decode, oracle
from quant_reference._fast import plain
from quant_reference.block.rules import RULE_ALIASES
from quant_reference.oracle import Number, block_scaling, number

F32 = np.float32
SIZE = 4


def numbers(values: NDArray[Any]) -> list[Number]:
    return [number(float(v)) for v in values.astype(np.float64).ravel()]


def tensor(form: block.BlockForm, count: int) -> NDArray[Any]:
    """Blocks whose greatest magnitudes lie at the boundaries of the rules."""
    rng, element = np.random.default_rng(form.element.bits + form.size), form.element
    top = element.quant_max / 2.0**element.max_pow2
    half = 2.0 ** -(element.mantissa_bits + 1)
    at = rng.choice([1, 1.5, top, top + half, 2 - half, 2 - 2 * half], count)
    greatest = (at * np.exp2(rng.integers(-30, 30, count))).astype(F32)
    toward = rng.choice([0.0, np.inf], count).astype(F32)
    greatest = np.where(rng.random(count) < 0.6, np.nextafter(greatest, toward), greatest)
    x = (rng.uniform(-0.9, 0.9, (count, SIZE)) * greatest[:, None]).astype(F32)
    x[np.arange(count), rng.integers(0, SIZE, count)] = greatest * rng.choice([-1, 1], count)
    return x.reshape(-1)


@pytest.mark.parametrize("name", block.BLOCK_FORMATS)
def test_every_rule_is_the_oracles(name: str) -> None:
    form = block.block_form(name, SIZE, 0)
    x = tensor(form, 60)
    amax = np.asarray(np.abs(x).max() * F32(1.1)) if form.two_levels else None
    outer = None if amax is None else number(float(amax))
    blocks = [numbers(part) for part in x.reshape(-1, SIZE)]
    for rule in block.rules_of("scale", form.two_levels):
        wanted = [
            block_scaling.mx_scale(one, form.element.name, rule)
            if outer is None
            else block_scaling.unsigned_scale(one, outer, rule)
            for one in blocks
        ]
        assert block.block_scale(x, form, amax, rule).tolist() == wanted, rule
    scales = block.block_scale(x, form, amax)
    values = numbers(decode(scales, form.scale))
    for rule in block.rules_of("quantize", form.two_levels):
        codes = block.block_quantize(x, scales, form, amax, rule)
        assert codes.tolist() == [
            block_scaling.element_code(v, values[i // SIZE], form.element.name, rule, outer)
            for i, v in enumerate(numbers(x))
        ], rule
        with plain():
            again = block.block_quantize(x, scales, form, amax, rule)
        np.testing.assert_array_equal(codes, again)
    for rule in block.rules_of("dequantize", form.two_levels):
        found = block.block_dequantize(codes, scales, form, amax, rule)
        assert found.tolist() == [
            float(block_scaling.value(c, values[i // SIZE], form.element.name, rule, outer))
            for i, c in enumerate(codes.tolist())
        ], rule


@pytest.mark.parametrize("name", block.BLOCK_FORMATS)
@pytest.mark.parametrize("rule", block.DOT_RULES)
def test_dot_products_are_the_oracles(name: str, rule: str) -> None:
    form, rng = block.block_form(name, SIZE), np.random.default_rng(5)
    for count in (1, 5):
        tensors, pairs, outer = [], [], []
        for _ in range(2):
            x = (rng.standard_normal(count * SIZE) * np.exp2(rng.integers(-9, 9))).astype(F32)
            amax = np.asarray(np.abs(x).max()) if form.two_levels else None
            scales = block.block_scale(x, form, amax)
            codes = block.block_quantize(x, scales, form, amax)
            tensors.append(block.BlockTensor(codes, scales, form, amax))
            exact = [oracle.decode(int(s), form.scale) for s in scales]
            pairs.append([
                (oracle.decode(c, form.element), exact[i // SIZE])
                for i, c in enumerate(codes.tolist())
            ])  # fmt: skip
            outer.append(
                number(1) if amax is None else block_scaling._scale_of(number(float(amax)))
            )
        found = block.block_dot(tensors[0], tensors[1], rule)
        wanted = block_scaling.dot(pairs[0], pairs[1], SIZE, rule, (outer[0], outer[1]))
        assert float(found) == float(wanted)


def test_tails_and_axes() -> None:
    x = np.arange(1, 16, dtype=F32).reshape(3, 5)
    short = block.block_form("mxfp4", 2, 1, "short")
    scales = block.block_scale(x, short)
    assert scales.shape == (3, 3)
    codes = block.block_quantize(x, scales, short)
    assert codes.shape == (3, 5)
    padded = block.block_quantize(x, scales, block.block_form("mxfp4", 2, 1, "pad"))
    np.testing.assert_array_equal(padded, np.pad(codes, ((0, 0), (0, 1))))
    turned = block.block_form("mxfp4", 2, 0, "short")
    np.testing.assert_array_equal(block.block_scale(x.T, turned), scales.T)
    np.testing.assert_array_equal(
        block.block_quantize(np.asfortranarray(x.T), scales.T, turned), codes.T
    )


def test_special_blocks() -> None:
    form = block.block_form("mxfp8_e4m3", 2)
    x = np.array([0, -0.0, np.nan, 1, np.inf, 1, 1e-45, 0], F32)
    scales = block.block_scale(x, form)
    assert scales.tolist() == [0, 255, 255, 0]
    codes = block.block_quantize(x, scales, form)
    assert codes.tolist()[:2] == [0, 128]
    values = block.block_dequantize(codes, scales, form)
    assert np.isnan(values[2:6]).all()
    nv = block.block_form("nvfp4", 2)
    amax = np.asarray(F32(2688))
    assert block.block_scale(x, nv, amax).tolist() == [0, 127, 126, 0]
    zero = np.zeros(4, np.uint8)
    assert block.block_quantize(x, zero, nv, amax).tolist() == [0] * 8


def test_scales_in_tiles_and_back() -> None:
    rng = np.random.default_rng(3)
    for shape in ((128, 4), (1, 1), (130, 9), (300, 3)):
        scales = rng.integers(0, 256, shape).astype(np.uint8)
        packed = block.swizzle(scales)
        assert packed.tolist() == block_scaling.swizzled(scales.tolist())
        np.testing.assert_array_equal(block.unswizzle(packed, *shape), scales)
    with pytest.raises(InputError, match="BLK-7"):
        block.unswizzle(packed, 5, 5)
    with pytest.raises(InputError, match="BLK-7"):
        block.swizzle(np.ones(4, np.uint8))


X = np.ones((2, 8), F32)


@pytest.mark.parametrize(
    ("clause", "call"),
    [
        ("BLK-1", lambda: block.block_form("mxfp5")),
        ("BLK-2", lambda: block.block_form("mxfp4", 0)),
        ("BLK-2", lambda: block.block_form("mxfp4", 4, -1, "drop")),  # type: ignore[arg-type]
        ("BLK-2", lambda: block.block_scale(X, block.block_form("mxfp4", 3))),
        ("BLK-2", lambda: block.block_scale(X, block.block_form("mxfp4", 4, 2))),
        ("BLK-2", lambda: block.block_scale(X.astype(np.float64), block.block_form("mxfp4", 4))),
        ("BLK-3", lambda: block.block_scale(X, block.block_form("mxfp4", 4), rule="flor")),
        ("BLK-4", lambda: block.block_scale(X, block.block_form("nvfp4", 4))),
        ("BLK-4", lambda: block.block_scale(X, block.block_form("nvfp4", 4), X)),
        ("BLK-4", lambda: block.block_scale(
            X, block.block_form("nvfp4", 4), np.asarray(F32(1)), "floor")),
        ("BLK-5", lambda: block.block_quantize(
            X, np.ones((2, 1), np.uint8), block.block_form("mxfp4", 4))),
        ("BLK-6", lambda: block.block_dequantize(
            np.full((2, 8), 16, np.uint8), np.ones((2, 2), np.uint8),
            block.block_form("mxfp4", 4))),
    ],
)  # fmt: skip
def test_what_is_refused(clause: str, call: Any) -> None:
    with pytest.raises((InputError, SpecError), match=clause):
        call()


def test_rules_have_sources_and_aliases_name_rules() -> None:
    every = {n for step in ("scale", "quantize", "dequantize", "dot") for two in (True, False)
             for n in block.rules_of(step, two)}  # fmt: skip
    assert set(RULE_ALIASES.values()) <= every
    assert not set(RULE_ALIASES) & every
    tables = (block.MX_RULES, block.QUOTIENT_RULES, block.PRODUCT_RULES, block.DOT_RULES)
    assert all(rule.source for table in tables for rule in table.values())
    assert block.get_rule("rceil", "scale", False) == "up_beyond"
    assert block.get_rule("torchao+normal", "scale", True) == "quotient+normal"
    assert len(block.unsigned_rules()) == 36
