"""Numbers below 2**-14: which constants stay in float32, and what the Core AI runtime then does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from tests.torch_impl.casting.programs import dtypes, exported, node, run

from quant_torch.casting import cast_fp32_to_fp16

F16, F32 = torch.float16, torch.float32
NORMAL = 2.0**-14
SMALL = 2.0**-15
X = torch.tensor([[3 * SMALL, -2 * SMALL, 0.5, 100 * SMALL]])
ONES = torch.ones(4)


@pytest.fixture
def coreai():
    pytest.importorskip("coreai_torch._compression.custom_layers")
    return torch.ops.coreai


def quantized(scale: float, ops):
    """quantize and dequantize with one scale."""
    zero = torch.tensor(0, dtype=torch.int8)

    def function(m, x):
        codes = ops.quantize(x, m.scale, torch.int8, m.zero, None, 0)
        return ops.dequantize(codes, m.scale, m.zero, None, 0, torch.int8, torch.float32)

    return exported(function, X, scale=torch.tensor(scale), zero=zero)


@pytest.mark.parametrize(
    ("scale", "kept"),
    [
        (NORMAL, F16),
        (float(np.nextafter(np.float32(NORMAL), np.float32(0))), F32),
        (SMALL, F32),
        (1e-30, F32),
    ],
)
def test_scales_of_activations(coreai, scale: float, kept: torch.dtype) -> None:
    program = quantized(scale, coreai)
    cast_fp32_to_fp16(program)
    assert program.state_dict["scale"].dtype is kept
    assert dtypes(program)["dequantize"] is kept
    assert run(program, X).dtype is F16  # inputs and outputs as ever


def test_scales_of_weights_are_cast(coreai) -> None:
    codes = torch.tensor([[1, -2, 3, 4]], dtype=torch.int8)

    def function(m, x):
        weight = coreai.constexpr_blockwise_shift_scale(
            m.codes, m.scale, m.codes[:, :1] * 0, None, torch.int8
        )
        return F.linear(x, weight)

    program = exported(function, X, codes=codes, scale=torch.tensor([[SMALL]]))
    cast_fp32_to_fp16(program)
    assert program.state_dict["scale"].dtype is F16


@pytest.mark.parametrize(
    "function",
    [
        lambda m, x: x + m.w,
        lambda m, x: F.linear(x, m.w[None]),
        lambda m, x: F.layer_norm(x, (4,), m.w),
        lambda m, x: torch.where(x > 0, m.w.reshape(1, 4), x),
    ],
)
def test_what_is_not_folded_is_cast(function) -> None:
    program = exported(function, X, w=torch.tensor([SMALL, 1, 2, 3]))
    cast_fp32_to_fp16(program)
    assert F32 not in dtypes(program).values()


@pytest.mark.parametrize(
    "function",
    [
        lambda m, x: F.batch_norm(x, m.w.detach(), m.one.detach(), eps=1e-3),
        lambda m, x: F.batch_norm(x, m.one.detach(), m.w.detach(), eps=1e-3),
        lambda m, x: F.batch_norm(x, m.one.detach(), m.one.detach(), m.one, m.w),
        lambda m, x: x * (m.w * m.one),
        lambda m, x: x * m.w.reshape(2, 2).double().float().reshape(4),
    ],
)
def test_constants_that_are_folded_stay(function) -> None:
    program = exported(function, X, w=torch.tensor([SMALL, 1, 2, 3]), one=ONES)
    cast_fp32_to_fp16(program)
    assert program.state_dict["w"].dtype is F32
    assert program.state_dict.get("one", ONES.half()).dtype is F16
    assert run(program, X).dtype is F16


def test_what_reads_a_folded_constant_is_cast() -> None:
    w = torch.tensor([[SMALL, 1, 2, 3]])
    program = exported(lambda m, x: F.linear(x, m.w * m.one) + x * m.w[0], X, w=w, one=ONES)
    cast_fp32_to_fp16(program)
    found = dtypes(program)
    assert program.state_dict["w"].dtype is F32
    assert (found["mul"], found["linear"], found["mul_1"]) == (F32, F16, F16)
    expected = (X.half() @ w.half().T + X.half() * w.half()).numpy()
    np.testing.assert_array_equal(run(program, X).numpy(), expected)


def test_numbers_in_arithmetic_on_constants() -> None:
    program = exported(lambda m, x: x + m.w * SMALL + m.w * 0.5 + x * SMALL, X, w=ONES)
    cast_fp32_to_fp16(program)
    found = dtypes(program)
    assert (found["mul"], found["mul_1"], found["mul_2"]) == (F32, F16, F16)
    assert node(program, "mul").args[1] == SMALL


def test_numbers_in_creation_operations() -> None:
    def function(m, x):
        return x + torch.full((4,), SMALL) + torch.full((4,), SMALL / 2) * 2

    program = exported(function, X)
    cast_fp32_to_fp16(program)
    found = dtypes(program)
    assert (found["full"], found["full_1"]) == (F16, F32)


def executed(program, path: Path) -> np.ndarray:
    import coreai_torch

    from quant_conformance.runtimes import CoreAIExecutor

    converter = coreai_torch.TorchConverter()
    converter.add_exported_program(program)
    converter.to_coreai().save_asset(path)
    with CoreAIExecutor(path) as executor:
        (result,) = executor.run({executor.inputs[0]: X.half().numpy()}).values()
    return result


def test_the_runtime_reads_a_scale_below_the_normal_numbers(coreai, tmp_path: Path) -> None:
    program = quantized(SMALL, coreai)
    cast_fp32_to_fp16(program)
    expected = np.float16([[3, -2, 127, 100]]) * np.float16(SMALL)
    np.testing.assert_array_equal(executed(program, tmp_path / "m.aimodel"), expected)


def test_without_the_guard_the_runtime_misreads_it(coreai, tmp_path: Path) -> None:
    """As long as it does, the guard has its reason."""
    program = quantized(1.0, coreai)
    cast_fp32_to_fp16(program)
    program.state_dict["scale"] = torch.nn.Parameter(torch.tensor(SMALL).half())
    misread = executed(program, tmp_path / "m.aimodel")
    assert misread[0, 0] != np.float16(3 * SMALL)


def test_the_runtime_reads_batch_norms_and_folded_arithmetic(tmp_path: Path) -> None:
    coreai_torch = pytest.importorskip("coreai_torch")

    def function(m, x):
        return F.batch_norm(x, m.w.detach(), m.one.detach(), eps=0.0) + m.w * m.two

    w = torch.tensor([SMALL, 3 * SMALL, -SMALL, SMALL])
    program = exported(function, X, w=w, one=ONES, two=2 * ONES)
    program = program.run_decompositions(coreai_torch.get_decomp_table())
    cast_fp32_to_fp16(program)
    # (x - w) / 1 and 2 w are multiples of 2**-15 below 2**11 of them, so float16 holds them.
    expected = (X - w + 2 * w).half().numpy()
    np.testing.assert_array_equal(executed(program, tmp_path / "m.aimodel"), expected)
