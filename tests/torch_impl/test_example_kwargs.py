"""Models that are called by keyword: prepared, inspected and finalized with example_kwargs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from quant_reference.errors import InputError
from quant_torch.inspection import ModelInspector
from quant_torch.quantization import Quantizer, QuantizerConfig
from quant_torch.quantization.spec import FakeQuantizeImplBase, QParamsCalculatorBase

MODES = ["graph", "eager"]
both_modes = pytest.mark.parametrize("mode", MODES)


def rows(seed: int) -> Tensor:
    return torch.randn(3, 4, generator=torch.Generator().manual_seed(seed))


X, A, B = rows(0), rows(1), rows(2)


class KeywordOnly(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: Tensor, *, a: Tensor, pair: dict[str, Tensor]) -> Tensor:
        return self.layer(x) + a * pair["b"]


class Optional(nn.Module):
    def forward(
        self, x: Tensor, a: Tensor | None = None, b: Tensor | None = None, factor: float = 1.0
    ) -> Tensor:
        y = x if a is None else x - a
        return (y if b is None else y * b) * factor


class AnyNames(nn.Module):
    def forward(self, x: Tensor, **others: Tensor) -> Tensor:
        return x + others["a"]


def prepare(mode: str, model: nn.Module, *inputs: Any, **kwargs: Any) -> nn.Module:
    config = QuantizerConfig(execution_mode=mode)
    return Quantizer(model.eval(), config).prepare(inputs, example_kwargs=kwargs)


def unquantized(model: nn.Module) -> nn.Module:
    """The prepared model with every quantizer off: it computes what the float model computes."""
    for module in model.modules():
        if isinstance(module, FakeQuantizeImplBase):
            module.disable_fake_quant()
    return model


@both_modes
def test_keyword_only_and_nested_arguments_are_quantized(mode: str) -> None:
    model = KeywordOnly()
    expected = model(X, a=A, pair={"b": B})
    prepared = prepare(mode, model, X, pair={"b": B}, a=A)
    calculators = [m for m in prepared.modules() if isinstance(m, QParamsCalculatorBase)]
    scales = {float(c.scale) for c in calculators if c.scale.numel() == 1}
    for given in (X, A, B):  # by definition of symmetric int8
        assert float(given.abs().max() / 127.5) in scales
    assert not torch.equal(prepared(X, a=A, pair={"b": B}), expected)
    assert torch.equal(unquantized(prepared)(X, pair={"b": B}, a=A), expected)


@both_modes
def test_arguments_given_in_another_order_than_the_signature_has(mode: str) -> None:
    prepared = unquantized(prepare(mode, Optional(), X, b=B, a=A))
    expected = (X - A) * B
    assert torch.equal(prepared(X, A, B), expected)
    assert torch.equal(prepared(X, b=B, a=A), expected)
    assert torch.equal(prepared(b=B, a=A, x=X), expected)


@both_modes
def test_an_argument_may_be_left_out_before_another(mode: str) -> None:
    assert torch.equal(unquantized(prepare(mode, Optional(), X, b=B))(X, b=A), X * A)


@both_modes
def test_no_positional_argument_at_all(mode: str) -> None:
    prepared = unquantized(prepare(mode, Optional(), b=B, x=X))
    assert torch.equal(prepared(x=A, b=B), A * B)


@both_modes
def test_names_that_the_signature_does_not_list(mode: str) -> None:
    assert torch.equal(unquantized(prepare(mode, AnyNames(), X, a=A))(X, a=B), X + B)


def test_a_constant_by_keyword_is_kept_by_a_graph_and_free_in_eager_mode() -> None:
    graph, eager = (unquantized(prepare(mode, Optional(), X, factor=2.0)) for mode in MODES)
    assert torch.equal(graph(A, factor=2.0), A * 2.0)
    with pytest.raises(InputError, match=r"'factor'.*given 3.0.*2.0"):
        graph(A, factor=3.0)
    assert torch.equal(eager(A, factor=3.0), A * 3.0)


def test_dynamic_shapes_by_name() -> None:
    rows_differ = {0: torch.export.Dim.DYNAMIC}
    prepared = Quantizer(KeywordOnly().eval()).prepare(
        (X,),
        dynamic_shapes={"x": rows_differ, "a": rows_differ, "pair": {"b": rows_differ}},
        example_kwargs={"pair": {"b": B}, "a": A},
    )
    longer = torch.randn(7, 4)
    assert prepared(longer, a=longer, pair={"b": longer}).shape == (7, 4)


@pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")
@both_modes
def test_the_finalized_model_is_called_by_keyword_too(mode: str) -> None:
    quantizer = Quantizer(KeywordOnly().eval(), QuantizerConfig(execution_mode=mode))
    kwargs = {"pair": {"b": B}, "a": A}
    prepared = quantizer.prepare((X,), example_kwargs=kwargs)
    expected = prepared(X, **kwargs)
    finalized = quantizer.finalize(backend="coreml")
    assert torch.equal(finalized(X, a=A, pair={"b": B}), expected)


@both_modes
def test_the_inspector_takes_them(mode: str) -> None:
    inspector = ModelInspector(KeywordOnly(), (X,), mode, example_kwargs={"a": A, "pair": {"b": B}})
    assert {op.op_name for op in inspector.summary.model.all_ops()} >= {"add", "mul"}


REFUSED = {
    "a dict as inputs": ({"x": X}, None, "given dict; keyword arguments go into example_kwargs"),
    "a tensor as inputs": (X, None, r"given Tensor; for one input write \(x,\)"),
    "no dict": ((X,), (A,), "example_kwargs must be a dict"),
    "no names": ((X,), {0: A}, "example_kwargs must be a dict"),
    "an unknown name": ((X,), {"c": A}, r"Optional.forward\(x: .*'c'"),
    "given twice": ((X,), {"x": A}, "multiple values for argument 'x'"),
    "one too few": ((), {"a": A}, "missing a required argument: 'x'"),
}


@both_modes
@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_explained(mode: str, case: str) -> None:
    inputs, kwargs, message = REFUSED[case]
    quantizer = Quantizer(Optional(), QuantizerConfig(execution_mode=mode))
    with pytest.raises(TypeError, match=message):
        quantizer.prepare(inputs, example_kwargs=kwargs)
    with pytest.raises(TypeError, match=message):
        ModelInspector(Optional(), inputs, mode, example_kwargs=kwargs)
