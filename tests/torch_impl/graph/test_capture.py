"""The captured graph computes what the model computes, and behaves like a module."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from tests.torch_impl.graph.support import Net, conv, images, prepare, rows
from torch import Tensor, nn
from torch.nn import functional
from torch.utils import _pytree as pytree

from quant_reference.errors import InputError
from quant_torch.quantization._example_inputs import ExampleInputs
from quant_torch.quantization._graph.capture import GraphCaptureError, capture
from quant_torch.quantization.quantizer import Quantizer


def same(model: nn.Module, *inputs: Any) -> None:
    """The graph gives the same bits, and writes the same into its inputs."""
    captured = capture(model, ExampleInputs(inputs))

    def run(module: nn.Module) -> tuple[list[Any], list[Any]]:
        own = pytree.tree_map_only(Tensor, Tensor.clone, inputs)
        return pytree.tree_leaves(module(*own)), pytree.tree_leaves(own)

    with torch.no_grad():
        for left, right in zip(run(model.eval()), run(captured), strict=True):
            for a, b in zip(left, right, strict=True):
                assert torch.equal(a, b) if isinstance(a, Tensor) else a == b


def test_in_place_operations() -> None:
    same(Net(lambda s, x: functional.relu_(s.a(x)).add_(1.0).mul_(x), a=conv(3, 3)), images())


def test_in_place_on_an_input_is_seen_by_the_caller() -> None:
    same(Net(lambda s, x: x.sigmoid_() + s.a(x), a=conv(3, 3)), images())


def test_in_place_on_a_view_that_is_read_again() -> None:
    def forward(net: nn.Module, x: Tensor) -> Tensor:
        y = net.a(x)
        y[:, 0] += 1.0
        return functional.relu(net.b(y))

    model = Net(forward, a=conv(3, 3), b=conv(3, 3))
    same(model, images())
    quantized = prepare(model, images())
    with torch.no_grad():
        for module in quantized.modules():
            if hasattr(module, "fake_quant_enabled"):
                module.disable_fake_quant()
        assert torch.equal(quantized(images()), model(images()))


def test_in_place_on_a_buffer() -> None:
    class Counter(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("count", torch.zeros(1))

        def forward(self, x: Tensor) -> Tensor:
            self.count.add_(1)
            return x * self.count

    model = Counter()
    prepared = prepare(model, rows())
    assert model.count.item() == 0  # preparing left no trace
    prepared(rows())
    assert prepared.count.item() == 1


def test_arguments_by_name_nested_and_constant() -> None:
    def forward(net: nn.Module, a: Tensor, pair: dict[str, Any], flag: bool = True) -> Any:
        return {"sum": a + pair["x"], "all": [pair["y"][0] * 2, flag, None]}

    class Keyed(Net):
        def forward(self, a: Tensor, pair: dict[str, Any], flag: bool = True) -> Any:
            return self.function(self, a, pair, flag)

    inputs = (rows(), {"x": rows(1), "y": (rows(2),)}, True)
    same(Keyed(forward), *inputs)
    prepared = prepare(Keyed(forward), *inputs)
    by_name = prepared(a=inputs[0], pair=inputs[1], flag=True)
    assert torch.equal(by_name["sum"], prepared(*inputs)["sum"])
    with pytest.raises(InputError, match=r"'flag'.*False.*True"):
        prepared(inputs[0], inputs[1], False)


def test_one_tensor_given_twice_stays_two_inputs() -> None:
    x, y = rows(), rows(1)
    prepared = prepare(Net(lambda s, a, b: a - b), x, x)
    with torch.no_grad():
        assert not torch.equal(prepared(x, y), prepared(y, y))


def test_other_batch_sizes_run() -> None:
    prepared = prepare(nn.Sequential(conv(), nn.ReLU(), nn.AdaptiveAvgPool2d(1)), images())
    assert prepared(torch.randn(7, 3, 12, 12)).shape == (7, 4, 1, 1)


def test_dynamic_shapes() -> None:
    model = Net(lambda s, x: s.fc(x.reshape(x.shape[0], -1)), fc=nn.Linear(12, 2))
    x = torch.randn(2, 3, 4)
    prepared = prepare(model, x, dynamic_shapes=(({0: torch.export.Dim.DYNAMIC},),))
    assert prepared(torch.randn(5, 3, 4)).shape == (5, 2)


def test_what_nobody_reads_is_not_quantized() -> None:
    def forward(net: nn.Module, x: Tensor) -> Tensor:
        net.unused(x)
        return net.used(x)

    model = Net(forward, used=nn.Linear(6, 2), unused=nn.Linear(6, 2))
    prepared = prepare(model, rows())
    assert "fake_quantize_unused_weight" not in dict(prepared.named_modules())
    assert "unused.weight" in prepared.state_dict()


def test_train_and_eval_switch_dropout() -> None:
    model = nn.Sequential(nn.Linear(6, 64), nn.Dropout(0.5), nn.Linear(64, 64), nn.Dropout1d(0.5))
    prepared = prepare(model, rows())
    assert not prepared.training
    first = prepared(rows())
    assert torch.equal(first, prepared(rows()))
    prepared.train()
    assert not torch.equal(prepared(rows()), prepared(rows()))
    prepared.eval()
    assert torch.equal(first, prepared(rows()))


def test_preparing_leaves_the_model_as_it_is() -> None:
    model = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Dropout())
    model.train()
    model[1].eval()
    before = copy.deepcopy(model.state_dict())
    prepared = Quantizer(model).prepare((rows(),))
    assert [m.training for m in model] == [True, False, True]
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert prepared.get_parameter("0.weight") is model[0].weight


@pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")
def test_copies_and_pickles_compute_the_same() -> None:
    class Keyed(Net):
        def forward(self, x: Tensor, scale: float) -> Tensor:
            return self.function(self, x) * scale

    model = Keyed(lambda s, x: s.layers(x), layers=nn.Sequential(conv(), nn.BatchNorm2d(4)))
    prepared = prepare(model, images(), 2.0)
    with torch.no_grad():
        expected = prepared(images(), 2.0)
        for copied in (copy.deepcopy(prepared), pickle.loads(pickle.dumps(prepared))):
            assert torch.equal(copied(images(), 2.0), expected)
            copied.get_parameter("layers.0.weight").add_(1.0)
            assert not torch.equal(copied(images(), 2.0), expected)
            assert torch.equal(prepared(images(), 2.0), expected)
            with pytest.raises(InputError, match="scale"):
                copied(images(), 3.0)


def test_parameters_without_gradient() -> None:
    model = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 2))
    model[0].requires_grad_(False)
    prepared = prepare(model, rows())
    prepared(rows()).sum().backward()
    assert model[0].weight.grad is None
    assert model[1].weight.grad is not None


def branch(net: nn.Module, x: Tensor) -> Tensor:
    return x + 1 if x.sum() > 0 else x - 1


def through_numpy(net: nn.Module, x: Tensor) -> Tensor:
    return torch.from_numpy(x.numpy() * 2)


@pytest.mark.parametrize(
    ("forward", "line"),
    [(branch, "if x.sum() > 0"), (through_numpy, "x.numpy()")],
)
def test_what_cannot_be_captured_is_explained(forward: Any, line: str) -> None:
    with pytest.raises(GraphCaptureError) as refused:
        prepare(Net(forward), rows())
    message = str(refused.value)
    assert line in message
    assert "test_capture.py" in message
    assert "execution_mode='eager'" in message
    assert refused.value.__cause__ is not None


def test_float64_is_refused_by_name() -> None:
    with pytest.raises(InputError, match=r"0.weight.*float64"):
        prepare(nn.Sequential(nn.Linear(6, 2)).double(), rows().double())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_16_bit_models(dtype: torch.dtype) -> None:
    model = nn.Sequential(conv(), nn.BatchNorm2d(4), nn.ReLU()).to(dtype)
    assert prepare(model, images().to(dtype))(images().to(dtype)).dtype == dtype
