"""Weights of recurrent layers: which are quantized, that they are used, and stored as codes."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import quant_reference as reference
from quant_torch._stand_in import stand_in_placement
from quant_torch.export.rewriting.recurrent import COMPRESSED
from quant_torch.inspection.placement import placement
from quant_torch.quantization import Quantizer, QuantizerConfig

MODES = ("graph", "eager")


class First(nn.Module):
    """A layer, of which the first result is given."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        result = self.layer(x)
        return result[0] if isinstance(result, tuple) else result


def rows(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


LAYERS: dict[str, tuple[Any, tuple[int, ...], int]] = {
    "lstm": (lambda: nn.LSTM(6, 4), (5, 2, 6), 2),
    "deep lstm of two directions": (
        lambda: nn.LSTM(6, 4, 2, bidirectional=True, batch_first=True), (2, 5, 6), 8,
    ),
    "projected lstm": (lambda: nn.LSTM(6, 4, proj_size=2), (5, 2, 6), 3),
    "lstm without biases": (lambda: nn.LSTM(6, 4, bias=False), (5, 2, 6), 2),
    "unbatched gru": (lambda: nn.GRU(6, 4), (5, 6), 2),
    "gru of two directions": (lambda: nn.GRU(6, 4, bidirectional=True), (5, 2, 6), 4),
    "rnn": (lambda: nn.RNN(6, 4), (5, 2, 6), 2),
    "rnn of relu": (lambda: nn.RNN(6, 4, nonlinearity="relu"), (5, 2, 6), 2),
    "lstm cell": (lambda: nn.LSTMCell(6, 4), (2, 6), 2),
    "gru cell": (lambda: nn.GRUCell(6, 4), (2, 6), 2),
    "rnn cell": (lambda: nn.RNNCell(6, 4), (2, 6), 2),
    "rnn cell of relu": (lambda: nn.RNNCell(6, 4, nonlinearity="relu"), (2, 6), 2),
}  # fmt: skip


def model_of(name: str) -> tuple[nn.Module, Tensor, int]:
    make, shape, count = LAYERS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return First(make()).eval(), rows(*shape), count


def by_hand(model: nn.Module) -> nn.Module:
    """The model with the reference's values in the place of its matrices."""
    spec = reference.QuantizationSpec.from_dict(
        {"dtype": "int8", "granularity": {"type": "per_channel", "axis": 0}}
    )
    made = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.dim() == 2:
                values = parameter.numpy()
                low, high = reference.value_range(values, spec, "weight")
                qparams = reference.compute_qparams(low, high, spec)
                parameter.copy_(torch.from_numpy(reference.fake_quantize(values, spec, qparams)))
    return made


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", LAYERS)
class TestLayers:
    def test_matrices_are_quantized_and_used(self, name: str, mode: str) -> None:
        model, x, count = model_of(name)
        expected = by_hand(model)(x)
        assert not torch.equal(expected, model(x))
        prepared = Quantizer(model, QuantizerConfig(execution_mode=mode)).prepare((x,))
        placed = placement(prepared)
        assert [p.target for p in placed] == ["weight"] * count
        assert all(".weight_" in p.tensor for p in placed)
        assert torch.equal(prepared(x), expected)

    def test_blocks_run_along_the_sum(self, name: str, mode: str) -> None:
        model, x, count = model_of(name)
        config = QuantizerConfig.presets.w4_per_block(block_size=2, execution_mode=mode)
        placed = placement(Quantizer(model, config).prepare((x,)))
        assert [p.spec.granularity.axis for p in placed] == [1] * count

    def test_not_for_scripts_of_the_other_package(self, name: str, mode: str) -> None:
        model, x, _ = model_of(name)
        with stand_in_placement():
            prepared = Quantizer(model, QuantizerConfig(execution_mode=mode)).prepare((x,))
        assert placement(prepared) == ()

    @pytest.mark.parametrize("backend", ["coreai", "coreml"])
    def test_codes_are_stored(self, name: str, mode: str, backend: str) -> None:
        model, x, count = model_of(name)
        quantizer = Quantizer(model, QuantizerConfig.presets.w8(execution_mode=mode))
        expected = quantizer.prepare((x,))(x)
        finalized = quantizer.finalize(backend=backend)
        assert torch.equal(finalized(x), expected)
        buffers = dict(finalized.named_buffers())
        stored = [n for n in buffers if n.endswith(("codes", "quantization_scale"))]
        assert len(stored) == count


@pytest.mark.parametrize("mode", MODES)
class TestModels:
    def test_training_moves_the_weights(self, mode: str) -> None:
        model, x, _ = model_of("lstm")
        quantizer = Quantizer(model, QuantizerConfig(execution_mode=mode))
        prepared = quantizer.prepare((x,))
        before = prepared(x).detach()
        with quantizer.training_mode():
            optimizer = torch.optim.SGD(prepared.parameters(), 1.0)
            prepared(x).square().sum().backward()
            optimizer.step()
        assert not torch.allclose(prepared(x), before, atol=1e-3)

    def test_copies_have_their_own(self, mode: str) -> None:
        model, x, _ = model_of("gru of two directions")
        prepared = Quantizer(model, QuantizerConfig(execution_mode=mode)).prepare((x,))
        twin = copy.deepcopy(prepared)
        with torch.no_grad():
            for parameter in twin.parameters():
                parameter.zero_()
        assert torch.count_nonzero(twin(x)) == 0
        assert torch.count_nonzero(prepared(x)) > 0

    def test_an_entry_of_none_leaves_them_alone(self, mode: str) -> None:
        model, x, _ = model_of("lstm")
        config = QuantizerConfig(
            execution_mode=mode, module_type_configs={"torch.nn.modules.rnn.LSTM": None}
        )
        assert placement(Quantizer(model, config).prepare((x,))) == ()


@pytest.mark.parametrize("name", [n for n in LAYERS if "cell" not in n and n != "unbatched gru"])
def test_steps_are_those_of_torch(name: str) -> None:
    model, x, _ = model_of(name)
    graph = torch.export.export(model, (x,)).module(check_guards=False).graph
    (node,) = [n for n in graph.nodes if n.target in COMPRESSED]
    layer, rule = model.layer, COMPRESSED[node.target]
    states = [torch.zeros(argument.meta["val"].shape) for argument in _leaves(node.args[1])]
    hx = states if isinstance(node.args[1], list | tuple) else states[0]
    expected = node.target(x, hx, list(layer.parameters()), *node.args[3:])
    found = rule(x, hx, list(layer.parameters()), *node.args[3:])
    for mine, other in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-6)


def _leaves(argument: Any) -> list[Any]:
    return list(argument) if isinstance(argument, list | tuple) else [argument]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")  # nn.LSTM compares sizes
@pytest.mark.parametrize("mode", MODES)
def test_a_core_ml_file_holds_the_codes(mode: str, tmp_path: Path) -> None:
    pytest.importorskip("coremltools")
    from quant_torch.export import to_coreml

    model, x, _ = model_of("projected lstm")
    quantizer = Quantizer(model, QuantizerConfig.presets.w8(execution_mode=mode))
    quantizer.prepare((x,))
    path = to_coreml(quantizer, (x,), tmp_path / "model.mlpackage")
    import coremltools

    spec = coremltools.models.utils.load_spec(str(path))
    kinds = [
        op.type
        for block in spec.mlProgram.functions["main"].block_specializations.values()
        for op in block.operations
    ]
    assert kinds.count("constexpr_blockwise_shift_scale") == 3
    assert "lstm" not in kinds
