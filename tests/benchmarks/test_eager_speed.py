"""Eager mode beside the peer: a ResNet-18 layout and a transformer encoder, ratios of one run.

Nothing here fails for being slow. The goals: prepare no slower than the peer's, the fake-quantized
forward at most a third of its time, a training step at most 1.8 times the float step. Only the
memory of a training step, which no other load can change, is held to the peer's.
"""

from __future__ import annotations

import copy
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from tests.torch_impl.models import Encoder, ResNet18
from torch import nn

pytestmark = [pytest.mark.benchmark, pytest.mark.peers, pytest.mark.slow]

MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "resnet18": (ResNet18, (1, 3, 64, 64)),
    "encoder": (lambda: Encoder(layers=6, size=256, heads=8), (1, 64, 256)),
}
PACKAGES = {"ours": "quant_torch.quantization", "peer": "coreai_opt.quantization"}
BATCH = 8


@pytest.fixture(autouse=True)
def _two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def quantizer(who: str, model: nn.Module) -> Any:
    """A quantizer in eager mode with the default config."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        package = __import__(PACKAGES[who], fromlist=["Quantizer"])
        return package.Quantizer(model, package.QuantizerConfig(execution_mode="eager"))


def prepared(who: str, model: nn.Module, x: torch.Tensor) -> tuple[Any, nn.Module]:
    made = quantizer(who, copy.deepcopy(model).eval())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return made, made.prepare((x,))


def trainer(model: nn.Module, x: torch.Tensor) -> Callable[[], None]:
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)

    def step() -> None:
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()

    return step


def in_turns(actions: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Least seconds of each action; they take turns, so that another load strikes all alike."""
    times: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(rounds + 2):
        for name, action in actions.items():
            start = time.perf_counter()
            action()
            times[name].append(time.perf_counter() - start)
    return {name: min(measured[2:]) for name, measured in times.items()}


def report(benchmark: Any, times: dict[str, float], *ratios: tuple[str, str]) -> None:
    measured = {f"{name} ms": 1e3 * value for name, value in times.items()}
    measured |= {f"{a} / {b}": times[a] / times[b] for a, b in ratios}
    benchmark.extra_info.update({name: round(value, 3) for name, value in measured.items()})
    print("  " + ", ".join(f"{name} {value:.2f}" for name, value in measured.items()))


@pytest.mark.parametrize("name", MODELS)
def test_prepare(benchmark: Any, name: str) -> None:
    benchmark.group = f"eager prepare, {name}"
    build, shape = MODELS[name]
    model, x = build(), torch.randn(shape)
    actions = {who: lambda who=who: prepared(who, model, x) for who in PACKAGES}
    report(benchmark, in_turns(actions, 5), ("ours", "peer"))
    benchmark.pedantic(actions["ours"], rounds=3)


@pytest.mark.parametrize("name", MODELS)
def test_forward(benchmark: Any, name: str) -> None:
    """Evaluation without gradients."""
    benchmark.group = f"eager forward, {name}"
    build, shape = MODELS[name]
    model, x = build().eval(), torch.randn(shape)
    models = {"float": model} | {who: prepared(who, model, x)[1] for who in PACKAGES}
    with torch.no_grad():
        times = in_turns({who: lambda m=m: m(x) for who, m in models.items()}, 20)
        report(benchmark, times, ("ours", "peer"), ("ours", "float"), ("peer", "float"))
        benchmark.pedantic(models["ours"], args=(x,), rounds=10)


@pytest.mark.parametrize("name", MODELS)
def test_training_step(benchmark: Any, name: str) -> None:
    """Forward, backward and SGD at batch size 8."""
    benchmark.group = f"eager training step, {name}"
    build, shape = MODELS[name]
    model, x = build(), torch.randn(shape)
    batch = torch.randn(BATCH, *shape[1:])
    steps = {"float": trainer(copy.deepcopy(model).train(), batch)}
    contexts = []
    for who in PACKAGES:
        made, ready = prepared(who, model, x)
        contexts.append(made.training_mode())
        contexts[-1].__enter__()
        steps[who] = trainer(ready, batch)
    report(benchmark, in_turns(steps, 7), ("ours", "float"), ("peer", "float"))
    benchmark.pedantic(steps["ours"], rounds=3)
    for context in contexts:
        context.__exit__(None, None, None)


def peak_megabytes(step: Callable[[], None]) -> float:
    """Most memory that one step holds at a time above what it starts with.

    Counted from torch's own record of allocations, so that neither the allocator's reserves nor
    another load matter.
    """
    step()
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True) as profile:
        step()
    events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    held = highest = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        held += event.nbytes()
        highest = max(highest, held)
    return highest / 2**20


@pytest.mark.parametrize("name", MODELS)
def test_training_memory(benchmark: Any, name: str) -> None:
    benchmark.group = f"eager training memory, {name}"
    build, shape = MODELS[name]
    model, x = build(), torch.randn(shape)
    batch = torch.randn(BATCH, *shape[1:])
    peaks = {}
    for who in PACKAGES:
        made, ready = prepared(who, model, x)
        with made.training_mode():
            peaks[who] = peak_megabytes(trainer(ready, batch))
    peaks["float"] = peak_megabytes(trainer(copy.deepcopy(model).train(), batch))
    print("  " + ", ".join(f"{who} {megabytes:.1f} MB" for who, megabytes in peaks.items()))
    benchmark.extra_info.update({f"{who} MB": round(mb, 1) for who, mb in peaks.items()})
    benchmark.pedantic(lambda: None, rounds=1)
    assert peaks["ours"] <= peaks["peer"]
