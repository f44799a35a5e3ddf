"""Modules treated as a whole: specs of their inputs, outputs and states win inside."""

from __future__ import annotations

from typing import Any

import torch
from tests.torch_impl.eager.support import INT8, WIDE, eager, fixed, prepare, quantized
from torch import Tensor, nn

from quant_torch.quantization import ModuleQuantizerConfig, QuantizationSpec, QuantizerConfig
from quant_torch.quantization.spec import FakeQuantizeImplBase

UINT4 = QuantizationSpec(dtype="uint4", qscheme="asymmetric")
X = torch.linspace(-1, 1, 12).reshape(3, 4)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor, gate: Tensor) -> tuple[Tensor, Tensor]:
        y = self.first(x)
        return self.second(y), y * gate


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.block = Block()

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.block(x, gate=x)
        return a + b


def config(**boundary: Any) -> QuantizerConfig:
    """Only the block's boundary is quantized."""
    entry = ModuleQuantizerConfig(
        op_input_spec=None, op_output_spec=None, op_state_spec=None, **boundary
    )
    return eager(None, global_config=None).set_module_name("block", entry)


class TestInputs:
    def test_by_index(self) -> None:
        other = torch.randn(3, 4)
        model = Model()
        model.forward = lambda x: torch.add(*model.block(x, gate=other))
        prepared = prepare(model, X, config=config(module_input_spec={0: INT8}))
        assert quantized(prepared) == {"block.first.linear input input"}

    def test_a_tensor_given_twice_goes_by_both_keys(self) -> None:
        for key in (0, "x", 1, "gate"):
            prepared = prepare(Model(), X, config=config(module_input_spec={key: INT8}))
            assert quantized(prepared) == {
                "block.first.linear input input",
                "block.mul input other",
            }

    def test_by_name(self) -> None:
        given = torch.randn(3, 4)
        model = Model()
        model.forward = lambda x: torch.add(*model.block(x, gate=given))
        prepared = prepare(model, X, config=config(module_input_spec={"gate": INT8}))
        assert quantized(prepared) == {"block.mul input other"}

    def test_values(self) -> None:
        torch.manual_seed(0)
        model = Model()
        first = model.block.first
        expected = first(fixed(X))
        prepared = prepare(model, X, config=config(module_input_spec={"*": WIDE}))
        seen = []
        prepared.block.first.register_forward_hook(lambda m, args, y: seen.append(y))
        prepared(X)
        assert torch.equal(seen[0], expected)


class TestOutputs:
    def test_by_index(self) -> None:
        prepared = prepare(Model(), X, config=config(module_output_spec={1: INT8}))
        assert quantized(prepared) == {"block.mul output 0"}

    def test_all(self) -> None:
        prepared = prepare(Model(), X, config=config(module_output_spec={"*": UINT4}))
        assert quantized(prepared) == {"block.second.linear output 0", "block.mul output 0"}
        found = [m for m in prepared.modules() if isinstance(m, FakeQuantizeImplBase)]
        assert {m.n_bits for m in found} == {4}

    def test_they_win_over_the_operations(self) -> None:
        entry = ModuleQuantizerConfig(module_output_spec={0: UINT4, 1: None})
        prepared = prepare(Model(), X, config=eager().set_module_name("block", entry))
        specs = {
            m.tensor_name: m.n_bits
            for m in prepared.modules()
            if isinstance(m, FakeQuantizeImplBase)
        }
        assert specs["block.second.linear output 0"] == 4
        assert "block.mul output 0" not in specs
        assert specs["block.first.linear output 0"] == 8

    def test_the_innermost_module_wins(self) -> None:
        inner = ModuleQuantizerConfig(module_output_spec={0: UINT4})
        outer = ModuleQuantizerConfig(module_output_spec={"*": INT8})
        settings = eager(None, global_config=None)
        settings.set_module_name("block", outer).set_module_name("block.second", inner)
        prepared = prepare(Model(), X, config=settings)
        bits = {
            m.tensor_name: m.n_bits
            for m in prepared.modules()
            if isinstance(m, FakeQuantizeImplBase)
        }
        assert bits["block.second.linear output 0"] == 4


class TestStates:
    def test_own_states_by_name(self) -> None:
        class Table(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.table = nn.Parameter(torch.randn(4, 4))
                self.register_buffer("shift", torch.randn(4))

            def forward(self, x: Tensor) -> Tensor:
                return torch.sin(x) @ self.table + self.shift

        entry = ModuleQuantizerConfig(
            op_input_spec=None, op_output_spec=None, op_state_spec=None,
            module_state_spec={"table": UINT4, "shift": INT8},
        )  # fmt: skip
        model = nn.Sequential(Table())
        settings = eager(None, global_config=None).set_module_name("0", entry)
        assert quantized(prepare(model, X, config=settings)) == {"0.table", "0.shift"}

    def test_they_win_over_the_operations(self) -> None:
        entry = ModuleQuantizerConfig(module_state_spec={"weight": UINT4})
        settings = eager().set_module_type(nn.Linear, entry)
        prepared = prepare(Model(), X, config=settings)
        assert prepared.block.first.parametrizations.weight[0].n_bits == 4
