"""What an operation takes a parameter for, and the axis that it gives it (GRAN-7, PLACE-13)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from quant_torch._stand_in import standing_in
from quant_torch.quantization.spec.granularity import PerBlockGranularity, default_axis
from quant_torch.quantization.spec.spec import QuantizationSpec

Role = Literal["weight", "bias"]

LAYERS: dict[str, str] = {
    "linear": "Linear",
    "embedding": "Embedding",
    **{f"conv{n}d": f"Conv{n}d" for n in (1, 2, 3)},
    **{f"conv_transpose{n}d": f"ConvTranspose{n}d" for n in (1, 2, 3)},
}
"""Operations that have a weight, with the kind of module that GRAN-7 has for them."""

RECURRENT = frozenset(
    f"{kind}{cell}" for kind in ("lstm", "gru", "rnn_tanh", "rnn_relu") for cell in ("", "_cell")
)
"""Layers that are run for a whole sequence, and one step of them."""

# As ATen and eager mode call them: the fourth argument is the list of a packed sequence.
_OF_RECURRENT = ("params", "w_", "b_", "input_3")


@dataclass(frozen=True)
class Product:
    """Names of the arguments of a matrix product, as ATen and as torch's functions spell them.

    Attributes:
        left: The factor whose rows are the result's.
        right: The factor whose columns are the result's.
        addend: What is added to the product.
    """

    left: tuple[str, ...]
    right: tuple[str, ...]
    addend: tuple[str, ...] = ()


_SELF = ("self", "input")
PRODUCTS: dict[str, Product] = {
    "matmul": Product(_SELF, ("other",)),
    "mm": Product(_SELF, ("mat2",)),
    "bmm": Product(_SELF, ("mat2",)),
    "addmm": Product(("mat1",), ("mat2",), _SELF),
    "baddbmm": Product(("batch1",), ("batch2",), _SELF),
}
"""Matrix products, any factor of which may be a parameter."""

WHERE_WEIGHTED = frozenset(PRODUCTS) - {"matmul"}
"""Products that are quantized only where a factor of theirs is a parameter (PLACE-13)."""


def is_factor(operation: str, argument: str | None) -> bool:
    """Whether an argument is a factor of a matrix product."""
    product = PRODUCTS.get(operation)
    return product is not None and argument in product.left + product.right


def is_addend(operation: str, argument: str | None) -> bool:
    """Whether an argument is what a matrix product adds, as a layer adds its bias."""
    product = PRODUCTS.get(operation)
    return product is not None and argument in product.addend


def role_of(operation: str, argument: str | None, rank: int) -> Role | None:
    """What a parameter is to the operation that takes it in an argument (PLACE-13).

    Under :mod:`quant_torch.drop_in` only layers have weights and biases, and no recurrent ones.

    Args:
        operation: Key of the operation.
        argument: Name of the argument.
        rank: Of the parameter; a recurrent layer takes matrices and biases in one list.
    """
    if operation in LAYERS:
        return "weight" if argument == "weight" else "bias" if argument == "bias" else None
    if standing_in():
        return None
    if operation in RECURRENT:
        if not (argument or "").startswith(_OF_RECURRENT) or rank > 2:
            return None
        return "weight" if rank == 2 else "bias"
    if is_factor(operation, argument):
        return "weight"
    return "bias" if is_addend(operation, argument) else None


def with_axis(
    spec: QuantizationSpec, operation: str, argument: str | None, rank: int
) -> QuantizationSpec | None:
    """A spec whose granularity has its axis filled in from the operation that reads the state.

    Args:
        spec: A spec of the state.
        operation: Key of the operation.
        argument: The argument in which it takes the state.
        rank: Of the state.

    Returns:
        None where GRAN-7 gives no axis.
    """
    if not spec.granularity.needs_axis:
        return spec
    axis = _axis(operation, argument, rank, isinstance(spec.granularity, PerBlockGranularity), spec)
    if axis is None or not 0 <= axis < rank:
        return None
    return spec.model_copy(update={"granularity": spec.granularity.with_axis(axis)})


def _axis(
    operation: str, argument: str | None, rank: int, blocks: bool, spec: QuantizationSpec
) -> int | None:
    role = role_of(operation, argument, rank)
    if role == "bias":
        return 0 if rank == 1 and not blocks else None
    if role is None:
        return None
    if operation in LAYERS or operation in RECURRENT:
        return default_axis([LAYERS.get(operation, "Linear")], spec.granularity)
    # The axis of the output channels is the one that the other factor does not have.
    outer, summed = (rank - 1, rank - 2)
    if argument in PRODUCTS[operation].left:
        outer, summed = summed, outer
    return (summed if blocks else outer) if rank > 1 else None


def no_axis(name: str, shape: tuple[int, ...], operation: str, spec: QuantizationSpec) -> str:
    """The warning about a state that needs an axis and gets none."""
    kind = spec.granularity.key_of(type(spec.granularity))
    return (
        f"{name} of shape {shape} is left unquantized: {operation or 'nothing'} reads it, which "
        f"gives it no axis for {kind}; give axis= yourself, or None for its spec [GRAN-7]"
    )
