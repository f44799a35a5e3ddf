"""Operations between floating-point numbers and whole ones, in both modes (PLACE-14)."""

from __future__ import annotations

import re

from quant_torch._stand_in import standing_in
from quant_torch.quantization.config import ModuleQuantizerConfig

ROUNDINGS = frozenset({"floor", "ceil", "round", "trunc", "fix", "floor_divide", "__floordiv__"})
"""Operations that give whole numbers, whatever they are given."""

CONVERSIONS = frozenset(
    {
        "to", "_to_copy", "type", "type_as", "long", "int", "short", "char", "byte", "bool",
        "float", "double", "half", "bfloat16",
    }
)  # fmt: skip
"""Operations that keep a tensor's values and change their dtype."""

FACTORIES = frozenset(
    f"{kind}{like}" for kind in ("zeros", "ones", "full", "empty") for like in ("", "_like")
) | {"new_zeros", "new_ones", "new_full", "new_empty", "new_tensor"}
"""Operations that take the shape of a tensor and none of its values."""

LIKE_ANOTHER = frozenset({"type_as", "expand_as", "view_as", "reshape_as"})
"""Operations that take the values of their first tensor only."""

PASSING = frozenset(
    {
        "clamp", "clip", "clamp_min", "clamp_max", "clone", "contiguous", "detach", "permute",
        "slice", "t", "transpose", "expand", "expand_as", "reshape", "reshape_as", "select",
        "squeeze", "unsqueeze", "view", "view_as", "flatten", "__getitem__",
    }
)  # fmt: skip
"""Operations that only move an index, or keep it inside of a table."""

JOINING = frozenset(
    {"add", "sub", "rsub", "__rsub__", "where", "masked_fill", "maximum", "minimum", "max", "min"}
)
"""Operations that can bring a mask, or distances, into the scores of a softmax."""

FOLLOWING = JOINING | PASSING | CONVERSIONS | {"mul", "div", "dropout", "feature_dropout"}
"""Operations that may be between a mask and the softmax."""

SCORES = {
    "softmax": ("self", "input"),
    "_softmax": ("self", "input"),
    "log_softmax": ("self", "input"),
    "logsumexp": ("self", "input"),
    "scaled_dot_product_attention": ("attn_mask",),
}
"""Operations with the names of the argument that is exponentiated."""


def leaves_alone(config: ModuleQuantizerConfig | None, name: str) -> bool:
    """Whether integer arithmetic in floats asks for nothing: unless an entry has its very name.

    Args:
        config: Of the module that calls the operation.
        name: Full name of the operation.
    """
    if standing_in():
        return False
    return config is None or not {name, re.escape(name)} & set(config.op_name_config)
