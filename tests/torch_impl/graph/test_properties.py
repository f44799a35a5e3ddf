"""Random graphs: quantizers stand where the clauses say, and switched off they change nothing."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.torch_impl.graph.support import prepare
from torch import Tensor, fx, nn
from torch.nn import functional

from quant_torch.quantization._fake_quantizers import fake_quantizers
from quant_torch.quantization._graph.insertion import quantizers_of
from quant_torch.quantization._graph.ops import op_type
from quant_torch.quantization._graph.patterns import ACTIVATIONS

SIZE = 4
ONE: dict[str, Callable[..., Tensor]] = {
    "linear": lambda net, i, x: net.layers[i](x),
    "relu": lambda net, i, x: functional.relu(x),
    "sigmoid": lambda net, i, x: torch.sigmoid(x),
    "relu_in_place": lambda net, i, x: functional.relu_(x * 1.0),
    "transpose": lambda net, i, x: x.transpose(0, 1),
    "reshape": lambda net, i, x: x.reshape(SIZE * SIZE).reshape(SIZE, SIZE),
    "slice": lambda net, i, x: x[:, :SIZE],
    "softmax": lambda net, i, x: torch.softmax(x, -1),
    "pool": lambda net, i, x: functional.max_pool1d(x[None], 1)[0],
    "dropout": lambda net, i, x: functional.dropout(x, 0.5, net.training),
}
TWO: dict[str, Callable[..., Tensor]] = {
    "add": lambda net, i, x, y: x + y,
    "mul": lambda net, i, x, y: x * y,
    "sub": lambda net, i, x, y: x - y,
    "matmul": lambda net, i, x, y: x @ y,
    "cat": lambda net, i, x, y: torch.cat([x, y])[:SIZE],
}


@dataclass(frozen=True)
class Step:
    kind: str
    left: int
    right: int


class Random(nn.Module):
    """A straight line of steps, each on results of earlier ones."""

    def __init__(self, steps: list[Step], outputs: list[int]) -> None:
        super().__init__()
        self.steps, self.outputs = steps, outputs
        with torch.random.fork_rng():
            torch.manual_seed(len(steps))
            self.layers = nn.ModuleList(nn.Linear(SIZE, SIZE) for _ in range(3))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        values = [x]
        for step in self.steps:
            left, right = values[step.left % len(values)], values[step.right % len(values)]
            if step.kind in ONE:
                values.append(ONE[step.kind](self, step.right % 3, left))
            else:
                values.append(TWO[step.kind](self, 0, left, right))
        return tuple(values[-1 - i % len(values)] for i in self.outputs)


PLACE = st.integers(0, 12)
STEPS = st.lists(
    st.builds(Step, st.sampled_from([*ONE, *TWO]), PLACE, PLACE), min_size=1, max_size=9
)


def run(model: nn.Module, x: Tensor) -> tuple[Tensor, ...]:
    with torch.no_grad():
        result: Any = model(x)
    return tuple(result)


def reads_float(node: fx.Node) -> list[fx.Node]:
    """Activations that a node reads unquantized."""
    return [
        source for source in node.all_input_nodes
        if source.op != "get_attr" and not str(source.target).startswith("fake_quantize")
    ]  # fmt: skip


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(steps=STEPS, outputs=st.lists(PLACE, min_size=1, max_size=2))
def test_random_graphs(steps: list[Step], outputs: list[int]) -> None:
    model = Random(steps, outputs).eval()
    x = torch.randn(SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    expected = run(model, x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        prepared = prepare(model, x)

    calls = quantizers_of(prepared)
    by_tensor: dict[fx.Node, list[nn.Module]] = {}
    for node, quantizer in calls:
        source = node.args[0]
        # PLACE-4: never two in a row, never two with one spec on one tensor
        assert not str(source.target).startswith("fake_quantize")
        assert quantizer not in by_tensor.setdefault(source, [])
        by_tensor[source].append(quantizer)
        assert node.users
    for quantizers in by_tensor.values():
        specs = [q.spec for q in quantizers]
        assert all(a != b for i, a in enumerate(specs) for b in specs[:i])

    for node in prepared.graph.nodes:
        kind = op_type(node)
        if kind in ("linear", "add", "mul", "sub", "matmul", "max_pool1d", "cat"):
            assert not reads_float(node), (node, prepared.code)  # PLACE-1, PLACE-6
        if kind in ACTIVATIONS:  # PLACE-1: what it is fused with has it as its only reader
            (source,) = node.all_input_nodes
            fused = op_type(source) in ("linear", "add", "mul", "matmul")
            assert not fused or len(source.users) == 1
        if kind == "relu" and node in by_tensor:  # PLACE-8
            for quantizer in by_tensor[node]:
                low, _ = quantizer.spec.float_range
                assert low == 0.0 or len([s for s, q in by_tensor.items() if quantizer in q]) > 1

    for quantizer in fake_quantizers(prepared):
        quantizer.disable_fake_quant()
    for mine, other in zip(run(prepared, x), expected, strict=True):
        assert torch.equal(mine, other)
