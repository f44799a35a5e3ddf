"""Which of the layouts that quantization operators know a set of qparams has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from quant_reference.granularity import Granularity, PerBlock, PerChannel, PerTensor

Kind = Literal["tensor", "axis", "block"]


@dataclass(frozen=True)
class Layout:
    """How scales spread over a tensor.

    Attributes:
        kind: "tensor" (one scale), "axis" (one scale per index of one axis) or "block" (one scale
            per ``size`` consecutive elements of one axis, and per index of every other axis).
        axis: the axis, as the spec writes it (possibly negative); 0 for "tensor".
        size: elements per scale along the axis of a "block" layout, else 0.
    """

    kind: Kind
    axis: int = 0
    size: int = 0


def layout_of(
    shape: tuple[int, ...], scale_shape: tuple[int, ...], granularity: object
) -> Layout | None:
    """Names the layout of ``scale_shape`` over ``shape``, or None if it is none of the three.

    Args:
        shape: shape of the tensor.
        scale_shape: shape of its scale, of the same rank.
        granularity: the spec's granularity, which tells apart layouts that coincide for this
            shape and holds the axis as the user wrote it.
    """
    blocks = tuple(n // (s or 1) for n, s in zip(shape, scale_shape, strict=True))
    if isinstance(granularity, PerChannel):
        split = [i for i, (n, s) in enumerate(zip(shape, scale_shape, strict=True)) if n == s > 1]
        return Layout("axis", _as_written(granularity, split[0] if split else 0, len(shape)))
    wide = [i for i, size in enumerate(blocks) if size > 1]
    many = [i for i, count in enumerate(scale_shape) if count > 1]
    if not many:
        return Layout("tensor")
    if len(wide) <= 1:
        axis = wide[0] if wide else many[-1]
        # An axis without elements may have any number of scales, which no layout has.
        if any(
            n != s for i, (n, s) in enumerate(zip(shape, scale_shape, strict=True)) if i != axis
        ):
            return None
        return Layout("block", _as_written(granularity, axis, len(shape)), blocks[axis])
    if len(many) == 1 and blocks[many[0]] == 1:
        return Layout("axis", many[0])
    return None


def _as_written(granularity: object, axis: int, rank: int) -> int:
    written = getattr(granularity, "axis", None)
    if isinstance(written, int) and -rank <= written < rank:
        return written if written % rank == axis or axis == 0 else axis
    return axis


def block_extents(shape: tuple[int, ...], granularity: Granularity, target: str) -> tuple[int, ...]:
    """Translates a granularity for systems that are given extents and not an axis.

    Whether the extents divide the shape is for the system to say.

    Raises:
        NotImplementedError: For what cannot be told with extents: an axis that is missing or out
            of range.
    """
    if isinstance(granularity, PerTensor):
        return shape
    size = granularity.block_size if isinstance(granularity, PerBlock) else 1
    if isinstance(size, tuple):
        if len(size) != len(shape):
            raise NotImplementedError("the extents are of another rank than the tensor")
        return tuple(n if extent == -1 else extent for n, extent in zip(shape, size, strict=True))
    axis = granularity.axis
    if axis is None or not -len(shape) <= axis < len(shape):
        raise NotImplementedError("the system is given block extents, and never sees an axis")
    whole_from = 0
    if isinstance(granularity, PerBlock):
        whole_from = 2 if target == "weight" else len(shape)
    rest = (n if i >= whole_from else 1 for i, n in enumerate(shape))
    return tuple(size if i == axis % len(shape) else extent for i, extent in enumerate(rest))


def blocks_of(
    shape: tuple[int, ...], scale_shape: tuple[int, ...]
) -> Iterator[tuple[tuple[int, ...], tuple[slice, ...]]]:
    """Yields, per block, its index in the scale and the slices that cut it from the tensor."""
    extents = tuple(n // (s or 1) for n, s in zip(shape, scale_shape, strict=True))
    for index in np.ndindex(*scale_shape):
        yield index, tuple(slice(i * n, (i + 1) * n) for i, n in zip(index, extents, strict=True))
