"""Functions of torch, recorded, turned into steps, and held to the sets that the steps give."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from quant_conformance.gate.recording.recorder import Recording, record
from quant_conformance.gate.regions.region import Region, Regions
from quant_reference.admissible import VERDICTS, Bounds, evaluate, judge_values

INSIDE = (VERDICTS.index("admissible"), VERDICTS.index("unlikely"))
WRONG = VERDICTS.index("wrong")


class Function(nn.Module):
    """A function as a model."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: torch.Tensor) -> Any:
        return self.function(*inputs)


def recorded(function: Callable[..., Any], *inputs: torch.Tensor) -> Recording:
    """One run of a function."""
    return record(Function(function), inputs)


def inferred(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function in inference mode, where torch dispatches composites whole."""

    def call(*inputs: torch.Tensor) -> Any:
        with torch.inference_mode():
            return function(*inputs)

    return call


def normal(*shape: int, seed: int = 0, scale: float = 1.0) -> torch.Tensor:
    """Normal values."""
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def regions(recording: Recording) -> list[Region]:
    """A region for each output."""
    return Regions(recording).build([])


def bounds(region: Region, recording: Recording) -> Bounds:
    """What may be computed for the target of a region."""
    operands = {name: recording.values[name] for name in region.operands}
    return evaluate(region.steps, operands)[region.target]


def names(recording: Recording) -> set[str]:
    """ATen operations, without the underscores around them."""
    return {operation.name.strip("_") for operation in recording.operations}


def check(function: Callable[..., Any], *inputs: torch.Tensor) -> Recording:
    """Torch's own float32 results lie in the sets; a part in a thousand beside them they do not.

    The second is what makes the first worth something: a set that holds anything would pass.
    """
    recording = recorded(function, *inputs)
    found = regions(recording)
    assert found
    for region in found:
        assert not region.lacking, region.lacking
        given, admissible = recording.values[region.target], bounds(region, recording)
        assert given.shape == np.shape(admissible.value)
        assert np.isin(judge_values(given, admissible), INSIDE).all()
        beside = given + np.float32(1e-3) * (np.abs(given) + 1)
        assert (judge_values(beside, admissible) == WRONG).all()
    return recording


Case = tuple[str, Callable[..., Any], tuple[torch.Tensor, ...]]
"""Name of an operation, a function that calls it, and its inputs."""


def number(function: Callable[..., Any]) -> Callable[..., Any]:
    """A truth or an integer as a float, which a result has to be."""
    return lambda *inputs: function(*inputs) * 2.0
