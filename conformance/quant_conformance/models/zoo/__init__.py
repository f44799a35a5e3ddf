"""Whole models that go all the way: prepared, calibrated, finalized, saved, loaded, run, compared.

This module imports no framework. ``quant_conformance.export_matrix`` runs all combinations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MODES = ("graph", "eager")
BACKENDS = ("coreai", "coreml")

MODELS: Mapping[str, str] = {
    "mlp": "dense:Mlp",
    "cnn": "convolutional:Cnn",
    "separable": "convolutional:Separable",
    "resnet18": "convolutional:ResNet18",
    "unet": "convolutional:UNet",
    "transformer": "dense:TransformerBlock",
    "embedding": "dense:EmbeddingClassifier",
    "crepe": "trained:Crepe",
    "digits": "trained:Digits",
}
"""Model name -> "module:Class" in this package; an instance has ``batches(count)``."""


@dataclass(frozen=True)
class ZooConfig:
    """A quantization config of the zoo.

    Attributes:
        weight: Spec of weights.
        activation: Spec of activations, or None.
        linear_weight: Spec of the weights of Linear modules where they differ, or None.
        train: Whether two steps of training come before finalizing.
        coreml: Whether Core ML can express it.
    """

    weight: Mapping[str, Any]
    activation: Mapping[str, Any] | None = None
    linear_weight: Mapping[str, Any] | None = None
    train: bool = False
    coreml: bool = True


_CHANNEL: dict[str, Any] = {"type": "per_channel", "axis": None}


def _block(size: int) -> dict[str, Any]:
    return {"type": "per_block", "axis": None, "block_size": size}


_W8: dict[str, Any] = {"dtype": "int8", "granularity": _CHANNEL}
_A8: dict[str, Any] = {"dtype": "int8"}
_FP8: dict[str, Any] = {"dtype": "float8_e4m3fn"}

CONFIGS: Mapping[str, ZooConfig] = {
    "w8a8": ZooConfig(_W8, _A8),
    "w8": ZooConfig(_W8),
    "w4": ZooConfig({"dtype": "int4", "granularity": _CHANNEL}),
    "w4_per_block": ZooConfig({"dtype": "int4", "granularity": _block(16)}),
    "uint8_asymmetric": ZooConfig(_W8, {"dtype": "uint8", "qscheme": "asymmetric"}),
    "w8a8_trained": ZooConfig(_W8, _A8, train=True),
    "w2": ZooConfig({"dtype": "int2", "granularity": _CHANNEL}, coreml=False),
    "fp8": ZooConfig({**_FP8, "granularity": _CHANNEL}, _FP8, coreml=False),
    "mxfp4": ZooConfig(
        _W8, _FP8, linear_weight={"dtype": "float4_e2m1fn", "granularity": _block(32)}, coreml=False
    ),
    "minval": ZooConfig(
        {"dtype": "int8", "qformulation": "minval", "granularity": _CHANNEL},
        {"dtype": "uint8", "qscheme": "asymmetric", "qformulation": "minval"},
        coreml=False,
    ),
    "clipping": ZooConfig(
        {**_W8, "qscheme": "symmetric_with_clipping"},
        {**_A8, "qscheme": "symmetric_with_clipping"},
    ),
}
"""Config name -> what it quantizes to."""


CELLS: tuple[tuple[str, str, str, bool], ...] = (
    ("mlp", "w8a8", "graph", False),
    ("mlp", "w4_per_block", "graph", False),
    ("mlp", "mxfp4", "eager", False),
    ("cnn", "w2", "graph", False),
    ("cnn", "uint8_asymmetric", "eager", False),
    ("cnn", "w8a8_trained", "eager", False),
    ("separable", "minval", "graph", False),
    ("separable", "w4", "eager", False),
    ("separable", "w8", "graph", False),
    ("resnet18", "w8a8_trained", "graph", False),
    ("resnet18", "fp8", "eager", False),
    ("unet", "clipping", "graph", False),
    ("unet", "w8", "eager", True),
    ("transformer", "w8a8", "eager", False),
    ("transformer", "w8a8", "graph", True),
    ("transformer", "mxfp4", "graph", True),
    ("embedding", "w2", "eager", False),
    ("embedding", "w4_per_block", "graph", False),
    ("crepe", "fp8", "graph", False),
    ("crepe", "w4", "eager", False),
    ("digits", "minval", "eager", True),
    ("digits", "uint8_asymmetric", "graph", True),
    ("digits", "clipping", "eager", False),
)
"""(model, config, mode, cast to 16 bits): each model with two configs, each config with two models.

What the suite runs of the whole cross, on every backend that can express it.
"""


def config_of(name: str, mode: str) -> dict[str, Any]:
    """Plain form of a config for ``QuantizerConfig.from_dict``.

    Args:
        name: One of :data:`CONFIGS`.
        mode: "graph" or "eager".
    """
    chosen = CONFIGS[name]

    def module(weight: Mapping[str, Any]) -> dict[str, Any]:
        activation = None if chosen.activation is None else {"*": dict(chosen.activation)}
        return {
            "op_state_spec": {"weight": dict(weight)},
            "op_input_spec": activation,
            "op_output_spec": activation,
        }

    body: dict[str, Any] = {"execution_mode": mode, "global_config": module(chosen.weight)}
    if chosen.linear_weight is not None:
        body["module_type_configs"] = {
            "torch.nn.modules.linear.Linear": module(chosen.linear_weight)
        }
    return {"quantization_config": body}
