"""What a block-scaled tensor is made of: element, scale, block, axis and tail (BLK-1, BLK-2)."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from quant_reference.errors import InputError, SpecError
from quant_reference.formats import FORMATS, Format

Tail = Literal["refuse", "short", "pad"]
TAILS: tuple[Tail, ...] = get_args(Tail)
"""What happens to an axis that is no multiple of the block (BLK-2)."""

E8M0, UE4M3 = "float8_e8m0fnu", "float8_ue4m3"

BLOCK_FORMATS: Mapping[str, tuple[str, str, int]] = MappingProxyType(
    {
        "mxfp8_e4m3": ("float8_e4m3fn", E8M0, 32),
        "mxfp8_e5m2": ("float8_e5m2", E8M0, 32),
        "mxfp6_e2m3": ("float6_e2m3fn", E8M0, 32),
        "mxfp6_e3m2": ("float6_e3m2fn", E8M0, 32),
        "mxfp4": ("float4_e2m1fn", E8M0, 32),
        "mxint8": ("mxint8", E8M0, 32),
        "nvfp4": ("float4_e2m1fn", UE4M3, 16),
    }
)
"""Name -> element format, scale format, usual block size (BLK-1)."""


@dataclass(frozen=True)
class BlockForm:
    """How a tensor is cut into blocks, and what a block holds (BLK-1, BLK-2).

    Attributes:
        name: A key of :data:`BLOCK_FORMATS`.
        size: Elements of a block along the axis.
        axis: The axis that is cut; negative ones count from the end.
        tail: What is done with an axis that is no multiple of the size: ``"refuse"``, a
            ``"short"`` last block, or zeros that ``"pad"`` it.
    """

    name: str
    size: int
    axis: int = -1
    tail: Tail = "refuse"

    @property
    def element(self) -> Format:
        """Format of the elements."""
        return FORMATS[BLOCK_FORMATS[self.name][0]]

    @property
    def scale(self) -> Format:
        """Format of the scales."""
        return FORMATS[BLOCK_FORMATS[self.name][1]]

    @property
    def two_levels(self) -> bool:
        """Whether a float32 scale of the whole tensor joins those of the blocks (BLK-4)."""
        return self.scale.name == UE4M3

    def check(self, shape: tuple[int, ...]) -> int:
        """The axis as a number from 0; refuse what BLK-2 does not accept.

        Raises:
            InputError: No such axis, or a tail where there may be none.
        """
        if not -len(shape) <= self.axis < len(shape):
            raise InputError("block axis", given=self.axis, allowed=f"of {shape}", clause="BLK-2")
        axis = self.axis % len(shape)
        if self.tail == "refuse" and shape[axis] % self.size:
            raise InputError(
                f"axis {axis} of {shape[axis]} elements",
                given=self.size,
                allowed="a block size that divides it, or another tail rule",
                clause="BLK-2",
            )
        return axis

    def blocks(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of the scales of a tensor (BLK-2)."""
        axis = self.check(shape)
        return (*shape[:axis], -(-shape[axis] // self.size), *shape[axis + 1 :])


def block_form(
    name: str, size: int | None = None, axis: int = -1, tail: Tail = "refuse"
) -> BlockForm:
    """A block form by its name (BLK-1).

    Args:
        name: A key of :data:`BLOCK_FORMATS`.
        size: Elements of a block; the usual number if None.
        axis: As in :class:`BlockForm`.
        tail: As in :class:`BlockForm`.

    Raises:
        SpecError: An unknown name, size or tail rule.
    """
    if name not in BLOCK_FORMATS:
        close = difflib.get_close_matches(str(name), BLOCK_FORMATS, n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise SpecError(
            f"block format{hint}", given=name, allowed=", ".join(BLOCK_FORMATS), clause="BLK-1"
        )
    if tail not in TAILS:
        raise SpecError("tail", given=tail, allowed=", ".join(TAILS), clause="BLK-2")
    usual = BLOCK_FORMATS[name][2] if size is None else size
    if isinstance(usual, bool) or not isinstance(usual, int) or usual < 1:
        raise SpecError("block size", given=size, allowed="an int from 1", clause="BLK-2")
    return BlockForm(name, usual, axis, tail)


@dataclass(frozen=True)
class BlockTensor:
    """A block-scaled tensor (BLK-1).

    Attributes:
        codes: Codes of the elements.
        scales: Codes of the scales, one for each block.
        form: How they belong together.
        tensor_amax: float32 greatest magnitude of the tensor, from which a format of two levels
            has its second scale (BLK-4); else None.
    """

    codes: NDArray[Any]
    scales: NDArray[np.uint8]
    form: BlockForm
    tensor_amax: NDArray[np.float32] | None = None


def with_tail(values: NDArray[Any], form: BlockForm) -> NDArray[Any]:
    """The tensor with zeros behind the last element of the axis, up to whole blocks (BLK-2)."""
    axis = form.check(values.shape)
    missing = -values.shape[axis] % form.size
    if not missing:
        return values
    widths = [(0, missing if place == axis else 0) for place in range(values.ndim)]
    return np.pad(values, widths)


def cut(values: NDArray[Any], form: BlockForm, shape: tuple[int, ...]) -> NDArray[Any]:
    """What is left of a padded tensor: all of it, or the first elements (BLK-2)."""
    axis = form.check(shape)
    if form.tail == "pad" or values.shape == shape:
        return values
    index = tuple(
        slice(shape[axis]) if place == axis else slice(None) for place in range(len(shape))
    )
    return np.ascontiguousarray(values[index])


def blocks_of_axis(values: NDArray[Any], form: BlockForm) -> NDArray[Any]:
    """Whole blocks, the elements of each on an axis of their own behind the block's (BLK-2)."""
    axis = form.check(values.shape)
    shape = values.shape
    return values.reshape(*shape[:axis], shape[axis] // form.size, form.size, *shape[axis + 1 :])
