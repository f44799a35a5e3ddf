"""The formula between values and codes."""

from enum import StrEnum


class QuantizationFormulation(StrEnum):
    """Quantization formulation (SPEC.md, Q-3, Q-4, DQ-1, DQ-2).

    Attributes:
        ZP: ``q = clamp(round(x / scale) + zero_point)``, ``x' = (q - zero_point) * scale``.
        MINVAL: ``q = clamp(round((x - minval) / scale) + quant_min)``,
            ``x' = (q - quant_min) * scale + minval``.
    """

    ZP = "zp"
    MINVAL = "minval"
