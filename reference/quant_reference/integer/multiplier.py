"""The real multiplier M = s_a · s_w / s_out (INT-3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant_reference.errors import SpecError
from quant_reference.integer.codes import scales

Float32 = NDArray[np.float32]
Multiplier = NDArray[Any]


def _double(values: Float32) -> NDArray[np.float64]:
    return values.astype(np.float64)


MULTIPLIER_ORDERS: Mapping[str, Callable[[Float32, Float32, Float32], Multiplier]] = (
    MappingProxyType(
        {
            "float32_product_division": lambda a, w, out: (a * w) / out,
            "float32_division_product": lambda a, w, out: (a / out) * w,
            "float32_weight_division_product": lambda a, w, out: (w / out) * a,
            "float32_product_reciprocal": lambda a, w, out: (a * w) * (np.float32(1) / out),
            "float32_product_float64_division": lambda a, w, out: _double(a * w) / _double(out),
            "float64": lambda a, w, out: (_double(a) * _double(w)) / _double(out),
            "float64_to_float32": lambda a, w, out: (
                (_double(a) * _double(w)) / _double(out)
            ).astype(np.float32),
        }
    )
)
"""Name of an order of evaluation -> M, in the dtype of its last operation (INT-3)."""


def real_multiplier(
    input_scale: object, weight_scale: object, output_scale: object, order: str
) -> Multiplier:
    """Evaluate M = s_a · s_w / s_out in one of the orders of INT-3.

    Args:
        input_scale: float32, one value.
        weight_scale: float32, one value or one for each output channel.
        output_scale: float32, one value.
        order: A key of :data:`MULTIPLIER_ORDERS`.

    Returns:
        M in float32 or float64, as the order says, in the shape of ``weight_scale``.

    Raises:
        SpecError: Unknown order.
        InputError: Scales that are not positive, finite and normal, or a product or quotient of
            them that is zero, subnormal or infinite.
    """
    if order not in MULTIPLIER_ORDERS:
        raise SpecError(
            "order of evaluation", given=order, allowed=", ".join(MULTIPLIER_ORDERS), clause="INT-3"
        )
    a = scales(input_scale, "input scale", "INT-3")
    w = scales(weight_scale, "weight scale", "INT-3")
    out = scales(output_scale, "output scale", "INT-3")
    with np.errstate(all="ignore"):
        multiplier = MULTIPLIER_ORDERS[order](a, w, out)
        # Every operation of the orders, so that none of them over- or underflowed on its way.
        steps = (a * w, a / out, w / out, np.float32(1) / out, multiplier)
    used = {
        "float32_product_division": (0, 4),
        "float32_division_product": (1, 4),
        "float32_weight_division_product": (2, 4),
        "float32_product_reciprocal": (0, 3, 4),
        "float32_product_float64_division": (0, 4),
    }.get(order, (4,))
    for index in used:
        scales(steps[index].astype(np.float32), "multiplier of the scales", "INT-3")
    return multiplier
