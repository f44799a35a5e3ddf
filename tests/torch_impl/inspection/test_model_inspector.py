"""The inspector's names are those that configs match, and looking changes nothing."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from tests.torch_impl.models import Branching, Cnn, Mlp, TransformerBlock, examples
from torch import Tensor, nn
from torch.nn import functional

from quant_torch.inspection import ModelInspector, OpInfo
from quant_torch.quantization import (
    ModuleQuantizerConfig,
    OpQuantizerConfig,
    Quantizer,
    QuantizerConfig,
)
from quant_torch.quantization.spec import FakeQuantizeImplBase


def names(ops: Any) -> list[str]:
    return [op.op_name for op in ops]


def inspect(model: nn.Module, *inputs: Any, compressor: type | None = Quantizer) -> ModelInspector:
    return ModelInspector(model, inputs, "eager", compressor=compressor)


class Inner(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> dict[str, Any]:
        return {"sum": x + y, "rest": (x * y, x - y)}


class Outer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner, self.linear = Inner(), nn.Linear(4, 4)
        self.weight = nn.Parameter(torch.eye(4))

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        made = self.inner(x, y=y)
        return self.linear(made["sum"]) + made["rest"][0], torch.matmul(x, self.weight)


@pytest.fixture
def outer() -> ModelInspector:
    return inspect(Outer(), torch.randn(4, 4), torch.randn(4, 4))


def by_name(inspector: ModelInspector, name: str) -> OpInfo:
    (op,) = (op for op in inspector.summary.model.all_ops() if op.op_name == name)
    return op


def test_operations_in_the_order_they_run(outer: ModelInspector) -> None:
    assert names(outer.summary.model.all_ops()) == [
        "inner.add", "inner.mul", "inner.sub", "linear.linear", "add", "matmul",
    ]  # fmt: skip


def test_where_tensors_come_from_and_go_to(outer: ModelInspector) -> None:
    add, linear, matmul = (by_name(outer, n) for n in ("add", "linear.linear", "matmul"))
    assert [(e.op_name, e.output_idx) for e in add.inputs] == [
        ("linear.linear", 0), ("inner.mul", 0),
    ]  # fmt: skip
    assert [e.op_name for e in linear.inputs] == ["inner.add", "linear.weight", "linear.bias"]
    assert [e.is_state for e in linear.inputs] == [False, True, True]
    assert [e.op_name for e in matmul.inputs] == ["input_0", "weight"]
    assert linear.outputs == {0: (add,)}
    assert by_name(outer, "inner.sub").outputs == {}


def test_boundaries_use_the_keys_of_module_specs(outer: ModelInspector) -> None:
    inner = outer.summary.model.get_submodule("inner")
    takers = {i: [(e.op.op_name, e.index) for e in edges] for i, edges in inner.input_ops.items()}
    assert takers == {
        0: [("inner.add", 0), ("inner.mul", 0), ("inner.sub", 0)],
        1: [("inner.add", 1), ("inner.mul", 1), ("inner.sub", 1)],
    }
    assert {i: e.op.op_name for i, e in inner.output_ops.items()} == {
        0: "inner.add", 1: "inner.mul", 2: "inner.sub",
    }  # fmt: skip


def test_module_stack_and_source(outer: ModelInspector) -> None:
    op = by_name(outer, "inner.mul")
    assert [(c.module_name, c.module_type.rpartition(".")[2]) for c in op.module_stack] == [
        ("", "Outer"), ("inner", "Inner"),
    ]  # fmt: skip
    assert [f.function_name for f in op.source_frames] == ["forward", "forward"]
    assert op.source_frames[0].code_context == "made = self.inner(x, y=y)"
    assert "x * y" in op.source_frames[1].code_context
    assert op.source_frames[1].filename == __file__


def test_tree_iterates_like_a_module(outer: ModelInspector) -> None:
    root, model = outer.summary.model, Outer()
    assert [n for n, _ in root.named_modules()] == [n for n, _ in model.named_modules()]
    assert [n for n, _ in root.named_children()] == [n for n, _ in model.named_children()]
    assert [m.module_name for m in root.children()] == ["inner", "linear"]
    assert len(list(root.modules())) == 3
    assert names(root.get_submodule("inner").all_ops()) == ["inner.add", "inner.mul", "inner.sub"]
    with pytest.raises(KeyError, match="no module 'nope'"):
        root.get_submodule("nope")


def test_queries(outer: ModelInspector) -> None:
    assert names(outer.get_matched_ops_for_op_type("add")) == ["inner.add", "add"]
    assert names(outer.get_matched_ops_for_op_name(r"inner\..*")) == [
        "inner.add", "inner.mul", "inner.sub",
    ]  # fmt: skip
    assert names(outer.get_matched_ops_for_op_name("add")) == ["add"]
    assert names(outer.get_matched_ops_for_module_name("lin.*")) == ["linear.linear"]
    for linear in (nn.Linear, "torch.nn.Linear", "torch.nn.modules.linear.Linear"):
        assert names(outer.get_matched_ops_for_module_type(linear)) == ["linear.linear"]
    with pytest.raises(ValueError, match="no regular expression"):
        outer.get_matched_ops_for_op_name("[")


@pytest.mark.parametrize("name", ["mlp", "cnn", "transformer", "branching", "embedding"])
def test_names_are_those_that_a_config_matches(name: str) -> None:
    """Switched on by its name alone, an operation is quantized, and no other is."""
    model, inputs = examples()[name]
    found = ModelInspector(model, inputs, "eager", compressor=Quantizer).summary.model.all_ops()
    assert found
    for op in found:
        config = ModuleQuantizerConfig(
            op_input_spec=None, op_output_spec=None, op_state_spec=None,
            op_name_config={op.op_name: OpQuantizerConfig()},
        )  # fmt: skip
        prepared = Quantizer(
            copy.deepcopy(model), QuantizerConfig(global_config=config, execution_mode="eager")
        ).prepare(inputs)
        quantizers = [m for m in prepared.modules() if isinstance(m, FakeQuantizeImplBase)]
        module = op.op_name.rpartition(".")[0]
        assert quantizers
        for quantizer in quantizers:
            assert quantizer.tensor_name.startswith((f"{op.op_name} ", f"{module}.weight"))


def test_everything_and_only_what_is_supported() -> None:
    model, x = TransformerBlock().eval(), torch.randn(2, 5, 16)
    everything = set(names(inspect(model, x, compressor=None).summary.model.all_ops()))
    supported = set(names(inspect(model, x).summary.model.all_ops()))
    assert supported < everything
    assert {"norm1.layer_norm", "gelu", "attention.softmax"} <= everything - supported


def test_looking_leaves_the_model_as_it_was() -> None:
    model, x = Cnn().train(), torch.randn(2, 3, 8, 8)
    before, forward = copy.deepcopy(model.state_dict()), model.forward
    random = torch.random.get_rng_state()
    inspect(model, x)
    assert model.training
    assert model.forward == forward
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert torch.equal(random, torch.random.get_rng_state())
    assert not any(hasattr(m, "parametrizations") for m in model.modules())


def test_an_error_in_forward_leaves_the_model_as_it_was() -> None:
    model = Mlp()
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        inspect(model, torch.randn(4, 3))
    assert model(torch.randn(4, 16)).shape == (4, 8)
    assert "forward" not in vars(model)


def test_one_of_two_branches() -> None:
    """What the example inputs do not lead to cannot be listed."""
    found = names(inspect(Branching().eval(), torch.rand(4, 8)).summary.model.all_ops())
    assert "positive.linear" in found
    assert "negative.linear" not in found


def test_format_summary() -> None:
    inspector = inspect(Mlp().eval(), torch.randn(4, 16), compressor=None)
    text = inspector.format_summary(colorize=False)
    assert "\033" not in text
    assert "■ first (torch.nn.modules.linear.Linear)" in text
    assert "◆ first.linear [linear]" in text
    assert "op states:  weight, bias" in text
    assert "op outputs: {0: [relu]}" in text
    coloured = inspector.format_summary(colorize=True)
    assert "\033[" in coloured
    assert len(coloured) > len(text)


def test_colours_follow_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    inspector = inspect(Mlp().eval(), torch.randn(4, 16))
    assert "\033" not in inspector.format_summary()
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\033" in inspector.format_summary()
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\033" not in inspector.format_summary()


def test_bad_arguments() -> None:
    model, x = Mlp(), torch.randn(4, 16)
    with pytest.raises(TypeError, match=r"nn\.Module"):
        ModelInspector(functional.relu, (x,), "eager")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="tuple"):
        ModelInspector(model, x, "eager")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'graph', 'eager'"):
        ModelInspector(model, (x,), "lazy")
    with pytest.raises(TypeError, match="captured graph"):
        ModelInspector(torch.fx.symbolic_trace(model), (x,), "eager")


def test_a_prepared_model_is_refused() -> None:
    model, x = Mlp(), torch.randn(4, 16)
    prepared = Quantizer(model, QuantizerConfig(execution_mode="eager")).prepare((x,))
    with pytest.raises(RuntimeError, match="inspect the float model"):
        inspect(prepared, x)
    prepared(x)
