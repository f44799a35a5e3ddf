"""Parameters that matrix products take, and parameters that nothing gives an axis (PLACE-13)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import quant_reference as reference
from quant_torch.drop_in import stand_in
from quant_torch.inspection.placement import placement
from quant_torch.quantization import (
    ModuleQuantizerConfig,
    QuantizationSpec,
    Quantizer,
    QuantizerConfig,
)

MODES = ("graph", "eager")


class Model(nn.Module):
    """One parameter that is called neither weight nor bias, and a function of it."""

    def __init__(self, shape: tuple[int, ...], function: Callable[[Tensor, Tensor], Tensor]):
        super().__init__()
        self.table = nn.Parameter(
            torch.randn(shape, generator=torch.Generator().manual_seed(0)) / 4
        )
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, self.table)


def rows(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def prepared(model: nn.Module, mode: str, *x: Tensor, preset: str = "w8", **more: Any) -> nn.Module:
    config = getattr(QuantizerConfig.presets, preset)(execution_mode=mode, **more)
    return Quantizer(model.eval(), config).prepare(x)


def axes(model: nn.Module) -> list[int | None]:
    return [p.spec.granularity.axis for p in placement(model) if p.target == "weight"]


# Input, shape of the parameter, function, axis per channel, axis per block.
SPELLINGS: dict[str, tuple[tuple[int, ...], tuple[int, ...], Any, int, int]] = {
    "operator": ((4, 6), (6, 8), lambda x, w: x @ w, 1, 0),
    "matmul": ((2, 4, 6), (6, 8), torch.matmul, 1, 0),
    "matmul of batches": ((2, 4, 6), (2, 6, 8), lambda x, w: x.matmul(w), 2, 1),
    "left operator": ((6, 4), (8, 6), lambda x, w: w @ x, 0, 1),
    "mm": ((4, 6), (6, 8), lambda x, w: x.mm(w), 1, 0),
    "left mm": ((6, 4), (8, 6), lambda x, w: torch.mm(w, x), 0, 1),
    "bmm": ((2, 4, 6), (2, 6, 8), torch.bmm, 2, 1),
    "addmm": ((4, 6), (6, 8), lambda x, w: torch.addmm(x.new_zeros(8), x, w), 1, 0),
    "addmm by name": (
        (4, 6), (6, 8), lambda x, w: torch.addmm(input=x.new_zeros(8), mat1=x, mat2=w), 1, 0,
    ),
    "left addmm": ((6, 4), (8, 6), lambda x, w: torch.addmm(x.new_zeros(4), w, x), 0, 1),
    "baddbmm": ((2, 4, 6), (2, 6, 8), lambda x, w: torch.baddbmm(x.new_zeros(1), x, w), 2, 1),
    "transposed": ((4, 6), (8, 6), lambda x, w: x @ w.t(), 1, 0),
    "linear": ((4, 6), (8, 6), nn.functional.linear, 0, 1),
}  # fmt: skip


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("spelling", SPELLINGS)
class TestSpellings:
    def test_channels_are_those_of_the_result(self, spelling: str, mode: str) -> None:
        given, shape, function, channel, _ = SPELLINGS[spelling]
        assert axes(prepared(Model(shape, function), mode, rows(*given))) == [channel]

    def test_blocks_run_along_the_sum(self, spelling: str, mode: str) -> None:
        given, shape, function, _, block = SPELLINGS[spelling]
        model = Model(shape, function)
        ready = prepared(model, mode, rows(*given), preset="w4_per_block", block_size=2)
        assert axes(ready) == [block]


@pytest.mark.parametrize("mode", MODES)
def test_values_are_those_of_the_reference(mode: str) -> None:
    model = Model((6, 8), lambda x, w: torch.addmm(x.new_zeros(8), x, w))
    table, x = model.table.detach().clone(), rows(4, 6)
    spec = reference.QuantizationSpec.from_dict(
        {"dtype": "int8", "granularity": {"type": "per_channel", "axis": 1}}
    )
    qparams = reference.compute_qparams(*reference.value_range(table.numpy(), spec, "weight"), spec)
    expected = torch.from_numpy(reference.fake_quantize(table.numpy(), spec, qparams))
    assert torch.equal(prepared(model, mode, x)(x), torch.addmm(x.new_zeros(8), x, expected))


@pytest.mark.parametrize("backend", ["coreai", "coreml"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("spelling", ["addmm", "bmm", "transposed", "left mm"])
def test_codes_are_stored(spelling: str, mode: str, backend: str) -> None:
    given, shape, function, *_ = SPELLINGS[spelling]
    config = QuantizerConfig.presets.w8(execution_mode=mode)
    quantizer = Quantizer(Model(shape, function).eval(), config)
    x = rows(*given)
    expected = quantizer.prepare((x,))(x)
    finalized = quantizer.finalize(backend=backend)
    held = [*finalized.parameters(), *finalized.buffers()]
    stored = torch.int8 if backend == "coreai" else torch.float32
    assert any(t.dtype == stored and t.numel() == 48 * shape[0] ** (len(shape) == 3) for t in held)
    torch.testing.assert_close(finalized(x), expected)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_script_for_the_other_package_gets_its_placement(spelling: str, mode: str) -> None:
    given, shape, function, *_ = SPELLINGS[spelling]
    with stand_in():
        assert axes(prepared(Model(shape, function), mode, rows(*given))) == []
    assert len(axes(prepared(Model(shape, function), mode, rows(*given)))) == 1


@pytest.mark.parametrize("mode", MODES)
class TestWhatIsNoWeight:
    def test_a_product_of_activations(self, mode: str) -> None:
        model = Model((6, 6), lambda x, w: torch.bmm(torch.exp(x), torch.exp(x)) + w)
        ready = Quantizer(model.eval(), QuantizerConfig(execution_mode=mode)).prepare(
            (rows(2, 6, 6),)
        )
        found = {p.tensor for p in placement(ready)}
        assert found, "the addition"
        assert not any(name.startswith(("exp", "bmm input", "bmm output")) for name in found)

    def test_a_table_of_constants(self, mode: str) -> None:
        model = Model((6, 8), lambda x, w: x @ torch.exp(model.window))
        model.register_buffer("window", torch.ones(6, 4))
        assert axes(prepared(model, mode, rows(4, 6))) == []

    def test_an_addend_that_is_an_activation(self, mode: str) -> None:
        def function(x: Tensor, w: Tensor) -> Tensor:
            return torch.addmm(torch.exp(x[:, :1]), x, w)

        ready = Quantizer(Model((6, 8), function).eval(), QuantizerConfig(execution_mode=mode))
        names = {p.tensor for p in placement(ready.prepare((rows(4, 6),)))}
        assert names == (
            {"x", "table", "addmm"}
            if mode == "graph"
            else {"addmm input mat1", "addmm output 0", "table"}
        )

    @pytest.mark.parametrize("preset", ["w8", "w4_per_block"])
    def test_the_weight_of_a_norm(self, mode: str, preset: str) -> None:
        class Norm(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.weight = nn.Parameter(torch.ones(32))

            def forward(self, x: Tensor) -> Tensor:
                return self.weight * x

        model = nn.Sequential(Norm(), nn.Linear(32, 4))
        with pytest.warns(UserWarning, match=r"^0\.weight of shape \(32,\) .* mul .*GRAN-7"):
            ready = prepared(model, mode, rows(2, 32), preset=preset)
        assert {p.tensor for p in placement(ready)} == {"1.weight"}

    def test_an_axis_that_is_given_counts(self, mode: str) -> None:
        model = Model((6,), lambda x, w: x * w)
        spec = QuantizationSpec(granularity={"type": "per_channel", "axis": 0})
        config = QuantizerConfig(
            global_config=ModuleQuantizerConfig(
                op_input_spec=None, op_output_spec=None, op_state_spec={"table": spec}
            ),
            execution_mode=mode,
        )
        assert axes(Quantizer(model.eval(), config).prepare((rows(4, 6),))) == [0]


@pytest.mark.parametrize("mode", MODES)
def test_the_packed_projection_of_an_attention(mode: str) -> None:
    class Attends(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.attention(x, x, x)[0]

    found = {p.tensor for p in placement(prepared(Attends(), mode, rows(2, 3, 8)))}
    assert found == {"attention.in_proj_weight", "attention.out_proj.weight"}


class Places(nn.Module):
    """Keys that a layer computes from a table, as DeBERTa does for its relative positions."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.both, self.own = nn.Linear(4, 4), nn.Linear(4, 4)
            self.table = nn.Parameter(torch.randn(6, 4))

    def forward(self, x: Tensor) -> Tensor:
        shared = self.both(x) @ self.both(self.table).t()
        return shared + x @ self.own(torch.relu(self.table)).t()


class TestFactorsThatLayersCompute:
    @pytest.mark.parametrize("backend", ["coreai", "coreml"])
    @pytest.mark.parametrize("mode", MODES)
    def test_they_are_finalized(self, mode: str, backend: str) -> None:
        quantizer = Quantizer(Places().eval(), QuantizerConfig(execution_mode=mode))
        expected = quantizer.prepare((rows(3, 4),))(rows(3, 4))
        torch.testing.assert_close(quantizer.finalize(backend=backend)(rows(3, 4)), expected)

    def test_what_computes_them_asks_for_nothing(self) -> None:
        ready = Quantizer(Places().eval(), QuantizerConfig()).prepare((rows(3, 4),))
        found = {p.tensor: p.target for p in placement(ready)}
        assert {name for name, target in found.items() if target == "weight"} == {
            "both.weight", "t", "t_1",
        }  # fmt: skip
        assert {"linear_1", "linear_2", "relu", "table", "own.weight"}.isdisjoint(found)

    def test_their_parameters_count_as_quantized(self) -> None:
        quantizer = Quantizer(Places().eval(), QuantizerConfig())
        quantizer.prepare((rows(3, 4),))
        found = quantizer.shares()
        assert (found.quantized_parameters, found.parameters) == (56, 56)
