"""What quantize, dequantize, fake_quantize and gradient cases have in common."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant_conformance.generate.builder import Builder
from quant_conformance.generate.data import levels
from quant_reference import QParams, QuantizationSpec
from quant_reference.qparams import zero_code

Array = NDArray[Any]

_ROUNDED = {"zp": "Q-1 Q-2 Q-3", "minval": "Q-1 Q-2 Q-4", "float": "Q-1 Q-5"}
_PRODUCT = {"zp": "DQ-1", "minval": "DQ-2", "float": "DQ-3"}


def clauses_of(operation: str, spec: QuantizationSpec) -> str:
    """Name the clauses that an elementwise operation follows for a spec."""
    formulation = spec.qformulation if spec.format.is_integer else "float"
    clip = " SPEC-6" if spec.qscheme == "symmetric_with_clipping" else ""
    if operation == "quantize":
        return _ROUNDED[formulation] + clip
    if operation == "dequantize":
        return _PRODUCT[formulation]
    if operation == "fake_quantize":
        return f"FQ-1 {_ROUNDED[formulation]} {_PRODUCT[formulation]}" + clip
    return ("GRAD-1 GRAD-2" if formulation != "float" else "GRAD-1 GRAD-2 GRAD-3") + clip


def ask(
    builder: Builder,
    case: str,
    operation: str,
    spec: QuantizationSpec,
    params: QParams,
    tensor: Array,
    flags: str,
    comment: str,
    *,
    clauses: str = "",
    target: str = "activation",
    **more: Any,
) -> None:
    """Add one case of an elementwise operation.

    Args:
        builder: The set.
        case: The id behind the family.
        operation: Also the family.
        spec: The spec.
        params: Qparams that tile the tensor.
        tensor: x, or codes for dequantize.
        flags: Space-separated.
        comment: One line.
        clauses: Space-separated, beside those of :func:`clauses_of`.
        target: ``"weight"`` or ``"activation"``.
        **more: Further arguments of :meth:`Builder.add`; ``grad`` joins the inputs.
    """
    inputs = {"codes" if operation == "dequantize" else "x": tensor}
    if "grad" in more:
        inputs["grad"] = more.pop("grad")
    builder.add(
        f"{operation}/{case}",
        operation,
        clauses=f"{clauses_of(operation, spec)} {clauses}",
        flags=flags,
        comment=comment,
        spec=spec,
        target=target,
        inputs=inputs,
        qparams=params,
        **more,
    )


def params_of(
    spec: QuantizationSpec, scale: Any, zero_point: Any = None, rank: int = 1, minval: Any = None
) -> QParams:
    """Build qparams; one value makes one block of the rank, a list one block per channel.

    Args:
        spec: Gives the format and the scheme's defaults.
        scale: A number, or one per index of axis 0.
        zero_point: As scale; the scheme's zero code if None.
        rank: Rank of the tensor.
        minval: As scale; minus half the range if None.
    """
    count = np.size(scale)
    shape = (count,) + (1,) * (rank - 1) if rank else ()
    scales = np.asarray(scale, np.float32).reshape(shape)
    if not spec.format.is_integer:
        return QParams(scales)
    chosen = zero_code(spec.format) if zero_point is None else zero_point
    zero_points = np.broadcast_to(np.asarray(chosen, np.int32).reshape(-1), (count,)).reshape(shape)
    if minval is None:
        with np.errstate(all="ignore"):
            minvals = -(scales * np.float32(levels(spec) / 2))
    else:
        minvals = np.broadcast_to(np.asarray(minval, np.float32).reshape(-1), (count,)).reshape(
            shape
        )
    return QParams(scales, np.array(zero_points), np.array(minvals))


def half_codes(spec: QuantizationSpec, around: int = 0) -> Array:
    """Return ties k + 1/2 over the codes in use and a little beyond; all if they are few."""
    low, high = int(spec.quant_min), int(spec.quant_max)
    every = np.arange(low - 3, high + 3) + 0.5
    if every.size <= 32:
        return every
    near = (np.abs(every - low) < 7) | (np.abs(every - high) < 7) | (np.abs(every - around) < 9)
    middle = (np.abs(every) < 5) | (np.abs(every - (low + high) / 2) < 5)
    found: Array = every[near | middle]
    return found


def zero_points(spec: QuantizationSpec) -> list[int]:
    """Return zero points at both ends, of both parities, and beside zero; one for symmetric."""
    if spec.qscheme != "asymmetric":
        return [zero_code(spec.format)]
    low, high = int(spec.quant_min), int(spec.quant_max)
    wanted = (low, high, low + 1, high - 1, 0, 1, -1, 3, (low + high) // 2, 2, -3, 37, 100)
    return list(dict.fromkeys(z for z in wanted if low <= z <= high))
