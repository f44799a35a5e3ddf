"""The same models and configs, prepared by coreai-opt in graph mode and by us.

Outputs and qparams after calibration agree to the bit, or a test says where and why they do not.
The peer costs one to three seconds for each model.
"""

from __future__ import annotations

import copy
import functools
import importlib
import logging
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from tests.torch_impl.graph.support import Net, conv, images, rows, spec_of
from torch import Tensor, fx, nn
from torch.nn import functional
from torch.utils import _pytree as pytree

from quant_torch._stand_in import stand_in_placement
from quant_torch.quantization import config as our_configs
from quant_torch.quantization.quantizer import Quantizer
from quant_torch.quantization.spec import QuantizationSpec

pytestmark = [pytest.mark.peers, pytest.mark.slow]


@functools.cache
def peer() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import coreai_opt.quantization as package
    return package


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    logging.disable(logging.NOTSET)


def quantized(model: fx.GraphModule) -> dict[str, nn.Module]:
    """The quantizer behind each tensor, by the name of the operation or parameter."""
    found = {}
    for node in model.graph.nodes:
        if node.op == "call_module":
            module = model.get_submodule(node.target)
            if "FakeQuantize" in type(module).__name__:
                found[node.args[0].name.removeprefix("fake_quantize_")] = module
    return found


def qparams(module: nn.Module) -> list[Tensor]:
    return [t.flatten() for t in module.calculate_qparams() if t is not None]


class Pair:
    """A model prepared and calibrated by both."""

    def __init__(
        self, model: nn.Module, *inputs: Any, config: dict[str, Any] | None = None
    ) -> None:
        plain = {"quantization_config": config or {}}
        ours = Quantizer(copy.deepcopy(model).eval(), our_configs.QuantizerConfig.from_dict(plain))
        theirs = peer().Quantizer(
            copy.deepcopy(model).eval(), peer().QuantizerConfig.from_dict(plain)
        )
        self.graphs = []
        for quantizer in (ours, theirs):
            graph = quantizer.prepare(inputs)
            quantizer.enable_observer()
            quantizer.disable_fake_quant()
            with torch.no_grad():
                for scale in (1.0, 2.5, 0.5):
                    graph(*(x * scale if x.is_floating_point() else x for x in inputs))
            quantizer.disable_observer()
            quantizer.enable_fake_quant()
            self.graphs.append(graph)
        with torch.no_grad():
            self.outputs = [pytree.tree_leaves(graph(*inputs)) for graph in self.graphs]
        self.ours, self.theirs = (quantized(graph) for graph in self.graphs)

    def agree(self) -> None:
        assert self.ours.keys() == self.theirs.keys()
        for name, module in self.ours.items():
            for mine, other in zip(qparams(module), qparams(self.theirs[name]), strict=True):
                assert torch.equal(mine, other), name
        for mine, other in zip(*self.outputs, strict=True):
            assert torch.equal(mine, other)


def mlp(activation: Callable[[], nn.Module] = nn.GELU) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(6, 32), activation(), nn.Linear(32, 32), activation(), nn.Linear(32, 4)
    )


def pools(net: nn.Module, x: Tensor) -> Tensor:
    x = functional.max_pool2d(functional.relu(net.a(x)), 2)
    return net.c(functional.avg_pool2d(net.b(x), 2).flatten(1))


def joins(net: nn.Module, x: Tensor) -> Tensor:
    y = functional.relu(net.b(functional.relu(net.a(x))) + x)
    return net.c(torch.cat([y, net.a(x), x], 1) * 0.5)


def activations(spec: dict[str, Any]) -> dict[str, Any]:
    return {"global_config": {"op_input_spec": {"*": spec}, "op_output_spec": {"*": spec}}}


def weights(spec: dict[str, Any]) -> dict[str, Any]:
    return {"global_config": {"op_state_spec": {"weight": spec}}}


UINT8 = {"dtype": "uint8", "qscheme": "asymmetric", "qparam_calculator_cls": "global_minmax"}

AGREEING: dict[str, Callable[[], Pair]] = {
    "default": lambda: Pair(mlp(), rows()),
    "relu": lambda: Pair(mlp(nn.ReLU), rows()),
    "float16": lambda: Pair(mlp(nn.ReLU).half(), rows().half()),
    "bfloat16": lambda: Pair(mlp().bfloat16(), rows().bfloat16()),
    "pools": lambda: Pair(
        Net(pools, a=conv(), b=conv(4, 4), c=nn.Linear(16, 2)), images()
    ),
    "joins": lambda: Pair(Net(joins, a=conv(3, 3), b=conv(3, 3), c=conv(9, 2)), images()),
    "uint8-global": lambda: Pair(mlp(), rows(), config=activations(UINT8)),
    "int8-minval": lambda: Pair(
        mlp(), rows(),
        config=activations({"qformulation": "minval", "qscheme": "asymmetric"}),
    ),
    "fp8": lambda: Pair(mlp(), rows(), config=activations({"dtype": "float8_e4m3fn"})),
    "int4-block-weights": lambda: Pair(
        mlp(), rows(),
        config=weights({"dtype": "int4", "qscheme": "asymmetric", "granularity": {
            "type": "per_block", "axis": 1, "block_size": 16}}),
    ),
    "by-name-and-type": lambda: Pair(
        mlp(), rows(),
        config={
            "global_config": {"op_type_config": {"linear": {"op_output_spec": None}}},
            "module_name_configs": {"2": {"op_input_spec": {"*": UINT8}}, "4": None},
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", AGREEING)
def test_outputs_and_qparams_agree_to_the_bit(name: str) -> None:
    torch.manual_seed(1)
    AGREEING[name]().agree()


def test_folded_weights_agree_where_the_root_is_exact() -> None:
    """The peer takes torch's float32 root, which may be one unit in the last place off (BN-1).

    It also leaves batch norm behind the layer in the prepared model, with the factor divided out
    again, so activations agree up to the accumulation error: the range of a tensor is off by some
    2^-24 of the sums behind it, and a value near a tie may take the neighbouring code.
    """
    torch.manual_seed(0)
    model = nn.Sequential(conv(), nn.BatchNorm2d(4), nn.ReLU(), conv(4, 4), nn.BatchNorm2d(4))
    for norm in (model[1], model[4]):
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
        norm.running_mean.normal_()
        norm.running_var.copy_(torch.tensor([0.25, 1.0, 2.25, 4.0]) - norm.eps)
        assert torch.equal(norm.running_var + norm.eps, torch.tensor([0.25, 1.0, 2.25, 4.0]))
    pair = Pair(model, images())
    folded = [name for name in pair.ours if name.endswith("folded_weight")]
    products = [name for name in pair.theirs if name.startswith("mul")]
    for mine, other in zip(folded, products, strict=True):
        left, right = qparams(pair.ours[mine]), qparams(pair.theirs[other])
        assert all(torch.equal(a, b) for a, b in zip(left, right, strict=True))
    scale = qparams(pair.ours["batch_norm_1"])[0]
    other = qparams(pair.theirs["batch_norm_5"])[0]
    torch.testing.assert_close(scale, other, rtol=1e-5, atol=0)
    difference = (pair.outputs[0][0] - pair.outputs[1][0]).abs()
    assert difference.max() <= scale * 1.0001


class TestRecordedDifferences:
    """Where the peer does something else; each would start to fail if it changed."""

    def test_known_bounds_get_lost_where_a_reader_has_a_spec(self) -> None:
        """PLACE-8, policy known_ranges: scheme_only."""
        pair = Pair(mlp(nn.ReLU6), rows())
        assert qparams(pair.ours["hardtanh"])[0].item() == pytest.approx(6 / 255)
        assert qparams(pair.theirs["hardtanh"])[0].item() < 6 / 255
        assert qparams(pair.ours["hardtanh"])[1].item() == -128

    def test_and_are_all_taken_where_none_has(self) -> None:
        pair = Pair(nn.Sequential(nn.Linear(6, 6), nn.Tanh()), rows())
        assert qparams(pair.ours["tanh"])[0].item() < 1 / 127.5
        assert qparams(pair.theirs["tanh"])[0].item() == pytest.approx(1 / 127.5)

    @pytest.mark.parametrize("activation", [nn.ReLU6, nn.Sigmoid])
    @pytest.mark.parametrize("asked", [True, False])
    def test_a_script_for_the_peer_gets_its_ranges(self, activation: Any, asked: bool) -> None:
        config = {} if asked else {"global_config": {"op_output_spec": None}}
        with stand_in_placement():
            Pair(mlp(activation), rows(), config=config).agree()
            if asked:
                Pair(nn.Sequential(nn.Linear(6, 6), activation()), rows()).agree()

    def test_and_the_scheme_too_where_the_producer_has_none(self) -> None:
        config = {"global_config": {"op_output_spec": None}}
        pair = Pair(mlp(nn.ReLU), rows(), config=config)
        assert qparams(pair.ours["relu"])[1].item() == -128
        assert qparams(pair.theirs["relu"])[1].item() == 0

    def test_float_formats_are_pinned(self) -> None:
        spec = {"dtype": "float8_e4m3fn"}
        pair = Pair(nn.Sequential(nn.Linear(6, 6), nn.Tanh()), rows(), config=activations(spec))
        assert qparams(pair.theirs["tanh"])[0].item() == pytest.approx(1 / 448)
        assert qparams(pair.ours["tanh"])[0].item() < 1 / 448

    def test_dynamic_specs_fail_on_known_bounds(self) -> None:
        spec = {"qparam_calculator_cls": "dynamic"}
        model = nn.Sequential(nn.Linear(6, 6), nn.Tanh())
        with pytest.raises(ValueError, match="float_range"):
            Pair(model, rows(), config=activations(spec))

    def test_reshape_and_view_do_not_share(self) -> None:
        """PLACE-7: here one set for all of a chain, there one for each stretch of transposes."""
        model = Net(
            lambda s, x: s.b(s.a(x).reshape(2, 2, 6).transpose(0, 1)),
            a=nn.Linear(6, 6), b=nn.Linear(6, 6),
        )  # fmt: skip
        pair = Pair(model, rows())
        assert pair.ours["reshape"] is pair.ours["linear"]
        assert pair.theirs["reshape"] is not pair.theirs["linear"]

    def test_batch_norm_behind_linear_is_not_folded(self) -> None:
        model = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6, eps=0.5))
        pair = Pair(model, rows())
        assert "batch_norm_folded_weight" in pair.ours
        assert "_0_weight" in pair.theirs

    def test_a_conv_and_norm_that_run_twice_fail(self) -> None:
        def forward(net: nn.Module, x: Tensor) -> Tensor:
            return net.norm(net.layer(net.norm(net.layer(x)).relu_()))

        model = Net(forward, layer=conv(3, 3), norm=nn.BatchNorm2d(3))
        Quantizer(copy.deepcopy(model).eval()).prepare((images(),))
        with pytest.raises((RuntimeError, KeyError)):
            peer().Quantizer(model.eval()).prepare((images(),))

    def test_a_producer_goes_before_a_reader(self) -> None:
        """PLACE-9: of equally specific wishes, the reader's; there, the first in the graph's."""
        config = {
            "global_config": {
                "op_input_spec": {"*": {}}, "op_output_spec": {"*": UINT8},
            }
        }  # fmt: skip
        model = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6))
        pair = Pair(model, rows(), config=config)
        assert spec_of(pair.graphs[0], "linear") == QuantizationSpec()
        assert pair.theirs["linear"].dtype == torch.uint8

    def test_a_tensor_given_twice_becomes_one_input(self) -> None:
        x = rows()
        pair = Pair(Net(lambda s, a, b: a - b), x, x)
        other = rows(5)
        with torch.no_grad():
            assert pair.graphs[0](x, other).any()
            assert not pair.graphs[1](x, other).any()


def registered_by(package: str, operations: list[Any], model: nn.Module) -> set[str]:
    """What a package quantizes, by the readers, once a chain of operations is registered."""
    graph_mode = f"{package}.quantization._graph"
    registry = importlib.import_module(f"{graph_mode}._annotation_pattern_registry")
    utils = importlib.import_module(f"{graph_mode}._annotation_utils")

    class Chain(registry.BaseAnnotationPattern):
        @classmethod
        def generate_patterns(cls) -> list[Any]:
            return [utils.OpsListPattern(operations)]

        @classmethod
        def match_single_pattern(cls, model: fx.GraphModule, pattern: Any) -> Any:
            return utils.match_pattern_with_sequential_partitions(model, pattern)

    known = registry._AnnotationPatternRegistry
    known.register("a_chain")(Chain)
    try:
        quantizer = importlib.import_module(f"{package}.quantization").Quantizer
        return set(quantized(quantizer(model.eval()).prepare((rows(), rows(1)))))
    finally:
        del known.REGISTRY["a_chain"]


def test_a_pattern_class_works_unchanged_and_by_functions_too() -> None:
    peer()
    model = Net(lambda s, a, b: (a + b) * b - a)
    names, functions = ["add", "mul", "sub"], [torch.add, torch.mul, torch.sub]
    alone = {"args_0", "args_1", "add", "mul", "sub"}
    as_one = {"args_0", "args_1", "sub"}
    assert registered_by("coreai_opt", names, model) == as_one
    assert registered_by("quant_torch", names, model) == as_one
    assert registered_by("coreai_opt", functions, model) == alone
    assert registered_by("quant_torch", functions, model) == as_one
