"""cast_fp32_to_fp16: what becomes float16, what stays, and how numbers are rounded."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from tests.torch_impl.casting.programs import dtypes, exported, node, run

from quant_torch.casting import cast_fp32_to_fp16, cast_to_16_bit_precision

F16, F32 = torch.float16, torch.float32
X = torch.linspace(-2, 2, 6).reshape(2, 3)
aten = torch.ops.aten


def test_parameters_inputs_operations_and_outputs() -> None:
    program = exported(lambda m, x: F.relu(x @ m.w + 1), X, w=torch.eye(3))
    assert cast_fp32_to_fp16(program) is program
    assert set(dtypes(program).values()) == {F16}
    assert program.state_dict["w"].dtype is F16
    assert isinstance(program.state_dict["w"], torch.nn.Parameter)
    result = run(program, X)
    assert result.dtype is F16
    torch.testing.assert_close(result, F.relu(X.half() + 1), rtol=0, atol=0)


def test_values_are_rounded_like_numpy_rounds_them_but_none_becomes_zero() -> None:
    values = torch.tensor(
        [1 + 2**-11, 1 + 3 * 2**-11, 65504.0, -65504.0, 2.0**-24, 2.0**-26, -1e-30, 0.0, -0.0]
    )
    program = exported(lambda m, x: x + m.w, torch.ones(9), w=values)
    cast_fp32_to_fp16(program)
    expected = values.numpy().astype(np.float16)
    expected[5], expected[6] = 2.0**-24, -(2.0**-24)
    np.testing.assert_array_equal(
        program.state_dict["w"].detach().numpy().view(np.uint16), expected.view(np.uint16)
    )


@pytest.mark.parametrize("value", [float("inf"), -float("inf"), float("nan")])
def test_what_float16_has_is_no_reason_to_stay(value: float) -> None:
    program = exported(lambda m, x: x + m.w, X, w=torch.tensor([value, 1.0, 2.0]))
    cast_fp32_to_fp16(program)
    assert program.state_dict["w"].dtype is F16
    expected = X.half() + torch.tensor([value, 1, 2]).half()
    np.testing.assert_equal(run(program, X).numpy(), expected.numpy())


@pytest.mark.parametrize("shaped", [lambda w: w, lambda w: w.reshape(1, 3), lambda w: w[None] * 1])
def test_large_constants_stay_with_the_operations_that_read_them(shaped) -> None:
    large = torch.tensor([1e6, 2e-6, float("inf")])
    program = exported(lambda m, x: (x * 1e-3) * shaped(m.w) * 1e-4, X, w=large)
    cast_fp32_to_fp16(program)
    assert program.state_dict["w"].dtype is F32
    expected = ((X.half() * torch.tensor(1e-3).half()).float() * large).half()
    np.testing.assert_equal(
        run(program, X).numpy(), (expected * torch.tensor(1e-4).half()).detach().numpy()
    )


def test_65504_fits_and_the_next_float32_does_not() -> None:
    beyond = torch.nextafter(torch.tensor(65504.0), torch.tensor(torch.inf))
    for value, dtype in ((torch.tensor(-65504.0), F16), (-beyond, F32), (beyond, F32)):
        program = exported(lambda m, x: x * m.w, X, w=value.reshape(1))
        assert cast_fp32_to_fp16(program).state_dict["w"].dtype is dtype


def test_large_numbers_in_an_operation_keep_it() -> None:
    program = exported(lambda m, x: (x * 1e6).clamp(max=70000.0) - 1, X)
    cast_fp32_to_fp16(program)
    found = dtypes(program)
    assert (found["mul"], found["clamp"], found["sub"]) == (F32, F32, F16)
    expected = (X.half().float() * 1e6).clamp(max=70000.0).half() - 1
    np.testing.assert_array_equal(run(program, X).numpy(), expected.numpy())


def test_a_mask_of_minus_infinity_is_float16() -> None:
    program = exported(lambda m, x: x.masked_fill(x > 0, -torch.inf).softmax(-1), X)
    cast_fp32_to_fp16(program)
    assert F32 not in dtypes(program).values()
    np.testing.assert_equal(
        run(program, X).numpy(),
        X.half().masked_fill(X > 0, -torch.inf).softmax(-1).numpy(),
    )


def test_small_numbers_do_not_vanish() -> None:
    program = exported(lambda m, x: F.layer_norm(x, (3,), eps=1e-12) + x * 1e-9, X)
    cast_fp32_to_fp16(program)
    norm = next(n for n in program.graph.nodes if "layer_norm" in str(n.target))
    assert 2.0**-24 in norm.args
    assert node(program, "mul").args[1] == 2.0**-24


def test_creation_operations() -> None:
    def function(m, x):
        return x + torch.zeros(3) + torch.arange(3.0) + torch.full((3,), 1e6) * 0 + torch.ones(3)

    program = exported(function, X)
    cast_fp32_to_fp16(program)
    found = dtypes(program)
    assert (found["arange"], found["full"]) == (F16, F32)
    np.testing.assert_array_equal(
        run(program, X).numpy(), (X.half() + torch.arange(3.0).half() + 1).numpy()
    )


def test_a_cast_to_float32_in_the_program_goes_away() -> None:
    program = exported(lambda m, x: x.to(torch.float32) + x.double().float(), X)
    cast_fp32_to_fp16(program)
    assert F32 not in dtypes(program).values()
    assert torch.float64 in dtypes(program).values()


def test_other_dtypes_are_left_alone() -> None:
    codes = torch.arange(3, dtype=torch.int8)
    brain = torch.ones(3, dtype=torch.bfloat16)
    half = torch.ones(3, dtype=F16)

    def function(m, x):
        return x + m.codes, x.to(torch.bfloat16) + m.brain, m.half_ + m.half_

    program = exported(function, X, codes=codes, brain=brain, half_=half)
    cast_fp32_to_fp16(program, ignored_ops=aten.add)
    kept = {name: tensor.dtype for name, tensor in program.state_dict.items()}
    assert kept == {"codes": torch.int8, "brain": torch.bfloat16, "half_": F16}
    assert [r.dtype for r in run(program, X)] == [F16, torch.bfloat16, F16]


@pytest.mark.parametrize(
    "ignored",
    [
        aten.exp,
        aten.exp.default,
        [aten.exp],
        {aten.exp.default, aten.sin},
        lambda n: n.name.startswith("exp"),
    ],
)
def test_ignored_operations_stay_with_casts_around_them(ignored) -> None:
    program = exported(lambda m, x: torch.exp(x * 2).exp() + 1, X)
    cast_fp32_to_fp16(program, ignored)
    found = dtypes(program)
    assert (found["mul"], found["exp"], found["exp_1"], found["add"]) == (F16, F32, F32, F16)
    expected = (X.half() * 2).float().exp().exp().half() + 1
    np.testing.assert_array_equal(run(program, X).numpy(), expected.numpy())


@pytest.mark.parametrize("ignored", ["exp", [torch.exp], 3, ["aten.exp"]])
def test_what_is_no_operator_is_refused(ignored) -> None:
    program = exported(lambda m, x: x.exp(), X)
    with pytest.raises(TypeError, match=r"torch\.ops\.aten\.exp"):
        cast_to_16_bit_precision(program, ignored)
    assert dtypes(program)["exp"] is F32


def test_a_module_is_refused() -> None:
    with pytest.raises(TypeError, match=r"ExportedProgram.*given Linear"):
        cast_to_16_bit_precision(torch.nn.Linear(2, 2))


def test_shared_and_mutated_tensors() -> None:
    class Counts(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = torch.nn.Linear(3, 3, bias=False)
            self.second = torch.nn.Linear(3, 3, bias=False)
            self.second.weight = self.first.weight
            self.register_buffer("total", torch.zeros(3))
            self.register_buffer("large", torch.full((3,), 1e6))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.total += x.sum(0)
            self.large += x.sum(0)
            return self.second(self.first(x)) + self.total

    program = torch.export.export(Counts(), (X,)).run_decompositions({})
    cast_fp32_to_fp16(program)
    assert program.state_dict["first.weight"] is program.state_dict["second.weight"]
    assert program.state_dict["large"].dtype is F32
    module = program.module()
    module(X.half())
    module(X.half())
    np.testing.assert_array_equal(module.total.numpy(), (2 * X.half().sum(0)).numpy())
    assert module.total.dtype is F16
    assert module.large.dtype is F32


def test_dynamic_shapes_stay_dynamic() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    batch = torch.export.Dim("batch")
    program = torch.export.export(model, (X,), dynamic_shapes=({0: batch},)).run_decompositions({})
    cast_to_16_bit_precision(program)
    assert program.module()(torch.randn(7, 3, dtype=F16)).shape == (7, 2)
    assert program.example_inputs[0][0].dtype is F16
    np.testing.assert_array_equal(
        program.module()(X.half()).detach().numpy(),
        model.half()(X.half()).detach().numpy(),
    )


def test_control_flow_is_left_in_float32() -> None:
    def function(m, x):
        return torch.cond(x.sum() > 0, lambda x: x * 2, lambda x: x - 1, (x,)) + 1

    program = exported(function, X)
    cast_fp32_to_fp16(program)
    for given in (X.abs(), -X.abs()):
        expected = (given.half() * 2 if given.sum() > 0 else given.half() - 1) + 1
        np.testing.assert_allclose(run(program, given).numpy(), expected.numpy(), rtol=2**-10)
