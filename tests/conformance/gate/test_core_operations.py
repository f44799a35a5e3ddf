"""The page of PyTorch's core operations, held to torch's own list."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.conformance.gate.stepped import check, names, normal
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from quant_conformance.gate.aten.core_operations import (
    CONSTANTS,
    NUMBERS,
    UNREAD,
    WRITTEN_AS,
    core_operations,
    is_read,
    page,
)
from quant_conformance.gate.aten.step_table import TABLE

PAGE = Path(__file__).parents[3] / "docs" / "operations.md"


def test_every_core_operation_is_read_or_has_a_reason_and_none_has_both() -> None:
    unread = {name for name in core_operations() if not is_read(name)}
    assert unread == set(UNREAD)
    assert not set(WRITTEN_AS) & {name for name in core_operations() if name.strip("_") in TABLE}


REASONS = {
    "random",
    "complex numbers",
    "a shape, or a number of Python's, that depends on the data",
    "of the gradient, which no exported file computes",
}


def test_nine_in_ten_are_read_and_no_reason_but_these_stands_for_the_rest() -> None:
    core = core_operations()
    assert sum(map(is_read, core)) >= 0.9 * len(core)
    assert set(UNREAD.values()) <= REASONS
    assert core >= CONSTANTS | NUMBERS


def test_constants_and_numbers_are_read_as_they_were_recorded() -> None:
    def function(x: torch.Tensor) -> torch.Tensor:
        steps = torch.arange(6, dtype=torch.float32) * x.size(0)
        filled = torch.full((6,), 0.25) + torch.scalar_tensor(x.numel())
        empty = torch.empty(6).fill_(0.5) + torch.empty_strided((6,), (1,)).zero_()
        return x + steps + filled + empty

    assert {"arange", "full", "empty"} <= names(check(function, normal(4, 6)))


class _Called(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("name", "layer"),
    [("avg_pool1d", nn.AvgPool1d(2)), ("adaptive_avg_pool1d", nn.AdaptiveAvgPool1d(3))],
)
def test_torch_computes_it_by_another(name: str, layer: nn.Module) -> None:
    x = torch.ones(1, 2, 8)
    with _Called() as called:
        layer(x)
    assert WRITTEN_AS[name] in called.names
    assert name not in called.names


def test_the_list_does_not_depend_on_what_was_used() -> None:
    names = (
        "import sys, torch; from quant_conformance.gate.aten.core_operations import core_operations"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"{names}; print(*sorted(core_operations()))"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert set(done.stdout.split()) == core_operations()


def test_the_page_is_the_tables() -> None:
    assert PAGE.read_text(encoding="utf-8") == page()
