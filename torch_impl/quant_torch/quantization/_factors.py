"""What the operations below torch's own multiply, and how often."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

MOVES = frozenset(
    {
        "view", "_unsafe_view", "reshape", "t", "transpose", "permute", "expand", "slice",
        "select", "squeeze", "unsqueeze", "clone", "alias", "detach", "as_strided", "split",
        "split_with_sizes", "unbind", "cat", "stack", "_to_copy", "lift_fresh", "index_select",
        "unfold", "narrow", "chunk", "diagonal", "flip", "roll", "_reshape_alias",
    }
)  # fmt: skip
"""Operations whose results hold elements of what they take, and nothing else."""

_PRODUCTS = {"mm": (0, 1), "bmm": (0, 1), "addmm": (1, 2), "baddbmm": (1, 2), "mv": (0, 1),
             "dot": (0, 1), "addmv": (1, 2)}  # fmt: skip
_ATTENTION = "scaled_dot_product"


def multiplied(func: Any, args: tuple[Any, ...], result: Any) -> tuple[list[Tensor], int] | None:
    """The two factors of an operation and its multiply-adds; None for one that sums no products.

    Args:
        func: An ATen operation below autograd.
        args: Its arguments.
        result: What it gave.
    """
    name = func._schema.name.partition("::")[2]
    if name in _PRODUCTS:
        left, right = (args[place] for place in _PRODUCTS[name])
        return [left, right], result.numel() * int(left.shape[-1])
    if name == "convolution":
        x, weight = args[:2]
        transposed = bool(args[6])
        each = math.prod(weight.shape[1:])
        return [x, weight], (x if transposed else result).numel() * each
    if name == "embedding" or "embedding_bag" in name:
        return [args[0]], 0
    if name == "_trilinear":  # nn.Bilinear, for each row of both inputs
        return list(args[:3]), args[1].numel() * (args[0].numel() // int(args[0].shape[-1]))
    if _ATTENTION in name and "backward" not in name:
        query, key, value = args[:3]
        once = query.numel() // int(query.shape[-1]) * int(key.shape[-2])
        return [query, key, value], once * (int(query.shape[-1]) + int(value.shape[-1]))
    return None
