"""Block-scaled tensors: scales, elements, memory layout and dot products (BLK-1 to BLK-8)."""

from quant_reference.block.dot import block_dot
from quant_reference.block.elements import block_dequantize, block_quantize
from quant_reference.block.forms import (
    BLOCK_FORMATS,
    TAILS,
    BlockForm,
    BlockTensor,
    block_form,
)
from quant_reference.block.layout import swizzle, unswizzle
from quant_reference.block.rules import (
    DOT_RULES,
    MX_RULES,
    PRODUCT_RULES,
    QUOTIENT_RULES,
    RULE_ALIASES,
    BlockRule,
    UnsignedRule,
    get_rule,
    rules_of,
    unsigned_rules,
)
from quant_reference.block.scales import block_scale

__all__ = [
    "BLOCK_FORMATS",
    "DOT_RULES",
    "MX_RULES",
    "PRODUCT_RULES",
    "QUOTIENT_RULES",
    "RULE_ALIASES",
    "TAILS",
    "BlockForm",
    "BlockRule",
    "BlockTensor",
    "UnsignedRule",
    "block_dequantize",
    "block_dot",
    "block_form",
    "block_quantize",
    "block_scale",
    "get_rule",
    "rules_of",
    "swizzle",
    "unsigned_rules",
    "unswizzle",
]
