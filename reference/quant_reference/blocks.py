"""Blocks of a tensor: how qparams tile it, as views and as one entry per element (GRAN-1, Q-8)."""

from __future__ import annotations

import numpy as np

from quant_reference._arrays import Array
from quant_reference.errors import InputError


def view_shape(shape: tuple[int, ...], blocks: tuple[int, ...]) -> tuple[int, ...]:
    """Shape that splits every axis into (number of blocks, block extent)."""
    view: list[int] = []
    for extent, count in zip(shape, blocks, strict=True):
        view += (count, extent // count if count else 0)
    return tuple(view)


def block_view(x: Array, extents: tuple[int, ...]) -> Array:
    """The tensor with every axis split into (number of blocks, extent of a block) (GRAN-1).

    Args:
        x: A tensor.
        extents: Extents of one block, as :func:`quant_reference.block_shape` gives them.

    Returns:
        A view of twice the rank; odd axes run within a block.
    """
    view: list[int] = []
    for n, extent in zip(x.shape, extents, strict=True):
        view += (n // extent if extent else 1, extent)
    return x.reshape(view)


def within_blocks(view: Array) -> tuple[int, ...]:
    """The axes of a :func:`block_view` that run within a block."""
    return tuple(range(1, view.ndim, 2))


def spread(parameter: Array, shape: tuple[int, ...]) -> Array:
    """One entry per element instead of one per block (CONV-6).

    Args:
        parameter: One entry per block, in the rank of the tensor.
        shape: Of the tensor.

    Returns:
        The entry of its block for every element, in the parameter's dtype.
    """
    for axis, (n, count) in enumerate(zip(shape, parameter.shape, strict=True)):
        if n != count:
            parameter = np.repeat(parameter, n // count if count else 0, axis=axis)
    return parameter


def check_blocks(shape: tuple[int, ...], blocks: tuple[int, ...], clause: str) -> None:
    """Refuse qparams whose shape does not tile the tensor.

    Raises:
        InputError: A rank that differs, or a number of blocks that does not divide its axis.
    """
    # An axis without elements may have no blocks either.
    if len(shape) != len(blocks) or any(
        extent % count if count else extent for extent, count in zip(shape, blocks, strict=True)
    ):
        raise InputError(
            f"qparams do not tile a tensor of shape {shape}",
            given=f"qparams of shape {blocks}",
            allowed="the rank of the tensor and, per axis, a number of blocks that divides it",
            clause=clause,
        )
