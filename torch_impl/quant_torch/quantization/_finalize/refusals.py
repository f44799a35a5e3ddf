"""What the backends cannot express, said before anything is changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch

from quant_torch._backends import CoreMLExportError, ExportBackend
from quant_torch.quantization._finalize.facts import Facts, has_standard_formulas

_ACTIVATION_INTEGERS = ("int8", "uint8")
_FP8 = ("float8_e4m3fn", "float8_e5m2")
_FP4 = "float4_e2m1fn"
_FP4_BLOCK = 32

Complaint = str | None
"""What is allowed instead, or None."""


def refuse(backend: ExportBackend, tensors: Iterable[Facts]) -> None:
    """Raise for what a backend cannot express; the message lists every such tensor.

    Args:
        backend: The target.
        tensors: Everything that is to be finalized.

    Raises:
        CoreMLExportError: Core ML cannot express a tensor.
        ValueError: Core AI cannot.
    """
    check = _CHECKS[backend]
    complaints = []
    for facts in tensors:
        allowed = _common(facts) or check(facts)
        if allowed is not None:
            complaints.append(f"{facts.name}: given {facts.spec_text}; allowed: {allowed}")
    if complaints:
        label = "Core ML" if backend is ExportBackend.CoreML else "Core AI"
        error = CoreMLExportError if backend is ExportBackend.CoreML else ValueError
        listed = "\n  ".join(complaints)
        raise error(f"{label} cannot express this model; nothing was changed\n  {listed}")


def _common(facts: Facts) -> Complaint:
    if not has_standard_formulas(facts.quantizer):
        return "fake-quantize classes that keep the dequantization of the default one"
    if facts.quantizer.is_stateless:
        return "calculators that keep qparams (static, moving_average, global_minmax)"
    return None


def _coreai(facts: Facts) -> Complaint:
    fmt = facts.format.name
    if facts.role == "weight":
        return _coreai_fp4(facts) if fmt == _FP4 else None
    if fmt not in (*_ACTIVATION_INTEGERS, *_FP8):
        return "int8, uint8, float8_e4m3fn or float8_e5m2 activations"
    if facts.granularity_key == "per_block":
        return "activations per tensor or per channel"
    return None


def _coreai_fp4(facts: Facts) -> Complaint:
    # Two codes share a byte along the last axis, and their scales follow it in blocks.
    shape, block = facts.shape or (), facts.block
    in_blocks = facts.granularity_key == "per_block" and all(n == 1 for n in block[:-1])
    if in_blocks and shape[-1] % _FP4_BLOCK == 0 and block[-1] % 2 == 0:
        return None
    return (
        f"float4_e2m1fn weights per block on the last axis, whose length {_FP4_BLOCK} divides "
        f"(this one has shape {shape}); use another dtype, for instance int8, for this module"
    )


def _coreml(facts: Facts) -> Complaint:
    if facts.uses_minval and facts.format.is_integer:
        return "qformulation zp"
    if facts.role == "activation" and facts.dtype not in (None, torch.float32):
        return f"float32 activations (this one is {facts.dtype}); finalize a model.float()"
    if facts.dtype not in (None, torch.float32, torch.float16):
        # coremltools derives codes from values, and those of bfloat16 are a step of uint8 apart.
        return f"float32 or float16 weights (this one is {facts.dtype}); finalize a model.float()"
    if facts.role == "weight":
        if facts.format.name in ("int4", "uint4", *_ACTIVATION_INTEGERS):
            return None
        return "int4, uint4, int8 or uint8 weights"
    if facts.format.name not in _ACTIVATION_INTEGERS:
        return "int8 or uint8 activations"
    if facts.granularity_key != "per_tensor":
        return "activations per tensor"
    return None


_CHECKS: dict[ExportBackend, Callable[[Facts], Complaint]] = {
    ExportBackend.CoreAI: _coreai,
    ExportBackend.CoreML: _coreml,
}
