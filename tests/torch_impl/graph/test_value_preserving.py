"""What is called value-preserving is so for its arguments: results lie in their inputs' range."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.torch_impl.graph.support import Net, conv, groups, images, prepare, spec_of
from torch import Tensor, fx
from torch.nn import functional

from quant_torch.quantization._graph.known_ranges import known_range
from quant_torch.quantization._graph.patterns import POOLS, SHAPE_ONLY
from quant_torch.quantization._graph.value_preserving import stays_inside
from quant_torch.quantization.quantizer import Quantizer

aten = torch.ops.aten
Call = tuple[Any, tuple[Any, ...], dict[str, Any]]
"""An overload, and its arguments behind the tensor."""


def _max_pool(n: int) -> Callable[[random.Random], Call]:
    def draw(r: random.Random) -> Call:
        kernel = [r.randint(1, 3) for _ in range(n)]
        stride = [r.randint(1, 3) for _ in range(n)]
        padding = [r.randint(0, k // 2) for k in kernel]
        dilation = [r.choice([1, 1, 2, 3]) for _ in range(n)]
        overload = getattr(aten, f"max_pool{n}d").default
        return overload, (kernel, stride, padding, dilation, r.random() < 0.5), {}

    return draw


def _avg_pool(n: int) -> Callable[[random.Random], Call]:
    def draw(r: random.Random) -> Call:
        kernel = [r.randint(1, 3) for _ in range(n)]
        stride = r.choice([[], [r.randint(1, 3) for _ in range(n)]])
        padding = [r.randint(0, k // 2) for k in kernel]
        arguments = (kernel, stride, padding, r.random() < 0.5, r.random() < 0.5)
        more = {}
        if n > 1 and r.random() < 0.6:
            more = {"divisor_override": r.choice([-3, -1, 1, 2, 4, 8, 9, 27, 30])}
        return getattr(aten, f"avg_pool{n}d").default, arguments, more

    return draw


def _adaptive(n: int) -> Callable[[random.Random], Call]:
    overload = getattr(aten, f"adaptive_avg_pool{n}d").default
    return lambda r: (overload, ([r.randint(1, 9) for _ in range(n)],), {})


def _dropout(name: str) -> Callable[[random.Random], Call]:
    overload = getattr(aten, name).default
    return lambda r: (overload, (r.choice([0.1, 0.5, 0.9]), r.random() < 0.7), {})


DRAWS: dict[str, tuple[int, Callable[[random.Random], Call]]] = {
    # rank of the input, and what draws a call
    **{f"max_pool{n}d": (n + 2, _max_pool(n)) for n in (1, 2, 3)},
    **{f"avg_pool{n}d": (n + 2, _avg_pool(n)) for n in (1, 2, 3)},
    **{f"adaptive_avg_pool{n}d": (n + 2, _adaptive(n)) for n in (1, 2, 3)},
    "dropout": (3, _dropout("dropout")),
    "feature_dropout": (3, _dropout("feature_dropout")),
    "alpha_dropout": (3, _dropout("alpha_dropout")),
    "feature_alpha_dropout": (3, _dropout("feature_alpha_dropout")),
    "mean": (3, lambda r: (aten.mean.dim, ([r.randrange(3)], r.random() < 0.5), {})),
    "flatten": (3, lambda r: (aten.flatten.using_ints, (r.randrange(2),), {})),
    "clone": (3, lambda r: (aten.clone.default, (), {})),
    "permute": (3, lambda r: (aten.permute.default, (r.sample(range(3), 3),), {})),
    "slice": (3, lambda r: (aten.slice.Tensor, (r.randrange(3), 0, r.randint(1, 4)), {})),
    "t": (2, lambda r: (aten.t.default, (), {})),
    "transpose": (3, lambda r: (aten.transpose.int, (r.randrange(3), r.randrange(3)), {})),
    "expand": (3, lambda r: (aten.expand.default, ([2, -1, -1, -1],), {})),
    "reshape": (3, lambda r: (aten.reshape.default, ([-1],), {})),
    "select": (3, lambda r: (aten.select.int, (r.randrange(3), 0), {})),
    "squeeze": (3, lambda r: (aten.squeeze.dim, (r.randrange(3),), {})),
    "unsqueeze": (3, lambda r: (aten.unsqueeze.default, (r.randrange(3),), {})),
    "view": (3, lambda r: (aten.view.default, ([-1],), {})),
    "cat": (3, lambda r: (aten.cat.default, (), {})),
}


def test_every_operation_that_is_called_so_is_tried() -> None:
    assert set(DRAWS) >= SHAPE_ONLY | POOLS | {"mean", "flatten", "cat"}


def _node(call: Call, many: bool, low: float) -> tuple[fx.Node, dict[fx.Node, Any]]:
    """The operation in a graph, behind two tensors whose range is [low, 3]."""
    graph = fx.Graph()
    known: dict[fx.Node, Any] = {}
    sources = []
    for name in ("a", "b"):
        x = graph.placeholder(name)
        clamped = graph.call_function(aten.hardtanh.default, (x, low, 3.0))
        sources.append(clamped)
        known_range(x, known)
        known_range(clamped, known)
    overload, arguments, more = call
    first = (sources,) if many else (sources[0],)
    return graph.call_function(overload, (*first, *arguments), more), known


@pytest.mark.parametrize("name", DRAWS)
def test_results_lie_within_what_is_said(name: str) -> None:
    rank, draw = DRAWS[name]
    seed = sum(name.encode())
    generator, r = torch.Generator().manual_seed(seed), random.Random(seed)
    inside = 0
    for _ in range(150):
        call = draw(r)
        low = r.choice([-1.0, 0.0])
        node, known = _node(call, name == "cat", low)
        said = known_range(node, known)
        lowest = torch.Generator().manual_seed(0)
        shape = [r.randint(1, 5) for _ in range(rank)]
        x = torch.rand(shape, generator=generator) * (3 - low) + low
        extremes = torch.randint(0, 2, shape, generator=lowest) * (3 - low) + low
        for given in (x, extremes, torch.full(shape, 3.0), torch.full(shape, low)):
            try:
                result = call[0]([given, given] if name == "cat" else given, *call[1], **call[2])
            except RuntimeError:
                continue  # this window is too large for this input
            slack = 1e-5
            if said is not None and said.low is not None:
                assert result.min() >= said.low - slack, call
            if said is not None and said.high is not None:
                assert result.max() <= said.high + slack, call
            if stays_inside(node) and "dropout" not in name:
                inside += 1
                assert result.min() >= low - slack, call
                assert result.max() <= 3 + slack, call
    assert inside or "dropout" in name


@pytest.mark.parametrize(
    ("pool", "pinned"),
    [
        (lambda y: functional.avg_pool2d(y, 2, divisor_override=1), (0.0, None)),
        (lambda y: functional.avg_pool2d(y, 2, divisor_override=64), (0.0, None)),
        (lambda y: functional.avg_pool2d(y, 2, divisor_override=-1), (None, None)),
        (lambda y: functional.avg_pool2d(y, 2, divisor_override=4), None),
        (lambda y: functional.avg_pool2d(y, (2, 1), 1, (1, 0), True, False), None),
        (lambda y: functional.max_pool2d(y, 2, 1, 1, dilation=2), (None, None)),
        (lambda y: functional.max_pool2d(y, 2, 1, dilation=2), None),
        (lambda y: functional.max_pool2d(y, 3, 2, 1, ceil_mode=True), None),
    ],
)
def test_a_pool_that_leaves_the_range_has_its_own(pool: Any, pinned: Any) -> None:
    def forward(s: Any, x: Tensor) -> Tensor:
        return s.after(pool(functional.relu6(s.before(10 * x))))

    torch.manual_seed(0)
    model = Net(forward, before=conv(), after=conv(4, 4)).eval()
    plain = model(images())
    quantizer = Quantizer(model)
    prepared = quantizer.prepare((images(),))
    name = next(tensor for tensor in groups(prepared) if "pool" in tensor)
    if pinned is None:
        assert groups(prepared)[name] == "relu6"
        assert spec_of(prepared, "relu6").float_range == (0.0, 6.0)
    else:
        assert groups(prepared)[name] == name
        assert spec_of(prepared, name).float_range == pinned
        assert spec_of(prepared, "relu6").float_range == (0.0, 6.0)
    with quantizer.calibration_mode():
        prepared(images())
    error = (prepared(images()) - plain).square().mean()
    assert plain.square().mean() / error > 10**2.5  # 25 dB


def test_what_is_written_to_later_has_no_known_range() -> None:
    """A view is written to and another one read, so the writing cannot be made an operation."""

    def forward(s: Any, x: Tensor) -> Tensor:
        y = functional.relu(s.before(x))
        view, other = y[:, :2], y[:, 1:]
        view.sub_(5.0)
        return s.after(other) + s.after(y[:, 1:])

    model = prepare(Net(forward, before=conv(), after=conv(3, 2)), images())
    for placed in groups(model):
        assert spec_of(model, placed).float_range in ((None, None), (0.0, None))
        if placed != "relu":
            assert spec_of(model, placed).float_range == (None, None), placed
