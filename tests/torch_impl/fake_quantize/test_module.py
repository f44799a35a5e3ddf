"""The fake-quantize module: values, state, switches, gradients and what backward keeps."""

from __future__ import annotations

import copy
import io
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from tests.torch_impl.finalize.specs import (
    E8M0,
    PER_TENSOR,
    as_numpy,
    assert_same_bits,
    expected,
    fp8_specs,
    integer_specs,
    named,
    per_block,
    per_channel,
    quantizer,
    weight,
)
from torch import Tensor, nn

import quant_reference as reference
from quant_torch.quantization import Quantizer, QuantizerConfig
from quant_torch.quantization.spec import QuantizationComponentFactory, QuantizationSpec
from quant_torch.quantization.spec.fake_quantize import DefaultFakeQuantize, FakeQuantizeImplBase

SHAPE = (6, 16)
GRANULARITIES = (PER_TENSOR, per_channel(), per_block(4))
SPECS = [
    *integer_specs(GRANULARITIES),
    *fp8_specs(GRANULARITIES),
    *({"dtype": "float4_e2m1fn", "granularity": g} for g in GRANULARITIES),
]
# One spec for each format: enough where the granularity and the scheme play no part.
PER_FORMAT = [
    *({"dtype": f"{sign}int{bits}", "qscheme": "asymmetric", "granularity": per_channel()}
      for sign, bits in product(("", "u"), (2, 4, 8))),
    {"dtype": "float8_e4m3fn", "granularity": per_channel()},
    {"dtype": "float8_e5m2", "scale_dtype": E8M0, "granularity": per_channel()},
    {"dtype": "float4_e2m1fn", "granularity": per_block(4)},
]  # fmt: skip
DTYPES = [torch.float32, torch.float16, torch.bfloat16]
each_spec = pytest.mark.parametrize("spec", SPECS, ids=named)
each_format = pytest.mark.parametrize("spec", PER_FORMAT, ids=named)
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)


def made(spec: dict[str, Any], target: str = "weight", name: str = "layer.w") -> Any:
    return QuantizationComponentFactory.create_fake_quantizer(
        QuantizationSpec(**spec), target, name
    )


class TestValues:
    @each_spec
    def test_every_format(self, spec: dict[str, Any]) -> None:
        """Values and qparams are the reference's, to the bit."""
        x = weight(*SHAPE)
        module = quantizer(spec, x)
        _, qparams, values = expected(spec, x)
        assert_same_bits(module(x), values)
        for given, name in zip(module.calculate_qparams(), qparams.__dict__, strict=True):
            wanted = getattr(qparams, name)
            if wanted is None:
                assert given is None
            else:
                assert_same_bits(given, wanted)

    @each_dtype
    @each_format
    def test_narrow_models(self, spec: dict[str, Any], dtype: torch.dtype) -> None:
        x = weight(*SHAPE, dtype=dtype)
        module = quantizer(spec, x)
        assert_same_bits(module(x), expected(spec, x)[2])
        assert module.calculate_qparams().scale.dtype == torch.float32

    @each_format
    def test_layouts_of_memory_do_not_matter(self, spec: dict[str, Any]) -> None:
        x = weight(*SHAPE)
        transposed = x.t().contiguous().t()
        assert not transposed.is_contiguous()
        assert_same_bits(quantizer(spec, transposed)(transposed), expected(spec, x)[2])

    @each_format
    def test_codes_and_back(self, spec: dict[str, Any]) -> None:
        x = weight(*SHAPE)
        module = quantizer(spec, x)
        codes, _, values = expected(spec, x)
        qparams = module.calculate_qparams()
        assert_same_bits(module.quantize(x, *qparams), codes)
        assert_same_bits(module.dequantize(module.quantize(x, *qparams), *qparams), values)

    @pytest.mark.parametrize("dtype", [torch.float64, torch.int64, torch.bool])
    def test_other_dtypes_are_refused(self, dtype: torch.dtype) -> None:
        with pytest.raises(reference.InputError, match=rf"layer\.w.*{dtype}"):
            made({})(torch.ones(4, dtype=dtype))

    @each_dtype
    def test_moving_average_in_the_models_dtype(self, dtype: torch.dtype) -> None:
        module = made({"qparam_calculator_cls": "moving_average"}, "activation")
        observer = reference.make_observer(
            "moving_average", reference.QuantizationSpec(), "activation"
        )
        for seed in range(4):
            batch = weight(4, 8, dtype=dtype, seed=seed)
            module(batch)
            observer = observer.update(as_numpy(batch))
        wanted = observer.qparams()
        scale, zero_point, minval = module.calculate_qparams()
        assert_same_bits(scale, wanted.scale)
        assert_same_bits(zero_point, wanted.zero_point)
        np.testing.assert_array_equal(minval.numpy(), wanted.minval)


class TestState:
    @each_dtype
    @each_format
    def test_save_and_load_before_the_first_forward(
        self, spec: dict[str, Any], dtype: torch.dtype
    ) -> None:
        x = weight(*SHAPE, dtype=dtype)
        module = quantizer(spec, x)
        stored = io.BytesIO()
        torch.save(module.state_dict(), stored)
        stored.seek(0)
        fresh = made(spec)
        fresh.load_state_dict(torch.load(stored, weights_only=True))
        fresh.disable_observer()
        assert_same_bits(fresh(x), as_numpy(module(x)))

    @pytest.mark.parametrize("kind", ["moving_average", "global_minmax", "static"])
    def test_observing_goes_on_after_loading(self, kind: str) -> None:
        spec = {"qparam_calculator_cls": kind, "qscheme": "asymmetric"}
        module, fresh = made(spec, "activation"), made(spec, "activation")
        module(weight(4, 8, seed=0))
        fresh.load_state_dict(module.state_dict())
        for seed in (1, 2):
            assert_same_bits(
                module(weight(4, 8, seed=seed)), as_numpy(fresh(weight(4, 8, seed=seed)))
            )
        for a, b in zip(module.calculate_qparams(), fresh.calculate_qparams(), strict=True):
            assert torch.equal(a, b)

    def test_loading_replaces_qparams_of_another_shape(self) -> None:
        spec = {"granularity": per_channel()}
        one, other = quantizer(spec, weight(6, 16)), quantizer(spec, weight(3, 16))
        other.load_state_dict(one.state_dict())
        assert other.calculate_qparams().scale.shape == (6, 1)

    def test_without_qparams_the_error_says_what_to_do(self) -> None:
        module = made({})
        module.disable_observer()
        with pytest.raises(RuntimeError, match=r"observe a tensor \(calibration_mode\) or load"):
            module(torch.ones(4))

    def test_an_unobserved_module_has_an_empty_state(self) -> None:
        assert made({}).state_dict() == {}

    @each_format
    def test_deepcopy(self, spec: dict[str, Any]) -> None:
        x = weight(*SHAPE)
        module = quantizer(spec, x)
        copied = copy.deepcopy(module)
        before = as_numpy(module(x)).copy()
        copied.enable_observer()
        copied(x * 4)
        assert_same_bits(module(x), before)
        assert not torch.equal(copied.calculate_qparams().scale, module.calculate_qparams().scale)

    @pytest.mark.parametrize("cast", ["half", "bfloat16", "double", "float"])
    def test_casting_a_model_keeps_the_qparams(self, cast: str) -> None:
        module = quantizer({}, weight(*SHAPE))
        before = module.calculate_qparams()
        getattr(module, cast)()
        for a, b in zip(before, module.calculate_qparams(), strict=True):
            assert a.dtype == b.dtype
            assert torch.equal(a, b)

    def test_a_switch_of_another_implementation_is_no_part_of_the_state(self) -> None:
        module = quantizer({}, weight(*SHAPE))
        state = module.state_dict() | {"fake_quant_enabled": torch.tensor([1])}
        made({}).load_state_dict(state)


class TestSwitches:
    def test_all_four_states(self) -> None:
        x = weight(*SHAPE)
        for observing, quantizing in product((True, False), repeat=2):
            module = quantizer({}, x)
            before = module.calculate_qparams().scale.clone()
            module.enable_observer(observing)
            module.enable_fake_quant(quantizing)
            y = module(2 * x)
            after = module.calculate_qparams().scale
            assert torch.equal(after, 2 * before if observing else before)
            if quantizing:
                bound = before * 127.5 * (2 if observing else 1)
                assert y.abs().max() <= bound * 1.01
                assert not torch.equal(y, 2 * x)
            else:
                assert torch.equal(y, 2 * x)

    def test_off_is_the_very_same_tensor(self) -> None:
        module = quantizer({}, weight(*SHAPE))
        module.disable_fake_quant()
        x = weight(*SHAPE)
        assert module(x) is x

    def test_they_read_well(self) -> None:
        module = quantizer({}, weight(*SHAPE))
        assert "observer=off, fake_quant=on" in repr(module)

    def test_dynamic_observes_whatever_the_switch_says(self) -> None:
        module = made({"qparam_calculator_cls": "dynamic"}, "activation")
        module.disable_observer()
        for seed, shape in enumerate([(4, 8), (2, 3, 5)]):
            x = weight(*shape, seed=seed)
            assert_same_bits(module(x), expected({}, x, "activation")[2])


class TestMisfits:
    def test_an_indivisible_block_warns_and_stays_unquantized(self) -> None:
        module = made({"granularity": per_block(5)})
        x = weight(*SHAPE)
        match = r"layer\.w of shape \(6, 16\) is left unquantized: .*given 5.*a divisor of 16"
        with pytest.warns(UserWarning, match=match):
            assert module(x) is x
        assert module(x) is x
        assert module.state_dict() == {}

    def test_an_axis_that_is_not_there_is_an_error(self) -> None:
        with pytest.raises(reference.GranularityError, match=r"layer\.w.*axis.*rank 2"):
            made({"granularity": per_channel(2)})(weight(*SHAPE))

    @pytest.mark.parametrize("bounds", [(None, None), (-1.0, None), (None, 2.0), (-1.0, 2.0)])
    def test_nothing_to_observe(self, bounds: tuple[float | None, float | None]) -> None:
        with pytest.raises(reference.InputError, match=r"without elements.*\[RANGE-5\]"):
            made({"float_range": bounds}, "activation")(torch.empty(0, 4))

    def test_another_number_of_blocks(self) -> None:
        module = made(
            {"granularity": per_channel(0), "qparam_calculator_cls": "moving_average"}, "activation"
        )
        module(weight(4, 8))
        with pytest.raises(reference.InputError, match="as in the batches before"):
            module(weight(5, 8))


def recorded(module: nn.Module, x: Tensor) -> tuple[Tensor, list[Tensor]]:
    """The output, and everything that is kept for backward."""
    kept: list[Tensor] = []

    def pack(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        y = module(x)
    return y, kept


def assert_as_the_reference(spec: dict[str, Any], x: Tensor, target: str = "weight") -> None:
    """Values and gradients of a tensor of any strides, half of it out of range."""
    module = quantizer(spec, x / 2, target)
    qparams = expected(spec, x.contiguous() / 2, target)[1]
    grad = weight(*x.shape, seed=9)
    leaf = x.detach().requires_grad_()
    y = module(leaf)
    y.backward(grad)
    rules = reference.QuantizationSpec.from_dict(spec)
    given = as_numpy(x.contiguous())
    assert_same_bits(y, reference.fake_quantize(given, rules, qparams))
    wanted = reference.fake_quantize_gradient(given, as_numpy(grad), rules, qparams)
    assert_same_bits(leaf.grad, wanted)


class TestGradients:
    @each_dtype
    @each_format
    def test_they_are_the_references(self, spec: dict[str, Any], dtype: torch.dtype) -> None:
        x = weight(*SHAPE, dtype=dtype)
        # Half of the observed range, so that a good part of the elements is clamped.
        module = quantizer(spec, x / 2)
        qparams = expected(spec, x / 2)[1]
        grad = weight(*SHAPE, dtype=dtype, seed=9)
        leaf = x.clone().requires_grad_()
        module(leaf).backward(grad)
        rules = reference.QuantizationSpec.from_dict(spec)
        wanted = reference.fake_quantize_gradient(as_numpy(x), as_numpy(grad), rules, qparams)
        assert 0 < (wanted == 0).sum() < wanted.size
        assert_same_bits(leaf.grad, wanted)

    @each_dtype
    @each_format
    def test_one_node_and_one_byte_per_element(
        self, spec: dict[str, Any], dtype: torch.dtype
    ) -> None:
        x = weight(*SHAPE, dtype=dtype).requires_grad_()
        module = quantizer(spec, x)
        y, kept = recorded(module, x)
        (next_node, _), *rest = (pair for pair in y.grad_fn.next_functions if pair[0] is not None)
        assert type(next_node).__name__ == "AccumulateGrad"
        assert next_node.variable is x
        assert not rest
        assert sum(t.untyped_storage().nbytes() for t in kept) <= x.numel()

    def test_an_activation_that_may_be_overwritten(self) -> None:
        """Written in place, it is still one node on top of the operation's own."""
        x = weight(*SHAPE).requires_grad_()
        module = quantizer({}, x, "activation")
        plain = x * 1.0
        y, kept = recorded(lambda t: module(t, True), plain)
        assert y.data_ptr() == plain.data_ptr()
        assert sum(t.untyped_storage().nbytes() for t in kept) <= x.numel()
        y.sum().backward()
        wanted = quantizer({}, x, "activation")
        leaf = x.detach().clone().requires_grad_()
        wanted(leaf).sum().backward()
        assert torch.equal(x.grad, leaf.grad)

    def test_observing_records_nothing(self) -> None:
        module = made({"qparam_calculator_cls": "moving_average"}, "activation")
        x = weight(*SHAPE).requires_grad_()
        module(x)
        y = module(x)
        for tensor in module.state_dict().values():
            assert not tensor.requires_grad
        y.sum().backward()

    def test_twice_through_one_module(self) -> None:
        module = quantizer({}, weight(*SHAPE), "activation")
        x = weight(*SHAPE).requires_grad_()
        (module(x) + module(x)).sum().backward()
        assert x.grad.max() == 2.0

    def test_calibrated_in_inference_mode_then_trained(self) -> None:
        module = made({"qparam_calculator_cls": "moving_average"}, "activation")
        with torch.inference_mode():
            module(weight(*SHAPE))
            module(weight(*SHAPE, seed=1))
        x = weight(*SHAPE).requires_grad_()
        module(x).sum().backward()
        assert x.grad is not None

    def test_threads_do_not_meet(self) -> None:
        """Temporaries are reused; each thread has its own."""
        xs = [weight(64, 96, seed=seed) for seed in range(8)]
        modules = [quantizer({"dtype": "int8", "granularity": per_channel(0)}, x / 2) for x in xs]

        def train(i: int) -> Tensor:
            leaf = xs[i].clone().requires_grad_()
            for _ in range(20):
                y = modules[i](leaf)
                leaf.grad = None
                (y * y).sum().backward()
            return torch.cat([y.detach(), leaf.grad])

        alone = [train(i) for i in range(len(xs))]
        with ThreadPoolExecutor(4) as pool:
            together = list(pool.map(train, range(len(xs))))
        assert all(map(torch.equal, together, alone))

    @pytest.mark.parametrize("transposed", [False, True])
    @pytest.mark.parametrize("granularity", [PER_TENSOR, per_channel(0), per_channel(1)], ids=str)
    def test_more_than_is_worked_on_at_a_time(
        self, granularity: dict[str, Any], transposed: bool
    ) -> None:
        x = weight(1030, 600)
        x = x.t().contiguous().t() if transposed else x
        assert_as_the_reference({"dtype": "int8", "granularity": granularity}, x)

    @pytest.mark.parametrize("order", [(0, 2, 1, 3), (3, 1, 2, 0), (0, 3, 2, 1)])
    def test_permuted_and_partial_views(self, order: tuple[int, ...]) -> None:
        x = weight(4, 6, 8, 10).permute(order)[:, ::2]
        assert_as_the_reference({"dtype": "int4"}, x, "activation")


def test_qparams_are_written_where_they_are() -> None:
    """What was derived from the buffers of a weight stays valid from step to step."""
    module = made({"granularity": per_channel(0)})
    module(weight(8, 6))
    calculator = module.qparams_calculator
    before = calculator.current_qparams()
    module(weight(8, 6, seed=5))
    assert all(now is then for now, then in zip(calculator.current_qparams(), before, strict=True))
    assert_same_bits(
        before.scale, expected({"granularity": per_channel(0)}, weight(8, 6, seed=5))[1].scale
    )


def test_formulas_of_users_may_save_qparams_for_backward() -> None:
    class Learned(DefaultFakeQuantize):
        def fake_quantize(self, tensor: Tensor, scale: Tensor, *rest: Any) -> Tensor:
            self.calls = getattr(self, "calls", 0) + 1
            return tensor / scale * scale.square()

    spec = QuantizationSpec(granularity={"type": "per_channel", "axis": 0})
    plain = QuantizationComponentFactory.create_fake_quantizer(spec, "weight", "w")
    module = Learned(
        dtype=plain.dtype, qformulation=plain.qformulation, granularity=plain.granularity,
        target_dtype=plain.target_dtype, quant_min=plain.quant_min, quant_max=plain.quant_max,
        qparams_calculator=plain.qparams_calculator, n_bits=plain.n_bits,
    )  # fmt: skip
    x = weight(8, 6).requires_grad_()
    scales = []
    total = torch.zeros(())
    for factor in (1.0, 3.0):
        total = total + module(x * factor).sum()
        scales.append(factor * module.calculate_qparams().scale.clone())
    total.backward()
    assert module.calls == 2
    torch.testing.assert_close(x.grad, sum(scales).expand(8, 6))


def test_blocks_that_do_not_fit_leave_one_weight_of_a_model_alone() -> None:
    model = nn.Sequential(nn.Linear(32, 20), nn.ReLU(), nn.Linear(20, 32)).eval()
    original = copy.deepcopy(model)
    config = QuantizerConfig.presets.w4_per_block(block_size=16, execution_mode="eager")
    with pytest.warns(UserWarning, match=r"2\.weight of shape \(32, 20\) is left unquantized"):
        prepared = Quantizer(model, config).prepare((torch.randn(2, 32),))
    assert [isinstance(m, FakeQuantizeImplBase) for m in prepared.modules()].count(True) == 1
    spec = {"dtype": "int4", "granularity": per_block(16)}
    assert_same_bits(prepared[0].weight, expected(spec, original[0].weight)[2])
    assert torch.equal(prepared[2].weight, original[2].weight)
