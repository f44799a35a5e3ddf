"""Which operation is which: names, operators, branches, loops, modules called several times."""

from __future__ import annotations

import copy
import functools
import operator
import warnings
from collections import namedtuple
from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.torch_impl.eager.support import (
    INT8,
    WIDE,
    both_ways,
    eager,
    fixed,
    only_named,
    operations,
    prepare,
    quantized,
)
from tests.torch_impl.graph.support import Net
from tests.torch_impl.models import Branching
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from quant_torch.quantization import ModuleQuantizerConfig, OpQuantizerConfig, Quantizer
from quant_torch.quantization.spec import FakeQuantizeImplBase

X = torch.linspace(-1, 1, 12).reshape(3, 4)
Pair = namedtuple("Pair", "first second")


def _times_100(_: nn.Module, x: Tensor) -> Tensor:
    return 100 * x


def net(function: Callable[..., Any], **modules: nn.Module) -> Net:
    return Net(function, **modules)


class Inner(nn.Module):
    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)


class TestNames:
    def test_by_call_site(self) -> None:
        block = Inner(lambda x: (x + 1.0) + x)
        model = net(lambda s, x: s.block(x) + x, block=block)
        assert operations(prepare(model, X)) == {"add", "block.add", "block.add_1"}

    def test_two_calls_on_one_line(self) -> None:
        model = net(lambda s, x: (x + x) * (x * x) + x)
        assert operations(prepare(model, X)) == {"add", "add_1", "mul", "mul_1"}

    def test_weights_and_their_operations(self) -> None:
        model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
        assert quantized(prepare(model, X)) == {
            "0.weight", "0.linear input input", "0.linear output 0",
            "2.weight", "2.linear input input", "2.linear output 0",
        }  # fmt: skip

    def test_the_name_is_what_op_name_config_matches(self) -> None:
        block = Inner(lambda x: (x + 1.0) + x)
        model = net(lambda s, x: s.block(x), block=block)
        for pattern, left in ((r"block\.add", "block.add_1"), (r".*add_1", "block.add")):
            config = eager(ModuleQuantizerConfig(op_name_config={pattern: None}))
            assert operations(prepare(copy.deepcopy(model), X, config=config)) == {left}

    def test_a_helper_called_twice_is_two_sites(self) -> None:
        def helper(x: Tensor) -> Tensor:
            return x + 1.0

        model = net(lambda s, x: helper(helper(x)))
        assert operations(prepare(model, X)) == {"add", "add_1"}

    def test_numbers_do_not_depend_on_the_branch_taken(self) -> None:
        def forward(self: Any, x: Tensor) -> Tensor:
            return x + 1.0 if x.sum() > 0 else x * 2.0

        one, other = prepare(net(forward), X.abs()), prepare(net(forward), -X.abs())
        assert operations(one) == {"add"}
        assert operations(other) == {"mul"}


SPELLINGS: dict[str, tuple[str, Callable[[Tensor, Tensor], Tensor]]] = {
    "+": ("add", lambda x, y: x + y),
    "torch.add": ("add", torch.add),
    "x.add": ("add", lambda x, y: x.add(y)),
    "operator.add": ("add", operator.add),
    "keyword": ("add", lambda x, y: torch.add(input=x, other=y)),
    "half a keyword": ("add", lambda x, y: torch.add(x, other=y)),
    "-": ("sub", lambda x, y: x - y),
    "torch.subtract": ("subtract", torch.subtract),
    "x.sub": ("sub", lambda x, y: x.sub(y)),
    "*": ("mul", lambda x, y: x * y),
    "torch.multiply": ("multiply", torch.multiply),
    "@": ("matmul", lambda x, y: x @ y.t()),
    "torch.matmul": ("matmul", lambda x, y: torch.matmul(x, y.t())),
    "x.matmul": ("matmul", lambda x, y: x.matmul(y.t())),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_is_quantized_alike(spelling: str) -> None:
    """Both inputs and the output, by a spec whose qparams are known beforehand."""
    name, function = SPELLINGS[spelling]
    y = X.flip(0) * 1.5
    config = eager(ModuleQuantizerConfig(op_input_spec={"*": WIDE}, op_output_spec={"*": WIDE}))
    model = prepare(net(lambda s, x, y: function(x, y)), X, y, config=config)
    assert quantized(model) == {f"{name} input input", f"{name} input other", f"{name} output 0"}
    expected = fixed(function(fixed(X), fixed(y)))
    assert torch.equal(model(X, y), expected)


def _in_place(method: str) -> Callable[[Any, Tensor], Any]:
    def forward(self: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        kept = x.clone()
        alias = kept
        getattr(kept, method)(x)
        return kept, alias

    return forward


@pytest.mark.parametrize(
    ("forward", "name", "float_function"),
    [
        (_in_place("add_"), "add_", torch.add),
        (_in_place("mul_"), "mul_", torch.mul),
        (_in_place("sub_"), "sub_", torch.sub),
        (_in_place("__iadd__"), "add_", torch.add),
    ],
)
def test_in_place_operations(forward: Any, name: str, float_function: Any) -> None:
    """Everybody who holds the tensor sees the quantized result."""
    config = eager(ModuleQuantizerConfig(op_input_spec={"*": WIDE}, op_output_spec={"*": WIDE}))
    x = X.clone()
    model = prepare(net(forward), x, config=config)
    assert torch.equal(x, X), "prepare wrote to its example inputs"
    result, alias = model(x)
    expected = fixed(float_function(fixed(x), fixed(x)))
    assert result is alias
    assert torch.equal(result, expected)
    assert operations(model) == {name}


def test_in_place_on_an_input_of_the_model() -> None:
    def forward(self: Any, x: Tensor) -> Tensor:
        x += 1.0
        return x

    model = prepare(net(forward), X.clone())
    x = X.clone()
    assert model(x) is x
    assert not torch.equal(x, X)


def test_gradients_through_in_place_operations() -> None:
    def forward(self: Any, x: Tensor) -> Tensor:
        y = self.layer(x)
        y += x
        return y.relu_()

    model = prepare(net(forward, layer=nn.Linear(4, 4)), X)
    x = X.clone().requires_grad_()
    model(x).sum().backward()
    assert x.grad is not None
    assert model.layer.parametrizations.weight.original.grad.abs().sum() > 0


class TestStructures:
    def test_nested_inputs_and_keywords(self) -> None:
        def forward(self: Any, pair: Any, *, more: dict[str, Any]) -> Any:
            first, (second,) = pair
            return {"sum": first + more["x"], "rest": [second * 2.0, Pair(second, None)]}

        inner = Inner(lambda pair, more: forward(None, pair, more=more))
        model = net(lambda s, x, y: s.inner((x, (y,)), more={"x": y}), inner=inner)
        prepared = prepare(model, X, 2 * X)
        assert operations(prepared) == {"inner.add", "inner.mul"}
        output = prepared(X, 2 * X)
        assert set(output) == {"sum", "rest"}
        assert isinstance(output["rest"][1], Pair)
        assert torch.equal(output["rest"][1].first, 2 * X)

    def test_nested_example_inputs(self) -> None:
        model = net(lambda s, pair, named: pair[0] + named["y"])
        prepared = prepare(model, (X, None), {"y": X})
        assert operations(prepared) == {"add"}
        assert prepared((X, None), named={"y": X}).shape == X.shape

    def test_tensors_in_a_list_argument(self) -> None:
        config = only_named(cat=both_ways(WIDE))
        model = prepare(net(lambda s, x, y: torch.cat([x, y], dim=1)), X, 2 * X, config=config)
        assert quantized(model) == {"cat input tensors_0", "cat input tensors_1", "cat output 0"}
        assert torch.equal(model(X, 2 * X), fixed(torch.cat([fixed(X), fixed(2 * X)], 1)))

    def test_named_tuples_come_back_as_they_are(self) -> None:
        config = only_named(adaptive_max_pool1d=both_ways())
        model = net(lambda s, x: functional.adaptive_max_pool1d(x, 2, return_indices=True))
        values, indices = prepare(model, X, config=config)(X)
        assert values.shape == indices.shape == (3, 2)
        assert indices.dtype == torch.int64

    @pytest.mark.parametrize("scalar", [2, 2.0, torch.tensor(2.0)])
    def test_single_numbers_are_left_alone(self, scalar: Any) -> None:
        model = prepare(net(lambda s, x: x * scalar), X)
        assert quantized(model) == {"mul input input", "mul output 0"}

    def test_integers_are_left_alone(self) -> None:
        tokens = torch.arange(6).reshape(2, 3)
        model = net(lambda s, t: s.table(t + 1) * 1.0, table=nn.Embedding(8, 4))
        assert quantized(prepare(model, tokens)) == {
            "table.weight", "table.embedding output 0", "mul input input", "mul output 0",
        }  # fmt: skip

    def test_a_result_that_belongs_to_the_caller(self) -> None:
        def forward(self: Any, x: Tensor) -> Tensor:
            return torch.add(x, x, out=torch.empty_like(x))

        assert torch.equal(prepare(net(forward), X)(X), X + X)

    def test_an_index_of_the_config(self) -> None:
        config = eager(ModuleQuantizerConfig(op_input_spec={1: INT8}, op_output_spec={"*": None}))
        assert quantized(prepare(net(lambda s, x: x + x.flip(0)), X, config=config)) == {
            "add input other"
        }

    def test_an_argument_name_of_the_config(self) -> None:
        config = eager(
            ModuleQuantizerConfig(op_input_spec={"other": None, "*": INT8}, op_output_spec=None)
        )
        assert quantized(prepare(net(lambda s, x: x + x.flip(0)), X, config=config)) == {
            "add input input"
        }


class TestControlFlow:
    def test_a_loop_has_a_site_for_each_round(self) -> None:
        def forward(self: Any, x: Tensor, rounds: int = 3) -> Tensor:
            for _ in range(rounds):
                x = x + 1.0
            return x

        model = prepare(net(forward), X)
        assert operations(model) == {"add", "add_1", "add_2"}
        assert model(X, rounds=2).shape == X.shape

    def test_calibration_reaches_further_rounds_and_branches(self) -> None:
        quantizer = Quantizer(Branching().eval(), eager())
        model = quantizer.prepare((torch.full((4, 8), 0.1),))
        assert "negative.linear" not in operations(model)
        with quantizer.calibration_mode():
            model(torch.full((4, 8), -9.0))
        assert {"negative.linear", "mul_1"} <= operations(model)
        reached = operations(model)
        y = model(torch.full((4, 8), -9.0))
        assert operations(model) == reached
        assert y.isfinite().all()

    def test_calibrated_branches_are_the_float_models(self) -> None:
        torch.manual_seed(0)
        branching = Branching().eval()
        original = copy.deepcopy(branching)
        quantizer = Quantizer(branching, eager())
        model = quantizer.prepare((torch.rand(4, 8),))
        with quantizer.calibration_mode(), torch.no_grad():
            for scale in (-5.0, -0.1, 0.1, 9.0):
                x = scale * torch.rand(4, 8)
                assert torch.equal(model(x), original(x))

    def test_a_branch_without_calibration_warns_once(self) -> None:
        model = prepare(Branching(), torch.rand(4, 8))
        x = -torch.rand(4, 8)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model(x)
            model(x)
        told = [str(w.message).partition(" was not reached")[0] for w in caught]
        assert sorted(told) == ["mul_1", "negative.linear"]

    def test_weights_of_a_branch_not_taken_are_quantized(self) -> None:
        model = prepare(Branching(), torch.rand(4, 8))
        assert {"positive.weight", "negative.weight", "refine.weight"} <= quantized(model)

    def test_a_site_that_gets_an_integer_later(self) -> None:
        model = prepare(net(lambda s, x: x + x), X)
        ints = torch.arange(4)
        assert torch.equal(model(ints), ints + ints)


class TestPlacesInCode:
    """Python rewrites the instructions of what runs often; a call stays where it is."""

    @pytest.mark.parametrize(
        "function",
        [
            lambda s, x: sum(y * y for y in x.chunk(2, 1)),
            lambda s, x: x.sigmoid(),
            lambda s, x: sum(map(s.layer, (x, 2 * x))),
            lambda s, x: max([s.layer(x), s.layer(2 * x)], key=lambda t: t.sum().item()),
            lambda s, x: Doubling(x)[0] + x,
            lambda s, x: s.layer(x) + s.layer(x),
        ],
    )
    def test_after_many_runs(self, function: Callable[..., Any]) -> None:
        config = eager(ModuleQuantizerConfig(op_type_config={"sigmoid": both_ways()}))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "no operation has the type")
            model = prepare(net(function, layer=nn.Linear(4, 4)), X, config=config)
        before = quantized(model)
        assert not any(m.is_fresh for m in model.modules() if isinstance(m, FakeQuantizeImplBase))
        first = model(X)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for _ in range(50):
                assert torch.equal(model(X), first)
        assert quantized(model) == before

    def test_a_model_that_ran_often_before(self) -> None:
        def make() -> nn.Module:
            return net(lambda s, x: sum(s.layer(y) for y in x.chunk(2)), layer=nn.Linear(4, 4))

        for runs in range(24):
            model = prepare(make(), X[:2])
            fresh = [m for m in model.modules() if isinstance(m, FakeQuantizeImplBase)]
            assert not any(m.is_fresh for m in fresh), runs


class Doubling:
    """A class with its own subscript, which Python 3.11 runs without a call into C."""

    def __init__(self, x: Tensor) -> None:
        self.x = x

    def __getitem__(self, index: int) -> Tensor:
        return self.x + self.x


class TestRepeatedModules:
    def test_each_call_has_its_own_activations(self) -> None:
        """One module, two calls with very different ranges: one range would be too coarse."""
        layer = nn.Linear(4, 4)
        model = prepare(net(lambda s, x: s.layer(s.layer(x)), layer=layer), X)
        assert quantized(model) == {
            "layer.weight",
            "layer.linear input input", "layer.linear output 0",
            "layer.linear_1 input input", "layer.linear_1 output 0",
        }  # fmt: skip

    @pytest.mark.parametrize(
        "function",
        [
            lambda s, x: s.layer(s.layer(100 * x) / 100),
            lambda s, x: s.other(s.layer(100 * x) / 100),
            lambda s, x: functools.reduce(lambda y, k: s.layer(k * y), (100, 0.01), x),
            lambda s, x: s.outer(s.outer(100 * x) / 100),
            lambda s, x: s.pair(100 * x) / 100,
            lambda s, x: s.layer.forward(s.layer.forward(100 * x) / 100),
        ],
        ids=["twice", "other name", "loop", "inside another", "sequential", "forward"],
    )
    @pytest.mark.parametrize("traced", [False, True])
    def test_ranges_of_calls_do_not_mix(self, function: Callable[..., Any], traced: bool) -> None:
        layer = nn.Linear(1, 1, bias=False)
        nn.init.ones_(layer.weight)
        model = net(function, layer=layer, outer=nn.Sequential(layer))
        model.other = layer
        model.pair = nn.Sequential(layer, net(lambda s, x: x / 100), layer, net(_times_100))
        x = torch.linspace(-1, 1, 64).reshape(64, 1)
        quantizer = Quantizer(model, eager())
        prepared = quantizer.prepare((x,))
        with quantizer.calibration_mode():
            prepared(x)
        finalized = quantizer.finalize(backend="coreml")
        runs: list[Any] = [prepared, copy.deepcopy(prepared), finalized]
        if traced:  # both add frames of their own between a module and its caller
            runs = [
                torch.jit.trace(finalized, (x,), check_trace=False),
                torch.export.export(finalized, (x,), strict=False).module(),
            ]
        for run in runs:
            # Two quantizers of 256 levels over [-1, 1], one after the other, and a weight of 127.
            assert (run(x) - x).abs().max() < 4 / 255

    def test_calls_of_one_place_in_several_runs_are_one_site(self) -> None:
        model = prepare(net(lambda s, x: s.layer(s.layer(x)), layer=nn.Linear(4, 4)), X)
        before = quantized(model)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            first, second = model(X), model(X)
        assert torch.equal(first, second)
        assert quantized(model) == before

    def test_branches_do_not_renumber_the_calls(self) -> None:
        """Which call is which depends on the place in the code, not on how many came before."""
        model = net(
            lambda s, x, skip=False: s.layer((x if skip else s.layer(x)) * 8),
            layer=nn.Linear(4, 4, bias=False),
        )
        with torch.no_grad():
            model.layer.weight.copy_(torch.eye(4))
        prepared = prepare(model, X)
        assert torch.allclose(prepared(X, skip=True), 8 * X, atol=0.1)

    def test_more_rounds_than_in_the_example(self) -> None:
        model = net(
            lambda s, x, n=1: functools.reduce(lambda y, _: s.layer(y), range(n), x),
            layer=nn.Linear(4, 4),
        )
        quantizer = Quantizer(model.eval(), eager())
        prepared = quantizer.prepare((X,))
        with pytest.warns(UserWarning, match="layer.linear_1 was not reached by the example"):
            prepared(X, n=2)
        with quantizer.calibration_mode():
            prepared(X, n=2)
        assert operations(prepared) == {"layer.linear", "layer.linear_1"}

    def test_a_part_called_by_itself_has_the_sites_of_its_first_call(self) -> None:
        model = net(lambda s, x: s.body(s.body(x)), body=nn.Sequential(nn.Linear(4, 4)))
        prepared = prepare(model, X)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            part = prepared.body(X)
        quantizers = prepared.body[0]
        expected = quantizers.linear_quantize_output_0(
            functional.linear(
                quantizers.linear_quantize_input(X), quantizers.weight, quantizers.bias
            )
        )
        assert torch.equal(part, expected)

    @pytest.mark.parametrize("reentrant", [False, True])
    def test_activation_checkpointing(self, reentrant: bool) -> None:
        """Around the calls it changes nothing; of one of several calls it is refused."""

        def again(part: nn.Module, x: Tensor) -> Tensor:
            result: Tensor = checkpoint(part, x, use_reentrant=reentrant)
            return result

        def gradient(of_inner: Callable[..., Tensor], of_layer: Callable[..., Tensor]) -> Tensor:
            torch.manual_seed(0)
            inner = net(lambda s, x: of_layer(s.layer, of_layer(s.layer, x)), layer=nn.Linear(4, 4))
            model = net(lambda s, x: of_inner(s.inner, x * 3), inner=inner)
            x = X.clone().requires_grad_()
            prepare(model, X, config=eager())(x).square().sum().backward()
            assert x.grad is not None
            return x.grad

        def call(part: nn.Module, x: Tensor) -> Tensor:
            result: Tensor = part(x)
            return result

        assert torch.equal(gradient(again, call), gradient(call, call))
        with pytest.raises(RuntimeError, match=r"inner\.layer is called at 2 places"):
            gradient(call, again)

    def test_configs_name_each_call(self) -> None:
        config = eager(ModuleQuantizerConfig(op_name_config={"layer.linear_1": None}))
        layer = nn.Linear(4, 4)
        prepared = prepare(net(lambda s, x: s.layer(s.layer(x)), layer=layer), X, config=config)
        assert operations(prepared) == {"layer.linear"}

    def test_a_module_under_two_names(self) -> None:
        model = net(lambda s, x: s.b(s.a(x)), a=nn.Linear(4, 4))
        model.b = model.a
        prepared = prepare(model, X)
        assert "a.weight" in quantized(prepared)
        assert "b.weight" not in quantized(prepared)
        assert prepared.a.weight.equal(prepared.b.weight)

    def test_a_function_that_calls_itself(self) -> None:
        def deeper(x: Tensor, depth: int) -> Tensor:
            return x if depth == 0 else deeper(x + 1.0, depth - 1)

        assert operations(prepare(net(lambda s, x: deeper(x, 3)), X)) == {"add", "add_1", "add_2"}

    def test_names_of_configs_hold_for_both_calls(self) -> None:
        layer = nn.Linear(4, 4)
        config = eager().set_module_name("layer", ModuleQuantizerConfig.presets.w8())
        model = net(lambda s, x: s.layer(s.layer(x) + 1.0), layer=layer)
        assert operations(prepare(model, X, config=config)) == {"add"}

    def test_operation_configs_by_function_or_key(self) -> None:
        function = net(lambda s, x: torch.subtract(x, x))
        for key in ("subtract", "sub"):
            config = eager(ModuleQuantizerConfig(op_type_config={key: None}))
            assert operations(prepare(copy.deepcopy(function), X, config=config)) == set()
        both = {"sub": None, "subtract": OpQuantizerConfig()}
        config = eager(ModuleQuantizerConfig(op_type_config=both))
        assert operations(prepare(copy.deepcopy(function), X, config=config)) == {"subtract"}
