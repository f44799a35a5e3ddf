"""One model for each operation that the gate reads, at several settings of its arguments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as f

aten = torch.ops.aten


@dataclass(frozen=True)
class Case:
    """An operation with arguments.

    Attributes:
        operation: ATen name, without underscores around it.
        setting: the arguments, for people.
        function: of the inputs.
        inputs: tensors.
    """

    operation: str
    setting: str
    function: Callable[..., Any]
    inputs: tuple[Tensor, ...]


def normal(*shape: int, seed: int = 0) -> Tensor:
    """Normal values."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


X, Y = 3 * normal(2, 4, 6), normal(2, 4, 6, seed=1)
POSITIVE, FLAT, LINE = X.abs() + 0.1, X[0], X[0, 0]
IMAGE, OTHER, VOLUME = normal(1, 4, 7, 7), normal(1, 4, 6, 6), normal(1, 3, 5, 6, 6)
WHOLE = torch.tensor([[0, 3, 1], [2, 6, 5]], dtype=torch.int32)
WEIGHT, BIAS = normal(5, 6, seed=2), normal(5, seed=3)
K1, K2, K3 = normal(5, 4, 3, seed=4), normal(5, 4, 3, 3, seed=5), normal(4, 3, 2, 3, 3, seed=6)
T1, T2, T3 = normal(4, 5, 3, seed=7), normal(4, 5, 3, 3, seed=8), normal(3, 4, 2, 3, 3, seed=9)
TABLE, VECTOR, GAIN = normal(7, 5, seed=10), normal(6, seed=11), normal(4, seed=12)
SQUARE = normal(2, 6, 4, seed=13)

Row = tuple[str, str, Callable[..., Any], tuple[Tensor, ...]]

_SUMS: tuple[Row, ...] = (
    ("convolution", "1-D", lambda x: f.conv1d(x, K1), (X,)),
    ("convolution", "2-D, stride 2, padding 1", lambda x: f.conv2d(x, K2, BIAS, 2, 1), (IMAGE,)),
    ("convolution", "2-D, dilation 2", lambda x: f.conv2d(x, K2, dilation=2), (IMAGE,)),
    ("convolution", "2-D, groups 2", lambda x: f.conv2d(x, K2[:4, :2], groups=2), (IMAGE,)),
    ("convolution", "2-D, padding same", lambda x: f.conv2d(x, K2, padding="same"), (IMAGE,)),
    ("convolution", "3-D", lambda x: f.conv3d(x, K3), (VOLUME,)),
    ("convolution", "transposed 1-D, output_padding 1",
     lambda x: f.conv_transpose1d(x, T1, stride=2, output_padding=1), (X,)),
    ("convolution", "transposed 2-D, stride 2",
     lambda x: f.conv_transpose2d(x, T2, BIAS, stride=2), (IMAGE,)),
    ("convolution", "transposed 2-D, output_padding 1, padding 0",
     lambda x: f.conv_transpose2d(x, T2, BIAS, 2, 0, 1), (IMAGE,)),
    ("convolution", "transposed 2-D, output_padding 1, padding 1",
     lambda x: f.conv_transpose2d(x, T2, BIAS, 2, 1, 1), (IMAGE,)),
    ("convolution", "transposed 2-D, dilation 2",
     lambda x: f.conv_transpose2d(x, T2, dilation=2), (IMAGE,)),
    ("convolution", "transposed 3-D", lambda x: f.conv_transpose3d(x, T3, stride=2), (VOLUME,)),
    ("linear", "3 axes", lambda x: f.linear(x, WEIGHT, BIAS), (X,)),
    ("linear", "a vector", lambda x: f.linear(x, WEIGHT, BIAS), (LINE,)),
    ("addmm", "beta 1, alpha 1", lambda x: torch.addmm(BIAS, x, WEIGHT.t()), (FLAT,)),
    ("addmm", "beta 0", lambda x: torch.addmm(BIAS, x, WEIGHT.t(), beta=0), (FLAT,)),
    ("addmm", "beta 2, alpha 3", lambda x: torch.addmm(BIAS, x, WEIGHT.t(), beta=2, alpha=3),
     (FLAT,)),
    ("baddbmm", "beta 1, alpha 1", lambda x, y, z: torch.baddbmm(x[..., :4], y, z),
     (X, Y, SQUARE)),
    ("baddbmm", "beta 0.5, alpha 2",
     lambda x, y, z: torch.baddbmm(x[..., :4], y, z, beta=0.5, alpha=2), (X, Y, SQUARE)),
    ("mm", "", torch.mm, (FLAT, SQUARE[0])),
    ("bmm", "", torch.bmm, (X, SQUARE)),
    ("matmul", "3 axes by 2", torch.matmul, (X, SQUARE[0])),
    ("mv", "", torch.mv, (FLAT, LINE)),
    ("dot", "", torch.dot, (LINE, VECTOR)),
    ("embedding", "", lambda i: f.embedding(i, TABLE), (WHOLE,)),
    ("mean", "one axis", lambda x: x.mean(1), (X,)),
    ("mean", "two axes, kept", lambda x: x.mean((0, 2), keepdim=True), (X,)),
    ("sum", "one axis", lambda x: x.sum(-1), (X,)),
    ("sum", "all", torch.sum, (X,)),
    ("amax", "one axis", lambda x: x.amax(1), (X,)),
    ("amax", "two axes", lambda x: x.amax((0, 2)), (X,)),
    ("softmax", "axis 1", lambda x: x.softmax(1), (X,)),
    ("scaled_dot_product_flash_attention_for_cpu", "",
     lambda x, y: f.scaled_dot_product_attention(x[None], y[None], y[None]), (X, Y)),
    ("scaled_dot_product_flash_attention_for_cpu", "causal",
     lambda x, y: f.scaled_dot_product_attention(x[None], y[None], y[None], is_causal=True),
     (X, Y)),
    ("scaled_dot_product_flash_attention_for_cpu", "scale 0.3",
     lambda x, y: f.scaled_dot_product_attention(x[None], y[None], y[None], scale=0.3), (X, Y)),
    ("native_layer_norm", "eps 1e-5", lambda x: f.layer_norm(x, (6,), VECTOR, VECTOR), (X,)),
    ("native_layer_norm", "eps 1e-9 beside 1e-8",
     lambda x: f.layer_norm(x * 1e-4, (6,), eps=1e-9), (X,)),
    ("native_group_norm", "2 groups", lambda x: f.group_norm(x, 2, GAIN, GAIN), (IMAGE,)),
    ("native_batch_norm", "",
     lambda x: f.batch_norm(x, GAIN, GAIN.abs() + 0.1, GAIN, GAIN), (IMAGE,)),
    ("fused_rms_norm", "eps 1e-3", lambda x: f.rms_norm(x, (6,), VECTOR, 1e-3), (X,)),
)  # fmt: skip

_POOLS: tuple[Row, ...] = (
    ("max_pool2d_with_indices", "1-D", lambda x: f.max_pool1d(x, 2), (X,)),
    ("max_pool2d_with_indices", "2-D", lambda x: f.max_pool2d(x, 2), (IMAGE,)),
    ("max_pool2d_with_indices", "2-D, padding 1", lambda x: f.max_pool2d(x, 2, padding=1),
     (IMAGE,)),
    ("max_pool2d_with_indices", "2-D, dilation 2", lambda x: f.max_pool2d(x, 2, dilation=2),
     (IMAGE,)),
    ("max_pool2d_with_indices", "2-D, ceil_mode", lambda x: f.max_pool2d(x, 2, ceil_mode=True),
     (IMAGE,)),
    ("max_pool3d_with_indices", "", lambda x: f.max_pool3d(x, 2), (VOLUME,)),
    ("avg_pool2d", "1-D", lambda x: f.avg_pool1d(x, 2), (X,)),
    ("avg_pool2d", "2-D, stride given", lambda x: f.avg_pool2d(x, 2, 2), (IMAGE,)),
    ("avg_pool2d", "2-D, stride not given", lambda x: f.avg_pool2d(x, 2), (IMAGE,)),
    ("avg_pool2d", "2-D, padding 1", lambda x: f.avg_pool2d(x, 3, 2, 1), (IMAGE,)),
    ("avg_pool2d", "2-D, padding 1, not counted",
     lambda x: f.avg_pool2d(x, 3, 2, 1, count_include_pad=False), (IMAGE,)),
    ("avg_pool2d", "2-D, ceil_mode", lambda x: f.avg_pool2d(x, 2, 2, ceil_mode=True), (IMAGE,)),
    ("avg_pool2d", "2-D, divisor_override 3",
     lambda x: f.avg_pool2d(x, 2, 2, divisor_override=3), (IMAGE,)),
    ("avg_pool3d", "", lambda x: f.avg_pool3d(x, 2, 2), (VOLUME,)),
    ("adaptive_avg_pool2d", "to 1", lambda x: f.adaptive_avg_pool2d(x, 1), (IMAGE,)),
    ("adaptive_avg_pool2d", "to a divisor", lambda x: f.adaptive_avg_pool2d(x, 3), (OTHER,)),
    ("adaptive_avg_pool2d", "to no divisor", lambda x: f.adaptive_avg_pool2d(x, 3), (IMAGE,)),
    ("adaptive_avg_pool3d", "to 2", lambda x: f.adaptive_avg_pool3d(x, 2), (VOLUME,)),
    ("upsample_nearest1d", "scale 2", lambda x: f.interpolate(x, scale_factor=2), (X,)),
    ("upsample_nearest2d", "scale 2", lambda x: f.interpolate(x, scale_factor=2), (IMAGE,)),
    ("upsample_nearest2d", "scale 1.7", lambda x: f.interpolate(x, scale_factor=1.7), (IMAGE,)),
    ("upsample_nearest2d", "size", lambda x: f.interpolate(x, size=(9, 10)), (IMAGE,)),
    ("upsample_nearest3d", "scale 2", lambda x: f.interpolate(x, scale_factor=2), (VOLUME,)),
    ("upsample_bilinear2d", "scale 2",
     lambda x: f.interpolate(x, scale_factor=2, mode="bilinear"), (IMAGE,)),
    ("upsample_bilinear2d", "scale 1.7",
     lambda x: f.interpolate(x, scale_factor=1.7, mode="bilinear"), (IMAGE,)),
    ("upsample_bilinear2d", "size, corners aligned",
     lambda x: f.interpolate(x, size=(9, 11), mode="bilinear", align_corners=True), (IMAGE,)),
    ("upsample_bilinear2d_aa", "to a smaller size",
     lambda x: f.interpolate(x, size=(3, 4), mode="bilinear", antialias=True), (IMAGE,)),
    ("upsample_bicubic2d", "scale 2",
     lambda x: f.interpolate(x, scale_factor=2, mode="bicubic"), (IMAGE,)),
    ("upsample_trilinear3d", "scale 2",
     lambda x: f.interpolate(x, scale_factor=2, mode="trilinear"), (VOLUME,)),
)  # fmt: skip

LAYER_CASES = tuple(Case(*row) for row in (*_SUMS, *_POOLS))
