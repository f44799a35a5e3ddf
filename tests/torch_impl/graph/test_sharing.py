"""One set of qparams where values stay what they are, and known ranges on top."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.torch_impl.graph.support import (
    INT8,
    UINT8,
    Net,
    activations,
    conv,
    globally,
    groups,
    images,
    operation,
    prepare,
    rows,
    spec_of,
)
from torch import Tensor, nn
from torch.nn import functional

from quant_torch.quantization.quantizer import Quantizer
from quant_torch.quantization.spec import QuantizationSpec

PER_CHANNEL = QuantizationSpec(granularity={"type": "per_channel", "axis": 1})

PRESERVING: dict[str, tuple[Any, tuple[int, ...]]] = {
    "max_pool1d": (lambda x: functional.max_pool1d(x, 2), (2, 3, 8)),
    "max_pool2d": (lambda x: functional.max_pool2d(x, 2), (2, 3, 8, 8)),
    "max_pool3d": (lambda x: functional.max_pool3d(x, 2), (2, 3, 4, 4, 4)),
    "avg_pool1d": (lambda x: functional.avg_pool1d(x, 2), (2, 3, 8)),
    "avg_pool2d": (lambda x: functional.avg_pool2d(x, 2), (2, 3, 8, 8)),
    "avg_pool3d": (lambda x: functional.avg_pool3d(x, 2), (2, 3, 4, 4, 4)),
    "adaptive_avg_pool1d": (lambda x: functional.adaptive_avg_pool1d(x, 2), (2, 3, 8)),
    "adaptive_avg_pool2d": (lambda x: functional.adaptive_avg_pool2d(x, 2), (2, 3, 8, 8)),
    "adaptive_avg_pool3d": (lambda x: functional.adaptive_avg_pool3d(x, 2), (2, 3, 4, 4, 4)),
    "mean": (lambda x: x.mean((2, 3)), (2, 3, 8, 8)),
    "flatten": (lambda x: torch.flatten(x, 1), (2, 3, 8, 8)),
    "cat": (lambda x: torch.cat([x, x], 1), (2, 3, 8, 8)),
}


@pytest.mark.parametrize("kind", PRESERVING)
def test_value_preserving_operations_share(kind: str) -> None:
    function, shape = PRESERVING[kind]
    prepared = prepare(Net(lambda s, x: function(torch.add(x, x))), torch.randn(shape))
    assert groups(prepared)[kind] == "add"


@pytest.mark.parametrize(
    ("kind", "shared"), [(k, "pool" in k) for k in PRESERVING], ids=lambda v: str(v)
)
def test_per_channel_only_pools_do(kind: str, shared: bool) -> None:
    function, shape = PRESERVING[kind]
    config = globally(activations(PER_CHANNEL))
    prepared = prepare(
        Net(lambda s, x: function(torch.add(x, x))), torch.randn(shape), config=config
    )
    assert groups(prepared)[kind] == ("add" if shared else kind)


SHAPE_ONLY: dict[str, Any] = {
    "clone": lambda x: x.clone(),
    "dropout": lambda x: functional.dropout(x, 0.5, False),
    "feature_dropout": lambda x: torch.feature_dropout(x, 0.5, False),
    "permute": lambda x: x.permute(1, 0),
    "slice": lambda x: x[1:3],
    "t": lambda x: x.t(),
    "transpose": lambda x: x.transpose(0, 1),
    "expand": lambda x: x[:1].expand(4, 6),
    "reshape": lambda x: x.reshape(3, 8),
    "select": lambda x: x.select(0, 1),
    "squeeze": lambda x: x.unsqueeze(0).squeeze(0),
    "unsqueeze": lambda x: x.unsqueeze(0),
    "view": lambda x: x.view(2, 12),
}


@pytest.mark.parametrize("kind", SHAPE_ONLY)
@pytest.mark.filterwarnings("ignore:dropout1d")
def test_shape_only_operations_pass_qparams_through(kind: str) -> None:
    prepared = prepare(Net(lambda s, x: SHAPE_ONLY[kind](x + x) * 2.0), rows())
    name = "slice_1" if kind == "slice" else kind  # the capture keeps clear of Python's own names
    assert groups(prepared)[name] == "add"


@pytest.mark.parametrize("kind", SHAPE_ONLY)
@pytest.mark.filterwarnings("ignore:dropout1d")
def test_but_ask_for_nothing_themselves(kind: str) -> None:
    prepared = prepare(Net(lambda s, x: torch.exp(SHAPE_ONLY[kind](x + x))), rows())
    assert list(groups(prepared)) == ["args_0", "add"]


def test_per_channel_passes_where_the_axis_stays() -> None:
    config = globally(activations(PER_CHANNEL))
    x = torch.randn(2, 3, 4, 5)
    stays = prepare(Net(lambda s, x: (x + x).transpose(2, 3) * 2.0), x, config=config)
    assert groups(stays)["transpose"] == "add"
    for moving in (lambda x: x.transpose(1, 2), lambda x: x.reshape(2, 3, 20), lambda x: x[:, :2]):
        moves = prepare(Net(lambda s, x, m=moving: m(x + x) * 2.0), x, config=config)
        (last,) = set(groups(moves)) - {"args_0", "add", "mul"}
        assert groups(moves)[last] == last


def test_a_raw_reader_of_the_source_keeps_it_raw() -> None:
    model = Net(lambda s, x: (torch.softmax(x, -1).t() * 2.0, torch.softmax(x, -1)))
    assert groups(prepare(model, rows()))["softmax"] == "softmax"

    def forward(net: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
        y = torch.softmax(x, -1)
        return y.t() * 2.0, torch.exp(y)

    assert set(groups(prepare(Net(forward), rows()))) == {"t", "mul"}


def test_a_shared_set_observes_every_tensor_in_order() -> None:
    """0.99 of the first range and 0.01 of the second, as OBS-2 has it."""
    quantizer = Quantizer(Net(lambda s, x, y: torch.cat([x, y])).eval())
    x, y = torch.full((2, 2), 1.0), torch.full((2, 2), -3.0)
    prepared = quantizer.prepare((x, y))
    calculator = prepared.fake_quantize_args_0.qparams_calculator
    low = torch.tensor(0.0)
    high = torch.tensor(1.0)
    for new_low, new_high in ((-3.0, 0.0), (-3.0, 1.0)):
        low = 0.01 * torch.tensor(new_low) + 0.99 * low
        high = 0.01 * torch.tensor(new_high) + 0.99 * high
    torch.testing.assert_close(calculator.running_min.flatten()[0], low)
    torch.testing.assert_close(calculator.running_max.flatten()[0], high)


def test_readers_of_an_input_share_one_quantizer() -> None:
    model = Net(lambda s, x: (s.a(x), s.b(x), x + 1.0), a=nn.Linear(6, 6), b=nn.Linear(6, 6))
    prepared = prepare(model, rows())
    assert sum(n.startswith("fake_quantize_args") for n, _ in prepared.named_children()) == 1
    calls = [n for n in prepared.graph.nodes if n.target == "fake_quantize_args_0"]
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("function", "scheme", "bounds"),
    [
        (torch.relu, "asymmetric", (0.0, None)),
        (functional.relu6, "asymmetric", (0.0, 6.0)),
        (lambda x: functional.hardtanh(x, 0.0, 6.0), "asymmetric", (0.0, 6.0)),
        (torch.sigmoid, "asymmetric", (0.0, None)),
        (functional.hardsigmoid, "asymmetric", (0.0, None)),
        (torch.tanh, "symmetric", (None, None)),
        (functional.hardtanh, "symmetric", (None, None)),
        (lambda x: functional.hardtanh(x, -0.5, 2.0), "asymmetric", (None, None)),
        (lambda x: functional.hardtanh(x, 0.5, 2.0), "asymmetric", (0.0, None)),
        (lambda x: functional.hardtanh(x, 0.0, 20.0), "asymmetric", (0.0, None)),
        (lambda x: functional.hardtanh(x, -2.0, -0.5), "asymmetric", (None, 0.0)),
        (functional.silu, "symmetric", (None, None)),
        (functional.gelu, "symmetric", (None, None)),
    ],
)
@pytest.mark.parametrize("reader", [True, False])
def test_known_ranges(function: Any, scheme: str, bounds: Any, reader: bool) -> None:
    """Also where a reader has a spec of its own."""
    model = Net(lambda s, x: s.b(function(s.a(x))) if reader else function(s.a(x)),
                a=nn.Linear(6, 6), b=nn.Linear(6, 6))  # fmt: skip
    prepared = prepare(model, rows())
    (name,) = [n for n in groups(prepared) if not n.startswith(("args", "linear"))]
    spec = spec_of(prepared, name)
    assert (spec.qscheme.value, spec.float_range) == (scheme, bounds)


@pytest.mark.parametrize(
    ("given", "scheme", "bounds"),
    [
        ({"qscheme": "symmetric_with_clipping"}, "asymmetric", (0.0, 6.0)),
        ({"dtype": "uint4"}, "asymmetric", (0.0, 6.0)),
        ({"qformulation": "minval"}, "asymmetric", (0.0, 6.0)),
        ({"float_range": [0.0, 3.0]}, "asymmetric", (0.0, 3.0)),
        ({"float_range": [None, 3.0]}, "asymmetric", (None, 3.0)),
        ({"qparam_calculator_cls": "dynamic"}, "asymmetric", (None, None)),
        ({"dtype": "float8_e4m3fn"}, "symmetric", (None, None)),
    ],
)
def test_known_ranges_keep_the_rest_of_the_spec(
    given: dict[str, Any], scheme: str, bounds: Any
) -> None:
    config = globally(activations(QuantizationSpec(**given)))
    spec = spec_of(prepare(nn.Sequential(nn.Linear(6, 6), nn.ReLU6()), rows(), config=config),
                   "hardtanh")  # fmt: skip
    assert (spec.qscheme.value, spec.float_range) == (scheme, bounds)
    kept = {k: v for k, v in given.items() if k not in ("qscheme", "float_range")}
    assert spec == QuantizationSpec(**kept, qscheme=scheme, float_range=bounds)


def test_the_hull_of_a_shared_set() -> None:
    def forward(net: nn.Module, x: Tensor) -> Tensor:
        return torch.cat([torch.relu(x), torch.tanh(x)], 1) @ net.w

    model = Net(forward)
    model.w = nn.Parameter(torch.randn(12, 2))
    spec = spec_of(prepare(model, rows()), "relu")
    assert (spec.qscheme.value, spec.float_range) == ("asymmetric", (None, None))


@pytest.mark.parametrize(
    ("other", "scheme", "bounds"),
    [
        (torch.tanh, "asymmetric", (None, 6.0)),
        (torch.sigmoid, "asymmetric", (0.0, 6.0)),
        (torch.relu, "asymmetric", (0.0, None)),
        (lambda x: functional.hardtanh(x, 0.0, 20.0), "asymmetric", (0.0, None)),
        (lambda x: functional.hardtanh(x, -6.0, 6.0), "symmetric", (None, None)),
    ],
)
def test_the_six_of_a_shared_set(other: Any, scheme: str, bounds: Any) -> None:
    """It is taken where no other tensor can go beyond it."""
    model = Net(lambda s, x: torch.cat([functional.relu6(x), other(x)], 1) @ s.w)
    model.w = nn.Parameter(torch.randn(12, 2))
    spec = spec_of(prepare(model, rows()), "relu6")
    assert (spec.qscheme.value, spec.float_range) == (scheme, bounds)


def decibels(expected: Tensor, got: Tensor) -> float:
    return float(10 * torch.log10(expected.square().sum() / (expected - got).square().sum()))


@pytest.mark.parametrize(
    ("function", "least"),
    [
        (lambda x: torch.tanh(x / 30) * 30, 38),  # with the bounds of tanh: 23
        (lambda x: torch.sigmoid(x - 6) * 30, 22),  # with those of sigmoid: 15
        (lambda x: functional.hardtanh(x / 30, -1, 1) * 30, 38),
    ],
)
def test_data_that_stay_inside_a_known_range_keep_their_codes(function: Any, least: float) -> None:
    x = torch.randn(64, 64, generator=torch.Generator().manual_seed(0))
    model = Net(lambda s, x: function(x))
    assert decibels(function(x), prepare(model, x)(x)) > least


def test_a_known_range_goes_through_pools_and_shapes() -> None:
    model = nn.Sequential(conv(), nn.Sigmoid(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 2))
    prepared = prepare(model, images())
    assert set(groups(prepared).values()) == {"input", "sigmoid", "linear"}
    assert spec_of(prepared, "flatten").float_range == (0.0, None)


def test_a_conflict_inside_a_shared_set_is_decided_for_all_of_it() -> None:
    model = nn.Sequential(conv(), nn.ReLU(), nn.MaxPool2d(2), conv(4, 4))
    config = globally(activations(INT8, op_type_config={"max_pool2d": operation(UINT8)}))
    with pytest.warns(UserWarning, match=r"max_pool2d and relu ask .* the spec of max_pool2d"):
        prepared = Quantizer(model, config).prepare((images(),))
    assert groups(prepared)["max_pool2d"] == "relu"
    assert spec_of(prepared, "relu").dtype == torch.uint8
    assert spec_of(prepared, "conv2d_1").dtype == torch.int8
