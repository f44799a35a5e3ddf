"""Integer layers: codes times codes, accumulated and requantized without a float (INT-*)."""

from quant_reference.integer.accumulation import BIAS_RULES, SUMS, accumulate, quantize_bias
from quant_reference.integer.codes import CODE_FORMATS, CodeFormat, code_format
from quant_reference.integer.fixed_point import (
    FIXED_POINT_FORMS,
    FixedPoint,
    fixed_point,
)
from quant_reference.integer.layers import (
    LAYER_OPERATIONS,
    accumulators_of,
    integer_layer,
    requantized,
)
from quant_reference.integer.multiplier import MULTIPLIER_ORDERS, real_multiplier
from quant_reference.integer.pooling import POOL_RULES
from quant_reference.integer.requantize import Requantization, requantize
from quant_reference.integer.rules import RULE_ALIASES, RULES, Rule, get_rule, rule_names
from quant_reference.integer.tensors import IntegerLayer, IntegerTensor

__all__ = [
    "BIAS_RULES",
    "CODE_FORMATS",
    "FIXED_POINT_FORMS",
    "LAYER_OPERATIONS",
    "MULTIPLIER_ORDERS",
    "POOL_RULES",
    "RULES",
    "RULE_ALIASES",
    "SUMS",
    "CodeFormat",
    "FixedPoint",
    "IntegerLayer",
    "IntegerTensor",
    "Requantization",
    "Rule",
    "accumulate",
    "accumulators_of",
    "code_format",
    "fixed_point",
    "get_rule",
    "integer_layer",
    "quantize_bias",
    "real_multiplier",
    "requantize",
    "requantized",
    "rule_names",
]
