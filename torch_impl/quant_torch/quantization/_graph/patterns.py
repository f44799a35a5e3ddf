"""Which operations an inference engine runs as one: the table, and the registry of additions.

A pattern is a chain of operations; quantizers are before and after a chain, never inside
(PLACE-1). The built-in table below is data. Users add patterns in one line::

    register_pattern("div_act", ["div", ACTIVATIONS])
    register_pattern("add_mul_sub", [torch.add, torch.mul, torch.sub])
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import fx

from quant_torch.quantization._graph.ops import op_type, type_named_by
from quant_torch.quantization._graph.states import is_weighted
from quant_torch.quantization._states import WHERE_WEIGHTED

Kind = Literal["compute", "value_preserving"]
Operation = str | Callable[..., Any]

CONVOLUTIONS = frozenset({"conv1d", "conv2d", "conv3d"})
TRANSPOSED_CONVOLUTIONS = frozenset({"conv_transpose1d", "conv_transpose2d", "conv_transpose3d"})
LINEAR = frozenset({"linear"})
WEIGHTED = CONVOLUTIONS | TRANSPOSED_CONVOLUTIONS | LINEAR
BATCH_NORM = frozenset({"batch_norm"})
ACTIVATIONS = frozenset(
    {
        "relu", "relu6", "leaky_relu", "silu", "elu", "celu", "selu", "mish", "hardtanh",
        "hardswish", "hardsigmoid", "gelu", "sigmoid", "log_sigmoid", "tanh",
    }
)  # fmt: skip
POOLS = frozenset(
    f"{kind}{n}d" for kind in ("max_pool", "avg_pool", "adaptive_avg_pool") for n in (1, 2, 3)
)
SHAPE_ONLY = frozenset(
    {
        "clone", "dropout", "feature_dropout", "permute", "slice", "t", "transpose", "expand",
        "reshape", "select", "squeeze", "unsqueeze", "view",
    }
)  # fmt: skip
"""Operations that move values and never change them: qparams pass through (PLACE-7)."""


@dataclass(frozen=True)
class Pattern:
    """A chain of operations with quantizers at its ends.

    Attributes:
        name: Key of the pattern.
        chain: Op types that may be at each place.
        kind: ``"compute"``, or ``"value_preserving"`` where input and output share qparams.
        choose: Gives the operations of a captured graph at which the chain may begin; None for
            wherever it does.
    """

    name: str
    chain: tuple[frozenset[str], ...]
    kind: Kind = "compute"
    choose: Callable[[Any], Collection[Any]] | None = None


def weighted_products(module: fx.GraphModule) -> frozenset[fx.Node]:
    """The matrix products of a captured graph that have a parameter for a factor (PLACE-13)."""
    return frozenset(
        node for node in module.graph.nodes if op_type(node) in WHERE_WEIGHTED and is_weighted(node)
    )


BUILT_IN: tuple[Pattern, ...] = (
    Pattern("conv_bn_act", (CONVOLUTIONS, BATCH_NORM, ACTIVATIONS)),
    Pattern("conv_bn", (CONVOLUTIONS, BATCH_NORM)),
    Pattern("conv_act", (CONVOLUTIONS, ACTIVATIONS)),
    Pattern("conv", (CONVOLUTIONS,)),
    Pattern("conv_transpose_bn_act", (TRANSPOSED_CONVOLUTIONS, BATCH_NORM, ACTIVATIONS)),
    Pattern("conv_transpose_bn", (TRANSPOSED_CONVOLUTIONS, BATCH_NORM)),
    Pattern("conv_transpose_act", (TRANSPOSED_CONVOLUTIONS, ACTIVATIONS)),
    Pattern("conv_transpose", (TRANSPOSED_CONVOLUTIONS,)),
    Pattern("linear_bn_act", (LINEAR, BATCH_NORM, ACTIVATIONS)),
    Pattern("linear_bn", (LINEAR, BATCH_NORM)),
    Pattern("linear_act", (LINEAR, ACTIVATIONS)),
    Pattern("linear", (LINEAR,)),
    Pattern("add_act", (frozenset({"add"}), ACTIVATIONS)),
    Pattern("add", (frozenset({"add"}),)),
    Pattern("mul_act", (frozenset({"mul"}), ACTIVATIONS)),
    Pattern("mul", (frozenset({"mul"}),)),
    Pattern("sub", (frozenset({"sub"}),)),
    Pattern("matmul_act", (frozenset({"matmul"}), ACTIVATIONS)),
    Pattern("matmul", (frozenset({"matmul"}),)),
    Pattern("product_act", (WHERE_WEIGHTED, ACTIVATIONS), choose=weighted_products),
    Pattern("product", (WHERE_WEIGHTED,), choose=weighted_products),
    Pattern("einsum_act", (frozenset({"einsum"}), ACTIVATIONS)),
    Pattern("einsum", (frozenset({"einsum"}),)),
    Pattern("embedding", (frozenset({"embedding"}),)),
    Pattern("pool", (POOLS,), "value_preserving"),
    Pattern("mean", (frozenset({"mean"}),), "value_preserving"),
    Pattern("flatten", (frozenset({"flatten"}),), "value_preserving"),
    Pattern("concat", (frozenset({"cat"}),), "value_preserving"),
)
"""The fusion boundaries of PLACE-2 and the value-preserving operations of PLACE-6."""

ADDED: dict[str, tuple[Pattern, ...]] = {}
"""What users added, by key."""


def register_pattern(
    name: str,
    chain: Sequence[Operation | Iterable[Operation]],
    *,
    value_preserving: bool = False,
) -> Pattern:
    """Add a chain of operations that is quantized as one.

    Args:
        name: Key of the pattern.
        chain: For each place an operation, or several of which one may be there; as names,
            torch functions or operators.
        value_preserving: Whether the output has the values of the input, so that both share
            qparams.

    Returns:
        The pattern.

    Raises:
        ValueError: The name is taken, or the chain is empty.
        TypeError: Something in the chain names no operation.
    """
    places = tuple(_types_at(place) for place in chain)
    if not places or not all(places):
        raise ValueError(f"pattern {name!r} needs at least one operation at every place")
    pattern = Pattern(name, places, "value_preserving" if value_preserving else "compute")
    add_patterns(name, (pattern,))
    return pattern


def add_patterns(name: str, added: tuple[Pattern, ...]) -> None:
    """Add patterns under one key.

    Raises:
        ValueError: The key is taken.
    """
    if name in ADDED or any(name == known.name for known in BUILT_IN):
        raise ValueError(
            f"pattern {name!r} is registered already; choose another name, or take the old one "
            "out with unregister_pattern"
        )
    ADDED[name] = added


def unregister_pattern(name: str) -> None:
    """Take out what was added under a key.

    Raises:
        KeyError: Nothing was added under this key.
    """
    del ADDED[name]


def patterns() -> tuple[Pattern, ...]:
    """Every pattern, longer ones first; among equally long ones, added ones first."""
    added = (pattern for several in ADDED.values() for pattern in several)
    return tuple(sorted((*added, *BUILT_IN), key=lambda p: -len(p.chain)))


def _types_at(place: Operation | Iterable[Operation]) -> frozenset[str]:
    if isinstance(place, str) or callable(place) or not isinstance(place, Iterable):
        return frozenset({type_named_by(place)})
    return frozenset(type_named_by(operation) for operation in place)
