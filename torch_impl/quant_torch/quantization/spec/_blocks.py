"""Views in which every block of a tensor is a rectangle that qparams broadcast over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch


class BlockLayout(NamedTuple):
    """How a tensor of one shape splits into blocks.

    Attributes:
        view: Shape of the tensor's view; partly blocked axes are split into (blocks, extent).
        inside: Axes of the view that run inside a block.
        params: Shape in which qparams broadcast against the view.
        blocks: Shape of the qparams: the number of blocks on each axis of the tensor.
    """

    view: tuple[int, ...]
    inside: tuple[int, ...]
    params: tuple[int, ...]
    blocks: tuple[int, ...]


def block_layout(shape: Sequence[int], block: Sequence[int]) -> BlockLayout:
    """Lay out a tensor of the given shape for blocks of the given extents."""
    view: list[int] = []
    inside: list[int] = []
    params: list[int] = []
    blocks: list[int] = []
    for n, extent in zip(shape, block, strict=True):
        count = n // extent if extent else 1
        blocks.append(count)
        if extent == n:
            inside.append(len(view))
            view.append(n)
            params.append(1)
        elif extent == 1:
            view.append(n)
            params.append(n)
        else:
            inside.append(len(view) + 1)
            view += (count, extent)
            params += (count, 1)
    return BlockLayout(tuple(view), tuple(inside), tuple(params), tuple(blocks))


def block_extremes(x: torch.Tensor, layout: BlockLayout) -> tuple[torch.Tensor, torch.Tensor]:
    """Least and greatest element of every block; NaN where the block holds one.

    Args:
        x: Tensor with at least one element.
        layout: Of x's shape.

    Returns:
        Two tensors of shape ``layout.blocks`` in x's dtype.
    """
    if len(layout.inside) == len(layout.view):
        low, high = torch.aminmax(x)
    else:
        view = x.reshape(layout.view)
        # Reductions need at least one axis: where every element is a block, there is none.
        low, high = (
            (view.amin(layout.inside), view.amax(layout.inside)) if layout.inside else (view, view)
        )
    return low.view(layout.blocks), high.view(layout.blocks)
