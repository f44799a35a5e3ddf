"""What the tests of eager mode share."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from quant_torch.quantization import (
    ModuleQuantizerConfig,
    OpQuantizerConfig,
    Quantizer,
    QuantizerConfig,
)
from quant_torch.quantization.spec import FakeQuantizeImplBase, QuantizationSpec

INT8 = QuantizationSpec()
WIDE = QuantizationSpec(float_range=(-4.0, 4.0))
"""A spec whose qparams do not depend on the data, so that an oracle can be written by hand."""


def eager(config: ModuleQuantizerConfig | None = None, **more: Any) -> QuantizerConfig:
    """An eager config; without arguments the default one."""
    if config is None:
        return QuantizerConfig(execution_mode="eager", **more)
    return QuantizerConfig(global_config=config, execution_mode="eager", **more)


def only_named(**types: Any) -> QuantizerConfig:
    """Nothing but the operations of some types."""
    return eager(
        ModuleQuantizerConfig(
            op_input_spec=None, op_output_spec=None, op_state_spec=None, op_type_config=types
        )
    )


def both_ways(spec: QuantizationSpec | None = INT8) -> OpQuantizerConfig:
    """Inputs and outputs by one spec, weights left alone."""
    return OpQuantizerConfig(
        op_input_spec={"*": spec}, op_output_spec={"*": spec}, op_state_spec=None
    )


def prepare(model: nn.Module, *inputs: Any, config: QuantizerConfig | None = None) -> nn.Module:
    return Quantizer(model.eval(), config or eager()).prepare(inputs)


def quantized(model: nn.Module) -> set[str]:
    """What is quantized, by call site or parameter, each with what of it."""
    return {m.tensor_name for m in model.modules() if isinstance(m, FakeQuantizeImplBase)}


def operations(model: nn.Module) -> set[str]:
    """Names of the operations of which anything is quantized; weights do not count."""
    suffix = re.compile(r" (input|output) .*")
    return {suffix.sub("", name) for name in quantized(model) if suffix.search(name)}


def weights(model: nn.Module) -> set[str]:
    return {name for name in quantized(model) if " " not in name}


def switch_off(model: nn.Module) -> None:
    """Fake-quantization off, whatever the quantizer thinks."""
    for module in model.modules():
        if isinstance(module, FakeQuantizeImplBase):
            module.disable_fake_quant()


def is_parametrized(module: nn.Module, name: str = "weight") -> bool:
    return parametrize.is_parametrized(module, name)


def fixed(x: Tensor, extreme: float = 4.0) -> Tensor:
    """What WIDE makes of a tensor: int8, symmetric, scale 4/127.5; by the plain formula."""
    scale = torch.tensor(extreme) / 127.5
    return (x / scale).round().clamp(-128, 127) * scale
