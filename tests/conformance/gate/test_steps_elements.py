"""ATen's elementwise operations, and those that move elements, as steps, held to torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.conformance.gate.stepped import check, inferred, names, normal
from torch.nn import functional as f

from quant_conformance.gate.aten.pointwise import ELEMENTS

X = 3 * normal(2, 4, 6)
Y = normal(2, 4, 6, seed=1)
P = X.abs() + 0.1
aten = torch.ops.aten

Case = tuple[str, Callable[..., Any], tuple[torch.Tensor, ...]]

CASES: dict[str, Case] = {
    "pad": ("constant_pad_nd", lambda x: f.pad(x, (1, 2, 0, 1), value=0.5), (X,)),
    "pad that crops": ("constant_pad_nd", lambda x: f.pad(x, (-1, 2)), (X,)),
    "cat": ("cat", lambda x, y: torch.cat([x, y, x], -1), (X, Y)),
    "stack": ("stack", lambda x, y: aten.stack.default([x, y], -1), (X, Y)),
    "stack before": ("stack", lambda x, y: aten.stack.default([x, y], 0), (X, Y)),
    "view": ("view", lambda x: x.view(8, 6), (X,)),
    "flatten": ("view", lambda x: x.flatten(1), (X,)),
    "unsafe_view": ("unsafe_view", lambda x: aten._unsafe_view(x, (8, 6)), (X,)),
    "reshape": ("reshape", inferred(lambda x: x.reshape(8, -1)), (X,)),
    "pixel_shuffle": ("pixel_shuffle", lambda x: f.pixel_shuffle(x, 2), (normal(1, 8, 2, 3),)),
    "pixel_unshuffle": (
        "pixel_unshuffle",
        lambda x: f.pixel_unshuffle(x, 2),
        (normal(1, 2, 4, 6),),
    ),
    "native_channel_shuffle": (
        "native_channel_shuffle",
        lambda x: aten.native_channel_shuffle(x, 3),
        (normal(1, 6, 3, 2),),
    ),
    "channel_shuffle": ("channel_shuffle", lambda x: f.channel_shuffle(x, 2), (X[None, 0],)),
    "squeeze": ("squeeze", lambda x: x[:1].squeeze(0), (X,)),
    "unsqueeze": ("unsqueeze", lambda x: x.unsqueeze(-2), (X,)),
    "expand": ("expand", lambda x: x[:, :1].expand(2, 5, -1), (X,)),
    "expand, more axes": ("expand", lambda x: x.expand(3, 2, 4, 6), (X,)),
    "repeat": ("repeat", lambda x: x.repeat(2, 1, 3), (X,)),
    "repeat, more axes": ("repeat", lambda x: x.repeat(2, 2, 1, 3), (X,)),
    "permute": ("permute", lambda x: x.permute(2, 0, 1), (X,)),
    "transpose": ("transpose", lambda x: x.transpose(0, -1), (X,)),
    "t": ("t", lambda x: x[0].t(), (X,)),
    "t of a vector": ("t", lambda x: x[0, 0].t(), (X,)),
    "slice": ("slice", lambda x: x[:, 1:-1:2], (X,)),
    "slice from the end": ("slice", lambda x: x[..., -3:], (X,)),
    "select": ("select", lambda x: x[:, -1], (X,)),
    "unbind": ("unbind", lambda x: x.unbind(1), (X,)),
    "split": ("split", lambda x: x.split(4, -1), (X,)),
    "chunk": ("split", lambda x: x.chunk(2, 1)[1], (X,)),
    "split_with_sizes": ("split_with_sizes", lambda x: x.split([1, 3, 2], 2), (X,)),
    "unsafe_split": ("unsafe_split", lambda x: x.unsafe_chunk(2, 2)[1], (X,)),
    "unsafe_split_with_sizes": (
        "unsafe_split_with_sizes",
        lambda x: x.unsafe_split_with_sizes([1, 3, 2], 2)[1],
        (X,),
    ),
    "clone": ("clone", torch.clone, (X,)),
    "copy": ("copy", lambda x, y: x.clone().copy_(y), (X, Y)),
    "copy of a row": ("copy", lambda x, y: x.clone().copy_(y), (X, Y[0, :1])),
    "detach": ("detach", torch.detach, (X,)),
    "alias": ("alias", aten.alias, (X,)),
    "lift_fresh": ("lift_fresh", lambda x: x * torch.tensor([1.0] * 6), (X,)),
    "add": ("add", torch.add, (X, Y)),
    "add, broadcast": ("add", torch.add, (X, Y[0, :, :1])),
    "add a number": ("add", lambda x: x + 3, (X,)),
    "add in place": ("add", lambda x: x.clone().add_(1.5), (X,)),
    "add, scaled": ("add", lambda x, y: torch.add(x, y, alpha=0.3), (X, Y)),
    "add a number, scaled": ("add", lambda x: torch.add(x, 2, alpha=3), (X,)),
    "glu": ("glu", lambda x: f.glu(x, -1), (X,)),
    "glu, another axis": ("glu", lambda x: f.glu(x, 1), (X,)),
    "prelu": ("prelu_kernel", lambda x, w: f.prelu(x, w), (X, normal(4, seed=2))),
    "prelu with one weight": ("prelu_kernel", lambda x, w: f.prelu(x, w), (X, normal(1, seed=2))),
    "add nothing": ("add", lambda x: 0 + x, (X,)),
    "subtract nothing": ("sub", lambda x: x - 0, (X,)),
    "once": ("mul", lambda x: x * 1, (X,)),
    "divide by one": ("div", lambda x: x / 1.0, (X,)),
    "add to itself": ("add", lambda x: x + x, (X,)),
    "sub": ("sub", torch.sub, (X, Y)),
    "sub, scaled": ("sub", lambda x, y: torch.sub(x, y, alpha=2), (X, Y)),
    "rsub": ("rsub", lambda x: 1 - x, (X,)),
    "rsub, scaled": ("rsub", lambda x, y: torch.rsub(x, y, alpha=0.3), (X, Y)),
    "mul": ("mul", torch.mul, (X, Y)),
    "mul by a number": ("mul", lambda x: x * 0.1, (X,)),
    "div": ("div", torch.div, (X, P)),
    "div by a number": ("div", lambda x: x / 3, (X,)),
    "reciprocal": ("reciprocal", torch.reciprocal, (P,)),
    "neg": ("neg", torch.neg, (X,)),
    "exp": ("exp", torch.exp, (X,)),
    "log": ("log", torch.log, (P,)),
    "sqrt": ("sqrt", torch.sqrt, (P,)),
    "rsqrt": ("rsqrt", torch.rsqrt, (P,)),
    "erf": ("erf", torch.erf, (X,)),
    "tanh": ("tanh", torch.tanh, (X,)),
    **{
        op: (op, getattr(torch, op), (X,))
        for op in ("sin", "cos", "tan", "atan", "sinh", "cosh", "asinh", "exp2", "expm1")
    },
    **{op: (op, getattr(torch, op), (P,)) for op in ("log1p", "log2", "log10")},
    **{op: (op, getattr(torch, op), (X / 10,)) for op in ("asin", "acos", "atanh")},
    "acosh": ("acosh", torch.acosh, (P + 1,)),
    "sigmoid": ("sigmoid", torch.sigmoid, (X,)),
    "relu": ("relu", torch.relu, (X,)),
    "relu in place": ("relu", lambda x: f.relu(x * 1, inplace=True), (X,)),
    "relu6": ("hardtanh", f.relu6, (X,)),
    "silu": ("silu", f.silu, (X,)),
    "mish": ("mish", f.mish, (X,)),
    "hardswish": ("hardswish", f.hardswish, (X,)),
    "hardsigmoid": ("hardsigmoid", f.hardsigmoid, (X,)),
    "hardtanh": ("hardtanh", lambda x: f.hardtanh(x, -0.5, 2), (X,)),
    "clamp": ("clamp", lambda x: x.clamp(-0.5, 2), (X,)),
    "clamp from below": ("clamp", lambda x: x.clamp(min=0.25), (X,)),
    "clamp_min": ("clamp_min", lambda x: x.clamp_min(0.25), (X,)),
    "clamp_max": ("clamp_max", lambda x: x.clamp_max(0.25), (X,)),
    "leaky_relu": ("leaky_relu", lambda x: f.leaky_relu(x, 0.2), (X,)),
    "gelu": ("gelu", f.gelu, (X,)),
    "gelu by tanh": ("gelu", lambda x: f.gelu(x, approximate="tanh"), (X,)),
    "softplus": ("softplus", lambda x: f.softplus(x, 2, 30), (X,)),
    "elu": ("elu", lambda x: f.elu(x, 0.5), (X,)),
    "celu": ("celu", lambda x: f.celu(x, 0.5), (X,)),
    "celu of one": ("celu", f.celu, (X,)),
    "elu as an exported graph has it": ("elu", lambda x: aten.elu(x, 0.7), (X,)),
    "celu as elu": ("elu", lambda x: aten.elu(x, 0.5, 1, 2), (X,)),
    "selu": ("elu", f.selu, (X,)),
    "logsigmoid": ("log_sigmoid_forward", f.logsigmoid, (X,)),
    "pow": ("pow", lambda x: x**2, (X,)),
    "pow of a fraction": ("pow", lambda x: x**0.3, (P,)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_torch_lies_inside_and_little_else_does(name: str) -> None:
    operation, function, inputs = CASES[name]
    assert operation in names(check(function, *inputs))


def test_every_operation_is_tested() -> None:
    assert set(ELEMENTS) - {operation for operation, *_ in CASES.values()} == set()
