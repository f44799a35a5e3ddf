"""Integer layers: codes times codes, accumulated and requantized without a float (INT-*)."""

from quant_reference.integer.accumulation import BIAS_RULES, SUMS, accumulate, quantize_bias
from quant_reference.integer.codes import CODE_FORMATS, CodeFormat, code_format
from quant_reference.integer.fixed_point import (
    FIXED_POINT_FORMS,
    FixedPoint,
    fixed_point,
)
from quant_reference.integer.multiplier import MULTIPLIER_ORDERS, real_multiplier
from quant_reference.integer.requantize import Requantization, requantize
from quant_reference.integer.rules import RULE_ALIASES, RULES, Rule, get_rule

__all__ = [
    "BIAS_RULES",
    "CODE_FORMATS",
    "FIXED_POINT_FORMS",
    "MULTIPLIER_ORDERS",
    "RULES",
    "RULE_ALIASES",
    "SUMS",
    "CodeFormat",
    "FixedPoint",
    "Requantization",
    "Rule",
    "accumulate",
    "code_format",
    "fixed_point",
    "get_rule",
    "quantize_bias",
    "real_multiplier",
    "requantize",
]
