"""ATen's comparisons, selections, casts and whole numbers as steps, held to torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.conformance.gate.stepped import Case, check, names, normal, number, recorded, regions

from quant_conformance.gate.aten.indexing import SELECTIONS

X = 3 * normal(2, 4, 6)
Y = normal(2, 4, 6, seed=1)
N = torch.arange(-24, 24).reshape(2, 4, 6)
TRUE = normal(2, 4, 6, seed=2) > 0
aten = torch.ops.aten

CASES: dict[str, Case] = {
    "abs": ("abs", torch.abs, (X,)),
    "sign": ("sign", torch.sign, (X,)),
    "sgn": ("sgn", torch.sgn, (X,)),
    "floor": ("floor", torch.floor, (X,)),
    "ceil": ("ceil", torch.ceil, (X,)),
    "trunc": ("trunc", torch.trunc, (X,)),
    "round": ("round", torch.round, (X,)),
    "round ties": ("round", torch.round, (N / 2,)),
    "maximum": ("maximum", torch.maximum, (X, Y)),
    "minimum": ("minimum", torch.minimum, (X, Y[0, :, :1])),
    **{
        op: (op, number(getattr(torch, op)), (N, N.flip(-1)))
        for op in ("eq", "ne", "lt", "le", "gt", "ge")
    },
    "eq with a number": ("eq", number(lambda x: x == 3), (N,)),
    "lt with a number": ("lt", number(lambda x: x < 0.5), (X,)),
    **{
        f"logical_{op}": (f"logical_{op}", number(getattr(torch, f"logical_{op}")), (N, TRUE))
        for op in ("and", "or", "xor")
    },
    "logical_not": ("logical_not", number(torch.logical_not), (N,)),
    "bitwise_and": ("bitwise_and", number(lambda x, y: (x > 0) & y), (X, TRUE)),
    "bitwise_or": ("bitwise_or", number(lambda x, y: (x > 0) | y), (X, TRUE)),
    "bitwise_xor": ("bitwise_xor", number(lambda x, y: (x > 0) ^ y), (X, TRUE)),
    "bitwise_not": ("bitwise_not", number(lambda x: ~(x > 0)), (X,)),
    "where": ("where", torch.where, (TRUE, X, Y)),
    "where with a number": ("where", lambda c, x: torch.where(c, x, 0.25), (TRUE, X)),
    "where with a number first": ("where", lambda c, x: torch.where(c, -2.0, x), (TRUE, X)),
    "masked_fill": ("masked_fill", lambda x, m: x.masked_fill(m, -1e4), (X, TRUE)),
    "masked_fill by a tensor": (
        "masked_fill",
        lambda x, m, v: x.masked_fill(m, v),
        (X, TRUE, torch.tensor(0.3)),
    ),
    "masked_fill of a row": ("masked_fill", lambda x, m: x.masked_fill(m, 0.5), (X, TRUE[0, :1])),
    "threshold": ("threshold", lambda x: torch.threshold(x, 0.4, -7.0), (X,)),
    "cast to float16": ("to_copy", torch.Tensor.half, (X,)),
    "cast there and back": ("to_copy", lambda x: x.half().float(), (X,)),
    "cast to what it is": ("to_copy", lambda x: aten._to_copy(x, dtype=torch.float32), (X,)),
    "cast to integers": ("to_copy", number(torch.Tensor.int), (X,)),
    "cast of integers": ("to_copy", torch.Tensor.float, (N,)),
    "cast of truths": ("to_copy", torch.Tensor.float, (TRUE,)),
    "cast to truths": ("to_copy", number(torch.Tensor.bool), (N,)),
}

REFUSED: dict[str, tuple[str, Callable[..., Any], tuple[torch.Tensor, ...]]] = {
    "round to decimals": ("decimals", lambda x: torch.round(x, decimals=1), (X,)),
    "bits": ("bits of int64", number(torch.bitwise_and), (N, N.flip(0))),
    "too large for an integer": ("does not hold", number(lambda x: (x * 1e12).int()), (X,)),
    "to complex": ("complex64", lambda x: x.to(torch.complex64).real, (X,)),
}


@pytest.mark.parametrize("name", CASES)
def test_torch_lies_inside_and_little_else_does(name: str) -> None:
    operation, function, inputs = CASES[name]
    assert operation in names(check(function, *inputs))


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_steps_cannot_express(name: str) -> None:
    words, function, inputs = REFUSED[name]
    (region,) = regions(recorded(function, *inputs))
    assert any(words in reason for reason in region.lacking), region.lacking


def test_every_operation_is_tested() -> None:
    assert set(SELECTIONS) - {operation for operation, *_ in CASES.values()} == set()
