"""Small models whose quantizer placement is known: what the placement vectors are about.

This module imports no framework; torch comes with the modules that :func:`build` imports.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

_ACTIVATIONS_UINT8: dict[str, Any] = {
    "dtype": "uint8",
    "qscheme": "asymmetric",
    "qparam_calculator_cls": "global_minmax",
}

_OFF: dict[str, Any] = {"op_input_spec": None, "op_output_spec": None, "op_state_spec": None}
_INT4: dict[str, Any] = {"dtype": "int4", "granularity": {"type": "per_channel", "axis": 0}}
_BY_DEFAULT_AXIS: dict[str, Any] = {
    "dtype": "int8",
    "granularity": {"type": "per_channel", "axis": None},
}
_BLOCKS: dict[str, Any] = {
    "dtype": "int4",
    "granularity": {"type": "per_block", "axis": None, "block_size": 2},
}
_INT8: dict[str, Any] = {"dtype": "int8", "granularity": {"type": "per_channel", "axis": 0}}


@dataclass(frozen=True)
class ModelEntry:
    """Where a model is, and how it is quantized.

    Attributes:
        module: Module of this package that holds it.
        cls: Name of its class; an instance has ``example_inputs()``.
        config: Plain form of the config's body, without the execution mode; empty for the default.
    """

    module: str
    cls: str
    config: Mapping[str, Any] = field(default_factory=dict)


MODELS: Mapping[str, ModelEntry] = {
    "mlp": ModelEntry("chains", "Mlp"),
    "conv_bn_relu": ModelEntry("chains", "ConvBnRelu"),
    "conv1d_pool": ModelEntry("chains", "Conv1dPool"),
    "conv3d_mean": ModelEntry("chains", "Conv3dMean"),
    "conv_transpose_bn": ModelEntry("chains", "ConvTransposeBn"),
    "linear_bn": ModelEntry("chains", "LinearBn"),
    "linear_bn_rank3": ModelEntry("chains", "LinearBnRank3"),
    "bn_alone": ModelEntry("chains", "BnAlone"),
    "conv_two_readers_bn": ModelEntry("chains", "ConvTwoReadersBn"),
    "depthwise_separable": ModelEntry("chains", "DepthwiseSeparable"),
    "known_ranges": ModelEntry("chains", "KnownRanges"),
    "pool_chain": ModelEntry("chains", "PoolChain"),
    "pool_arguments": ModelEntry("pools", "PoolArguments"),
    "dropout": ModelEntry("chains", "WithDropout"),
    "elementwise": ModelEntry("joins", "Elementwise"),
    "in_place": ModelEntry("joins", "InPlace"),
    "residual": ModelEntry("joins", "Residual"),
    "branches": ModelEntry("joins", "Branches"),
    "concat": ModelEntry("joins", "Concat"),
    "concat_known_ranges": ModelEntry("joins", "ConcatKnownRanges"),
    "shared_weight": ModelEntry("joins", "SharedWeight"),
    "weight_pieces": ModelEntry("weights", "WeightPieces"),
    "products": ModelEntry(
        "weights",
        "Products",
        {"global_config": {"op_state_spec": {"weight": _BY_DEFAULT_AXIS}}},
    ),
    "products_in_blocks": ModelEntry(
        "weights", "Products", {"global_config": {**_OFF, "op_state_spec": {"weight": _BLOCKS}}}
    ),
    "recurrent": ModelEntry("weights", "Recurrent"),
    "positions": ModelEntry("positions", "Positions"),
    "shape_only": ModelEntry("joins", "ShapeOnly"),
    "squeeze_excite": ModelEntry("joins", "SqueezeExcite"),
    "tied_embedding": ModelEntry("networks", "TiedEmbedding"),
    "attention": ModelEntry("networks", "Attention"),
    "mlp_mixer": ModelEntry("networks", "MlpMixer"),
    "tiny_resnet": ModelEntry("networks", "TinyResNet"),
    "tiny_transformer": ModelEntry("networks", "TinyTransformer"),
    "tiny_unet": ModelEntry("networks", "TinyUNet"),
    "conflict": ModelEntry(
        "chains",
        "Mlp",
        {
            "module_name_configs": {
                "fc2": {
                    "op_input_spec": {"*": _ACTIVATIONS_UINT8},
                    "op_output_spec": {"*": _ACTIVATIONS_UINT8},
                }
            }
        },
    ),
    "boundary": ModelEntry(
        "joins",
        "Residual",
        {
            "global_config": None,
            "module_name_configs": {
                "body": {
                    "op_input_spec": None,
                    "op_output_spec": None,
                    "op_state_spec": None,
                    "module_input_spec": {"0": _ACTIVATIONS_UINT8},
                    "module_output_spec": {"0": {}},
                }
            },
        },
    ),
    "shared_ranked": ModelEntry(
        "configured",
        "TiedLinears",
        {
            "global_config": None,
            "module_type_configs": {
                "torch.nn.modules.linear.Linear": {**_OFF, "op_state_spec": {"weight": _INT8}}
            },
            "module_name_configs": {"l1": {**_OFF, "op_state_spec": {"weight": _INT4}}},
        },
    ),
    "shared_alias": ModelEntry(
        "configured",
        "TiedLinears",
        {
            "global_config": None,
            "module_name_configs": {"l2": {**_OFF, "module_state_spec": {"weight": _INT4}}},
        },
    ),
    "nested_boundaries": ModelEntry(
        "configured",
        "NestedBlocks",
        {
            "global_config": None,
            "module_type_configs": {
                "quant_conformance.models.configured.OuterBlock": {
                    **_OFF,
                    "module_input_spec": {"0": {}},
                    "module_output_spec": {"0": {}},
                }
            },
            "module_name_configs": {
                "block.inner": {
                    **_OFF,
                    "module_input_spec": {"0": _ACTIVATIONS_UINT8},
                    "module_output_spec": {"0": _ACTIVATIONS_UINT8},
                }
            },
        },
    ),
}
"""Models by id, in the order of the documentation."""


@dataclass(frozen=True)
class BuiltModel:
    """A model, ready to be quantized.

    Attributes:
        model: The ``torch.nn.Module``, in evaluation mode, with weights of a fixed seed.
        example_inputs: Positional arguments of one forward pass.
        config: Plain form of the config's body, with the execution mode.
    """

    model: Any
    example_inputs: tuple[Any, ...]
    config: dict[str, Any]


def build(model_id: str, mode: str) -> BuiltModel:
    """Build a model.

    Args:
        model_id: A key of :data:`MODELS`.
        mode: ``"graph"`` or ``"eager"``.

    Raises:
        KeyError: No such model; names the closest.
    """
    entry = MODELS.get(model_id)
    if entry is None:
        close = difflib.get_close_matches(model_id, MODELS, n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise KeyError(f"no model {model_id!r}{hint}")
    torch = import_module("torch")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = getattr(import_module(f"{__name__}.{entry.module}"), entry.cls)().eval()
        inputs = model.example_inputs()
    return BuiltModel(model, inputs, {**entry.config, "execution_mode": mode})
