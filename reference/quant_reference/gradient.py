"""fake_quantize_gradient: the straight-through estimator (SPEC.md, GRAD-1 to GRAD-4)."""

from __future__ import annotations

import numpy as np

from quant_reference._arrays import Array, Float32, float_array, map_blocks, to_float32
from quant_reference.errors import InputError
from quant_reference.qparams import QParams
from quant_reference.quantize import checked_params, real_codes
from quant_reference.spec import QuantizationSpec


def fake_quantize_gradient(
    x: Array, grad: Array, spec: QuantizationSpec, qparams: QParams
) -> Array:
    """Gradient of fake_quantize with respect to x.

    Clauses GRAD-1 (passes inside the range), GRAD-2 (+0 outside), GRAD-3 (float formats), GRAD-4
    (NaN).

    Args:
        x: The input of fake_quantize; float16, bfloat16 or float32.
        grad: Gradient with respect to its output; shape and dtype of x.
        spec: Gives dtype, qscheme and qformulation.
        qparams: Rank of x, one entry per block; they get no gradient.

    Returns:
        Gradient in the shape and dtype of x: the bits of grad, or +0.

    Raises:
        InputError: As for quantize, or grad of another shape or dtype (GRAD-1).
    """
    values = float_array(x, "x", "GRAD-1")
    upstream = float_array(grad, "grad", "GRAD-1")
    if (upstream.dtype, upstream.shape) != (values.dtype, values.shape):
        raise InputError(
            "grad",
            given=f"{upstream.dtype}{upstream.shape}",
            allowed=f"{values.dtype}{values.shape}, as x",
            clause="GRAD-1",
        )
    params = checked_params(values.shape, spec, qparams, "Q-8")
    zero = np.zeros((), values.dtype)

    def gradient_of(chunk: Array, incoming: Array, scale: Float32, *offset: Array) -> Array:
        unclamped = real_codes(to_float32(chunk), spec, scale, *offset)
        # NaN compares false: no gradient. Selecting, not multiplying, keeps inf * 0 out.
        inside = (unclamped >= spec.quant_min) & (unclamped <= spec.quant_max)
        return np.where(inside, incoming, zero)

    return map_blocks(gradient_of, (values, upstream), params, values.dtype)
