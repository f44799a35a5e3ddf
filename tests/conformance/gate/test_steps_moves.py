"""ATen's moves, fused products, norms and whole numbers as steps, held to torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.conformance.gate.stepped import (
    Case,
    bounds,
    check,
    inferred,
    names,
    normal,
    number,
    recorded,
    regions,
)
from torch.nn import functional as f

from quant_conformance.gate.aten.composed import COMPOSED
from quant_conformance.gate.aten.moves import MOVES

X = 3 * normal(2, 4, 6)
Y = normal(2, 4, 6, seed=1)
P = X.abs() + 0.1
X4 = normal(2, 3, 7, 6)
N = torch.arange(-24, 24).reshape(2, 4, 6)
PICKED = torch.tensor([1, 0, -1])
TRUE = normal(2, 4, 6, seed=2) > 0
aten = torch.ops.aten

CASES: dict[str, Case] = {
    "roll": ("roll", lambda x: torch.roll(x, (1, -2), (1, 2)), (X,)),
    "roll by more than there are": ("roll", lambda x: torch.roll(x, -9, 2), (X,)),
    "roll of a line": ("roll", lambda x: torch.roll(x, 5), (X,)),
    "roll by nothing": ("roll", lambda x: torch.roll(x, 4, 1), (X,)),
    "reflection_pad1d": ("reflection_pad1d", lambda x: f.pad(x, (2, 3), "reflect"), (X,)),
    "reflection_pad2d": ("reflection_pad2d", lambda x: f.pad(x, (2, 3, 1, 0), "reflect"), (X4,)),
    "reflection_pad3d": (
        "reflection_pad3d",
        lambda x: f.pad(x, (2, 3, 1, 0, 1, 1), "reflect"),
        (X4[None],),
    ),
    "replication_pad1d": ("replication_pad1d", lambda x: f.pad(x, (2, 7), "replicate"), (X,)),
    "replication_pad2d": (
        "replication_pad2d",
        lambda x: f.pad(x, (2, 3, 1, 0), "replicate"),
        (X4,),
    ),
    "replication_pad3d": (
        "replication_pad3d",
        lambda x: f.pad(x, (2, 3, 1, 0, 1, 4), "replicate"),
        (X4[None],),
    ),
    "select_scatter": (
        "select_scatter",
        lambda x, y: torch.select_scatter(x, y, 1, -2),
        (X, Y[:, 0]),
    ),
    "slice_scatter": (
        "slice_scatter",
        lambda x, y: torch.slice_scatter(x, y[:, :, :2], 2, -5, -3),
        (X, Y),
    ),
    "slice_scatter of all": ("slice_scatter", lambda x, y: aten.slice_scatter(x, y), (X, Y)),
    "diagonal": ("diagonal", lambda x: x.diagonal(1, 1, 2), (X,)),
    "diagonal below": ("diagonal", lambda x: x.diagonal(-1, 2, 0), (X,)),
    "fill": ("fill", lambda x, y: x + aten.fill(y, 0.25), (X, Y)),
    "fill by a tensor": ("fill", lambda x, y: aten.fill(x, y), (X, torch.tensor(0.3))),
    "full_like": ("full_like", lambda x: x + torch.full_like(x, 0.25), (X,)),
    "new_full": ("new_full", lambda x: x + x.new_full((6,), -0.5), (X,)),
    "zeros_like": ("zeros_like", lambda x: torch.cat([x, torch.zeros_like(x) + 1]), (X,)),
    "new_zeros": ("new_zeros", lambda x: torch.cat([x, x.new_zeros(2, 4, 6) + 1]), (X,)),
    "zero": ("zero", lambda x: torch.cat([x, x.clone().zero_() + 1]), (X,)),
    "ones_like": ("ones_like", lambda x: x + torch.ones_like(x), (X,)),
    "new_ones": ("new_ones", lambda x: x + x.new_ones(6), (X,)),
    "adaptive_max_pool1d": (
        "adaptive_max_pool2d",
        lambda x: f.adaptive_max_pool1d(x, 4),
        (X,),
    ),
    "adaptive_max_pool2d": (
        "adaptive_max_pool2d",
        lambda x: f.adaptive_max_pool2d(x, (3, 4)),
        (X4,),
    ),
    "adaptive_max_pool3d": (
        "adaptive_max_pool3d",
        lambda x: f.adaptive_max_pool3d(x, (2, 3, 4)),
        (X4[None],),
    ),
    "any": ("any", number(lambda m: m.any(-1)), (TRUE,)),
    "any of all": ("any", number(lambda m: m.any()), (TRUE & ~TRUE,)),
    "any, kept": ("any", number(lambda m: (m > 21).any(1, keepdim=True)), (N,)),
    "all": ("all", number(lambda m: m.all(-1)), (N,)),
    "max": ("max", torch.max, (X,)),
    "max of two": ("maximum", torch.max, (X, Y)),
    "max of two, whole": ("max", inferred(torch.max), (X, Y)),
    "min of two, whole": ("min", inferred(torch.min), (X, Y)),
    "max along an axis": ("max", lambda x: x.max(1, keepdim=True).values, (X,)),
    "min along an axis": ("min", lambda x: x.min(-1).values, (X,)),
    "addcmul": ("addcmul", torch.addcmul, (X, Y, P)),
    "addcmul, scaled": ("addcmul", lambda x, y, p: torch.addcmul(x, y, p, value=0.3), (X, Y, P)),
    "addcdiv": ("addcdiv", torch.addcdiv, (X, Y, P)),
    "addcdiv, scaled": ("addcdiv", lambda x, y, p: torch.addcdiv(x, y, p, value=-2), (X, Y, P)),
    "norm": ("linalg_vector_norm", lambda x: torch.linalg.vector_norm(x, 2, -1), (X,)),
    "norm of all": ("linalg_vector_norm", lambda x: torch.linalg.vector_norm(x), (X,)),
    "normalized": ("linalg_vector_norm", lambda x: f.normalize(x, dim=1), (X,)),
    "norm of order 1": (
        "linalg_vector_norm",
        lambda x: torch.linalg.vector_norm(x, 1, (0, 2), keepdim=True),
        (X,),
    ),
    "norm of order ∞": (
        "linalg_vector_norm",
        lambda x: torch.linalg.vector_norm(x, torch.inf, 1),
        (X,),
    ),
    "least magnitude": (
        "linalg_vector_norm",
        lambda x: torch.linalg.vector_norm(x, -torch.inf, 1),
        (X,),
    ),
    "prod": ("prod", torch.prod, (X[0, :2],)),
    "prod along an axis": ("prod", lambda x: x.prod(-1, keepdim=True), (X,)),
    "logsumexp": ("logsumexp", lambda x: torch.logsumexp(x, (1, 2)), (X,)),
    "logsumexp, kept": ("logsumexp", lambda x: torch.logsumexp(50 * x, -1, True), (X,)),
    "floor_divide": ("floor_divide", lambda x, p: x // p, (X, P)),
    "floor_divide whole numbers": ("floor_divide", number(lambda n: n // 5), (N,)),
    "floor_divide down": ("floor_divide", number(lambda n: n // -4), (N,)),
    "floor_divide by a tensor": (
        "floor_divide",
        number(lambda n, m: n // m),
        (N, N.abs().flip(0) + 1),
    ),
    "remainder": ("remainder", lambda x: x % 1.75, (X,)),
    "remainder of whole numbers": ("remainder", number(lambda n: n % 7), (N,)),
    "remainder by one below zero": ("remainder", number(lambda n: n % -7), (N,)),
    "fmod": ("fmod", lambda x, y: torch.fmod(x, y), (X, P)),
    "fmod of whole numbers": ("fmod", number(lambda n: torch.fmod(n, 7)), (N.abs(),)),
    "index": ("index", lambda x, i: x[i], (X, PICKED)),
    "index of another axis": ("index", lambda x, i: x[:, i], (X, PICKED)),
    "index of two axes": ("index", lambda x, i: x[i, i.flip(0)], (X, PICKED)),
    "index of axes apart": ("index", lambda x, i: x[i, :, i], (X, PICKED)),
    "index by a table": ("index", lambda x, i: x[0, :, i.view(3, 1)], (X, PICKED)),
    "index_select": ("index_select", lambda x, i: x.index_select(-2, i), (X, PICKED % 3)),
    "gather": ("gather", lambda x, i: x.gather(1, i), (X, N[:, :, 1:4] % 4)),
    "flip": ("flip", lambda x: x.flip(0, -1), (X,)),
    "argmax": ("argmax", number(lambda x: x.argmax()), (X,)),
    "argmax along an axis": ("argmax", number(lambda x: x.argmax(1, keepdim=True)), (X,)),
    "argmin": ("argmin", number(lambda x: x.argmin(-1)), (X,)),
    "where the greatest stands": ("max", number(lambda x: x.max(-1).indices), (X,)),
    "where the least stands": ("min", number(lambda x: x.min(1, True).indices), (X,)),
    "cumsum": ("cumsum", lambda x: x.cumsum(-1), (X,)),
    "cumsum of whole numbers": ("cumsum", number(lambda n: n.cumsum(1)), (N,)),
    "cumsum of truths": ("cumsum", number(lambda m: m.cumsum(1)), (TRUE,)),
    "sort": ("sort", lambda x: x.sort(1).values, (X,)),
    "sort, places": ("sort", number(lambda x: x.sort(-1, descending=True).indices), (X,)),
    "stable sort": ("sort", lambda x: torch.sort(x, stable=True).values, (X,)),
    "topk": ("topk", lambda x: x.topk(2, 1).values, (X,)),
    "topk, places": ("topk", number(lambda x: x.topk(3, largest=False).indices), (X,)),
    "var": ("var", lambda x: x.var(-1), (X,)),
    "var, corrected": ("var", lambda x: torch.var(x, (0, 2), correction=2, keepdim=True), (X,)),
    "var of all": ("var", lambda x: x.var(unbiased=False), (X,)),
    "var in inference mode": ("var", inferred(lambda x: x.var(1, unbiased=False)), (X,)),
    "var of all in inference mode": ("var", inferred(lambda x: x.var(unbiased=False)), (X,)),
    "std": ("std", lambda x: x.std(1), (X,)),
    "std in inference mode": ("std", inferred(lambda x: x.std(1, unbiased=True)), (X,)),
    "log_softmax": ("log_softmax", lambda x: x.log_softmax(1), (X,)),
    "log_softmax, spread out": ("log_softmax", lambda x: (60 * x).log_softmax(-1), (X,)),
    "log_softmax in inference mode": ("log_softmax", inferred(lambda x: x.log_softmax(-1)), (X,)),
    "isinf": ("isinf", number(lambda x: torch.isinf(x / x.round())), (X,)),
    "isnan": ("isnan", number(lambda x: torch.isnan(x)), (X,)),
}

WHOLE: dict[str, tuple[Callable[..., Any], tuple[torch.Tensor, ...]]] = {
    "add": (lambda n, m: n + m, (N, 1_000_001 + N.flip(-1))),
    "sub": (lambda n, m: n - 3 * m, (N, N.flip(-1))),
    "mul": (lambda n, m: n * m, (N, 9 * N.flip(-1))),
    "rsub": (lambda n: 7 - n, (N,)),
    "sum": (lambda n: n.sum(-1), (N * 1001,)),
}

REFUSED: dict[str, tuple[str, Callable[..., Any], tuple[torch.Tensor, ...]]] = {
    "every second entry": (
        "every 2th entry",
        lambda x, y: torch.slice_scatter(x, y[:, :, :3], 2, 0, 6, 2),
        (X, Y),
    ),
    "by truths": ("depends on the data", lambda x, m: x[m], (X, TRUE)),
    "sums in another dtype": (
        "float16 summed in float32",
        lambda x: x.cumsum(1, dtype=torch.float32),
        (X.half(),),
    ),
    "topk in no order": ("no order", lambda x: x.topk(2, sorted=False).values, (X,)),
    "log_softmax of halves in inference mode": (
        "another dtype",
        inferred(lambda x: x.log_softmax(1, dtype=torch.float32)),
        (X.half(),),
    ),
    "norm of order 3": ("order 3", lambda x: torch.linalg.vector_norm(x, 3), (X,)),
    "norm in another dtype": (
        "another dtype",
        lambda x: torch.linalg.vector_norm(x, dtype=torch.float32),
        (X.half(),),
    ),
    "a long product": ("a product of 300", torch.prod, (torch.ones(300) + normal(300) * 1e-3,)),
    "a product of integers": ("in int64", number(torch.prod), (N[0, :1],)),
    "divisors of either sign": (
        "of either sign",
        number(lambda n, m: n // m),
        (N, 2 * N.flip(0) + 1),
    ),
    "great whole numbers": ("2^20", number(lambda n: n // 3), (N + 2**20,)),
    "a number's remainder": ("of a number", lambda p: torch.remainder(3.0, p), (P,)),
    "fmod of what is negative": ("cut off", number(lambda n: torch.fmod(n, 3)), (N,)),
}


@pytest.mark.parametrize("name", CASES)
def test_torch_lies_inside_and_little_else_does(name: str) -> None:
    operation, function, inputs = CASES[name]
    assert operation in names(check(function, *inputs))


@pytest.mark.parametrize("name", WHOLE)
def test_whole_numbers_are_exact(name: str) -> None:
    function, inputs = WHOLE[name]
    recording = recorded(lambda *n: function(*n).float(), *inputs)
    (region,) = regions(recording)
    found = bounds(region, recording)
    assert not found.rigorous.any()
    assert (found.value == function(*inputs).double().numpy()).all()


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_steps_cannot_express(name: str) -> None:
    words, function, inputs = REFUSED[name]
    (region,) = regions(recorded(function, *inputs))
    assert any(words in reason for reason in region.lacking), region.lacking


def test_every_operation_is_tested() -> None:
    tested = {operation for operation, *_ in CASES.values()}
    assert {*MOVES, *COMPOSED} - tested == set()
