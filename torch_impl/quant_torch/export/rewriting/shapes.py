"""Operations that move elements, in moves that the converters have."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor
from torch.nn import functional

from quant_torch.export.rewriting._rule import Rules, aten, part


def pad(
    x: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None
) -> Tensor:
    """Crops before it pads; goes round in circles by slices."""
    if mode == "circular":
        return _circular(x, list(pad))
    if mode == "constant":
        return constant_pad(x, pad, 0.0 if value is None else value)
    return NotImplemented


def constant_pad(x: Tensor, pad: Sequence[int], value: float = 0) -> Tensor:
    """A negative padding is a slice."""
    if all(n >= 0 for n in pad):
        return NotImplemented
    for index in range(len(pad) // 2):
        axis = x.dim() - 1 - index
        before, after = (max(0, -n) for n in pad[2 * index : 2 * index + 2])
        if before or after:
            x = part(x, axis, before, x.shape[axis] - before - after)
    rest = [max(0, n) for n in pad]
    return functional.pad(x, rest, value=float(value)) if any(rest) else x


def _circular(x: Tensor, pad: list[int]) -> Tensor:
    for index in range(len(pad) // 2):
        before, after = pad[2 * index : 2 * index + 2]
        axis = x.dim() - 1 - index
        size = x.shape[axis]
        parts = [x]
        if before > 0:
            parts.insert(0, part(x, axis, size - before, before))
        if after > 0:
            parts.append(part(x, axis, 0, after))
        if len(parts) > 1:
            x = torch.cat(parts, axis)
    return x


def diff(
    x: Tensor,
    n: int = 1,
    dim: int = -1,
    prepend: Tensor | None = None,
    append: Tensor | None = None,
) -> Tensor:
    """Differences of neighbours, n times."""
    around = [t for t in (prepend, x, append) if t is not None]
    x = torch.cat(around, dim) if len(around) > 1 else x
    dim %= x.dim()
    for _ in range(n):
        count = x.shape[dim] - 1
        x = part(x, dim, 1, count) - part(x, dim, 0, count)
    return x


def rot90(x: Tensor, k: int = 1, dims: Sequence[int] = (0, 1)) -> Tensor:
    """Flips and transposes."""
    a, b = dims
    k %= 4
    if k == 0:
        return x
    if k == 2:
        return torch.flip(x, [a, b])
    if k == 1:
        return torch.transpose(torch.flip(x, [b]), a, b)
    return torch.flip(torch.transpose(x, a, b), [b])


def movedim(x: Tensor, source: Sequence[int], destination: Sequence[int]) -> Tensor:
    """A permutation."""
    sources = [n % x.dim() for n in ([source] if isinstance(source, int) else source)]
    targets = [
        n % x.dim() for n in ([destination] if isinstance(destination, int) else destination)
    ]
    order: list[int] = [-1] * x.dim()
    for a, b in zip(sources, targets, strict=True):
        order[b] = a
    others = iter(n for n in range(x.dim()) if n not in sources)
    return torch.permute(x, [next(others) if n < 0 else n for n in order])


def unfold(x: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """Window by window, joined on a new axis."""
    dimension %= x.dim()
    count = (x.shape[dimension] - size) // step + 1
    parts = [torch.unsqueeze(part(x, dimension, n * step, size), dimension) for n in range(count)]
    windows = parts[0] if count == 1 else torch.cat(parts, dimension)
    order = [n for n in range(windows.dim()) if n != dimension + 1]
    return torch.permute(windows, [*order, dimension + 1])


def diagonal(x: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """Both axes joined, and the places of the diagonal picked."""
    dim1, dim2 = dim1 % x.dim(), dim2 % x.dim()
    rows, columns = x.shape[dim1], x.shape[dim2]
    first, second = max(0, -offset), max(0, offset)
    count = max(0, min(rows - first, columns - second))
    if count == 0:
        return NotImplemented
    order = [n for n in range(x.dim()) if n not in (dim1, dim2)]
    moved = torch.permute(x, [*order, dim1, dim2])
    flat = torch.reshape(moved, [*(x.shape[n] for n in order), rows * columns])
    start = first * columns + second
    return aten.slice.Tensor(
        flat, len(order), start, start + (count - 1) * (columns + 1) + 1, columns + 1
    )


def channel_shuffle(x: Tensor, groups: int) -> Tensor:
    """A transposition of groups and what is in them."""
    shape = list(x.shape)
    apart = torch.reshape(x, [shape[0], groups, shape[1] // groups, -1])
    return torch.reshape(torch.transpose(apart, 1, 2), shape)


def cross(x: Tensor, other: Tensor, *, dim: int = -1) -> Tensor:
    """Each coordinate by the other two."""
    x, other = torch.broadcast_tensors(x, other)
    dim %= x.dim()
    a, b, c = (part(x, dim, n, 1) for n in range(3))
    d, e, f = (part(other, dim, n, 1) for n in range(3))
    return torch.cat([b * f - c * e, c * d - a * f, a * e - b * d], dim)


def prod(x: Tensor, dim: int, keepdim: bool = False, *, dtype: torch.dtype | None = None) -> Tensor:
    """Factor by factor, for axes that are not long."""
    dim %= x.dim()
    if x.shape[dim] > 64 or dtype not in (None, x.dtype):
        return NotImplemented
    factors = [part(x, dim, n, 1) for n in range(x.shape[dim])]
    product = reduce(torch.mul, factors)
    return product if keepdim else torch.squeeze(product, dim)


def scatter_src(x: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """What a shorter index does not reach of the source is cut off."""
    if src.shape == index.shape:
        return NotImplemented
    for axis, length in enumerate(index.shape):
        if src.shape[axis] != length:
            src = part(src, axis, 0, length)
    return torch.scatter(x, dim, index, src)


SHAPES: Rules = {
    aten.pad.default: pad,
    aten.constant_pad_nd.default: constant_pad,
    aten.diff.default: diff,
    aten.rot90.default: rot90,
    aten.movedim.int: movedim,
    aten.movedim.intlist: movedim,
    aten.moveaxis.int: movedim,
    aten.moveaxis.intlist: movedim,
    aten.unfold.default: unfold,
    aten.diagonal.default: diagonal,
    aten.channel_shuffle.default: channel_shuffle,
    aten.native_channel_shuffle.default: channel_shuffle,
    aten.linalg_cross.default: cross,
    aten.prod.dim_int: prod,
    aten.scatter.src: scatter_src,
}
"""For Core ML."""
