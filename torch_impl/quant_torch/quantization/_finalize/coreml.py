"""Core ML: buffers that coremltools reads, and torch's quantized tensors."""

from __future__ import annotations

import warnings

import torch
from torch import nn

from quant_torch.quantization._finalize.facts import Facts

_QUANTIZATION = 3
"""What coremltools calls this kind of compression."""

_TORCH_QUANTIZED = {torch.int8: torch.qint8, torch.uint8: torch.quint8}


class CoreMLActivation(nn.Module):
    """quantize, then dequantize, per tensor.

    Called as it is, it follows SPEC.md to the bit. While ``torch.jit.trace`` looks on it calls
    ``torch.quantize_per_tensor``, which is what coremltools converts; torch's kernel multiplies
    by the reciprocal of the scale, the converted operation divides.

    Buffers: ``scale`` (float32) and ``zero_point`` (int8 or uint8), 0-D.

    Args:
        facts: The fake-quantize module.
    """

    def __init__(self, facts: Facts) -> None:
        super().__init__()
        scale, zero_point, _ = facts.qparams
        self.dtype = facts.quantizer.dtype
        self.quant_min = int(facts.quantizer.quant_min)
        self.quant_max = int(facts.quantizer.quant_max)
        # symmetric_with_clipping drops a code that torch's type has (SPEC-6).
        self.clips = self.quant_min != torch.iinfo(self.dtype).min
        self.register_buffer("scale", scale.reshape(()).clone())
        self.register_buffer("zero_point", zero_point.reshape(()).to(self.dtype))

    def forward(self, x: torch.Tensor, overwrite: bool = False) -> torch.Tensor:
        """Fake-quantized values; x is never overwritten."""
        if torch.jit.is_tracing():
            return self._as_converted(x)
        zero_point = self.zero_point.float()
        codes = torch.round(x / self.scale) + zero_point
        return (codes.clamp(self.quant_min, self.quant_max) - zero_point) * self.scale

    def _as_converted(self, x: torch.Tensor) -> torch.Tensor:
        with warnings.catch_warnings():
            # Constants on purpose, and torch's quantized tensors are what coremltools converts.
            warnings.simplefilter("ignore")
            return self._quantized(x, float(self.scale), int(self.zero_point))

    def _quantized(self, x: torch.Tensor, scale: float, zero_point: int) -> torch.Tensor:
        if self.clips:
            # Divided by the scale, the bound is within an ulp of a whole number.
            x = x.clamp(min=scale * (self.quant_min - zero_point))
        quantized = torch.quantize_per_tensor(x, scale, zero_point, _TORCH_QUANTIZED[self.dtype])
        return quantized.dequantize()


def annotate_weight(facts: Facts, owner: nn.Module, attribute: str) -> None:
    """Register the buffers from which coremltools derives the codes of a parameter.

    Args:
        facts: The fake-quantize module of the parameter.
        owner: The module that has the parameter.
        attribute: The parameter's name there; its values are fake-quantized.
    """
    scale, zero_point, _ = facts.qparams
    dtype = torch.int8 if facts.format.kind == "int" else torch.uint8
    buffers = {
        "compression_type": torch.tensor([_QUANTIZATION]),
        "quantization_n_bits": torch.tensor(facts.format.bits),
        "quantization_scale": scale.clone(),
        "zero_point": zero_point.to(dtype),
    }
    for name, buffer in buffers.items():
        owner.register_buffer(f"_COREML_/{attribute}/{name}", buffer)


def mark_root(model: nn.Module) -> None:
    """Say which version of the buffers a model has."""
    model.register_buffer("_COREML_/metadata_version", torch.tensor(1))
