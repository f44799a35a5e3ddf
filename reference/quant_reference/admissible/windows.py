"""Windows that slide over the trailing axes: extents, taps, and zero padding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np

from quant_reference.admissible.bounds import Float64
from quant_reference.errors import InputError

Extents = int | Sequence[int]


def per_axis(given: Extents, axes: int, name: str, least: int) -> tuple[int, ...]:
    """One int per sliding axis; a single one holds for all.

    Raises:
        InputError: Another number of them, or one below ``least``.
    """
    extents = (given,) * axes if isinstance(given, int) else tuple(given)
    if len(extents) == 1:
        extents *= axes
    if len(extents) != axes or any(not isinstance(n, int) or n < least for n in extents):
        raise InputError(
            name, given=given, allowed=f"an int or {axes} ints, at least {least}", clause="ADM-2"
        )
    return extents


def output_extents(
    shape: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    pads: Sequence[tuple[int, int]],
    dilation: Sequence[int],
    ceil_mode: bool = False,
) -> tuple[int, ...]:
    """Extents of the output; with ``ceil_mode`` a last window may hang over the end.

    Raises:
        InputError: A window larger than its padded axis.
    """
    extents = []
    for n, k, s, (before, after), d in zip(shape, kernel, stride, pads, dilation, strict=True):
        room = n + before + after - (d * (k - 1) + 1)
        if room < 0:
            raise InputError(
                "window",
                given=f"extent {d * (k - 1) + 1} on an axis of {n + before + after}",
                allowed="at most the padded axis",
                clause="ADM-2",
            )
        count = (-(-room // s) if ceil_mode else room // s) + 1
        if ceil_mode and (count - 1) * s >= n + before:
            count -= 1  # a window starts inside the input or its left padding, as in torch
        extents.append(count)
    return tuple(extents)


def padded(
    x: Float64,
    kernel: Sequence[int],
    stride: Sequence[int],
    pads: Sequence[tuple[int, int]],
    dilation: Sequence[int],
    out: Sequence[int],
    fill: float,
) -> Float64:
    """A tensor with its padding, and with what the last windows hang over."""
    width: list[tuple[int, int]] = [(0, 0)] * (x.ndim - len(kernel))
    shape = x.shape[x.ndim - len(kernel) :]
    for n, k, s, (before, _), d, m in zip(shape, kernel, stride, pads, dilation, out, strict=True):
        needed = (m - 1) * s + d * (k - 1) + 1
        width.append((before, max(0, needed - n - before)))
    return np.pad(x, width, constant_values=fill) if any(map(any, width)) else x


def taps(
    kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int], out: Sequence[int]
) -> Iterator[tuple[tuple[int, ...], tuple[slice, ...]]]:
    """Places in the kernel, each with the slices that one tap of every window reads."""
    for place in product(*(range(k) for k in kernel)):
        yield (
            place,
            tuple(
                slice(t * d, t * d + (m - 1) * s + 1, s)
                for t, d, m, s in zip(place, dilation, out, stride, strict=True)
            ),
        )
