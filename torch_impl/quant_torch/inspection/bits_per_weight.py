"""How many bits the weights of a prepared model take."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import fx, nn
from torch.nn.utils import parametrize

from quant_torch.quantization.spec.fake_quantize import FakeQuantizeImplBase
from quant_torch.quantization.spec.qformulation import QuantizationFormulation
from quant_torch.quantization.spec.qscheme import QuantizationScheme


@dataclass(frozen=True)
class BitsPerWeightResult:
    """Average width of the numbers a model stores.

    Attributes:
        bpw: total_bits / total_weights; 0 for a model without tensors.
        per_module_map: The same for the tensors each module owns itself, by module name.
        total_bits: Bits of all tensors, qparams included.
        total_weights: Number of stored elements, qparams not counted.
    """

    bpw: float
    per_module_map: dict[str, float]
    total_bits: int
    total_weights: int

    def __repr__(self) -> str:
        return (
            f"BitsPerWeightResult(bpw={self.bpw:.4f}, total_bits={self.total_bits}, "
            f"total_weights={self.total_weights})"
        )


def bits_per_weight(model: nn.Module) -> BitsPerWeightResult:
    """Count the bits that the parameters and buffers of a model take once it is finalized.

    A fake-quantized tensor counts its codes and its qparams: float32 or 8-bit scales, zero points
    of asymmetric schemes in the width of a code, float32 minvals. Everything else counts in its
    dtype. A shared tensor counts once, for the module that has it first. In graph mode a folded
    batch norm counts as the bias that its layer gets.

    Args:
        model: A float model, or one that ``Quantizer.prepare`` gave.
    """
    counted: dict[int, torch.Tensor] = {}
    per_module: dict[str, list[int]] = {}
    for name, tensor, quantizer in _stored_tensors(model):
        if id(tensor) in counted:
            continue
        counted[id(tensor)] = tensor
        own = per_module.setdefault(name, [0, 0])
        own[0] += _bits(tensor, quantizer)
        own[1] += tensor.numel()
    bits, weights = (sum(own[i] for own in per_module.values()) for i in (0, 1))
    averages = {name: own[0] / own[1] for name, own in per_module.items() if own[1]}
    return BitsPerWeightResult(bits / weights if weights else 0.0, averages, bits, weights)


def _stored_tensors(
    model: nn.Module,
) -> Iterator[tuple[str, torch.Tensor, FakeQuantizeImplBase | None]]:
    """(owner, tensor, its quantizer) of everything that is stored."""
    if isinstance(model, fx.GraphModule):
        from quant_torch.inspection._graph_storage import stored_tensors

        yield from stored_tensors(model)
        return
    for name, module in _owners(model):
        for tensor, quantizer in _own_tensors(module):
            yield name, tensor, quantizer


def _owners(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Modules that own tensors of the model, not of its quantizers."""
    inside: set[int] = set()
    for module in model.modules():
        if isinstance(module, FakeQuantizeImplBase | parametrize.ParametrizationList):
            inside |= {id(m) for m in module.modules()}
    for name, module in model.named_modules():
        if id(module) not in inside:
            yield name, module


def _own_tensors(
    module: nn.Module,
) -> Iterator[tuple[torch.Tensor, FakeQuantizeImplBase | None]]:
    for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
        yield tensor, None
    if not parametrize.is_parametrized(module):
        return
    for steps in module.parametrizations.values():
        quantizers = [step for step in steps if isinstance(step, FakeQuantizeImplBase)]
        if quantizers and len(quantizers) == len(steps):
            yield steps.original, quantizers[-1]
        else:  # the tensors that the user's own parametrizations start from are what is stored
            for tensor in (*steps.parameters(recurse=False), *steps.buffers(recurse=False)):
                yield tensor, None


def _bits(tensor: torch.Tensor, quantizer: FakeQuantizeImplBase | None) -> int:
    if quantizer is None or quantizer.disabled or quantizer.n_bits is None:
        return tensor.numel() * tensor.element_size() * 8
    scale = quantizer.calculate_qparams().scale
    per_block = 32 if quantizer.qparams_calculator.scale_dtype is None else 8
    if quantizer.qformulation is QuantizationFormulation.MINVAL:
        per_block += 32
    elif quantizer.qscheme is QuantizationScheme.ASYMMETRIC:
        per_block += quantizer.n_bits
    return tensor.numel() * quantizer.n_bits + scale.numel() * per_block
