"""Convolutions and pools by their definitions, with the bounds of ADM-2 to ADM-5."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import product
from typing import Any

from quant_reference.oracle.balls import Ball, Machine, Tensor, places, tensor
from quant_reference.oracle.sums import summed


def conv(
    m: Machine,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlation with zero padding, as torch defines it."""
    outputs, inputs, *kernel = weight.shape
    axes = len(kernel)
    step, gap, pads = _each(stride, axes), _each(dilation, axes), _each(padding, axes)
    extents = [
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, p, d, k, s in zip(x.shape[2:], pads, gap, kernel, step, strict=True)
    ]
    shape = (x.shape[0], outputs, *extents)
    depth = inputs * math.prod(kernel)

    def item(place: tuple[int, ...]) -> Ball:
        sample, channel, *at = place
        first = channel // (outputs // groups) * inputs
        pairs = []
        for c, *tap in places((inputs, *kernel)):
            seen = [
                i * s + t * d - p for i, s, t, d, p in zip(at, step, tap, gap, pads, strict=True)
            ]
            if all(0 <= i < n for i, n in zip(seen, x.shape[2:], strict=True)):
                pairs.append((x.at((sample, first + c, *seen)), weight.at((channel, c, *tap))))
        added = None if bias is None else bias.at((channel,))
        return summed(pairs, depth, math.prod(shape), m, added)

    return tensor(shape, item)


def conv_transpose(
    m: Machine,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """Each input adds its multiple of the kernel to the output, as torch defines it."""
    inputs, outputs, *kernel = weight.shape
    axes = len(kernel)
    step, gap, pads = _each(stride, axes), _each(dilation, axes), _each(padding, axes)
    extents = [
        (n - 1) * s - 2 * p + d * (k - 1) + o + 1
        for n, s, p, d, k, o in zip(
            x.shape[2:], step, pads, gap, kernel, _each(output_padding, axes), strict=True
        )
    ]
    shape = (x.shape[0], groups * outputs, *extents)
    per_group = inputs // groups
    met = [
        math.ceil(Fraction(k, s // math.gcd(s, d)))
        for k, s, d in zip(kernel, step, gap, strict=True)
    ]

    def item(place: tuple[int, ...]) -> Ball:
        sample, channel, *at = place
        group = channel // outputs
        pairs = []
        for c, *tap in places((per_group, *kernel)):
            moved = [i + p - t * d for i, p, t, d in zip(at, pads, tap, gap, strict=True)]
            seen = [i // s for i, s in zip(moved, step, strict=True)]
            whole = all(i % s == 0 for i, s in zip(moved, step, strict=True))
            if whole and all(0 <= i < n for i, n in zip(seen, x.shape[2:], strict=True)):
                entry = group * per_group + c
                pairs.append(
                    (x.at((sample, entry, *seen)), weight.at((entry, channel % outputs, *tap)))
                )
        added = None if bias is None else bias.at((channel,))
        return summed(pairs, per_group * math.prod(met), math.prod(shape), m, added)

    return tensor(shape, item)


def avg_pool(
    m: Machine,
    x: Tensor,
    kernel_size: Any,
    axes: int,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """Averages of windows, as torch defines them."""
    kernel, pads = _each(kernel_size, axes), _each(padding, axes)
    step = _each(stride, axes) if stride else kernel
    extents = windows_of(x.shape[-axes:], kernel, step, pads, [1] * axes, ceil_mode)
    shape = (*x.shape[:-axes], *extents)

    def item(place: tuple[int, ...]) -> Ball:
        lead, at = place[: len(place) - axes], place[len(place) - axes :]
        starts = [i * s - p for i, s, p in zip(at, step, pads, strict=True)]
        rows = list(zip(starts, kernel, x.shape[-axes:], pads, strict=True))
        inside = [range(max(a, 0), min(a + k, n)) for a, k, n, _ in rows]
        whole = [range(a, min(a + k, n + p)) for a, k, n, p in rows]
        counted = math.prod(len(r) for r in (whole if count_include_pad else inside))
        divisor = divisor_override or counted
        pairs = [(x.at((*lead, *p)), Ball(Fraction(1, divisor))) for p in product(*inside)]
        return summed(pairs, math.prod(kernel), math.prod(shape), m, divisor=divisor)

    return tensor(shape, item)


def adaptive_avg_pool(m: Machine, x: Tensor, output_size: Any, axes: int) -> Tensor:
    """Averages of the parts of an axis that is divided evenly, as torch defines them."""
    wanted = zip(x.shape[-axes:], _each(output_size, axes), strict=True)
    sizes = [n if size is None else size for n, size in wanted]
    shape = (*x.shape[:-axes], *sizes)
    parts = [
        [range(i * n // k, math.ceil(Fraction((i + 1) * n, k))) for i in range(k)]
        for n, k in zip(x.shape[-axes:], sizes, strict=True)
    ]
    depth = math.prod(max(len(r) for r in axis) for axis in parts)

    def item(place: tuple[int, ...]) -> Ball:
        lead, at = place[: len(place) - axes], place[len(place) - axes :]
        window = list(product(*(axis[i] for axis, i in zip(parts, at, strict=True))))
        share = Ball(Fraction(1, len(window)))
        pairs = [(x.at((*lead, *p)), share) for p in window]
        return summed(pairs, depth, math.prod(shape), m, divisor=depth)

    return tensor(shape, item)


def max_pool(
    m: Machine,
    x: Tensor,
    kernel_size: Any,
    axes: int,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> Tensor:
    """Maxima of windows: exact (ADM-5)."""
    kernel, pads, gap = (_each(v, axes) for v in (kernel_size, padding, dilation))
    step = _each(stride, axes) if stride else kernel
    extents = windows_of(x.shape[-axes:], kernel, step, pads, gap, ceil_mode)

    def item(place: tuple[int, ...]) -> Ball:
        lead, at = place[: len(place) - axes], place[len(place) - axes :]
        seen = []
        for tap in places(kernel):
            at_input = [
                i * s + t * d - p for i, s, t, d, p in zip(at, step, tap, gap, pads, strict=True)
            ]
            if all(0 <= i < n for i, n in zip(at_input, x.shape[-axes:], strict=True)):
                seen.append(x.at((*lead, *at_input)))
        value = max(b.value for b in seen)
        radii = []
        for which in (0, 1):
            high = max(b.value + b.radii[which] for b in seen)
            low = max(b.value - b.radii[which] for b in seen)
            radii.append(max(high - value, value - low))
        return Ball(value, radii[0], radii[1])

    return tensor((*x.shape[:-axes], *extents), item)


def windows_of(
    shape: Sequence[int],
    kernel: Sequence[int],
    step: Sequence[int],
    pads: Sequence[int],
    gap: Sequence[int],
    ceil_mode: bool,
) -> Iterator[int]:
    """Number of windows on each axis, as torch counts them."""
    for n, k, s, p, d in zip(shape, kernel, step, pads, gap, strict=True):
        room = Fraction(n + 2 * p - d * (k - 1) - 1, s)
        count = (math.ceil(room) if ceil_mode else math.floor(room)) + 1
        yield count - 1 if ceil_mode and (count - 1) * s >= n + p else count


def _each(given: Any, axes: int) -> list[Any]:
    return [given] * axes if given is None or isinstance(given, int) else list(given)
