"""MIL operations with weights or windows: conv, linear, matmul, attention, norms, pooling."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own name for it)
from torch import Tensor

from quant_conformance.runtimes.coreml.operands import Inputs, Result, Table

_CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_CONV_TRANSPOSE = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
_MAX_POOL = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
_AVG_POOL = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


def _padding(
    given: Inputs, x: Tensor, kernel: list[int], strides: list[int], dilations: list[int]
) -> list[tuple[int, int]]:
    """(before, after) for each spatial axis."""
    kind = given.text("pad_type", "valid")
    count = x.dim() - 2
    if kind == "valid":
        return [(0, 0)] * count
    if kind == "custom":
        pad = given.ints("pad", [0] * (2 * count))
        return list(zip(pad[::2], pad[1::2], strict=True))
    if kind not in ("same", "same_lower"):
        raise given.unsupported(f"pad_type {kind!r}")
    pairs = []
    for size, k, s, d in zip(x.shape[2:], kernel, strides, dilations, strict=True):
        total = max(0, (math.ceil(size / s) - 1) * s + (k - 1) * d + 1 - size)
        small = total // 2
        pairs.append((small, total - small) if kind == "same" else (total - small, small))
    return pairs


def _padded(x: Tensor, pairs: list[tuple[int, int]], value: float = 0.0) -> Tensor:
    if not any(before or after for before, after in pairs):
        return x
    return F.pad(x, [n for pair in reversed(pairs) for n in pair], value=value)


def _conv(given: Inputs) -> Result:
    x, weight = given.tensor("x"), given.tensor("weight")
    count = x.dim() - 2
    strides = given.ints("strides", [1] * count)
    dilations = given.ints("dilations", [1] * count)
    pairs = _padding(given, x, list(weight.shape[2:]), strides, dilations)
    bias, groups = given.optional("bias"), given.integer("groups", 1)
    if all(before == after for before, after in pairs):
        padding = [before for before, _ in pairs]
        return _CONV[count](x, weight, bias, strides, padding, dilations, groups)
    return _CONV[count](_padded(x, pairs), weight, bias, strides, 0, dilations, groups)


def _conv_transpose(given: Inputs) -> Result:
    x, weight = given.tensor("x"), given.tensor("weight")
    count = x.dim() - 2
    strides = given.ints("strides", [1] * count)
    dilations = given.ints("dilations", [1] * count)
    if given.text("pad_type", "valid") not in ("valid", "custom"):
        raise given.unsupported(f"pad_type {given.text('pad_type')!r}")
    pairs = _padding(given, x, list(weight.shape[2:]), strides, dilations)
    groups = given.integer("groups", 1)
    bias = given.optional("bias")
    if all(before == after for before, after in pairs) and not given.has("output_shape"):
        padding = [before for before, _ in pairs]
        return _CONV_TRANSPOSE[count](x, weight, bias, strides, padding, 0, groups, dilations)
    full = _CONV_TRANSPOSE[count](x, weight, None, strides, 0, 0, groups, dilations)
    sizes = [n - before - after for n, (before, after) in zip(full.shape[2:], pairs, strict=True)]
    if given.has("output_shape"):
        sizes = given.ints("output_shape")[-count:]
    for axis, (size, (before, _)) in enumerate(zip(sizes, pairs, strict=True), start=2):
        lack = max(0, before + size - full.shape[axis])  # what no input reaches is zero
        extra = [0, 0] * (full.dim() - 1 - axis) + [0, lack]
        full = F.pad(full, extra).narrow(axis, before, size)
    return full if bias is None else full + bias.reshape([-1] + [1] * count)


def _linear(given: Inputs) -> Result:
    return F.linear(given.tensor("x"), given.tensor("weight"), given.optional("bias"))


def _matmul(given: Inputs) -> Result:
    x, y = given.tensor("x"), given.tensor("y")
    if given.flag("transpose_x"):
        x = x.transpose(-1, -2)
    if given.flag("transpose_y"):
        y = y.transpose(-1, -2)
    return torch.matmul(x, y)


def _einsum(given: Inputs) -> Result:
    return torch.einsum(given.text("equation"), *given.tensors("values"))


def _attention(given: Inputs) -> Result:
    mask = given.optional("attn_mask")
    return F.scaled_dot_product_attention(
        given.tensor("query"), given.tensor("key"), given.tensor("value"), attn_mask=mask
    )


def _batch_norm(given: Inputs) -> Result:
    mean, variance = given.tensor("mean"), given.tensor("variance")
    gamma, beta = given.optional("gamma"), given.optional("beta")
    eps = given.number("epsilon", 1e-5)
    return F.batch_norm(given.tensor("x"), mean, variance, gamma, beta, eps=eps)


def _instance_norm(given: Inputs) -> Result:
    gamma, beta = given.optional("gamma"), given.optional("beta")
    eps = given.number("epsilon", 1e-5)
    return F.instance_norm(given.tensor("x"), weight=gamma, bias=beta, eps=eps)


def _layer_norm(given: Inputs) -> Result:
    x = given.tensor("x")
    axes = sorted(axis % x.dim() for axis in given.ints("axes", list(range(x.dim()))))
    gamma, beta = given.optional("gamma"), given.optional("beta")
    eps = given.number("epsilon", 1e-5)
    if axes == list(range(axes[0], x.dim())):
        return F.layer_norm(x, list(x.shape[axes[0] :]), gamma, beta, eps)
    shape = [n if i in axes else 1 for i, n in enumerate(x.shape)]
    mean = x.mean(axes, keepdim=True)
    variance = (x - mean).square().mean(axes, keepdim=True)
    scaled = (x - mean) / torch.sqrt(variance + eps)
    scaled = scaled if gamma is None else scaled * gamma.reshape(shape)
    return scaled if beta is None else scaled + beta.reshape(shape)


def _l2_norm(given: Inputs) -> Result:
    x = given.tensor("x")
    squares = x.square().sum((-3, -2, -1), keepdim=True)
    return x * torch.rsqrt(squares + given.number("epsilon", 1e-6))


def _local_response_norm(given: Inputs) -> Result:
    return F.local_response_norm(
        given.tensor("x"),
        given.integer("size"),
        given.number("alpha", 1e-4),
        given.number("beta", 0.75),
        given.number("k", 1.0),
    )


def _windows(given: Inputs, x: Tensor) -> tuple[list[int], list[int], list[tuple[int, int]]]:
    kernel = given.ints("kernel_sizes")
    strides = given.ints("strides", [1] * len(kernel))
    return kernel, strides, _padding(given, x, kernel, strides, [1] * len(kernel))


def _max_pool(given: Inputs) -> Result:
    x = given.tensor("x")
    kernel, strides, pairs = _windows(given, x)
    padded = _padded(x, pairs, -math.inf)
    pool: Callable[..., Tensor] = _MAX_POOL[len(kernel)]
    return pool(padded, kernel, strides, ceil_mode=given.flag("ceil_mode"))


def _avg_pool(given: Inputs) -> Result:
    x = given.tensor("x")
    kernel, strides, pairs = _windows(given, x)
    excluded = given.flag("exclude_padding_from_average")
    ceil = given.flag("ceil_mode")
    pool: Callable[..., Tensor] = _AVG_POOL[len(kernel)]
    if all(before == after for before, after in pairs):
        padding = [before for before, _ in pairs]
        return pool(x, kernel, strides, padding, ceil_mode=ceil, count_include_pad=not excluded)
    mean = pool(_padded(x, pairs), kernel, strides, ceil_mode=ceil)
    if not excluded:
        return mean
    return mean / pool(_padded(torch.ones_like(x), pairs), kernel, strides, ceil_mode=ceil)


LAYERS: Table = {
    "conv": _conv,
    "conv_transpose": _conv_transpose,
    "linear": _linear,
    "matmul": _matmul,
    "einsum": _einsum,
    "scaled_dot_product_attention": _attention,
    "batch_norm": _batch_norm,
    "instance_norm": _instance_norm,
    "layer_norm": _layer_norm,
    "l2_norm": _l2_norm,
    "local_response_norm": _local_response_norm,
    "max_pool": _max_pool,
    "avg_pool": _avg_pool,
}
"""MIL operation -> its torch form."""
