"""fake_quantize_gradient: the straight-through estimator (SPEC.md, GRAD-1 to GRAD-4)."""

from __future__ import annotations

import numpy as np

from quant_reference._arrays import Array, Float32, float_array
from quant_reference._fast import parts
from quant_reference.errors import InputError
from quant_reference.legality import checked_params
from quant_reference.qparams import QParams, codes_in_use
from quant_reference.quantize import unclamped_codes
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
    check_grad(values, upstream)
    scale, offset = checked_params(values.shape, spec, qparams, "Q-8")
    work = parts((values, upstream), (scale, offset), values.dtype)
    with np.errstate(all="ignore"):  # special values are results by rule and not accidents
        for part, incoming, part_scale, part_offset in work:
            unclamped = unclamped_codes(part, spec, part_scale, part_offset)
            work.store(masked(incoming, inside(unclamped, spec)))
    return work.result


def check_grad(x: Array, grad: Array) -> None:
    """Refuse a gradient of another shape or dtype (GRAD-1)."""
    if (grad.dtype, grad.shape) != (x.dtype, x.shape):
        raise InputError(
            "grad",
            given=f"{grad.dtype}{grad.shape}",
            allowed=f"{x.dtype}{x.shape}, as x",
            clause="GRAD-1",
        )


def inside(unclamped: Float32, spec: QuantizationSpec) -> Array:
    """Where the unclamped code is in use; NaN compares false (GRAD-1, GRAD-3, GRAD-4)."""
    least, greatest = codes_in_use(spec)
    return np.asarray((unclamped >= least) & (unclamped <= greatest))


def masked(grad: Array, passes: Array) -> Array:
    """The incoming gradient where it passes, +0 elsewhere (GRAD-1, GRAD-2).

    Selecting, not multiplying, keeps ``inf * 0`` out.
    """
    return np.where(passes, grad, np.zeros((), grad.dtype))
