"""Bits counted by hand: codes, scales, zero points and everything that stays as it is."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import pytest
import torch
from tests.torch_impl.models import examples
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from quant_torch.inspection import bits_per_weight
from quant_torch.quantization import ModuleQuantizerConfig, Quantizer, QuantizerConfig
from quant_torch.quantization.spec import QuantizationSpec

CHANNEL = {"type": "per_channel", "axis": 0}
BLOCK = {"type": "per_block", "axis": 1, "block_size": 32}


def prepare(model: nn.Module, x: Tensor, config: QuantizerConfig | None = None) -> nn.Module:
    config = config or QuantizerConfig.presets.w8(execution_mode="eager")
    return Quantizer(model.eval(), config).prepare((x,))


@pytest.mark.parametrize(
    ("spec", "codes", "qparams"),
    [
        ({"dtype": "int8", "granularity": CHANNEL}, 8, 32 * 32),
        ({"dtype": "int4", "granularity": BLOCK}, 4, 64 * 32),
        ({"dtype": "uint4", "granularity": CHANNEL}, 4, 32 * 32),
        ({"dtype": "uint4", "qscheme": "asymmetric", "granularity": CHANNEL}, 4, 32 * (32 + 4)),
        ({"dtype": "int8", "qformulation": "minval", "granularity": CHANNEL}, 8, 32 * (32 + 32)),
        ({"dtype": "int2"}, 2, 32),
        ({"dtype": "float8_e4m3fn"}, 8, 32),
        ({"dtype": "float8_e5m2", "scale_dtype": "float8_e8m0fnu"}, 8, 8),
        ({"dtype": "float4_e2m1fn", "granularity": BLOCK}, 4, 64 * 8),
    ],
)
def test_one_weight(spec: dict[str, Any], codes: int, qparams: int) -> None:
    """A 32×64 weight has 32 channels and 64 blocks of 32."""
    config = ModuleQuantizerConfig(
        op_input_spec=None, op_output_spec=None, op_state_spec={"weight": QuantizationSpec(**spec)}
    )
    model = prepare(
        nn.Sequential(nn.Linear(64, 32, bias=False)), torch.randn(2, 64),
        QuantizerConfig(global_config=config, execution_mode="eager"),
    )  # fmt: skip
    result = bits_per_weight(model)
    assert result.total_weights == 2048
    assert result.total_bits == 2048 * codes + qparams
    assert result.bpw == result.total_bits / 2048
    assert result.per_module_map == {"0": result.bpw}


def test_the_rest_counts_in_its_dtype() -> None:
    model = nn.Sequential(nn.Linear(64, 32), nn.BatchNorm1d(32), nn.Linear(32, 8))
    floating = bits_per_weight(copy.deepcopy(model))
    # Two weights and biases, four tensors of the batch norm, and its int64 counter.
    assert floating.total_weights == 2048 + 32 + 256 + 8 + 4 * 32 + 1
    assert floating.total_bits == 32 * 2472 + 64
    prepared = bits_per_weight(prepare(model, torch.randn(2, 64)))
    assert prepared.total_weights == floating.total_weights
    assert prepared.total_bits == 8 * 2304 + 32 * 40 + 32 * 168 + 64
    assert prepared.per_module_map["1"] == (32 * 128 + 64) / 129
    assert bits_per_weight(copy.deepcopy(model).half()).bpw < floating.bpw


def test_activations_add_nothing() -> None:
    model, x = nn.Linear(64, 8), torch.randn(1, 64)
    weights_only = bits_per_weight(prepare(copy.deepcopy(model), x))
    both = bits_per_weight(prepare(model, x, QuantizerConfig(execution_mode="eager")))
    assert both == weights_only


def test_a_shared_weight_counts_once() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(10, 4)
            self.output = nn.Linear(4, 10, bias=False)
            self.output.weight = self.embedding.weight

        def forward(self, tokens: Tensor) -> Tensor:
            return self.output(self.embedding(tokens))

    result = bits_per_weight(prepare(Tied(), torch.tensor([1])))
    assert result.total_weights == 40
    assert result.total_bits == 40 * 8 + 10 * 32
    assert list(result.per_module_map) == ["embedding"]


def test_a_weight_left_unquantized_counts_in_full() -> None:
    config = QuantizerConfig.presets.w4_per_block(execution_mode="eager")
    with pytest.warns(UserWarning, match="weight of shape"):
        model = prepare(nn.Linear(30, 4, bias=False), torch.randn(1, 30), config)
    assert bits_per_weight(model).bpw == 32


def test_parametrizations_of_the_user_count_what_they_store() -> None:
    model = weight_norm(nn.Linear(8, 4, bias=False))
    before = bits_per_weight(model)
    assert before.total_weights == 8 * 4 + 4
    assert bits_per_weight(prepare(model, torch.randn(2, 8))) == before


def test_a_model_without_tensors() -> None:
    result = bits_per_weight(nn.ReLU())
    assert (result.bpw, result.total_bits, result.per_module_map) == (0.0, 0, {})


@pytest.mark.peers
@pytest.mark.parametrize("preset", ["w8", "w4", "w4_per_block"])
@pytest.mark.parametrize("name", ["mlp", "transformer", "resnet"])
def test_the_peer_counts_alike(name: str, preset: str) -> None:
    peer = pytest.importorskip("coreai_opt.quantization")
    from coreai_opt.inspection import bits_per_weight as peer_count

    model, inputs = examples()[name]
    options = {"block_size": 8} if preset == "w4_per_block" else {}
    ours = Quantizer(
        copy.deepcopy(model),
        getattr(QuantizerConfig.presets, preset)(execution_mode="eager", **options),
    )
    theirs = peer.Quantizer(
        copy.deepcopy(model),
        getattr(peer.QuantizerConfig.presets, preset)(
            execution_mode=peer.ExecutionMode.EAGER, **options
        ),
    )

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # blocks that do not divide a 7×7 stem's 3 channels
        counted, expected = (
            bits_per_weight(ours.prepare(inputs)),
            peer_count(theirs.prepare(inputs)),
        )
    assert (counted.total_bits, counted.total_weights) == (
        expected.total_bits, expected.total_weights,
    )  # fmt: skip
    assert counted.per_module_map == expected.per_module_map
