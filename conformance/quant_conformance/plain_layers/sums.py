"""Sums of products and windows in plain numpy, in the dtype of accumulation (SPEC.md, ADM-2)."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from quant_conformance.protocol import Array, Backend


class LayerSums(Backend):
    """Products are made and summed in ``sums``."""

    sums: np.dtype[Any] = np.dtype(np.float32)

    def total(self, products: Array, axes: tuple[int, ...]) -> Array:
        """The sum over some axes, in the dtype of accumulation."""
        return np.asarray(products.sum(axis=axes, dtype=self.sums))

    def contracted(self, a: Array, b: Array) -> Array:
        """Matrices times matrices, in the dtype of accumulation (ADM-2)."""
        return np.asarray(a.astype(self.sums) @ b.astype(self.sums))

    def with_bias(self, total: Array, bias: Array | None, shape: tuple[int, ...]) -> Array:
        """The bias, added last."""
        return total if bias is None else total + bias.astype(self.sums).reshape(shape)

    def linear(self, x: Array, weight: Array, bias: Array | None = None) -> Array:
        """Rows of x times rows of the weight."""
        return self.with_bias(self.contracted(x, weight.T), bias, (-1,))

    def matmul(self, a: Array, b: Array) -> Array:
        """Batches of matrices."""
        return self.contracted(a, b)

    def einsum(self, a: Array, b: Array, equation: str) -> Array:
        """Two operands."""
        made = np.einsum(equation, a.astype(self.sums), b.astype(self.sums))
        return np.asarray(made, self.sums)

    def conv(
        self,
        x: Array,
        weight: Array,
        bias: Array | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Array:
        """Windows times kernels, group by group."""
        axes = weight.ndim - 2
        outputs, inputs, *kernel = weight.shape
        pads = [(p, p) for p in each(padding, axes)]
        seen = self.windows(x, kernel, each(stride, axes), pads, each(dilation, axes), 0)
        extents = seen.shape[2 : 2 + axes]
        # (N, g, C, out…, k…) to (N, g, out, C·k)
        seen = seen.reshape(len(x), groups, inputs, prod(extents), prod(kernel))
        rows = seen.transpose(0, 1, 3, 2, 4).reshape(len(x), groups, prod(extents), -1)
        taps = weight.reshape(1, groups, outputs // groups, -1).swapaxes(2, 3)
        made = self.contracted(rows, taps).swapaxes(2, 3).reshape(len(x), outputs, *extents)
        return self.with_bias(made, bias, (-1, *(1,) * axes))

    def conv_transpose(
        self,
        x: Array,
        weight: Array,
        bias: Array | None = None,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        dilation: Any = 1,
    ) -> Array:
        """A convolution of the spread input with turned kernels."""
        axes = weight.ndim - 2
        inputs, outputs, *kernel = weight.shape
        step, gap = each(stride, axes), each(dilation, axes)
        spread = np.zeros(
            (*x.shape[:2], *((n - 1) * s + 1 for n, s in zip(x.shape[2:], step, strict=True))),
            x.dtype,
        )
        spread[(slice(None), slice(None), *(slice(None, None, s) for s in step))] = x
        turned = np.flip(weight, tuple(range(2, weight.ndim)))
        turned = turned.reshape(groups, inputs // groups, outputs, *kernel).swapaxes(1, 2)
        around = [
            (d * (k - 1) - p, d * (k - 1) - p + o)
            for d, k, p, o in zip(
                gap, kernel, each(padding, axes), each(output_padding, axes), strict=True
            )
        ]
        spread = np.pad(spread, [(0, 0), (0, 0), *((max(a, 0), max(b, 0)) for a, b in around)])
        cut = (slice(max(-a, 0), n - max(-b, 0)) for n, (a, b) in
               zip(spread.shape[2:], around, strict=True))  # fmt: skip
        spread = spread[(slice(None), slice(None), *cut)]
        kernels = turned.reshape(groups * outputs, inputs // groups, *kernel)
        return self.conv(spread, kernels, bias, 1, 0, dilation, groups)

    def windows(
        self,
        x: Array,
        kernel: Any,
        stride: Any,
        pads: Any,
        dilation: Any,
        fill: float,
        beyond: float | None = None,
    ) -> Array:
        """A view with an axis per window and one per tap behind the leading axes.

        A last window may hang over the end if ``beyond`` says what is there.
        """
        axes = len(kernel)
        lead = x.ndim - axes
        reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
        more = [
            (0, 0 if beyond is None else overhang(n, r, s, p))
            for n, r, s, (p, _) in zip(x.shape[lead:], reach, stride, pads, strict=True)
        ]
        x = np.pad(x, [(0, 0)] * lead + list(pads), constant_values=fill)
        if beyond is not None:
            x = np.pad(x, [(0, 0)] * lead + more, constant_values=beyond)
        last: Any = tuple(range(lead, x.ndim))
        seen = sliding_window_view(x, reach, last)
        steps = (slice(None, None, s) for s in stride)
        taps = (slice(None, None, d) for d in dilation)
        return seen[(*(slice(None),) * lead, *steps, *taps)]

    def sum(self, x: Array, dim: Any = None, keepdim: bool = False) -> Array:
        """Over axes."""
        axes = axes_of(x, dim)
        made = self.total(x, axes)
        return np.expand_dims(made, axes) if keepdim else made

    def mean(self, x: Array, dim: Any = None, keepdim: bool = False) -> Array:
        """A sum, divided by the number of terms."""
        count = prod(x.shape[a] for a in axes_of(x, dim))
        return np.asarray(self.sum(x, dim, keepdim) / self.sums.type(count))

    def avg_pool(
        self,
        x: Array,
        axes: int,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> Array:
        """Sums of windows, divided by the number of taps that count."""
        kernel, pads = each(kernel_size, axes), [(p, p) for p in each(padding, axes)]
        step, ones = (each(stride, axes) if stride else kernel), [1] * axes
        last = tuple(range(-axes, 0))
        over = 0.0 if ceil_mode else None
        made = self.total(self.windows(x, kernel, step, pads, ones, 0, over), last)
        if divisor_override is not None:
            return np.asarray(made / self.sums.type(divisor_override))
        counted = np.full(x.shape, 1, self.sums)
        inside = 1 if count_include_pad else 0
        taps = self.windows(counted, kernel, step, pads, ones, inside, over)
        return np.asarray(made / taps.sum(axis=last, dtype=self.sums))

    def adaptive_avg_pool(self, x: Array, axes: int, output_size: Any) -> Array:
        """Sums of the parts of an axis, divided by their sizes."""
        sizes = each(output_size, axes)
        made = np.empty((*x.shape[: x.ndim - axes], *sizes), self.sums)
        for place in np.ndindex(*sizes):
            part = tuple(
                slice(i * n // m, -(-(i + 1) * n // m))
                for i, n, m in zip(place, x.shape[x.ndim - axes :], sizes, strict=True)
            )
            window = x[(slice(None),) * (x.ndim - axes) + part]
            last = tuple(range(-axes, 0))
            count = self.sums.type(prod(window.shape[-axes:]))
            made[(slice(None),) * (x.ndim - axes) + place] = self.total(window, last) / count
        return made

    def max_pool(
        self,
        x: Array,
        axes: int,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
    ) -> Array:
        """Maxima of windows (ADM-5)."""
        kernel, pads = each(kernel_size, axes), [(p, p) for p in each(padding, axes)]
        step = each(stride, axes) if stride else kernel
        fill = self.pool_padding()
        over = fill if ceil_mode else None
        seen = self.windows(x, kernel, step, pads, each(dilation, axes), fill, over)
        return np.asarray(seen.max(axis=tuple(range(-axes, 0))))

    def pool_padding(self) -> float:
        """What is around the input of a max pool."""
        return -np.inf


def overhang(extent: int, reach: int, stride: int, pad: int) -> int:
    """How far the last window hangs over, if it starts before the padding behind the end."""
    count = -(-(extent + 2 * pad - reach) // stride) + 1
    if (count - 1) * stride >= extent + pad:
        count -= 1
    return max(0, (count - 1) * stride + reach - extent - 2 * pad)


def each(given: Any, axes: int) -> list[Any]:
    """One value per sliding axis."""
    return [given] * axes if isinstance(given, int) else list(given)


def axes_of(x: Array, dim: Any) -> tuple[int, ...]:
    """Axes as a tuple; None is all axes."""
    given = range(x.ndim) if dim is None else ([dim] if isinstance(dim, int) else dim)
    return tuple(sorted({a % x.ndim for a in given}))


def like(x: Array, value: float) -> Array:
    """A constant in the dtype of an array."""
    return np.asarray(value, x.dtype)
