"""Pools, by slices and by pools that the converters have."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor
from torch.nn import functional

from quant_torch.export.rewriting._rule import Rule, Rules, aten, listed, part


def _overhang(size: int, kernel: int, stride: int, pad: int, dilation: int, ceil: bool) -> int:
    """What a last window that begins within the input or its left padding has beyond its end."""
    span = dilation * (kernel - 1) + 1
    free = size + 2 * pad - span
    count = free // stride + 1
    if ceil and free % stride and count * stride < size + pad:
        count += 1
    return max(0, (count - 1) * stride + span - size - 2 * pad)


def _padded(
    x: Tensor, kernel: list[int], stride: list[int], padding: list[int], dilation: list[int],
    ceil: bool, value: float,
) -> Tensor:  # fmt: skip
    sizes = x.shape[-len(kernel) :]
    each = zip(sizes, kernel, stride, padding, dilation, strict=True)
    beyond = [_overhang(*extents, ceil) for extents in each]
    ends = [n for p, b in zip(reversed(padding), reversed(beyond), strict=True) for n in (p, p + b)]
    return functional.pad(x, ends, value=value) if any(ends) else x


def _max_pool(rank: int, kept: Rule) -> Rule:
    """By windows along each axis in turn; a maximum rounds nothing.

    Args:
        rank: spatial axes.
        kept: says whether the converter takes the pool as it is, by the pool's own arguments.
    """

    def rule(
        x: Tensor,
        kernel_size: Sequence[int],
        stride: Sequence[int] = (),
        padding: Sequence[int] = 0,
        dilation: Sequence[int] = 1,
        ceil_mode: bool = False,
    ) -> Tensor:
        kernel, pads, gaps = (listed(n, rank) for n in (kernel_size, padding, dilation))
        steps = listed(stride, rank) if stride != [] and stride != () else kernel
        if kept(stride, gaps):
            return NotImplemented
        x = _padded(x, kernel, steps, pads, gaps, ceil_mode, float("-inf"))
        for axis, (size, step, gap) in enumerate(
            zip(kernel, steps, gaps, strict=True), start=x.dim() - rank
        ):
            x = reduce(torch.maximum, _taps(x, axis, size, step, gap))
        return x

    return rule


def _taps(x: Tensor, axis: int, kernel: int, stride: int, dilation: int) -> list[Tensor]:
    count = (x.shape[axis] - dilation * (kernel - 1) - 1) // stride + 1
    starts = [tap * dilation for tap in range(kernel)]
    return [
        aten.slice.Tensor(x, axis, start, start + (count - 1) * stride + 1, stride)
        for start in starts
    ]


def _with_places(rule: Rule) -> Rule:
    """The same for the form of a pool that also gives positions, which nothing may read."""

    def both(*args: object, **kwargs: object) -> object:
        result = rule(*args, **kwargs)
        if result is NotImplemented:
            return result
        return result, torch.zeros_like(result, dtype=torch.int64)

    return both


def _avg_pool(rank: int, spelled_out: bool) -> Rule:
    """The padding first, so that all windows have the same number of taps.

    Args:
        rank: spatial axes.
        spelled_out: whether the converter needs a stride that is written down.
    """
    pool = {1: functional.avg_pool1d, 2: functional.avg_pool2d, 3: functional.avg_pool3d}[rank]

    def rule(
        x: Tensor,
        kernel_size: Sequence[int],
        stride: Sequence[int] = (),
        padding: Sequence[int] = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> Tensor:
        kernel, pads = listed(kernel_size, rank), listed(padding, rank)
        given = stride != [] and stride != ()
        steps = listed(stride, rank) if given else kernel
        if divisor_override is not None:
            x = _padded(x, kernel, steps, pads, [1] * rank, ceil_mode, 0.0)
            taps = 1
            for extent in kernel:
                taps *= extent
            mean = pool(x, kernel, steps)
            return mean if taps == divisor_override else mean * (taps / divisor_override)
        beyond = any(
            _overhang(size, k, s, p, 1, ceil_mode)
            for size, k, s, p in zip(x.shape[-rank:], kernel, steps, pads, strict=True)
        )
        if spelled_out and (beyond or (any(pads) and not count_include_pad)):
            return _mean_of_counted(x, kernel, steps, pads, ceil_mode, count_include_pad)
        if (given and not ceil_mode) or not spelled_out:
            return NotImplemented
        return pool(x, kernel, steps, pads, False, count_include_pad)

    def _mean_of_counted(
        x: Tensor, kernel: list[int], steps: list[int], pads: list[int], ceil: bool, counts: bool
    ) -> Tensor:
        """Each window's mean with zeros where nothing counts, divided by the share that counts."""
        inner = torch.ones([1, 1, *x.shape[-rank:]], dtype=x.dtype)
        share = _padded(inner, kernel, steps, pads, [1] * rank, ceil, 0.0)
        if counts:
            around = functional.pad(inner, [n for p in reversed(pads) for n in (p, p)], value=1.0)
            beyond = [n - m for n, m in zip(share.shape[-rank:], around.shape[-rank:], strict=True)]
            share = functional.pad(around, [n for b in reversed(beyond) for n in (0, b)])
        flat = _padded(x, kernel, steps, pads, [1] * rank, ceil, 0.0)
        return pool(flat, kernel, steps) / pool(share, kernel, steps)

    return rule


def _adaptive(reduced: Rule, rank: int) -> Rule:
    """Window by window along each axis, where the windows differ."""

    def rule(x: Tensor, output_size: Sequence[int]) -> Tensor:
        sizes = x.shape[-rank:]
        wanted = [int(n) for n in listed(output_size, rank)]
        for axis, (size, count) in enumerate(zip(sizes, wanted, strict=True), start=x.dim() - rank):
            if size == count:
                continue
            bounds = [(n * size // count, -((n + 1) * size // -count)) for n in range(count)]
            parts = [reduced(part(x, axis, low, high - low), axis) for low, high in bounds]
            x = parts[0] if count == 1 else torch.cat(parts, axis)
        return x

    return rule


def _mean(x: Tensor, axis: int) -> Tensor:
    return torch.mean(x, [axis], True)


def _greatest(x: Tensor, axis: int) -> Tensor:
    return torch.amax(x, [axis], True)


def _never(stride: object, dilation: object) -> bool:
    return False


def _undilated(stride: object, dilation: list[int]) -> bool:
    return all(n == 1 for n in dilation)


def _spelled_out(stride: Sequence[int], dilation: list[int]) -> bool:
    return bool(len(stride)) and all(n == 1 for n in dilation)


COREML_POOLS: Rules = {
    aten.max_pool1d.default: _max_pool(1, _undilated),
    aten.max_pool2d.default: _max_pool(2, _undilated),
    aten.max_pool3d.default: _max_pool(3, _undilated),
    aten.avg_pool2d.default: _avg_pool(2, False),
    aten.avg_pool3d.default: _avg_pool(3, False),
    aten.adaptive_avg_pool3d.default: _adaptive(_mean, 3),
    aten.adaptive_max_pool1d.default: _with_places(_adaptive(_greatest, 1)),
    aten.adaptive_max_pool2d.default: _with_places(_adaptive(_greatest, 2)),
    aten.adaptive_max_pool3d.default: _with_places(_adaptive(_greatest, 3)),
}

COREAI_POOLS: Rules = {
    aten.max_pool2d_with_indices.default: _with_places(_max_pool(2, _spelled_out)),
    aten.max_pool3d_with_indices.default: _with_places(_max_pool(3, _never)),
    aten.avg_pool2d.default: _avg_pool(2, True),
    aten.avg_pool3d.default: _avg_pool(3, True),
    aten._adaptive_avg_pool3d.default: _adaptive(_mean, 3),
    aten.adaptive_max_pool2d.default: _with_places(_adaptive(_greatest, 2)),
    aten.adaptive_max_pool3d.default: _with_places(_adaptive(_greatest, 3)),
}
