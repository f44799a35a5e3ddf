"""MilExecutor against torch, coremltools' own weights and the reference, on models made here."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.conformance.gate.stepped import INSIDE, WRONG, bounds, recorded, regions

from quant_conformance.runtimes import ExecutorError, MilExecutor, UnsupportedOperationError
from quant_reference import QParams, QuantizationSpec, fake_quantize
from quant_reference.admissible import judge_values

pytest.importorskip("coremltools")
torch = pytest.importorskip("torch")
import coremltools as ct  # noqa: E402
import coremltools.optimize.coreml as cto  # noqa: E402
from coremltools.converters.mil.frontend.milproto.load import load  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402, N812

logging.getLogger("coremltools").setLevel(logging.ERROR)
pytestmark = [
    pytest.mark.peers,
    pytest.mark.filterwarnings("ignore"),  # torch.jit.trace and coremltools warn about themselves
]


class Calls(nn.Module):  # type: ignore[misc]
    """A module of one expression."""

    def __init__(self, function: Callable[..., Any], *modules: nn.Module) -> None:
        super().__init__()
        self.function = function
        self.parts = nn.ModuleList(modules)

    def forward(self, *inputs: Any) -> Any:
        return self.function(self.parts, *inputs)


class Embedder(nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(10, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Any) -> Any:
        return self.head(self.table(x.int()).mean(1))


class Quantized(nn.Module):  # type: ignore[misc]
    """int8 in, uint8 out, with scales whose reciprocals are exact."""

    def forward(self, x: Any) -> Any:
        x = torch.quantize_per_tensor(x, 0.0625, 3, torch.qint8).dequantize()
        return torch.quantize_per_tensor(x - 1, 0.125, 128, torch.quint8).dequantize()


def attention(parts: Any, x: Any) -> Any:
    q, k, v = (t.reshape(2, 5, 4, 4).transpose(1, 2) for t in parts[0](x).chunk(3, -1))
    mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(2, 5, 16)
    return parts[2](x + parts[1](mixed))


def pools(_: Any, x: Any) -> Any:
    return torch.cat(
        [
            F.avg_pool2d(x, 3, 2, 1),
            F.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
            F.max_pool2d(x, 3, 2, 1),
            F.avg_pool2d(F.pad(x, (0, 1, 0, 1)), 2, ceil_mode=True)[:, :, :4, :4],
            F.max_pool2d(x, 2, 2, ceil_mode=True),
        ],
        1,
    )


def moves(_: Any, x: Any) -> Any:
    rows = x.permute(0, 2, 1).reshape(2, 12).unsqueeze(1).expand(2, 3, 12)
    columns = torch.stack(torch.split(x, [1, 3], 2)[1].flatten(1).unbind(1), 1)
    joined = torch.cat([rows, columns[:, None].repeat(1, 3, 1)], 2)
    return joined[:, 0:3:2].select(1, 0)[:, 1:-1] + torch.flip(joined[:, 1, 2:], [1])


def writes(_: Any, x: Any) -> Any:
    y = x * 2
    y[:, 1] = x[:, 0] + 1
    y[:, :, 1::2] = x[:, :, :2] - 1
    y[:, :, 3] = 0.5
    return y


def looks_up(_: Any, x: Any) -> Any:
    picked = torch.gather(x, 1, torch.tensor([[0, 1], [2, 1]])) + x[:, [0, 2]]
    return picked + torch.topk(x, 2, 1)[0] + torch.cumsum(x, 1)[:, 3:]


def resized(parts: Any, x: Any) -> Any:
    doubled = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
    corners = F.interpolate(x, size=(10, 10), mode="bilinear", align_corners=True)
    nearest = F.interpolate(x, scale_factor=2, mode="nearest")
    return doubled + corners + nearest + F.pixel_shuffle(parts[0](x), 2)


def padded(_: Any, x: Any) -> Any:
    pads = (1, 2, 0, 1)
    return F.pad(x, pads, "reflect") - F.pad(x, pads, "replicate") + F.pad(x, pads, value=0.5)


def arithmetic(_: Any, x: Any, y: Any) -> Any:
    a = x.abs() + 1
    mixed = x * y + x / a - torch.exp(x) + torch.log(a) + torch.sqrt(a) + torch.rsqrt(a)
    bounds = torch.minimum(x, y) + torch.maximum(x, y) + x.clamp(-1, 1) + torch.where(x > y, x, y)
    steps = torch.floor(x) + torch.ceil(x) + torch.round(x) + torch.sign(x)
    return mixed + bounds + steps + x**2 + torch.pow(a, y) + torch.erf(x) + torch.sin(x)


MODELS: dict[str, tuple[Callable[[], nn.Module], list[tuple[int, ...]]]] = {
    "mlp": (
        lambda: nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 8), nn.Softmax(-1)),
        [(2, 16)],
    ),
    "cnn": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU6(),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 8, 3, groups=8, stride=2),
            nn.SiLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(8, 4),
        ),
        [(2, 3, 16, 16)],
    ),
    "norms": (
        lambda: Calls(
            lambda m, x: m[0](F.relu(x)) + m[1](x) + m[2](x),
            nn.BatchNorm2d(4),
            nn.InstanceNorm2d(4, affine=True),
            nn.LayerNorm(5),
        ),
        [(2, 4, 5, 5)],
    ),
    "transposed": (
        lambda: nn.Sequential(
            nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1),
            nn.ConvTranspose2d(6, 4, 2, stride=2, groups=2),
        ),
        [(1, 4, 5, 5)],
    ),
    "one_d": (
        lambda: nn.Sequential(
            nn.Conv1d(4, 6, 3, padding=2, dilation=2),
            nn.AvgPool1d(2),
            nn.ConvTranspose1d(6, 4, 4, stride=2, padding=1),
        ),
        [(1, 4, 9)],
    ),
    "three_d": (
        lambda: nn.Sequential(nn.Conv3d(2, 3, 3), nn.MaxPool3d(2), nn.ConvTranspose3d(3, 2, 2)),
        [(1, 2, 6, 6, 6)],
    ),
    "attention": (
        lambda: Calls(attention, nn.Linear(16, 48), nn.Linear(16, 16), nn.LayerNorm(16)),
        [(2, 5, 16)],
    ),
    "embedding": (Embedder, [(2, 4)]),
    "pools": (lambda: Calls(pools), [(1, 2, 8, 8)]),
    "moves": (lambda: Calls(moves), [(2, 3, 4)]),
    "writes": (lambda: Calls(writes), [(2, 3, 4)]),
    "looks_up": (lambda: Calls(looks_up), [(2, 5)]),
    "resized": (lambda: Calls(resized, nn.Conv2d(2, 8, 1)), [(1, 2, 5, 5)]),
    "padded": (lambda: Calls(padded), [(1, 2, 5, 5)]),
    "arithmetic": (lambda: Calls(arithmetic), [(3, 4), (3, 4)]),
    "einsum": (
        lambda: Calls(lambda _, x, y: torch.einsum("bij,bjk->bik", x, y) - torch.bmm(x, y)),
        [(2, 3, 4), (2, 4, 3)],
    ),
    "gelu": (lambda: Calls(lambda _, x: F.gelu(x)), [(2, 8)]),
    "leaky_relu": (lambda: Calls(lambda _, x: F.leaky_relu(x) + F.elu(x)), [(2, 8)]),
}

WHOLE = ("embedding", "looks_up")
"""Those whose parameters and inputs are whole numbers, so that no order of a sum rounds."""

ELEMENTWISE = ("moves", "writes", "padded", "arithmetic", "gelu", "leaky_relu")
"""Those without a sum: one kernel, called twice."""

SUMMED = [
    pytest.param(name, marks=pytest.mark.cpu) if name in ("cnn", "attention") else name
    for name in MODELS
    if name not in ELEMENTWISE + WHOLE
]


def convert(
    module: nn.Module, inputs: tuple[Any, ...], path: Path, target: str, precision: str
) -> ct.models.MLModel:
    model = ct.convert(
        torch.jit.trace(module, inputs, check_trace=False),
        convert_to="mlprogram",
        minimum_deployment_target=getattr(ct.target, target),
        inputs=[ct.TensorType(shape=tuple(x.shape), dtype=np.float32) for x in inputs],
        compute_precision=getattr(ct.precision, precision),
        skip_model_load=True,
    )
    model.save(str(path))
    return model


def build(name: str) -> tuple[nn.Module, tuple[Any, ...]]:
    torch.manual_seed(0)
    make, shapes = MODELS[name]
    module = make().eval()
    for part in module.modules():
        if getattr(part, "running_mean", None) is not None:
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2)
    inputs = tuple(torch.randn(shape) for shape in shapes)
    if name in WHOLE:
        for parameter in module.parameters():
            parameter.data = torch.randint(-8, 9, parameter.shape).float()
        inputs = tuple((4 * x).round() for x in inputs)
    return module, tuple(x.abs() for x in inputs) if name == "embedding" else inputs


def run(executor: MilExecutor, inputs: tuple[Any, ...]) -> Any:
    feeds = {n: x.numpy() for n, x in zip(executor.inputs, inputs, strict=True)}
    (answer,) = executor.run(feeds).values()
    return answer


def same(actual: Any, expected: Any) -> bool:
    expected = np.asarray(expected)
    return actual.dtype == expected.dtype and actual.tobytes() == expected.tobytes()


@pytest.mark.parametrize("name", [*ELEMENTWISE, *WHOLE])
def test_float32_programs_give_torchs_bits(name: str, tmp_path: Path) -> None:
    module, inputs = build(name)
    convert(module, inputs, tmp_path / "m.mlpackage", "iOS18", "FLOAT32")
    executor = MilExecutor(tmp_path / "m.mlpackage")
    with torch.no_grad():
        assert same(run(executor, inputs), module(*inputs).numpy())


@pytest.mark.parametrize("name", SUMMED)
def test_float32_programs_stay_within_the_bounds_of_their_sums(name: str, tmp_path: Path) -> None:
    """Bits would be one processor's: a kernel orders its sums, a converter folds its factors."""
    module, inputs = build(name)
    convert(module, inputs, tmp_path / "m.mlpackage", "iOS18", "FLOAT32")
    recording = recorded(module, *inputs)
    (region,) = regions(recording)
    assert not region.lacking
    admissible = bounds(region, recording)
    answer = run(MilExecutor(tmp_path / "m.mlpackage"), inputs)
    assert (answer.dtype, answer.shape) == (np.float32, np.shape(admissible.value))
    assert np.isin(judge_values(answer, admissible), INSIDE).all()
    beside = answer + np.float32(1e-3) * (np.abs(answer) + 1)
    assert (judge_values(beside, admissible) == WRONG).all()


@pytest.mark.cpu
def test_a_convolution_is_a_plain_sum_without_onednn(tmp_path: Path) -> None:
    """Without it torch gives such a batch to Winograd's kernels, beyond the bounds of a sum."""
    torch.manual_seed(0)
    module, inputs = nn.Conv2d(3, 4, 3, padding=1).eval(), (torch.randn(16, 3, 24, 24),)
    convert(module, inputs, tmp_path / "m.mlpackage", "iOS18", "FLOAT32")
    executor = MilExecutor(tmp_path / "m.mlpackage")
    with torch.backends.mkldnn.flags(enabled=False):
        recording = recorded(module, *inputs)
        answer = run(executor, inputs)
        other = module(*inputs).detach().numpy()
    (region,) = regions(recording)
    admissible = bounds(region, recording)
    for sums in (answer, recording.values[region.target]):
        assert np.isin(judge_values(sums, admissible), INSIDE).all()
    if torch.backends.nnpack.is_available():
        assert (judge_values(other, admissible) == WRONG).any()


def test_float16_programs_round_every_result(tmp_path: Path) -> None:
    """Multiples of 1/64 and 1/16, so that the sums in float32 are exact in any order."""
    module, inputs = build("mlp")
    module = module[:3]
    for parameter in module.parameters():
        parameter.data = (parameter.data * 64).round() / 64
    inputs = tuple((x * 16).round() / 16 for x in inputs)
    convert(module, inputs, tmp_path / "m.mlpackage", "iOS16", "FLOAT16")

    def half(t: Any) -> Any:
        return t.to(torch.float16).to(torch.float32)

    first, _, last = module
    with torch.no_grad():
        x = half(F.linear(half(inputs[0]), half(first.weight), half(first.bias)))
        x = half(F.linear(F.relu(x), half(last.weight), half(last.bias)))
        assert not torch.equal(x, module(*inputs))
    assert same(run(MilExecutor(tmp_path / "m.mlpackage"), inputs), x.half().numpy())


WEIGHTS = {
    "int4-per_block": ("iOS18", "int4", {"dtype": "int4", "granularity": "per_block"}),
    "uint4-per_channel": ("iOS18", "uint4", {"mode": "linear", "dtype": "uint4"}),
    "int8-affine": ("iOS16", "int8", {"mode": "linear", "dtype": "int8"}),
}


@pytest.mark.parametrize("precision", ["FLOAT32", "FLOAT16"])
@pytest.mark.parametrize("name", WEIGHTS)
def test_quantized_weights_are_what_coremltools_reads(
    name: str, precision: str, tmp_path: Path
) -> None:
    target, dtype, options = WEIGHTS[name]
    torch.manual_seed(0)
    # One product a sum, so that the result is the weight whatever the kernel.
    module, inputs = nn.Linear(64, 32, bias=False), (torch.eye(64),)
    path = tmp_path / "m.mlpackage"
    model = convert(module, inputs, path, target, precision)
    how = cto.OpLinearQuantizerConfig(weight_threshold=0, **options)
    quantized = cto.linear_quantize_weights(model, cto.OptimizationConfig(global_config=how))
    quantized.save(str(tmp_path / "q.mlpackage"))

    executor = MilExecutor(tmp_path / "q.mlpackage")
    (stored,) = executor.stored.values()
    assert stored.dtype == dtype
    assert stored.codes.shape == (32, 64)
    spec = ct.utils.load_spec(str(tmp_path / "q.mlpackage"))
    folder = tmp_path / "q.mlpackage/Data/com.apple.CoreML/weights"
    program = load(spec, spec.specificationVersion, str(folder))
    (op,) = (o for o in program.functions["main"].operations if o.op_type.startswith("constexpr"))
    weight = op.materialized_val_inference()  # coremltools' own evaluation
    kind = np.float16 if precision == "FLOAT16" else np.float32
    assert same(stored.dequantized().astype(kind), weight)
    assert same(run(executor, inputs), np.ascontiguousarray(weight.T))


def test_activations_are_quantized_by_the_reference(tmp_path: Path) -> None:
    x = torch.cat([torch.arange(-300, 300) / 32.0, torch.tensor([1e9, -1e9, 0.0])])
    path = tmp_path / "m.mlpackage"
    convert(Quantized(), (x,), path, "iOS18", "FLOAT32")
    executor = MilExecutor(path)
    assert executor.operations["quantize"] == executor.operations["dequantize"] == 2

    def rounded(values: Any, dtype: str, scale: float, zero: int) -> Any:
        qparams = QParams(np.float32([scale]), np.int32([zero]), None)
        return fake_quantize(values, QuantizationSpec(dtype=dtype, qscheme="asymmetric"), qparams)

    expected = rounded(x.numpy(), "int8", 0.0625, 3)
    expected = rounded(expected - np.float32(1), "uint8", 0.125, 128)
    assert same(run(executor, (x,)), expected)
    traced = executor.trace({executor.inputs[0]: x.numpy()}, executor.outputs)
    assert same(traced[executor.outputs[0]], expected)


def test_what_the_evaluator_lacks_is_named(tmp_path: Path) -> None:
    module = Calls(lambda m, x: m[0](x)[0], nn.LSTM(4, 4))
    convert(module, (torch.randn(3, 1, 4),), tmp_path / "m.mlpackage", "iOS18", "FLOAT32")
    with pytest.raises(UnsupportedOperationError, match="lstm") as caught:
        MilExecutor(tmp_path / "m.mlpackage")
    assert caught.value.operations == ("lstm",)


def test_wrong_use_says_what_is_there(tmp_path: Path) -> None:
    with pytest.raises(ExecutorError, match=r"no \.mlpackage folder at .*absent"):
        MilExecutor(tmp_path / "absent.mlpackage")
    module, inputs = build("gelu")
    convert(module, inputs, tmp_path / "m.mlpackage", "iOS18", "FLOAT32")
    with pytest.raises(ExecutorError, match="no function 'other'; there are"):
        MilExecutor(tmp_path / "m.mlpackage", "other")
    executor = MilExecutor(tmp_path / "m.mlpackage")
    with pytest.raises(ExecutorError, match=r"inputs given: \['z'\]; .*missing"):
        executor.run({"z": np.zeros(1, np.float32)})
    with pytest.raises(ExecutorError, match=r"no value named \['nowhere'\]"):
        executor.trace({executor.inputs[0]: inputs[0].numpy()}, ["nowhere"])
