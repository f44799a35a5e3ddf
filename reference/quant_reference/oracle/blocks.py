"""Which elements share qparams, by counting them off (GRAN-1 to GRAN-7)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from quant_reference.granularity import Granularity, PerChannel, PerTensor


def block_extents(shape: Sequence[int], granularity: Granularity, target: str) -> tuple[int, ...]:
    """Extent of a block on each axis (GRAN-1 to GRAN-5).

    Args:
        shape: Of the tensor; the granularity fits it (GRAN-6 is not the oracle's business).
        granularity: With its axis given.
        target: ``"weight"`` or ``"activation"``.
    """
    if isinstance(granularity, PerTensor):
        return tuple(shape)
    if not isinstance(granularity, PerChannel) and not isinstance(granularity.block_size, int):
        sizes = zip(granularity.block_size, shape, strict=True)
        return tuple(whole if size == -1 else size for size, whole in sizes)
    if granularity.axis is None:
        raise ArithmeticError("the oracle wants an axis")
    axis = granularity.axis + (len(shape) if granularity.axis < 0 else 0)
    if isinstance(granularity, PerChannel):
        return tuple(1 if i == axis else whole for i, whole in enumerate(shape))
    size = granularity.block_size
    assert isinstance(size, int)  # noqa: S101 (tuples went their way above)
    return tuple(
        size if i == axis else whole if target == "weight" and i >= 2 else 1
        for i, whole in enumerate(shape)
    )


def block_members(shape: Sequence[int], extents: Sequence[int]) -> list[list[int]]:
    """The flat C-order indices of the elements of each block, blocks in C order (CONV-6)."""
    counts = [whole // extent for whole, extent in zip(shape, extents, strict=True)]
    members: dict[tuple[int, ...], list[int]] = {
        entry: [] for entry in product(*(range(count) for count in counts))
    }
    for flat, place in enumerate(product(*(range(whole) for whole in shape))):
        entry = tuple(i // extent for i, extent in zip(place, extents, strict=True))
        members[entry].append(flat)
    return list(members.values())


def default_axis(module_kind: str, granularity: Granularity) -> int:
    """Axis that a weight's granularity means when it names none (GRAN-7)."""
    per_channel = isinstance(granularity, PerChannel)
    if not per_channel and not isinstance(getattr(granularity, "block_size", None), int):
        raise ArithmeticError(f"GRAN-7 has no axis for {granularity}")
    if module_kind in ("Conv1d", "Conv2d", "Conv3d", "Linear", "Embedding"):
        return 0 if per_channel else 1
    if module_kind in ("ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"):
        return 1 if per_channel else 0
    raise ArithmeticError(f"GRAN-7 names no axis for {module_kind}")
