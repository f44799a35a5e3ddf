"""What the tests of graph mode share."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import fx, nn

from quant_torch.inspection.placement import placement
from quant_torch.quantization.config import (
    ModuleQuantizerConfig,
    OpQuantizerConfig,
    QuantizerConfig,
)
from quant_torch.quantization.quantizer import Quantizer
from quant_torch.quantization.spec import QuantizationSpec

INT8 = QuantizationSpec()
UINT8 = QuantizationSpec(dtype="uint8", qscheme="asymmetric", qparam_calculator_cls="global_minmax")
UINT4 = QuantizationSpec(dtype="uint4", qscheme="asymmetric")
WEIGHT = QuantizationSpec(granularity={"type": "per_channel", "axis": 0})

IMAGE = (2, 3, 8, 8)


class Net(nn.Module):
    """A model from a function of its modules and inputs."""

    def __init__(self, function: Callable[..., Any], **modules: nn.Module) -> None:
        super().__init__()
        for name, module in modules.items():
            setattr(self, name, module)
        self.function = function

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(self, *args, **kwargs)


def conv(channels: int = 3, out: int = 4, **more: Any) -> nn.Conv2d:
    return nn.Conv2d(channels, out, 3, padding=1, **more)


def images(seed: int = 0) -> torch.Tensor:
    return torch.randn(IMAGE, generator=torch.Generator().manual_seed(seed))


def rows(seed: int = 0, shape: tuple[int, ...] = (4, 6)) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def prepare(
    model: nn.Module, *inputs: Any, config: QuantizerConfig | None = None, **more: Any
) -> fx.GraphModule:
    """The prepared model; conflicts are not what most tests are about."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*ask for different quantization.*")
        return Quantizer(model.eval(), config).prepare(inputs, **more)


def activations(given: QuantizationSpec | None, out: Any = ..., **more: Any) -> Any:
    """A module config with one spec for inputs and one for outputs."""
    return ModuleQuantizerConfig(**_specs(given, out), **more)


def operation(given: QuantizationSpec | None, out: Any = ...) -> OpQuantizerConfig:
    """An operation config with one spec for inputs and one for outputs."""
    return OpQuantizerConfig(**_specs(given, out))


def _specs(given: QuantizationSpec | None, out: Any) -> dict[str, Any]:
    return {"op_input_spec": {"*": given}, "op_output_spec": {"*": given if out is ... else out}}


def globally(config: ModuleQuantizerConfig | None = None, **more: Any) -> QuantizerConfig:
    return QuantizerConfig(global_config=config, **more)


def dtypes(model: nn.Module) -> dict[str, str]:
    """Quantized activations by name: their dtype."""
    return {
        p.tensor: str(p.spec.dtype).removeprefix("torch.")
        for p in placement(model)
        if p.target == "activation"
    }


def groups(model: nn.Module) -> dict[str, str]:
    """Quantized activations by name: the tensor whose qparams they have."""
    return {p.tensor: p.group for p in placement(model) if p.target == "activation"}


def weights(model: nn.Module) -> set[str]:
    return {p.tensor for p in placement(model) if p.target == "weight"}


def spec_of(model: nn.Module, tensor: str) -> QuantizationSpec:
    """The spec of the one quantizer of a tensor."""
    (found,) = [p.spec for p in placement(model) if p.tensor == tensor]
    return found


def set_statistics(model: nn.Module, seed: int = 0) -> nn.Module:
    """Give every batch norm parameters and statistics that are not 0 and 1."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.running_mean.normal_(generator=generator)
                module.running_var.uniform_(0.3, 3.0, generator=generator)
                if module.affine:
                    module.weight.normal_(generator=generator)
                    module.bias.normal_(generator=generator)
    return model
