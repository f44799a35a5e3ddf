"""block_scale, block_quantize, block_dequantize: rules at their boundaries (BLK-1 to BLK-6)."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from quant_conformance.generate.builder import Builder
from quant_conformance.generate.floats import cast, f32, step
from quant_conformance.generate.streams import integers, reals
from quant_conformance.rule_questions.blocks import form_arguments
from quant_reference import decode
from quant_reference.block import BLOCK_FORMATS, BlockForm, block_form, block_quantize, block_scale
from quant_reference.block.forms import Tail

Array = NDArray[Any]
F32 = np.float32
MX: Final = tuple(name for name in BLOCK_FORMATS if name != "nvfp4")


def build(builder: Builder) -> None:
    """Add the three families."""
    for name in MX:
        _mx_boundaries(builder, name)
        _mx_range(builder, name)
    _nvfp4_boundaries(builder)
    for name in BLOCK_FORMATS:
        _cuts(builder, name)
        _tensors(builder, name)
    _nvfp4_elements(builder)
    _own_scales(builder)
    _refused(builder)


def amax_of(form: BlockForm, x: Array) -> Array | None:
    """The greatest magnitude of a tensor, for a format of two levels."""
    if not form.two_levels:
        return None
    return np.asarray(np.abs(x.astype(F32)).max().astype(F32))


def add(
    builder: Builder, operation: str, case: str, form: BlockForm, tensors: dict[str, Any],
    clauses: str, flags: str, comment: str, **more: Any,
) -> None:  # fmt: skip
    """Add a case, told by its rules where they part."""
    given = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    policy = more.pop("policy", None)
    asked: dict[str, Any] = {
        "clauses": clauses, "flags": flags, "comment": comment, "inputs": given,
        "arguments": {"block": form_arguments(form)}, **more,
    }  # fmt: skip
    if policy is not None:
        builder.add(f"{operation}/{form.name}/{case}", operation, policy=policy, **asked)
    else:
        builder.add_told(f"{operation}/{form.name}/{case}", operation, **asked)


def filled(greatest: Array, size: int, label: str) -> Array:
    """Blocks whose greatest magnitudes are given, at places and with signs that change."""
    count = greatest.size
    x = reals(label, (count, size), exponents=(-5, -1)).astype(F32) * greatest[:, None] * F32(0.9)
    place = integers(f"{label}/place", (count,), 0, size - 1)
    sign = np.where(integers(f"{label}/sign", (count,), 0, 1) == 1, F32(1), F32(-1))
    x[np.arange(count), place] = greatest * sign
    return np.asarray(x.reshape(-1))


def significands(form: BlockForm) -> Array:
    """What a rule of BLK-3 decides at: 1, max, the midpoint above it, the last tie, and 2."""
    element = form.element
    top = element.quant_max / 2.0**element.max_pow2
    half = 2.0 ** -(element.mantissa_bits + 1)
    exact = f32(1.0, 1.25, 1.5, top, top + half, 2 - half, 2 - 2 * half)
    return np.concatenate([step(exact, n) for n in (-1, 0, 1)])


def _mx_boundaries(builder: Builder, name: str) -> None:
    form = block_form(name, 8)
    for exponent in (-100, -7, -1, 0, 3, 30, 90):
        greatest = np.ldexp(significands(form), exponent).astype(F32)
        x = filled(greatest, 8, f"block/{name}/{exponent}")
        add(
            builder, "block_scale", f"boundaries/2e{exponent}", form, {"x": x},
            "BLK-1 BLK-3", "BlockScaleRule", "greatest magnitudes at the boundaries of the rules",
        )  # fmt: skip
    one = block_form(name, 1)
    for exponent in (-3, 5):
        x = np.ldexp(significands(form), exponent).astype(F32)
        for dtype in ("float16", "bfloat16"):
            add(
                builder, "block_scale", f"boundaries/{dtype}/2e{exponent}", one,
                {"x": cast(x, dtype)}, "BLK-3", "BlockScaleRule", f"greatest magnitudes of {dtype}",
            )  # fmt: skip


def _mx_range(builder: Builder, name: str) -> None:
    form = block_form(name, 4)
    ends = {
        "tiny": np.ldexp(F32(1.25), np.arange(-149, -118)),
        "huge": np.ldexp(F32(1.75), np.arange(110, 128)),
    }
    for word, greatest in ends.items():
        x = filled(greatest.astype(F32), 4, f"block/{name}/{word}")
        add(builder, "block_scale", f"range/{word}", form, {"x": x}, "BLK-3",
            "BlockScaleRange", "scales at the ends of their format")  # fmt: skip
    most = np.repeat(np.finfo(F32).max, 8).astype(F32)
    add(builder, "block_scale", "range/greatest", form, {"x": most}, "BLK-3", "BlockScaleRange",
        "the greatest number of float32")  # fmt: skip
    zeros = f32(0, -0.0, 0, 0, -0.0, -0.0, -0.0, -0.0)
    add(builder, "block_scale", "zeros", form, {"x": zeros}, "BLK-3", "ZeroBlock",
        "blocks of zeros", policy="zero_block_scale")  # fmt: skip
    for word, value in (("nan", np.nan), ("infinity", np.inf), ("minus-infinity", -np.inf)):
        x = f32(1, value, 2, -3, 0.5, -value, value, 0)
        add(builder, "block_scale", f"nonfinite/{word}", form, {"x": x}, "BLK-3", "BlockNaN",
            f"blocks with {word}",
            policy="e8m0_nonfinite_range" if form.element.max_pow2 else None)  # fmt: skip
    scales = np.array([0, 1, 127, 254, 255, 200], np.uint8)
    x = reals(f"block/{name}/scales", (24,), exponents=(-3, 1)).astype(F32)
    x[:4] *= F32(2.0**-126)
    x[12:16] *= F32(2.0**122)
    numbers = x if form.element.has_nan else x[: 4 * 4]
    add(
        builder, "block_quantize", "scales", form,
        {"x": numbers, "scales": scales[: numbers.size // 4]}, "BLK-5", "BlockScaleRange BlockNaN",
        "scales at the ends of their format",
    )  # fmt: skip
    codes = np.resize(np.arange(1 << form.element.bits), 24).astype(np.uint8)
    add(
        builder, "block_dequantize", "scales", form,
        {"codes": codes.view(form.element.code_dtype), "scales": scales}, "BLK-6",
        "BlockScaleRange BlockNaN", "scales at the ends of their format",
    )  # fmt: skip


def _unsigned_targets() -> Array:
    """Every E4M3 scale from 2^-9, the midpoints above, and what lies below and beyond."""
    values = decode(np.arange(127, dtype=np.uint8), "float8_ue4m3").astype(np.float64)
    middles = (values[:-1] + values[1:]) / 2
    return np.concatenate([values[1:], middles, [1e-5, 2.0**-11, 450, 463, 464, 465, 500, 2000]])


def _nvfp4_boundaries(builder: Builder) -> None:
    form = block_form("nvfp4", 4)
    targets = _unsigned_targets()
    for index, amax in enumerate(f32(2688, 3.7, 0.0123, 411.2, 9e4, 7e-9, 1.0)):
        for part, chunk in enumerate(np.array_split(targets, 3)):
            greatest = (chunk * 6 * float(amax) / 2688).astype(F32)
            shift = (index + np.arange(greatest.size)) % 3 - 1
            x = filled(step(greatest, shift), 4, f"block/nvfp4/{index}/{part}")
            add(
                builder, "block_scale", f"boundaries/{index}-{part}", form,
                {"x": x, "tensor_amax": np.asarray(amax)}, "BLK-1 BLK-4",
                "ScaleRounding TensorScale BlockScaleRange",
                "scales and midpoints of E4M3, one step beside some",
            )  # fmt: skip
    x = f32(0, -0.0, 0, 0, 1, -6, 0.25, 0)
    add(builder, "block_scale", "zeros", form, {"x": x, "tensor_amax": np.asarray(F32(6))},
        "BLK-4", "ZeroBlock", "a block of zeros beside another")  # fmt: skip
    x = f32(1, np.nan, 2, 3, 1, np.inf, -2, 3)
    add(builder, "block_scale", "nonfinite", form, {"x": x, "tensor_amax": np.asarray(F32(448))},
        "BLK-4", "BlockNaN", "a block with NaN, and one with infinity")  # fmt: skip
    scales = np.array([0, 8], np.uint8)
    x = f32(0, -0.0, 1, -1, 0.25, -0.1, 0.01, 1)
    add(builder, "block_quantize", "zero-scale", form,
        {"x": x, "scales": scales, "tensor_amax": np.asarray(F32(2688))}, "BLK-5", "ZeroBlock",
        "a scale of zero")  # fmt: skip


def _cuts(builder: Builder, name: str) -> None:
    """Axes, tails, and tensors that are not contiguous in the question's shape."""
    shapes: tuple[tuple[str, tuple[int, ...], int, int, Tail], ...] = (
        ("last", (3, 8), 4, -1, "refuse"),
        ("first", (8, 3), 4, 0, "refuse"),
        ("middle", (2, 6, 5), 3, 1, "refuse"),
        ("minus-two", (2, 6, 5), 2, -2, "refuse"),
        ("short", (3, 7), 4, -1, "short"),
        ("short-first", (7, 3), 4, 0, "short"),
        ("pad", (3, 7), 4, -1, "pad"),
        ("pad-middle", (2, 5, 3), 4, 1, "pad"),
        ("shorter-than-a-block", (5,), 8, 0, "short"),
        ("usual", (2, 64), BLOCK_FORMATS[name][2], -1, "refuse"),
        ("empty", (0, 8), 4, -1, "refuse"),
        ("square", (4, 4), 2, 0, "refuse"),
    )
    for word, shape, size, axis, tail in shapes:
        form = block_form(name, size, axis, tail)
        x = np.asarray(reals(f"block/cut/{name}/{word}", shape, exponents=(-6, 3)), F32)
        amax = amax_of(form, x) if x.size else (np.asarray(F32(1)) if form.two_levels else None)
        _both_ways(builder, f"cut/{word}", form, x, amax, "BLK-2 BLK-5", "BlockCut",
                   f"blocks of {size} along axis {axis} of {shape}, tail {tail}")  # fmt: skip


def _both_ways(
    builder: Builder, word: str, form: BlockForm, x: Array, amax: Array | None, clauses: str,
    flags: str, comment: str,
) -> None:  # fmt: skip
    scales = block_scale(x, form, amax)
    codes = block_quantize(x, scales, form, amax)
    whole = form if form.tail != "pad" else block_form(form.name, form.size, form.axis)
    own = clauses.split()
    add(builder, "block_scale", word, form, {"x": x, "tensor_amax": amax},
        f"{own[0]} {'BLK-4' if form.two_levels else 'BLK-3'}", flags, comment)  # fmt: skip
    add(builder, "block_quantize", word, form, {"x": x, "scales": scales, "tensor_amax": amax},
        clauses, flags, comment)  # fmt: skip
    add(builder, "block_dequantize", word, whole,
        {"codes": codes, "scales": scales, "tensor_amax": amax}, f"{own[0]} BLK-6", flags,
        comment)  # fmt: skip


def _tensors(builder: Builder, name: str) -> None:
    """Whole tensors of usual numbers, with their own scales."""
    form = block_form(name)
    for index, (shape, dtype) in enumerate(
        (((8, 64), "float32"), ((4, 96), "bfloat16"), ((4, 96), "float16"))
    ):
        x = reals(f"block/tensor/{name}/{index}", shape, dtype, exponents=(-9, -1))
        _both_ways(builder, f"tensor/{index}", form, np.asarray(x), amax_of(form, np.asarray(x)),
                   "BLK-1 BLK-5", "BlockScaleRule TensorScale" if form.two_levels else
                   "BlockScaleRule", f"a tensor of {dtype}")  # fmt: skip
    # Multiples of half a step of the elements: every quotient is a code or a tie.
    values = decode(np.arange(1 << (form.element.bits - 1)).astype(np.uint8).view(
        form.element.code_dtype), form.element)  # fmt: skip
    finite = values[np.isfinite(values)].astype(np.float64)
    middles = ((finite[:-1] + finite[1:]) / 2).astype(F32)
    ties = np.concatenate([middles, -middles])
    ties = np.resize(ties, (-(-ties.size // 32) * 32,))
    small = block_form(name, 32)
    code = {"float8_e8m0fnu": [120, 127, 133], "float8_ue4m3": [56, 40, 70]}[form.scale.name]
    for index, one in enumerate(code):
        factor = decode(np.array([one], np.uint8), form.scale)[0]
        scales = np.full(ties.size // 32, one, np.uint8)
        amax = np.asarray(F32(2688)) if form.two_levels else None
        add(builder, "block_quantize", f"ties/{index}", small,
            {"x": (ties * factor).astype(F32), "scales": scales, "tensor_amax": amax},
            "BLK-5", "FormatTies", "every quotient is a tie of the elements")  # fmt: skip


def _nvfp4_elements(builder: Builder) -> None:
    """Quotients beside ties of E2M1 under scales that are no powers of two."""
    form = block_form("nvfp4", 16)
    ties = np.array([0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0])
    for index, amax in enumerate(f32(3.7, 0.0123, 411.2, 9e4, 1.0, 17.3)):
        codes = integers(f"block/nvfp4/elements/{index}", (20,), 9, 126).astype(np.uint8)
        scale = decode(codes, form.scale).astype(np.float64) * (float(amax) / 2688)
        near = ties[integers(f"block/nvfp4/ties/{index}", (20, 16), 0, 6)] * scale[:, None]
        x = step(near.astype(F32), integers(f"block/nvfp4/steps/{index}", (20, 16), -2, 2))
        x = np.where(integers(f"block/nvfp4/signs/{index}", x.shape, 0, 1) == 1, x, -x)
        given = {"scales": codes, "tensor_amax": np.asarray(amax)}
        add(builder, "block_quantize", f"beside-ties/{index}", form,
            {"x": x.reshape(-1), **given}, "BLK-5", "ScaleReciprocal TensorScale",
            "one or two steps beside ties of the quotient")  # fmt: skip
        held = integers(f"block/nvfp4/codes/{index}", (320,), 0, 15).astype(np.uint8)
        add(builder, "block_dequantize", f"products/{index}", form, {"codes": held, **given},
            "BLK-6", "TensorScale", "products of three factors")  # fmt: skip


def _own_scales(builder: Builder) -> None:
    """The same, with a first element from which every rule chooses the scale that is given."""
    form = block_form("nvfp4", 16)
    ties = np.array([0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0])
    for index, amax in enumerate(f32(3.7, 0.3, 411.2, 9e4, 7.7, 17.3)):
        label = f"block/nvfp4/own/{index}"
        codes = integers(label, (20,), 9, 126).astype(np.uint8)
        scale = decode(codes, form.scale).astype(np.float64) * (float(amax) / 2688)
        near = ties[integers(f"{label}/ties", (20, 16), 0, 6)] * scale[:, None]
        x = step(near.astype(F32), integers(f"{label}/steps", (20, 16), -2, 2))
        x[:, 0] = -6 * scale
        given = {"scales": codes, "tensor_amax": np.asarray(amax)}
        add(
            builder, "block_quantize", f"own-scales/{index}", form, {"x": x.reshape(-1), **given},
            "BLK-5", "ScaleReciprocal TensorScale", "beside ties, under the scale of the block",
        )  # fmt: skip


def _refused(builder: Builder) -> None:
    x, scales = np.ones((2, 8), F32), np.full((2, 2), 127, np.uint8)
    mx, nv = block_form("mxfp4", 4), block_form("nvfp4", 4)
    one = np.asarray(F32(1))
    bad: tuple[tuple[str, str, str, BlockForm, dict[str, Any]], ...] = (
        ("block_scale", "uneven", "BLK-2", block_form("mxfp4", 3), {"x": x}),
        ("block_scale", "no-such-axis", "BLK-2", block_form("mxfp4", 4, 2), {"x": x}),
        ("block_scale", "no-tensor-amax", "BLK-4", nv, {"x": x}),
        ("block_scale", "zero-tensor-amax", "BLK-4", nv, {"x": x, "tensor_amax": one * F32(0)}),
        ("block_scale", "infinite-tensor-amax", "BLK-4", nv,
         {"x": x, "tensor_amax": np.asarray(F32(np.inf))}),
        ("block_quantize", "other-shape", "BLK-5", mx, {"x": x, "scales": scales.T[:1]}),
        ("block_quantize", "uneven", "BLK-2", block_form("mxfp4", 3), {"x": x, "scales": scales}),
        ("block_quantize", "scale-too-wide", "BLK-5", nv,
         {"x": x, "scales": scales + np.uint8(100), "tensor_amax": one}),
        ("block_dequantize", "other-shape", "BLK-6", mx,
         {"codes": np.ones((2, 8), np.uint8), "scales": scales[:1]}),
        ("block_dequantize", "code-too-wide", "BLK-6", mx,
         {"codes": np.full((2, 8), 16, np.uint8), "scales": scales}),
        ("block_dequantize", "no-tensor-amax", "BLK-4", nv,
         {"codes": np.ones((2, 8), np.uint8), "scales": scales - np.uint8(80)}),
    )  # fmt: skip
    for operation, word, clause, form, tensors in bad:
        builder.add_result(
            f"{operation}/{form.name}/refused-{word}", operation, "refused",
            clauses=(clause,), flags=("RefusedBlock",), comment=word.replace("-", " "),
            arguments={"block": form_arguments(form)},
            inputs={name: np.asarray(t) for name, t in tensors.items()},
        )  # fmt: skip
