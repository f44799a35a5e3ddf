"""cast_int32_to_int16: sums, differences and products of integers, and nothing that is a place."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from tests.torch_impl.casting.programs import dtypes, exported, run

from quant_torch.casting import cast_int32_to_int16, cast_to_16_bit_precision

I16, I32, I64 = torch.int16, torch.int32, torch.int64
IDS = torch.arange(6).reshape(2, 3)
X = torch.linspace(-2, 2, 6).reshape(2, 3)
TABLE = torch.randn(12, 4, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("dtype", [I32, I64])
@pytest.mark.parametrize("operation", [torch.add, torch.sub, torch.mul])
def test_sums_differences_and_products(operation, dtype) -> None:
    i, j = IDS.to(dtype), IDS.flip(0).to(dtype)
    program = exported(lambda m, i, j: operation(i, j), i, j)
    assert cast_int32_to_int16(program) is program
    assert [dtypes(program)[n] for n in program.graph_signature.user_inputs] == [I16, I16]
    result = run(program, i, j)
    assert result.dtype is dtype
    assert torch.equal(result, operation(i, j))


@pytest.mark.parametrize(
    "function",
    [
        lambda m, i: i * 2,  # no second tensor
        lambda m, i: i // i.clamp(min=1),
        lambda m, i: i == i,
        lambda m, i: torch.maximum(i, i),
        lambda m, i: i.cumsum(1),
        lambda m, i: i @ i.t(),
        lambda m, i: F.embedding(i, m.table),
        lambda m, i: F.embedding(i + i, m.table),
        lambda m, i: m.table[(i + i).flatten()],
        lambda m, i: m.table.gather(0, (i + i).clamp(max=3) * 2),
        lambda m, i: m.table.index_select(0, torch.arange(3) + i[0]),
    ],
)
def test_left_alone(function) -> None:
    program = exported(function, IDS, table=TABLE)
    before = dtypes(program)
    cast_int32_to_int16(program)
    assert dtypes(program) == before
    assert torch.equal(run(program, IDS), function(program.module(), IDS))


def test_an_input_that_is_also_a_place_is_cast_for_the_sum_only() -> None:
    program = exported(lambda m, i: (F.embedding(i, m.table), i + i), IDS, table=TABLE)
    cast_int32_to_int16(program)
    found = dtypes(program)
    assert found[program.graph_signature.user_inputs[0]] is I64
    assert found["add"] is I16
    assert torch.equal(run(program, IDS)[1], IDS + IDS)


def test_with_a_float_beside_it() -> None:
    program = exported(lambda m, i, x: i * x, IDS, X)
    cast_int32_to_int16(program)
    assert dtypes(program)[program.graph_signature.user_inputs[0]] is I16
    assert torch.equal(run(program, IDS, X), IDS * X)


def test_a_chain_stays_in_int16_and_is_cast_back_for_others() -> None:
    program = exported(lambda m, i, j: ((i + j) * j - i).sum(1), IDS, IDS + 1)
    cast_int32_to_int16(program)
    found = dtypes(program)
    assert (found["add"], found["mul"], found["sub"], found["sum_1"]) == (I16, I16, I16, I64)
    assert torch.equal(run(program, IDS, IDS + 1), ((IDS + IDS + 1) * (IDS + 1) - IDS).sum(1))


@pytest.mark.parametrize("value", [32767, -32768, 32768, -32769])
def test_a_constant_that_int16_cannot_hold(value: int) -> None:
    constant = torch.tensor([1, value, 3])
    program = exported(lambda m, i: i * 0 + i + m.constant.unsqueeze(0), IDS, constant=constant)
    cast_int32_to_int16(program)
    fits = -(2**15) <= value < 2**15
    assert (dtypes(program)["add_1"] is I16) == fits
    if not fits:  # int16 sums wrap around, so only here is every input safe
        assert torch.equal(run(program, IDS), IDS + constant)


def test_what_can_be_computed_in_advance_is_left_alone() -> None:
    constant = torch.tensor([1, 2, 3])
    program = exported(lambda m, x: x + (m.constant + m.constant), X, constant=constant)
    before = dtypes(program)["add"]
    cast_int32_to_int16(program)
    assert before is I64
    assert dtypes(program)["add"] is I64


def test_both_passes() -> None:
    program = exported(lambda m, i, x: (i + i) * x, IDS, X)
    cast_to_16_bit_precision(program)
    result = run(program, IDS, X)
    assert result.dtype is torch.float16
    assert torch.equal(result, (IDS + IDS) * X.half())
    assert [e.dtype for e in program.example_inputs[0]] == [I16, torch.float16]
