"""Products of matrices with factors, and convolutions with a padding that converters mistake."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from quant_torch.export.rewriting._rule import Rule, Rules, aten, listed, part


def _scaled_sum(summand: Tensor, product: Tensor, beta: float, alpha: float) -> Tensor:
    """``beta * summand + alpha * product``; with a beta of 0 the summand is not read at all."""
    if alpha != 1:
        product = product * float(alpha)
    if beta == 0:
        return product
    return (summand if beta == 1 else summand * float(beta)) + product


def addmm(x: Tensor, a: Tensor, b: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """Without factors the converters have it."""
    if beta == 1 and alpha == 1:
        return NotImplemented
    return _scaled_sum(x, torch.matmul(a, b), beta, alpha)


def baddbmm(x: Tensor, a: Tensor, b: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """The product, then the sum."""
    return _scaled_sum(x, torch.matmul(a, b), beta, alpha)


def addbmm(x: Tensor, a: Tensor, b: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """The sum over the batch of products."""
    return _scaled_sum(x, torch.sum(torch.matmul(a, b), [0]), beta, alpha)


def mv(a: Tensor, b: Tensor) -> Tensor:
    """With an axis of one column."""
    return torch.squeeze(torch.matmul(a, torch.unsqueeze(b, -1)), -1)


def addmv(x: Tensor, a: Tensor, b: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """As :func:`baddbmm`, of a matrix and a vector."""
    return _scaled_sum(x, mv(a, b), beta, alpha)


def dot(a: Tensor, b: Tensor) -> Tensor:
    """As a product of a row and a column."""
    product = torch.matmul(torch.unsqueeze(a, 0), torch.unsqueeze(b, -1))
    return torch.reshape(product, [])


def matmul(a: Tensor, b: Tensor) -> Tensor:
    """Products of vectors, by way of matrices."""
    if a.dim() == 1 and b.dim() == 1:
        return dot(a, b)
    if b.dim() == 1:
        return mv(a, b)
    if a.dim() == 1:
        return torch.squeeze(torch.matmul(torch.unsqueeze(a, 0), b), -2)
    return NotImplemented


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Of a vector, by way of a matrix of one row."""
    if x.dim() != 1:
        return NotImplemented
    return torch.squeeze(functional.linear(torch.unsqueeze(x, 0), weight, bias), 0)


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Keys and values that several heads share are repeated for each."""
    times = query.shape[1] // key.shape[1] if enable_gqa and query.dim() == 4 else 1
    if times == 1:
        return NotImplemented
    key, value = (_repeated(x, times) for x in (key, value))
    return functional.scaled_dot_product_attention(
        query, key, value, attn_mask, dropout_p, is_causal, scale=scale
    )


def _repeated(x: Tensor, times: int) -> Tensor:
    heads = [part(x, 1, head // times, 1) for head in range(x.shape[1] * times)]
    return torch.cat(heads, 1)


def _transposed(rank: int) -> Rule:
    """With an output padding: the whole result, cut where padding says so, grown where it ends."""
    function = (
        functional.conv_transpose1d, functional.conv_transpose2d, functional.conv_transpose3d,
    )[rank - 1]  # fmt: skip

    def rule(
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Sequence[int] = 1,
        padding: Sequence[int] = 0,
        output_padding: Sequence[int] = 0,
        groups: int = 1,
        dilation: Sequence[int] = 1,
    ) -> Tensor:
        steps, pads, more, gaps = (
            listed(n, rank) for n in (stride, padding, output_padding, dilation)
        )
        if not any(more) or (rank == 2 and all(pads) and pads[0] == pads[-1]):
            return NotImplemented
        y = function(x, weight, None, steps, 0, 0, groups, gaps)
        grown = [max(0, m - p) for m, p in zip(more, pads, strict=True)]
        for axis, (before, extra) in enumerate(zip(pads, more, strict=True), start=2):
            after = max(0, before - extra)
            if before or after:
                y = part(y, axis, before, y.shape[axis] - before - after)
        if any(grown):
            y = functional.pad(y, [n for m in reversed(grown) for n in (0, m)])
        return y if bias is None else y + torch.reshape(bias, [-1] + [1] * rank)

    return rule


def _any_convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
    *_: bool,
) -> Tensor:
    """The form that exported graphs call."""
    if not transposed:
        return NotImplemented
    rule = _transposed(x.dim() - 2)
    return rule(x, weight, bias, stride, padding, output_padding, groups, dilation)


SUMS: Rules = {
    aten.addmm.default: addmm,
    aten.baddbmm.default: baddbmm,
    aten.addbmm.default: addbmm,
    aten.addmv.default: addmv,
    aten.mv.default: mv,
    aten.dot.default: dot,
    aten.matmul.default: matmul,
    aten.linear.default: linear,
    aten.scaled_dot_product_attention.default: attention,
    aten.conv_transpose1d.default: _transposed(1),
    aten.conv_transpose2d.input: _transposed(2),
    aten.conv_transpose3d.input: _transposed(3),
    aten._convolution.default: _any_convolution,
    aten.convolution.default: _any_convolution,
}
"""For Core ML; Core AI has them all."""
