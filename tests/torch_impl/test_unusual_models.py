"""What a quantizer does not expect: it works in both modes, or says why not."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from quant_reference.errors import InputError
from quant_torch.quantization import (
    ModuleQuantizerConfig,
    Quantizer,
    QuantizerConfig,
)
from quant_torch.quantization.spec import FakeQuantizeImplBase

both_modes = pytest.mark.parametrize("mode", ["graph", "eager"])


class Net(nn.Module):
    """A model from a function of its modules and inputs."""

    def __init__(self, function: Callable[..., Any], **modules: nn.Module) -> None:
        super().__init__()
        for name, module in modules.items():
            setattr(self, name, module)
        self.function = function

    def forward(self, x: Any, y: Any = None) -> Any:
        return self.function(self, x, y)


def rows(seed: int = 0, width: int = 6) -> Tensor:
    return torch.randn(4, width, generator=torch.Generator().manual_seed(seed))


def quantizers(model: nn.Module) -> list[FakeQuantizeImplBase]:
    return [m for m in model.modules() if isinstance(m, FakeQuantizeImplBase)]


def prepared_by(mode: str, model: nn.Module, inputs: tuple[Any, ...]) -> tuple[Quantizer, Any]:
    quantizer = Quantizer(model, QuantizerConfig(execution_mode=mode))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*ask for different quantization.*")
        return quantizer, quantizer.prepare(inputs)


def embed(net: nn.Module, tokens: Tensor, mask: Tensor) -> Tensor:
    shifted = (tokens + 1) * 2 - tokens  # integers, and so not quantized
    return net.head(net.table(shifted % 7).masked_fill(mask[..., None], 0.0) * tokens[..., None])


def unused_result(net: nn.Module, x: Tensor, unread: Any) -> Tensor:
    first, _ = net.layer(x).chunk(2, dim=1)
    largest, _ = first.max(dim=1, keepdim=True)
    net.layer(x * 2)
    return largest + net.head(first)


def results_of_every_kind(net: nn.Module, x: Tensor, _: Any) -> Any:
    y = net.layer(x)
    return {"y": y, "shape": x.shape[1], "same": x, "pair": (y + x, None), "index": y.argmax(1)}


def recurrent(net: nn.Module, x: Tensor, _: Any) -> Tensor:
    return net.lstm(x[None])[0]


def in_place(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    z = net.layer(x)
    z += y
    z[:, 0] = 1.0
    functional.relu_(z)
    return z * 2.0


TOKENS = torch.arange(12).reshape(3, 4)
MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[Any, ...]]] = {
    "integers and booleans": (
        lambda: Net(embed, table=nn.Embedding(7, 6), head=nn.Linear(6, 2)),
        (TOKENS, TOKENS % 3 == 0),
    ),
    "an unused result": (
        lambda: Net(unused_result, layer=nn.Linear(6, 8), head=nn.Linear(4, 1)),
        (rows(),),
    ),
    "results of every kind": (
        lambda: Net(results_of_every_kind, layer=nn.Linear(6, 6)),
        (rows(),),
    ),
    "writes in place": (lambda: Net(in_place, layer=nn.Linear(6, 6)), (rows(), rows(1))),
    "an unread input": (
        lambda: Net(lambda n, x, y: n.layer(y), layer=nn.Linear(6, 2)),
        (rows(), rows(1)),
    ),
    "nothing to quantize": (lambda: Net(lambda n, x, y: x.cumsum(0)), (rows(),)),
    "operations without a pattern": (
        lambda: Net(recurrent, lstm=nn.LSTM(6, 5, batch_first=True)),
        (rows(),),
    ),
}


def leaves(value: Any) -> list[Any]:
    return torch.utils._pytree.tree_leaves(value)


def same(a: Any, b: Any) -> bool:
    return torch.equal(a, b) if isinstance(a, Tensor) else bool(a == b)


@both_modes
@pytest.mark.parametrize("case", MODELS)
def test_it_calibrates_as_the_float_model_and_trains(mode: str, case: str) -> None:
    build, inputs = MODELS[case]
    torch.manual_seed(0)
    model = build().eval()
    before = [v.clone() if isinstance(v, Tensor) else v for v in inputs]
    with torch.no_grad():
        expected = leaves(model(*inputs))
    quantizer, prepared = prepared_by(mode, model, inputs)
    with quantizer.calibration_mode(), torch.no_grad():
        found = leaves(prepared(*inputs))
    assert len(found) == len(expected)
    assert all(map(same, found, expected))
    assert all(map(same, inputs, before))
    with quantizer.training_mode():
        found = leaves(prepared(*inputs))
    learns = [v.sum() for v in found if isinstance(v, Tensor) and v.requires_grad]
    assert bool(learns) == bool(list(model.parameters()))
    if learns:
        sum(learns).backward()
        assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
        assert any(p.grad is not None for p in model.parameters())


@both_modes
def test_only_floats_are_quantized(mode: str) -> None:
    build, inputs = MODELS["integers and booleans"]
    _, prepared = prepared_by(mode, build().eval(), inputs)
    seen: list[torch.dtype] = []
    for module in quantizers(prepared):
        module.register_forward_pre_hook(lambda _, args: seen.append(args[0].dtype))
    prepared(*inputs)
    assert seen
    assert set(seen) == {torch.float32}


@both_modes
def test_what_nothing_reads_has_no_quantizer(mode: str) -> None:
    """Of the two halves one is unread, of the values and their places the places are integers."""
    build, inputs = MODELS["an unused result"]
    _, prepared = prepared_by(mode, build().eval(), inputs)
    called: list[FakeQuantizeImplBase] = []
    for module in quantizers(prepared):
        module.register_forward_hook(lambda m, args, out: called.append(m))
    prepared(*inputs)
    assert set(called) == set(quantizers(prepared))


@both_modes
def test_parameters_without_a_gradient(mode: str) -> None:
    """Frozen ones stay as they are, unread ones get none, the others learn."""
    model = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 2))
    frozen, learning, unread = model[0].weight, model[1].weight, nn.Parameter(torch.ones(3))
    frozen.requires_grad_(False)
    model.unread = unread
    before = [p.detach().clone() for p in (frozen, learning, unread)]
    quantizer, prepared = prepared_by(mode, model.eval(), (rows(),))
    optimizer = torch.optim.SGD(prepared.parameters(), lr=0.1, weight_decay=0.1)
    with quantizer.training_mode():
        prepared(rows()).square().sum().backward()
        optimizer.step()
    assert [p.grad is None for p in (frozen, learning, unread)] == [True, False, True]
    changed = [
        not torch.equal(p, b) for p, b in zip((frozen, learning, unread), before, strict=True)
    ]
    assert changed == [False, True, False]


def test_arguments_that_are_no_tensors() -> None:
    """A graph holds the example's values and refuses others; eager mode takes them."""

    def scaled(net: nn.Module, x: Tensor, how: Any) -> Tensor:
        return net.layer(x) * how["by"] if how["name"] == "mul" else net.layer(x)

    model = Net(scaled, layer=nn.Linear(6, 2)).eval()
    example = (rows(), {"name": "mul", "by": 2})
    _, graph = prepared_by("graph", model, example)
    graph(rows(1), {"name": "mul", "by": 2})
    with pytest.raises(InputError, match=r"given 3.*allowed: 2.*eager mode takes others"):
        graph(rows(1), {"name": "mul", "by": 3})
    quantizer, eager = prepared_by("eager", model, example)
    with quantizer.calibration_mode(), torch.no_grad():
        assert torch.equal(eager(rows(1), {"name": "mul", "by": 3}), model.layer(rows(1)) * 3)


@both_modes
def test_float64_is_refused_by_name(mode: str) -> None:
    model = nn.Sequential(nn.Linear(6, 2)).double()
    with pytest.raises(InputError, match=r"0.weight.*float64"):
        prepared_by(mode, model, (rows().double(),))


@both_modes
def test_names_that_nothing_has_are_told_with_the_closest(mode: str) -> None:
    meant = {"graph": "linear", "eager": "layer.linear"}[mode]
    misspelt = f"{meant}s"
    config = QuantizerConfig(
        global_config=ModuleQuantizerConfig(
            op_type_config={"lineer": None}, op_name_config={misspelt: None}
        ),
        module_name_configs={"layr": None},
        module_type_configs={"torch.nn.modules.linear.Linaer": None},
        execution_mode=mode,
    )
    model = nn.Sequential()
    model.add_module("layer", nn.Linear(6, 6))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        Quantizer(model, config).prepare((rows(),))
    found = "\n".join(str(w.message) for w in caught)
    for given, closest in {
        "lineer": "linear",
        misspelt: meant,
        "layr": "layer",
        "torch.nn.modules.linear.Linaer": "torch.nn.modules.linear.Linear",
    }.items():
        assert f"{given!r} (did you mean {closest!r}" in found
