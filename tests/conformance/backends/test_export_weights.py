"""Every legal spec of a weight, through finalize and a file: what is stored is the reference's.

One model has a layer for each spec, so that one export covers them all.
"""

from __future__ import annotations

import logging
import warnings
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from quant_conformance.export_matrix.expected_weights import (
    Expected,
    expected_weights,
    missing_weights,
)
from quant_conformance.runtimes import CoreAIExecutor, MilExecutor, StoredTensor
from quant_torch.export import to_coreai, to_coreml
from quant_torch.quantization import Quantizer, QuantizerConfig

SCHEMES = ("symmetric", "symmetric_with_clipping", "asymmetric")
COREML_INTEGERS = ("int4", "uint4", "int8", "uint8")
INTEGERS = ("int2", "uint2", *COREML_INTEGERS)
GRANULARITIES: tuple[dict[str, Any], ...] = (
    {"type": "per_tensor"},
    {"type": "per_channel", "axis": 0},
    {"type": "per_channel", "axis": 1},
    {"type": "per_block", "axis": 1, "block_size": 4},
)
OTHER_BLOCKS: tuple[dict[str, Any], ...] = (
    {"type": "per_block", "axis": 0, "block_size": 2},
    {"type": "per_block", "axis": None, "block_size": (2, 16)},
)
LAYERS = {
    "linear": lambda: nn.Linear(32, 4, bias=False),
    "conv1d": lambda: nn.Conv1d(8, 4, 3, bias=False),
    "conv2d": lambda: nn.Conv2d(8, 4, 3, bias=False),
    "conv_transpose2d": lambda: nn.ConvTranspose2d(4, 8, 2, bias=False),
}
INPUTS = {"linear": (2, 32), "conv1d": (1, 8, 5), "conv2d": (1, 8, 5, 5)}
INPUTS["conv_transpose2d"] = (1, 4, 3, 3)


def integer_specs(dtypes: tuple[str, ...], formulations: tuple[str, ...]) -> list[dict[str, Any]]:
    return [
        {"dtype": d, "qscheme": s, "qformulation": f, "granularity": g}
        for d, s, f, g in product(dtypes, SCHEMES, formulations, GRANULARITIES)
    ]


def float_specs() -> list[dict[str, Any]]:
    eights = [
        {"dtype": d, "scale_dtype": s, "granularity": g}
        for d, s, g in product(
            ("float8_e4m3fn", "float8_e5m2"), (None, "float8_e8m0fnu"), GRANULARITIES
        )
    ]
    blocks = {"type": "per_block", "axis": 1, "block_size": 16}
    return [*eights, {"dtype": "float4_e2m1fn", "granularity": blocks}]


def on_layers(
    specs: list[dict[str, Any]], others: tuple[str, ...]
) -> list[tuple[str, dict[str, Any]]]:
    """Linear layers for all specs, and each other layer for every third."""
    pairs = [("linear", spec) for spec in specs]
    for place, layer in enumerate(others):
        pairs += [(layer, spec) for spec in specs[place::3] if spec["dtype"] != "float4_e2m1fn"]
    extra = [{"dtype": "int4", "qscheme": "asymmetric", "granularity": g} for g in OTHER_BLOCKS]
    return pairs + [("linear", spec) for spec in extra]


OTHERS = ("conv1d", "conv2d", "conv_transpose2d")
COREAI = on_layers([*integer_specs(INTEGERS, ("zp", "minval")), *float_specs()], OTHERS)
COREML = on_layers(integer_specs(COREML_INTEGERS, ("zp",)), OTHERS)


class Layers(nn.Module):
    """One layer for each pair; layers of a kind share an input."""

    def __init__(self, kinds: list[str]) -> None:
        super().__init__()
        self.kinds = kinds
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            self.parts = nn.ModuleList(LAYERS[kind]() for kind in kinds)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        given = dict(zip(dict.fromkeys(self.kinds), inputs, strict=True))
        return tuple(part(given[kind]) for kind, part in zip(self.kinds, self.parts, strict=True))


def exported(
    pairs: list[tuple[str, dict[str, Any]]], mode: str, backend: str, folder: Path
) -> tuple[list[Expected], tuple[StoredTensor, ...]]:
    model = Layers([kind for kind, _ in pairs]).eval()
    example = tuple(torch.randn(INPUTS[kind]) for kind in dict.fromkeys(model.kinds))
    only_weights = {"op_input_spec": None, "op_output_spec": None}
    config = {
        "execution_mode": mode,
        "global_config": None,
        "module_name_configs": {
            rf"parts\.{index}": {**only_weights, "op_state_spec": {"weight": spec}}
            for index, (_, spec) in enumerate(pairs)
        },
    }
    quantizer = Quantizer(model, QuantizerConfig.from_dict({"quantization_config": config}))
    prepared = quantizer.prepare(example)
    known = expected_weights(prepared, example)
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if backend == "coreai":
                with CoreAIExecutor(to_coreai(quantizer, example, folder / "m.aimodel")) as loaded:
                    return known, tuple(loaded.stored)
            path = to_coreml(quantizer, example, folder / "m.mlpackage")
            return known, tuple(MilExecutor(path).stored.values())
    finally:
        logging.disable(level)


@pytest.mark.parametrize("mode", ["graph", "eager"])
@pytest.mark.parametrize("backend", ["coreai", "coreml"])
def test_codes_and_qparams_in_the_file(mode: str, backend: str, tmp_path: Path) -> None:
    pytest.importorskip("coreai_torch" if backend == "coreai" else "coremltools")
    pairs = COREAI if backend == "coreai" else COREML
    if mode == "eager":  # the same forms, placed by another walk
        pairs = pairs[::3]
    known, stored = exported(pairs, mode, backend, tmp_path)
    assert len(known) == len(pairs)
    assert len(stored) == len(pairs)
    assert missing_weights(known, stored, half=False) == []


def test_a_scale_that_is_off_by_an_ulp_is_noticed(tmp_path: Path) -> None:
    pytest.importorskip("coreai_torch")
    pairs = COREAI[:2]
    known, stored = exported(pairs, "eager", "coreai", tmp_path)
    first = stored[0]
    scale = np.nextafter(first.scale, np.float32(np.inf))
    wrong = StoredTensor(first.dtype, first.codes, scale, first.zero_point, first.minval)
    assert len(missing_weights(known, [wrong, stored[1]], half=False)) == 1
