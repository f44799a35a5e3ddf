"""Looking into captured graphs: names for configs, source lines, bits per weight."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from tests.torch_impl.graph.support import UINT8, Net, conv, dtypes, images, prepare, rows
from torch import Tensor, nn
from torch.nn import functional

from quant_torch.inspection import ModelInspector, bits_per_weight
from quant_torch.quantization import Quantizer
from quant_torch.quantization._graph.capture import GraphCaptureError
from quant_torch.quantization.config import ModuleQuantizerConfig, QuantizerConfig


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x: Tensor, skip: Tensor) -> tuple[Tensor, Tensor]:
        y = functional.relu(self.norm(self.conv(x)))
        return y + skip, torch.cat([y, skip], 1)


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.block = Block()
        self.head = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        total, both = self.block(x, skip=x)
        left, right = torch.softmax(total, 1).chunk(2, 2)
        return self.head(both.mean((2, 3))) + (left * right).mean()


@pytest.fixture(scope="module")
def inspector() -> ModelInspector:
    return ModelInspector(Model().eval(), (images(),), "graph")


def names(ops: Any) -> list[str]:
    return [op.op_name for op in ops]


def test_the_tree_has_the_modules_and_their_own_operations(inspector: ModelInspector) -> None:
    root = inspector.summary.model
    assert [n for n, _ in root.named_modules()] == [
        "", "block", "block.conv", "block.norm", "head",
    ]  # fmt: skip
    assert names(root.get_submodule("block").ops) == ["relu", "add", "cat"]
    assert names(root.get_submodule("block").all_ops()) == [
        "conv2d", "batch_norm", "relu", "add", "cat",
    ]  # fmt: skip
    assert names(root.ops) == ["softmax", "chunk", "mean", "mul", "mean_1", "add_1"]


def test_queries(inspector: ModelInspector) -> None:
    assert names(inspector.get_matched_ops_for_op_type("add")) == ["add", "add_1"]
    assert names(inspector.get_matched_ops_for_op_name("mean.*")) == ["mean", "mean_1"]
    assert names(inspector.get_matched_ops_for_module_name(r"block\..*")) == [
        "conv2d", "batch_norm",
    ]  # fmt: skip
    assert names(inspector.get_matched_ops_for_module_type(nn.Linear)) == ["linear"]


def test_edges_states_and_source_lines(inspector: ModelInspector) -> None:
    (mul,) = inspector.get_matched_ops_for_op_name("mul")
    assert [(edge.op_name, edge.output_idx) for edge in mul.inputs] == [("chunk", 0), ("chunk", 1)]
    (chunk,) = inspector.get_matched_ops_for_op_name("chunk")
    assert {i: names(ops) for i, ops in chunk.outputs.items()} == {0: ["mul"], 1: ["mul"]}
    (linear,) = inspector.get_matched_ops_for_op_name("linear")
    assert [e.op_name for e in linear.inputs if e.is_state] == ["head.weight", "head.bias"]
    (add,) = inspector.get_matched_ops_for_op_name("add")
    assert [c.module_name for c in add.module_stack] == ["", "block"]
    assert add.source_frames[-1].code_context == "return y + skip, torch.cat([y, skip], 1)"
    assert add.source_frames[0].code_context == "total, both = self.block(x, skip=x)"
    assert all(frame.filename == __file__ for frame in add.source_frames)


def test_boundaries_have_the_keys_of_module_specs(inspector: ModelInspector) -> None:
    block = inspector.summary.model.get_submodule("block")
    taken = {i: [(e.op.op_name, e.index) for e in edges] for i, edges in block.input_ops.items()}
    assert taken == {0: [("conv2d", 0)], 1: [("add", 1), ("cat", 1)]}
    assert {i: e.op.op_name for i, e in block.output_ops.items()} == {0: "add", 1: "cat"}


def test_only_what_configs_can_name() -> None:
    inspector = ModelInspector(Model().eval(), (images(),), "graph", compressor=Quantizer)
    assert names(inspector.summary.model.all_ops()) == [
        "conv2d", "add", "cat", "mean", "linear", "mul", "mean_1", "add_1",
    ]  # fmt: skip


def test_the_names_are_those_that_configs_match(inspector: ModelInspector) -> None:
    for op in inspector.get_matched_ops_for_op_type("add"):
        spec = {"op_input_spec": None, "op_output_spec": {"*": UINT8}, "op_state_spec": None}
        config = QuantizerConfig(
            global_config=ModuleQuantizerConfig(op_name_config={op.op_name: spec})
        )
        assert dtypes(prepare(Model(), images(), config=config))[op.op_name] == "uint8"


def test_the_text_names_modules_operations_and_lines(inspector: ModelInspector) -> None:
    text = inspector.format_summary(colorize=False)
    for part in ("■ block.conv", "◆ add_1 [add]", "return y + skip", "1: [add[1], cat[1]]"):
        assert part in text


def test_inspecting_leaves_the_model_as_it_is() -> None:
    model = Model().train()
    before = copy.deepcopy(model.state_dict())
    ModelInspector(model, (images(),), "graph")
    assert model.training
    assert not model.block._forward_hooks
    assert not model.block._forward_pre_hooks
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


def test_what_cannot_be_captured_is_explained() -> None:
    def forward(net: nn.Module, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x

    with pytest.raises(GraphCaptureError, match="execution_mode='eager'"):
        ModelInspector(Net(forward), (rows(),), "graph")


def bits(model: nn.Module, x: Tensor, config: QuantizerConfig) -> int:
    return bits_per_weight(prepare(model, x, config=config)).total_bits


def test_bits_per_weight_of_weights_and_scales() -> None:
    model = nn.Sequential(nn.Linear(32, 8), nn.Linear(8, 4, bias=False))
    x = torch.randn(2, 32)
    assert bits(model, x, QuantizerConfig(global_config=None)) == 32 * (32 * 8 + 8 + 32)
    w8 = 8 * (32 * 8 + 32) + 32 * (8 + 4) + 32 * 8
    assert bits(model, x, QuantizerConfig.presets.w8()) == w8
    result = bits_per_weight(prepare(model, x, config=QuantizerConfig.presets.w8()))
    assert result.total_weights == 32 * 8 + 8 + 32
    assert result.bpw == w8 / result.total_weights
    assert result.per_module_map["1"] == (8 * 32 + 32 * 4) / 32


def test_a_folded_batch_norm_counts_as_a_bias() -> None:
    w8 = QuantizerConfig.presets.w8()
    folded = 8 * 108 + 32 * 4 + 32 * 4  # codes, scales, bias
    for bias in (True, False):
        model = nn.Sequential(conv(bias=bias), nn.BatchNorm2d(4))
        assert bits(model, images(), w8) == folded
    apart = nn.Sequential(conv(), nn.ReLU(), nn.BatchNorm2d(4))
    assert bits(apart, images(), w8) == folded + 32 * 4 * 4 + 64


def test_a_shared_weight_counts_once() -> None:
    layer = nn.Linear(6, 6, bias=False)
    model = nn.Sequential(layer, nn.ReLU(), layer)
    assert bits(model, rows(), QuantizerConfig.presets.w8()) == 8 * 36 + 32 * 6
