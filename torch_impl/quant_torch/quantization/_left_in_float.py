"""Why a parameter was not quantized, by the config."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

from torch import nn

from quant_torch.quantization._module_configs import ModuleSettings, resolve_module_configs
from quant_torch.quantization.config import QuantizerConfig
from quant_torch.quantization.config._fields import spec_for


def settings_of(model: nn.Module, config: QuantizerConfig) -> dict[str, ModuleSettings]:
    """What a config says about the modules of a float model; preparing it warns, this does not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return resolve_module_configs(model, config)


def why_in_float(settings: Mapping[str, ModuleSettings], name: str) -> str:
    """Why the parameter of a name stayed in float.

    Args:
        settings: Of the modules of the model.
        name: Of a parameter that no quantizer reads, or not all that read it.
    """
    owner, _, attribute = name.rpartition(".")
    known = settings.get(owner)
    if known is None or known.config is None:
        return "the config leaves its module alone"
    if spec_for(known.config.op_state_spec, attribute, "weight") is None:
        return "the config has no spec for it"
    return "an entry leaves its operation alone, or no axis or block size fits it [GRAN-6, GRAN-7]"
