"""Mutants of the elements of blocks, of scales in memory and of sums (SPEC.md, BLK-5 to BLK-8)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import ml_dtypes
import numpy as np

from quant_conformance.mutants import wrong
from quant_conformance.mutants.exchanged import Mutated, Step
from quant_conformance.mutants.model import Mutant, known
from quant_conformance.protocol import Array
from quant_reference.block import BlockTensor

QUANTIZE, DEQUANTIZE = ("block_quantize",), ("block_dequantize",)
WAYS = (*QUANTIZE, *DEQUANTIZE)
DOT, LAYOUT = ("block_dot",), ("block_layout",)
F32 = np.float32


def _scales(change: Any) -> Step:
    def scale_values(p: Mutated, scales: Array, form: Any, shape: Any) -> Array:
        return np.asarray(change(p.right.scale_values(scales, form, shape)), F32)

    return scale_values


SCALES: dict[str, tuple[str, str, Any]] = {
    "rolled": ("BLK-2", "takes the scale of the block before", lambda s: np.roll(s, 1)),
    "first": (
        "BLK-2",
        "takes the scale of the first block for all",
        lambda s: np.full_like(s, s.reshape(-1)[0]) if s.size else s,
    ),
    "reversed": (
        "BLK-2",
        "takes the scales from the end",
        lambda s: s.reshape(-1)[::-1].reshape(s.shape),
    ),
    "left-out": ("BLK-1", "leaves out the scales of the blocks", np.ones_like),
    "doubled": ("BLK-1", "takes twice every scale", lambda s: s * F32(2)),
    "nan-is-one": (
        "BLK-5 BLK-6",
        "takes a NaN scale for 1",
        lambda s: np.where(np.isnan(s), F32(1), s),
    ),
    "subnormal-flushed": (
        "BLK-5 BLK-6",
        "takes the scale 2^-127 for 0",
        lambda s: np.where(s < 2.0**-126, F32(0), s),
    ),
    "inverted": ("BLK-5 BLK-6", "inverts the scales", lambda s: F32(1) / s),
}


def _scale_bugs() -> list[Mutant]:
    return [
        known(f"block-scales-{name}", text, clauses, WAYS, scale_values=_scales(change))
        for name, (clauses, text, change) in SCALES.items()
    ]


def _encoded(change: Any) -> Step:
    """Another quotient in front of the rounding."""
    return lambda p, scaled, element: p.right.element_codes(change(scaled), element)


QUOTIENTS: dict[str, tuple[str, Any]] = {
    "float16": ("rounds quotients to float16", wrong.through(np.float16)),
    "bfloat16": ("rounds quotients to bfloat16", wrong.through(ml_dtypes.bfloat16)),
    "sign-lost": ("drops the sign", np.abs),
    "negated": ("swaps the signs", lambda v: -v),
    "doubled": ("doubles quotients", lambda v: v * F32(2)),
    "truncated": ("truncates quotients to sixteenths", lambda v: np.trunc(v * F32(16)) / F32(16)),
}


def _quotient_bugs() -> list[Mutant]:
    return [
        known(f"block-quotients-{name}", text, "BLK-5", QUANTIZE, element_codes=_encoded(change))
        for name, (text, change) in QUOTIENTS.items()
    ]


def _values(change: Any) -> Step:
    def block_values(p: Mutated, element: Any, rule: str, source: Any, codes: Any, s: Any) -> Array:
        return np.asarray(change(p.right.block_values(element, rule, source, codes, s)), F32)

    return block_values


PRODUCTS: dict[str, tuple[str, Any]] = {
    "float16": ("rounds values to float16", wrong.through(np.float16)),
    "bfloat16": ("rounds values to bfloat16", wrong.through(ml_dtypes.bfloat16)),
    "negated": ("swaps the signs", lambda v: -v),
    "nan-is-zero": ("gives 0 for NaN", lambda v: np.where(np.isnan(v), F32(0), v)),
    "negative-zero-lost": ("gives +0 for -0", lambda v: np.where(v == 0, F32(0), v)),
    "subnormals-flushed": ("flushes subnormal values to zero", wrong.flushed),
}


def _product_bugs() -> list[Mutant]:
    return [
        known(f"block-values-{name}", text, "BLK-6", DEQUANTIZE, block_values=_values(change))
        for name, (text, change) in PRODUCTS.items()
    ]


def _tensor(change: Any) -> Step:
    """Another scale of the tensor, and its inverse."""
    return lambda p, source: np.asarray(change(source), F32)


TENSORS: dict[str, tuple[str, Any, Any]] = {
    "left-out": ("leaves out the scale of the tensor", lambda s: 1, lambda s: 1),
    "inverted": ("inverts the scale of the tensor", lambda s: 2688 / s, lambda s: s / 2688),
    "without-6": ("forms the scale of the tensor without the 6", lambda s: s / 448,
                  lambda s: 448 / s),
    "without-448": ("forms the scale of the tensor without the 448", lambda s: s / 6,
                    lambda s: 6 / s),
}  # fmt: skip


def _tensor_bugs() -> list[Mutant]:
    return [
        known(f"block-tensor-scale-{name}", text, "BLK-4 BLK-5 BLK-6", WAYS,
              tensor_scale=_tensor(change), inverse_tensor_scale=_tensor(inverse))
        for name, (text, change, inverse) in TENSORS.items()
    ]  # fmt: skip


def _ties_away(p: Mutated, steps: Array, form: Any) -> Array:
    return wrong.ties_away(steps)


def _tail_dropped(p: Mutated, values: Array, form: Any, shape: Any) -> Array:
    axis = form.check(shape)
    found = np.array(p.right.cut(values, form, shape))
    if shape[axis] % form.size and form.tail == "short":
        found[(slice(None),) * axis + (-1,)] = 0
    return found


def _edge(p: Mutated, values: Array, form: Any) -> Array:
    axis = form.check(values.shape)
    missing = -values.shape[axis] % form.size
    if not missing or not values.shape[axis]:
        return values
    widths = [(0, missing if i == axis else 0) for i in range(values.ndim)]
    return np.pad(values, widths, mode="edge")


def _any_scales(p: Mutated, scales: Array, form: Any, shape: Any) -> Array:
    codes = np.resize(scales, form.blocks(shape))
    return np.asarray(p.right.decode_codes(codes & ((1 << form.scale.bits) - 1), form.scale))


def _plain(p: Mutated, scales: Array) -> Array:
    tiles = p.tiled(p.matrix_of_scales(scales))
    return np.ascontiguousarray(tiles.transpose(0, 3, 1, 2, 4)).reshape(-1)


def _columns_first(p: Mutated, scales: Array) -> Array:
    tiles = p.tiled(p.matrix_of_scales(scales))
    return np.ascontiguousarray(tiles.transpose(3, 0, 2, 1, 4)).reshape(-1)


def _in_columns(p: Mutated, scales: Array) -> Array:
    tiles = p.tiled(p.matrix_of_scales(scales))
    return np.ascontiguousarray(tiles.transpose(0, 3, 2, 4, 1)).reshape(-1)


def _padded_with_ones(p: Mutated, codes: Array) -> Array:
    rows, columns = codes.shape
    full = np.pad(codes, ((0, -rows % 128), (0, -columns % 4)), constant_values=127)
    return full.reshape(-1, 4, 32, full.shape[1] // 4, 4)


def _unpadded(p: Mutated, scales: Array) -> Array:
    return np.asarray(p.matrix_of_scales(scales)).reshape(-1)


def _dot(change: Any) -> Step:
    def block_dot(p: Mutated, a: BlockTensor, b: BlockTensor, rule: Any = None) -> Array:
        p.check_operands(a, b)
        return np.asarray(change(p, a, b), F32)

    return block_dot


def _unchecked(p: Mutated, a: BlockTensor, b: BlockTensor, rule: Any = None) -> Array:
    try:
        return np.asarray(p.right.block_dot(a, b))
    except ValueError:
        return np.zeros((), F32)


def _one(tensor: BlockTensor) -> BlockTensor:
    code = 127 if tensor.tensor_amax is None else 56
    return replace(tensor, scales=np.full_like(tensor.scales, code))


def _shorter(tensor: BlockTensor) -> BlockTensor:
    size = tensor.form.size
    if tensor.scales.size < 2:
        return tensor
    return replace(tensor, codes=tensor.codes[:-size], scales=tensor.scales[:-1])


def _summed(dtype: Any) -> Any:
    def total(p: Mutated, a: BlockTensor, b: BlockTensor) -> Any:
        found = np.zeros((), dtype)
        for product in p.operand_values(a) * p.operand_values(b):
            found = (found + product.astype(dtype)).astype(dtype)
        return found

    return total


DOTS: dict[str, tuple[str, Any]] = {
    "first-scales-left-out": ("leaves out the scales of the first operand",
                              lambda p, a, b: p.right.block_dot(_one(a), b)),
    "second-scales-left-out": ("leaves out the scales of the second operand",
                               lambda p, a, b: p.right.block_dot(a, _one(b))),
    "last-block-lost": ("leaves out the last block",
                        lambda p, a, b: p.right.block_dot(_shorter(a), _shorter(b))),
    "first-block-twice": ("counts the first block twice", lambda p, a, b: (
        p.right.block_dot(a, b) + np.sum(
            (p.operand_values(a) * p.operand_values(b))[: a.form.size]))),
    "scales-of-the-end": ("takes the scales from the end", lambda p, a, b: p.right.block_dot(
        replace(a, scales=np.ascontiguousarray(a.scales[::-1])), b)),
    "float16": ("adds in float16", _summed(np.float16)),
    "bfloat16": ("adds in bfloat16", _summed(ml_dtypes.bfloat16)),
    "magnitudes": ("adds magnitudes", lambda p, a, b: np.sum(
        np.abs(p.operand_values(a) * p.operand_values(b)))),
    "of-itself": ("multiplies the first operand by itself",
                  lambda p, a, b: p.right.block_dot(a, a)),
    "mean": ("divides by the number of blocks and one",
             lambda p, a, b: p.right.block_dot(a, b) / F32(a.scales.size + 1)),
}  # fmt: skip


def _dot_bugs() -> list[Mutant]:
    return [
        known(f"block-dot-{name}", text, "BLK-8", DOT, block_dot=_dot(change))
        for name, (text, change) in DOTS.items()
    ]


BLOCK_ELEMENTS = (
    *_scale_bugs(),
    *_quotient_bugs(),
    *_product_bugs(),
    *_tensor_bugs(),
    known("block-elements-ties-away", "rounds ties between elements away from zero", "BLK-5",
          QUANTIZE, pitfall="ties", round_element=_ties_away),
    known("block-tail-lost", "leaves out the last element of a short block", "BLK-2", WAYS,
          cut=_tail_dropped),
    known("block-padded-with-the-last", "pads with the last element and not with zeros", "BLK-2",
          QUANTIZE, with_tail=_edge),
    known("block-zero-scale-divides", "divides by a scale of zero", "BLK-5", QUANTIZE,
          pitfall="zero-block", without_scale=lambda p, scaled, block: scaled),
    known("block-scales-not-checked", "takes scales of any shape", "BLK-5 BLK-6", WAYS,
          scale_values=_any_scales),
    known("scale-layout-in-rows", "puts the rows of a tile one behind the other", "BLK-7", LAYOUT,
          swizzle=_plain),
    known("scale-layout-tiles-in-columns", "orders tiles column by column", "BLK-7", LAYOUT,
          swizzle=_columns_first),
    known("scale-layout-columns-in-tile", "swaps columns and groups of rows in a tile", "BLK-7",
          LAYOUT, swizzle=_in_columns),
    known("scale-layout-without-tiles", "keeps the order of the matrix", "BLK-7", LAYOUT,
          swizzle=_unpadded),
    known("scale-layout-padded-with-ones", "pads tiles with 1 and not with zeros", "BLK-7",
          LAYOUT, tiled=_padded_with_ones),
    known("scale-layout-takes-anything", "takes what is no matrix of codes", "BLK-7", LAYOUT,
          matrix_of_scales=lambda p, given: np.atleast_2d(given).astype(np.uint8)),
    *_dot_bugs(),
    known("block-dot-takes-anything", "takes vectors of other blocks", "BLK-8", DOT,
          block_dot=_unchecked),
)  # fmt: skip
