"""ATen's convolutions, products, norms, pools and interpolations as steps, held to torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.conformance.gate.stepped import check, inferred, names, normal
from torch import nn
from torch.nn import functional as f

from quant_conformance.gate.aten.functional import LAYERS

X3 = normal(2, 4, 9)
X4 = normal(2, 4, 7, 6)
X5 = normal(1, 4, 5, 4, 6)
POSITIVE = normal(4, seed=8).abs() + 0.5

Case = tuple[str, Callable[..., Any], tuple[torch.Tensor, ...]]


def weights(out: int, group: int, *kernel: int) -> torch.Tensor:
    return normal(out, group, *kernel, seed=1, scale=0.3)


class MultiHead(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.attention(x, x, x, need_weights=False)[0]


CASES: dict[str, Case] = {
    "conv1d": (
        "convolution",
        lambda x, w, b: f.conv1d(x, w, b, 2, 1, 2),
        (X3, weights(6, 4, 3), normal(6)),
    ),
    "conv2d, padding by axis": (
        "convolution",
        lambda x, w: f.conv2d(x, w, None, (2, 1), (1, 0), (1, 2)),
        (X4, weights(6, 4, 3, 2)),
    ),
    "conv2d, grouped, same": (
        "convolution",
        lambda x, w, b: f.conv2d(x, w, b, padding="same", groups=2),
        (X4, weights(6, 2, 3, 3), normal(6)),
    ),
    "conv2d, depthwise": (
        "convolution",
        lambda x, w: f.conv2d(x, w, groups=4),
        (X4, weights(8, 1, 3, 3)),
    ),
    "conv3d": (
        "convolution",
        lambda x, w: f.conv3d(x, w, None, (1, 2, 1), 1),
        (X5, weights(3, 4, 3, 2, 3)),
    ),
    "conv_transpose1d": (
        "convolution",
        lambda x, w, b: f.conv_transpose1d(x, w, b, 3, 1, 2, dilation=2),
        (X3, weights(4, 5, 4), normal(5)),
    ),
    "conv_transpose2d, grouped": (
        "convolution",
        lambda x, w: f.conv_transpose2d(x, w, None, 2, (1, 0), (1, 0), 2),
        (X4, weights(4, 3, 3, 2)),
    ),
    "conv_transpose3d": (
        "convolution",
        lambda x, w: f.conv_transpose3d(x, w, None, 2),
        (X5, weights(4, 2, 2, 3, 2)),
    ),
    "linear of rank 2": ("addmm", f.linear, (normal(5, 7), normal(3, 7, seed=1), normal(3))),
    "linear of rank 4": (
        "addmm",
        f.linear,
        (normal(2, 3, 5, 7), normal(3, 7, seed=1), normal(3)),
    ),
    "linear without bias": ("mm", f.linear, (normal(5, 7), normal(3, 7, seed=1))),
    "addmm, scaled": (
        "addmm",
        lambda c, a, b: torch.addmm(c, a, b, beta=0.3, alpha=-1.7),
        (normal(5, 3), normal(5, 7), normal(7, 3)),
    ),
    "baddbmm": ("baddbmm", torch.baddbmm, (normal(2, 5, 3), normal(2, 5, 7), normal(2, 7, 3))),
    "baddbmm, scaled": (
        "baddbmm",
        lambda c, a, b: torch.baddbmm(c, a, b, beta=1.7, alpha=0.3),
        (normal(2, 5, 3), normal(2, 5, 7), normal(2, 7, 3)),
    ),
    "matmul of rank 4": ("bmm", torch.matmul, (normal(2, 3, 5, 7), normal(2, 3, 7, 4))),
    "matmul, broadcast": ("bmm", torch.matmul, (normal(2, 3, 5, 7), normal(3, 7, 4))),
    "layer_norm": (
        "native_layer_norm",
        lambda x, w, b: f.layer_norm(x, (6, 4), w, b, 1e-3),
        (normal(2, 6, 4), normal(6, 4, seed=1), normal(6, 4, seed=2)),
    ),
    "layer_norm, plain": ("native_layer_norm", lambda x: f.layer_norm(x, (7,)), (normal(5, 7),)),
    "batch_norm": (
        "native_batch_norm",
        lambda x, m, v, w, b: f.batch_norm(x, m, v, w, b, eps=1e-3),
        (X4, normal(4), POSITIVE, normal(4, seed=1), normal(4, seed=2)),
    ),
    "batch_norm, plain": (
        "native_batch_norm",
        lambda x, m, v: f.batch_norm(x, m, v),
        (X3, normal(4), POSITIVE),
    ),
    "instance_norm": (
        "native_batch_norm",
        lambda x, w, b: f.instance_norm(x, None, None, w, b, eps=1e-3),
        (X4, normal(4, seed=1), normal(4, seed=2)),
    ),
    "group_norm": (
        "native_group_norm",
        lambda x, w, b: f.group_norm(x, 2, w, b, 1e-3),
        (X4, normal(4, seed=1), normal(4, seed=2)),
    ),
    "group_norm, plain": ("native_group_norm", lambda x: f.group_norm(x, 2), (X4,)),
    "softmax": ("softmax", lambda x: f.softmax(x, 1), (3 * X4,)),
    "embedding": (
        "embedding",
        f.embedding,
        (torch.tensor([[0, 3], [2, 2]]), normal(4, 6)),
    ),
    "mean": ("mean", lambda x: x.mean((1, -1)), (X4,)),
    "mean, kept": ("mean", lambda x: x.mean(2, keepdim=True), (X4,)),
    "mean of all": ("mean", torch.mean, (X4,)),
    "sum": ("sum", lambda x: x.sum(-1), (X4,)),
    "amax": ("amax", lambda x: x.amax((1, -1)), (X4,)),
    "amax, kept": ("amax", lambda x: x.amax(-2, keepdim=True), (X4,)),
    "amax of all": ("amax", torch.amax, (X4,)),
    "amin": ("amin", lambda x: x.amin((0, -1)), (X4,)),
    "sum of all": ("sum", torch.sum, (X4,)),
    "max_pool1d": ("max_pool2d_with_indices", lambda x: f.max_pool1d(x, 3, 2, 1), (X3,)),
    "max_pool2d": (
        "max_pool2d_with_indices",
        lambda x: f.max_pool2d(x, (3, 2), (2, 2), (1, 1), ceil_mode=True),
        (X4,),
    ),
    "max_pool2d, dilated": (
        "max_pool2d_with_indices",
        lambda x: f.max_pool2d(x, 2, 1, 0, 2),
        (X4,),
    ),
    "max_pool3d": ("max_pool3d_with_indices", lambda x: f.max_pool3d(x, 2, ceil_mode=True), (X5,)),
    "avg_pool1d": ("avg_pool2d", lambda x: f.avg_pool1d(x, 3, 2, 1), (X3,)),
    "avg_pool2d": (
        "avg_pool2d",
        lambda x: f.avg_pool2d(x, (3, 2), (2, 2), (1, 1), ceil_mode=True),
        (X4,),
    ),
    "avg_pool2d, padding not counted": (
        "avg_pool2d",
        lambda x: f.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
        (X4,),
    ),
    "avg_pool2d, ceil_mode, padding not counted": (
        "avg_pool2d",
        lambda x: f.avg_pool2d(x, 3, 2, 1, ceil_mode=True, count_include_pad=False),
        (X4,),
    ),
    "avg_pool3d": ("avg_pool3d", lambda x: f.avg_pool3d(x, 2, 1, 1), (X5,)),
    "adaptive_avg_pool1d": ("adaptive_avg_pool2d", lambda x: f.adaptive_avg_pool1d(x, 4), (X3,)),
    "adaptive_avg_pool2d": (
        "adaptive_avg_pool2d",
        lambda x: f.adaptive_avg_pool2d(x, (3, 4)),
        (X4,),
    ),
    "adaptive_avg_pool2d to one": ("mean", lambda x: f.adaptive_avg_pool2d(x, 1), (X4,)),
    "adaptive_avg_pool3d": (
        "adaptive_avg_pool3d",
        lambda x: f.adaptive_avg_pool3d(x, (2, 3, 2)),
        (X5,),
    ),
    "adaptive_avg_pool3d to one": ("mean", lambda x: f.adaptive_avg_pool3d(x, 1), (X5,)),
    "upsample_nearest1d": ("upsample_nearest1d", lambda x: f.interpolate(x, 13), (X3,)),
    "upsample_nearest2d": (
        "upsample_nearest2d",
        lambda x: f.interpolate(x, scale_factor=2.0),
        (X4,),
    ),
    "upsample_nearest3d": ("upsample_nearest3d", lambda x: f.interpolate(x, (7, 8, 12)), (X5,)),
    "upsample_linear1d": (
        "upsample_linear1d",
        lambda x: f.interpolate(x, 13, mode="linear"),
        (X3,),
    ),
    "upsample_linear1d, corners": (
        "upsample_linear1d",
        lambda x: f.interpolate(x, scale_factor=1.7, mode="linear", align_corners=True),
        (X3,),
    ),
    "upsample_trilinear3d": (
        "upsample_trilinear3d",
        lambda x: f.interpolate(x, (7, 8, 12), mode="trilinear"),
        (X5,),
    ),
    "upsample_bilinear2d": (
        "upsample_bilinear2d",
        lambda x: f.interpolate(x, (11, 9), mode="bilinear"),
        (X4,),
    ),
    "upsample_bicubic2d": (
        "upsample_bicubic2d",
        lambda x: f.interpolate(x, (11, 9), mode="bicubic"),
        (X4,),
    ),
    "upsample_bicubic2d, corners": (
        "upsample_bicubic2d",
        lambda x: f.interpolate(x, (3, 9), mode="bicubic", align_corners=True),
        (X4,),
    ),
    "upsample_bilinear2d, corners": (
        "upsample_bilinear2d",
        lambda x: f.interpolate(x, (11, 9), mode="bilinear", align_corners=True),
        (X4,),
    ),
}


Q = normal(2, 4, 5, 8)
K, V = normal(2, 4, 6, 8, seed=1), normal(2, 4, 6, 3, seed=2)
ATTENTION = "scaled_dot_product_flash_attention_for_cpu"
LEGIT = torch.ops.aten._native_batch_norm_legit_no_training
CASES |= {
    "attention": (ATTENTION, f.scaled_dot_product_attention, (Q, Q, Q)),
    "attention, scaled": (
        ATTENTION,
        lambda q, k: f.scaled_dot_product_attention(q, k, k, scale=0.7),
        (Q, K),
    ),
    "attention, causal": (
        ATTENTION,
        lambda q: f.scaled_dot_product_attention(q, q, q, is_causal=True),
        (Q,),
    ),
    "attention, masked": (
        ATTENTION,
        lambda q, k, m: f.scaled_dot_product_attention(q, k, k, m),
        (Q, K, normal(5, 6)),
    ),
    "attention, masked by truth": (
        ATTENTION,
        lambda q, k: f.scaled_dot_product_attention(
            q, k, k, torch.ones(5, 6, dtype=torch.bool).tril()
        ),
        (Q, K),
    ),
    "attention, shared heads": (
        ATTENTION,
        lambda q, k: f.scaled_dot_product_attention(q, k, k, enable_gqa=True),
        (Q, K[:, :2]),
    ),
    "attention of rank 3": (
        "safe_softmax",
        f.scaled_dot_product_attention,
        (Q[0], K[0], V[0]),
    ),
    "attention of rank 2": ("mm", f.scaled_dot_product_attention, (Q[0, 0], K[0, 0], V[0, 0])),
    "multihead": ("addmm", MultiHead(), (normal(2, 5, 8),)),
    "linear in inference mode": ("linear", inferred(f.linear), (Q, normal(3, 8), normal(3))),
    "matmul in inference mode": ("matmul", inferred(torch.matmul), (Q, K.mT)),
    "mv": ("mv", torch.mv, (normal(5, 7), normal(7, seed=1))),
    "dot": ("dot", torch.dot, (normal(7), normal(7, seed=1))),
    "batch norm of an exported graph": (
        "native_batch_norm_legit_no_training",
        lambda x, w, b, m, v: LEGIT(x, w, b, m, v, 0.1, 1e-3)[0],
        (X4, normal(4, seed=1), normal(4, seed=2), normal(4), POSITIVE),
    ),
    "instance norm of an exported graph": (
        "native_batch_norm_legit",
        lambda x: torch.ops.aten._native_batch_norm_legit.no_stats(x, None, None, True, 0.1, 1e-3)[
            0
        ],
        (X4[:1],),
    ),
}


@pytest.mark.cpu
@pytest.mark.parametrize("name", CASES)
def test_torch_lies_inside_and_little_else_does(name: str) -> None:
    operation, function, inputs = CASES[name]
    assert operation in names(check(function, *inputs))


def test_every_layer_is_tested() -> None:
    tested = {operation for operation, *_ in CASES.values()}
    assert set(LAYERS) - tested == set()
