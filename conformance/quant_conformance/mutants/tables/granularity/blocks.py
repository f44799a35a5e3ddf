"""Mutants that form the wrong blocks (SPEC.md, GRAN-1 to GRAN-6)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from quant_conformance.mutants.exchanged import Mutated, Step
from quant_conformance.mutants.model import known
from quant_conformance.mutants.tables.families import RANGES
from quant_conformance.protocol import Array
from quant_reference import (
    Granularity,
    PerBlock,
    PerChannel,
    PerTensor,
    block_shape,
)

Shape = tuple[int, ...]


def _axis(change: Callable[[int, int], int]) -> Step:
    """Another axis: ``change(axis, rank)``."""

    def extents(p: Mutated, shape: Shape, granularity: Granularity, target: Any) -> Shape:
        axis = getattr(granularity, "axis", None)
        if axis is not None and -len(shape) <= axis < len(shape):
            other = change(axis, len(shape))
            if isinstance(granularity, PerBlock):
                granularity = PerBlock(other, granularity.block_size)
            else:
                granularity = PerChannel(other)
        return block_shape(shape, granularity, target)

    return extents


def _of(kind: type, change: Callable[[Shape, Any, str, Shape], Shape]) -> Step:
    """Other extents for one type: ``change(shape, granularity, target, right extents)``."""

    def extents(p: Mutated, shape: Shape, granularity: Granularity, target: Any) -> Shape:
        right = block_shape(shape, granularity, target)
        if not isinstance(granularity, kind):
            return right
        return change(shape, granularity, target, right)

    return extents


def _int_blocks(change: Callable[[Shape, int, int, str, Shape], Shape]) -> Step:
    """Other extents for an int block_size: ``change(shape, axis, size, target, right)``."""

    def changed(shape: Shape, granularity: PerBlock, target: str, right: Shape) -> Shape:
        size = granularity.block_size
        if isinstance(size, tuple) or granularity.axis is None:
            return right
        return change(shape, granularity.axis % len(shape), size, target, right)

    return _of(PerBlock, changed)


def _interleaved(p: Mutated, x: Array, extents: Shape) -> Array:
    counts = [n // e if e else 1 for n, e in zip(x.shape, extents, strict=True)]
    split = x.reshape([size for pair in zip(extents, counts, strict=True) for size in pair])
    return split.transpose([axis ^ 1 for axis in range(split.ndim)])


BLOCKS = (
    known(
        "per-tensor-rank-0",
        "gives qparams without axes for a whole tensor",
        "GRAN-1",
        RANGES,
        value_range=lambda p, x, spec, target: tuple(
            bound.reshape(()) if isinstance(spec.granularity, PerTensor) else bound
            for bound in p.right.value_range(x, spec, target)
        ),
    ),
    known(
        "per-channel-rank-1",
        "gives qparams of rank 1 per channel",
        "GRAN-2",
        RANGES,
        value_range=lambda p, x, spec, target: tuple(
            bound.reshape(-1) if isinstance(spec.granularity, PerChannel) else bound
            for bound in p.right.value_range(x, spec, target)
        ),
    ),
    known(
        "per-channel-as-per-tensor",
        "takes one range for all channels",
        "GRAN-2",
        RANGES,
        block_shape=_of(PerChannel, lambda shape, granularity, target, right: shape),
    ),
    known(
        "axis-swapped",
        "swaps the two leading axes",
        "GRAN-2 GRAN-3",
        RANGES,
        pitfall="blocks",
        block_shape=_axis(
            lambda axis, rank: {0: 1, 1: 0}.get(axis % rank, axis) if rank > 1 else axis
        ),
    ),
    known(
        "axis-counted-from-the-end",
        "counts every axis from the end",
        "GRAN-2 GRAN-3 GRAN-4",
        RANGES,
        pitfall="blocks",
        block_shape=_axis(lambda axis, rank: rank - 1 - axis % rank),
    ),
    known(
        "negative-axis-as-its-magnitude",
        "drops the sign of a negative axis",
        "GRAN-2",
        RANGES,
        block_shape=_axis(lambda axis, rank: min(abs(axis), rank - 1)),
    ),
    known(
        "negative-axis-one-off",
        "counts a negative axis from the last but one",
        "GRAN-2",
        RANGES,
        block_shape=_axis(lambda axis, rank: (axis - 1) % rank if axis < 0 else axis),
    ),
    known(
        "negative-axis-as-zero",
        "takes a negative axis for axis 0",
        "GRAN-2",
        RANGES,
        block_shape=_axis(lambda axis, rank: max(axis, 0)),
    ),
    known(
        "kernel-axes-split",
        "gives extent 1 to the kernel axes of a weight per block",
        "GRAN-3",
        RANGES,
        block_shape=_int_blocks(
            lambda shape, axis, size, target, right: tuple(
                size if i == axis else 1 for i in range(len(shape))
            )
        ),
    ),
    known(
        "other-leading-axis-whole",
        "leaves the other leading axis of a weight whole per block",
        "GRAN-3",
        RANGES,
        pitfall="blocks",
        block_shape=_int_blocks(
            lambda shape, axis, size, target, right: (
                tuple(size if i == axis else n for i, n in enumerate(shape))
                if target == "weight"
                else right
            )
        ),
    ),
    known(
        "weight-blocks-for-activations",
        "leaves the trailing axes of an activation whole per block",
        "GRAN-4",
        RANGES,
        block_shape=_int_blocks(
            lambda shape, axis, size, target, right: block_shape(
                shape, PerBlock(axis, size), "weight"
            )
        ),
    ),
    known(
        "activation-axes-whole",
        "leaves the other axes of an activation whole per block",
        "GRAN-4",
        RANGES,
        block_shape=_int_blocks(
            lambda shape, axis, size, target, right: (
                tuple(size if i == axis else n for i, n in enumerate(shape))
                if target == "activation"
                else right
            )
        ),
    ),
    known(
        "block-size-as-count",
        "takes the block size for the number of blocks",
        "GRAN-3 GRAN-4",
        RANGES,
        block_shape=_int_blocks(
            lambda shape, axis, size, target, right: tuple(
                shape[axis] // size if i == axis else n for i, n in enumerate(right)
            )
        ),
    ),
    known(
        "minus-one-as-one",
        "takes -1 in a tuple of extents for 1",
        "GRAN-5",
        RANGES,
        block_shape=_of(
            PerBlock,
            lambda shape, granularity, target, right: (
                tuple(max(1, n) for n in granularity.block_size)
                if isinstance(granularity.block_size, tuple)
                else right
            ),
        ),
    ),
    known(
        "extents-reversed",
        "assigns a tuple of extents from the last axis on",
        "GRAN-5",
        RANGES,
        block_shape=lambda p, shape, granularity, target: block_shape(
            shape,
            PerBlock(None, granularity.block_size[::-1])
            if isinstance(getattr(granularity, "block_size", None), tuple)
            else granularity,
            target,
        ),
    ),
    known(
        "last-extent-only",
        "uses the last extent of a tuple and gives 1 to the other axes",
        "GRAN-5",
        RANGES,
        block_shape=_of(
            PerBlock,
            lambda shape, granularity, target, right: (
                (1,) * (len(shape) - 1) + right[-1:]
                if isinstance(granularity.block_size, tuple)
                else right
            ),
        ),
    ),
    known(
        "per-tensor-as-per-channel",
        "takes a range for each index of axis 0 per tensor",
        "GRAN-1",
        RANGES,
        block_shape=_of(
            PerTensor, lambda shape, granularity, target, right: (1, *shape[1:]) if shape else ()
        ),
    ),
    known(
        "blocks-interleaved",
        "takes every n-th element into a block instead of neighbours",
        "GRAN-3 GRAN-4 GRAN-5",
        RANGES,
        pitfall="blocks",
        block_view=_interleaved,
    ),
)
