"""Batch norm: the folded weight to the bit, the prepared model within the accumulation error."""

from __future__ import annotations

import copy
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from tests.torch_impl.graph.support import Net, conv, images, prepare, set_statistics
from torch import Tensor, nn
from torch.nn import functional

import quant_reference as reference
from quant_reference.batch_norm import fold_batch_norm
from quant_torch.quantization._graph.batch_norm import FoldedBias, FoldedWeight
from quant_torch.quantization.config import ModuleQuantizerConfig, QuantizerConfig
from quant_torch.quantization.quantizer import Quantizer

NOTHING = QuantizerConfig(global_config=None)

LAYERS: dict[str, tuple[nn.Module, type[nn.Module], tuple[int, ...]]] = {
    "conv1d": (nn.Conv1d(3, 4, 3), nn.BatchNorm1d, (5, 3, 9)),
    "conv2d": (nn.Conv2d(3, 4, 3), nn.BatchNorm2d, (5, 3, 8, 8)),
    "conv2d-no-bias": (nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d, (5, 3, 8, 8)),
    "conv2d-grouped": (nn.Conv2d(4, 6, 3, groups=2), nn.BatchNorm2d, (5, 4, 8, 8)),
    "conv2d-depthwise": (
        nn.Conv2d(4, 4, 3, groups=4, padding="same"), nn.BatchNorm2d, (5, 4, 8, 8),
    ),
    "conv3d": (nn.Conv3d(3, 4, 2), nn.BatchNorm3d, (5, 3, 4, 4, 4)),
    "conv_transpose1d": (nn.ConvTranspose1d(3, 4, 3), nn.BatchNorm1d, (5, 3, 9)),
    "conv_transpose2d": (nn.ConvTranspose2d(3, 4, 3, stride=2), nn.BatchNorm2d, (5, 3, 6, 6)),
    "conv_transpose2d-grouped": (
        nn.ConvTranspose2d(6, 9, 3, groups=3, bias=False), nn.BatchNorm2d, (5, 6, 6, 6),
    ),
    "conv_transpose3d": (nn.ConvTranspose3d(3, 4, 2), nn.BatchNorm3d, (5, 3, 4, 4, 4)),
    "linear": (nn.Linear(6, 4), nn.BatchNorm1d, (5, 6)),
}  # fmt: skip


def model_of(kind: str, affine: bool = True) -> tuple[nn.Sequential, Tensor]:
    layer, norm, shape = LAYERS[kind]
    channels = getattr(layer, "out_channels", None) or layer.out_features
    model = nn.Sequential(copy.deepcopy(layer), norm(channels, affine=affine))
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    return set_statistics(model).eval(), x


def array(tensor: Tensor) -> Any:
    if tensor.dtype == torch.bfloat16:
        return tensor.detach().view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return tensor.detach().numpy()


def expected(model: nn.Sequential) -> tuple[Any, Any]:
    """W' and b' by the reference."""
    layer, norm = model
    gamma, beta = (None if p is None else array(p) for p in (norm.weight, norm.bias))
    transposed = isinstance(layer, nn.modules.conv._ConvTransposeNd)
    return fold_batch_norm(
        array(layer.weight),
        None if layer.bias is None else array(layer.bias),
        gamma,
        beta,
        array(norm.running_mean),
        array(norm.running_var),
        norm.eps,
        transposed=transposed,
        groups=layer.groups if transposed else 1,
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("kind", LAYERS)
def test_the_folded_layer_has_the_bits_of_the_reference(
    kind: str, affine: bool, dtype: torch.dtype
) -> None:
    model, _ = model_of(kind, affine)
    layer, norm = model.to(dtype)
    transposed = isinstance(layer, nn.modules.conv._ConvTransposeNd)
    fold = FoldedWeight(norm.eps, int(transposed), layer.groups if transposed else 1).eval()
    with torch.no_grad():
        weight = fold(layer.weight, norm.weight, norm.running_var)
        bias = FoldedBias(norm.eps, dtype).eval()(
            layer.bias, norm.weight, norm.bias, norm.running_mean, norm.running_var
        )
    right_weight, right_bias = expected(model)
    assert array(weight).tobytes() == right_weight.tobytes()
    assert array(bias).tobytes() == right_bias.tobytes()


@pytest.mark.parametrize("kind", LAYERS)
def test_what_is_quantized_is_the_folded_weight(kind: str) -> None:
    model, x = model_of(kind)
    prepared = prepare(model, x)
    quantizer = prepared.fake_quantize_0_weight
    folded, _ = expected(model)
    spec = reference.QuantizationSpec(granularity=reference.PerChannel(0))
    lo, hi = reference.value_range(folded, spec, "weight")
    qparams = reference.compute_qparams(lo, hi, spec)
    scale, zero_point, _ = quantizer.calculate_qparams()
    assert scale.numpy().tobytes() == qparams.scale.tobytes()
    assert zero_point.numpy().tobytes() == qparams.zero_point.tobytes()
    with torch.no_grad():
        values = quantizer(torch.from_numpy(folded))
    right = reference.fake_quantize(folded, spec, qparams)
    assert values.numpy().tobytes() == right.tobytes()


def bound_on_difference(model: nn.Sequential, x: Tensor) -> Tensor:
    """Bound on |folded - unfolded| for any order of accumulation.

    With u = 2^-24 and n products per output, a dot product in float32 is off by at most
    n·u·Σ|w·x| to first order. The factor of BN-1 has a relative error of at most 3u, the further
    roundings of either form are fewer than 8, and every intermediate is at most
    S = |f|·(Σ|w·x| + |b| + |μ|) + |β|. So each form is within (n + 12)·u·S of the exact value; 1.01
    covers the terms of higher order.
    """
    layer, norm = copy.deepcopy(model).double()
    with torch.no_grad():
        layer.weight.abs_()
        if layer.bias is not None:
            layer.bias.abs_()
        shape = [1, -1] + [1] * (x.dim() - 2)
        factor = (norm.weight / torch.sqrt(norm.running_var + norm.eps)).abs().reshape(shape)
        size = layer(x.double().abs()) + norm.running_mean.abs().reshape(shape)
        size = factor * size + norm.bias.abs().reshape(shape)
    products = layer.weight[0].numel() * (
        layer.in_channels if isinstance(layer, nn.modules.conv._ConvTransposeNd) else 1
    )
    return 2 * 1.01 * (products + 12) * 2.0**-24 * size


@pytest.mark.parametrize("kind", LAYERS)
def test_unquantized_it_agrees_within_the_accumulation_error(kind: str) -> None:
    model, x = model_of(kind)
    prepared = prepare(model, x, config=NOTHING)
    with torch.no_grad():
        difference = (prepared(x).double() - model(x).double()).abs()
    assert bool((difference <= bound_on_difference(model, x)).all())


@pytest.mark.parametrize("kind", LAYERS)
def test_training_has_the_outputs_gradients_and_statistics_of_the_model(kind: str) -> None:
    """Unquantized, up to rounding: float64, so that what is left is far below any mistake."""
    model, x = model_of(kind)
    model, x = model.double(), x.double()
    twin = copy.deepcopy(model)
    prepared = prepare(model, x, config=NOTHING)
    for module in (prepared.train(), twin.train()):
        for _ in range(2):
            (module(x) ** 2).sum().backward()
            with torch.no_grad():
                for parameter in module.parameters():
                    parameter -= 1e-3 * parameter.grad
                    parameter.grad = None
    left, right = prepared.state_dict(), twin.state_dict()
    assert left.keys() == right.keys()
    for name, value in right.items():
        torch.testing.assert_close(left[name], value, rtol=1e-9, atol=1e-9)
    assert left["1.num_batches_tracked"].item() == 2
    torch.testing.assert_close(prepared.eval()(x), twin.eval()(x), rtol=1e-9, atol=1e-9)


def test_momentum_none_averages_all_batches() -> None:
    model = nn.Sequential(conv(), nn.BatchNorm2d(4, momentum=None))
    twin = copy.deepcopy(model).train()
    prepared = prepare(model, images(), config=NOTHING).train()
    for seed in range(3):
        prepared(images(seed))
        twin(images(seed))
    torch.testing.assert_close(model[1].running_mean, twin[1].running_mean)
    torch.testing.assert_close(model[1].running_var, twin[1].running_var)


def test_a_gamma_of_zero_trains() -> None:
    model = nn.Sequential(conv(), nn.BatchNorm2d(4))
    nn.init.zeros_(model[1].weight)
    quantizer = Quantizer(model.eval())
    prepared = quantizer.prepare((images(),))
    assert not prepared(images()).any()
    with quantizer.training_mode():
        prepared(images()).sum().backward()
        assert torch.isfinite(model[1].running_var).all()
        assert model[1].weight.grad.any()
        assert not torch.equal(model[1].running_var, torch.ones(4))


def test_freezing_keeps_the_statistics_and_trains_through_the_fold() -> None:
    model = set_statistics(nn.Sequential(conv(), nn.BatchNorm2d(4), nn.ReLU(), nn.BatchNorm2d(4)))
    quantizer = Quantizer(model.eval())
    prepared = quantizer.prepare((images(),))
    before = {k: v.clone() for k, v in model.named_buffers()}
    quantizer.freeze_batch_norm()
    with torch.no_grad():
        evaluated = prepared(images(1))
    with quantizer.training_mode():
        quantizer_off(prepared)
        torch.testing.assert_close(prepared(images(1)), evaluated, rtol=0, atol=0)
        prepared(images(1)).sum().backward()
    assert all(torch.equal(before[k], v) for k, v in model.named_buffers())
    assert all(p.grad is not None and p.grad.any() for p in model[1].parameters())


def quantizer_off(model: nn.Module) -> None:
    for module in model.modules():
        if hasattr(module, "enable_observer"):
            module.disable_observer()


def test_freezing_one_module() -> None:
    model = nn.Sequential(conv(), nn.BatchNorm2d(4), conv(4, 4), nn.BatchNorm2d(4))
    quantizer = Quantizer(model.eval())
    prepared = quantizer.prepare((images(),))
    quantizer.freeze_batch_norm(prepared.get_submodule("batch_norm"))
    with quantizer.training_mode():
        prepared(images(1))
    assert torch.equal(model[1].running_mean, torch.zeros(4))
    assert not torch.equal(model[3].running_mean, torch.zeros(4))


def test_a_layer_and_norm_that_run_twice_fold_once() -> None:
    def forward(net: nn.Module, x: Tensor) -> Tensor:
        return net.norm(net.layer(functional.relu(net.norm(net.layer(x)))))

    model = Net(forward, layer=conv(3, 3), norm=nn.BatchNorm2d(3))
    prepared = prepare(model, images())
    names = [name for name, _ in prepared.named_children()]
    assert sum(name.endswith("folded_weight") for name in names) == 1
    assert sum(name.startswith("fake_quantize_layer_weight") for name in names) == 1
    prepared.train()(images())
    assert model.norm.num_batches_tracked.item() == 2


def test_one_layer_with_two_norms_has_two_weights() -> None:
    def forward(net: nn.Module, x: Tensor) -> Tensor:
        return net.norm1(net.layer(x)) + net.norm2(net.layer(x))

    model = Net(forward, layer=conv(), norm1=nn.BatchNorm2d(4), norm2=nn.BatchNorm2d(4))
    prepared = prepare(set_statistics(model), images())
    first, second = prepared.fake_quantize_layer_weight, prepared.fake_quantize_layer_weight_1
    assert not torch.equal(first.calculate_qparams()[0], second.calculate_qparams()[0])


def test_statistics_of_the_batch_are_not_folded() -> None:
    model = nn.Sequential(conv(), nn.BatchNorm2d(4, track_running_stats=False))
    prepared = prepare(model, images(), config=NOTHING)
    assert torch.equal(prepared(images()), model(images()))


def test_the_folded_weight_is_kept_while_nothing_changes() -> None:
    model, x = model_of("conv2d")
    prepared = prepare(model, x)
    fold = prepared.get_submodule("batch_norm_folded_weight")
    arguments = (model[0].weight, model[1].weight, model[1].running_var)
    with torch.no_grad():
        kept = fold(*arguments)
        assert fold(*arguments) is kept
        for changed in arguments:
            changed.add_(0.25)
            fresh = fold(*arguments)
            assert fresh is not kept
            kept = fresh
    assert fold(*arguments).requires_grad


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_a_cast_after_prepare_is_one_before_it(dtype: torch.dtype) -> None:
    model, x = model_of("conv2d")
    cast = prepare(copy.deepcopy(model), x, config=NOTHING).to(dtype)
    with torch.no_grad():
        wanted = prepare(model.to(dtype), x.to(dtype), config=NOTHING)(x.to(dtype))
        assert torch.equal(cast(x.to(dtype)), wanted)


def test_folding_changes_nothing_about_the_models_state() -> None:
    model = nn.Sequential(conv(), nn.BatchNorm2d(4))
    config = QuantizerConfig(global_config=ModuleQuantizerConfig(op_state_spec=None))
    prepared = prepare(model, images(), config=config)
    assert {k for k in prepared.state_dict() if not k.startswith("fake_quantize")} == set(
        model.state_dict()
    )
    assert np.array_equal(prepared.state_dict()["0.weight"], model.state_dict()["0.weight"])
