"""Granularity: which elements of a tensor share quantization parameters (GRAN-1 to GRAN-7)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictInt, field_validator, model_validator

from quant_reference.errors import GranularityError
from quant_torch._registry import KeyedClasses
from quant_torch._suggest import closest

Target = Literal["weight", "activation"]


class BlockSizeMismatchError(GranularityError):
    """A block extent that does not divide its axis; at prepare time such a tensor stays float."""


class QuantizationGranularity(KeyedClasses, BaseModel):
    """Base of the granularities; register a subclass under a key to name it in a config.

    Attributes:
        axis: The axis that the granularity is about; negative counts from the end. None where
            there is none, or until ``Quantizer.prepare`` fills it in from the module type.
    """

    REGISTRY: ClassVar[dict[str, type]] = {}

    model_config = ConfigDict(frozen=True, extra="forbid")

    axis: StrictInt | None = None

    @classmethod
    def maybe_build_from_dict(cls, data: object) -> QuantizationGranularity:
        """A granularity as it is, or read from ``{"type": "per_channel", "axis": 0}``.

        Raises:
            ValueError: Unknown type or key (SPEC-7).
        """
        return granularity_from(data)

    def get_block_size(
        self, tensor_shape: Sequence[int], quantization_target: Target = "weight"
    ) -> tuple[int, ...]:
        """Extents of one block in a tensor of the given shape.

        Args:
            tensor_shape: Shape of the tensor.
            quantization_target: ``"weight"`` or ``"activation"``; they differ for an int
                block_size only (GRAN-3, GRAN-4).

        Returns:
            One extent per axis.

        Raises:
            GranularityError: The axis is missing or out of range, or a tuple block_size has
                another length than the rank (GRAN-6).
            BlockSizeMismatchError: An extent does not divide its axis (GRAN-6).
        """
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        """Plain form: ``{"type": ..., "axis": ..., ...}``."""
        return {"type": self.key_of(type(self)), **self.model_dump()}

    def with_axis(self, axis: int) -> QuantizationGranularity:
        """The same granularity on another axis."""
        return self.model_copy(update={"axis": axis})

    @property
    def needs_axis(self) -> bool:
        """Whether the axis still has to be filled in (GRAN-7)."""
        return False


@QuantizationGranularity.register("per_tensor")
class PerTensorGranularity(QuantizationGranularity):
    """One set of qparams for the whole tensor (GRAN-1)."""

    axis: None = None

    def get_block_size(
        self, tensor_shape: Sequence[int], quantization_target: Target = "weight"
    ) -> tuple[int, ...]:
        """The shape itself; see the base class."""
        return tuple(tensor_shape)


@QuantizationGranularity.register("per_channel")
class PerChannelGranularity(QuantizationGranularity):
    """One set of qparams per index of an axis (GRAN-2)."""

    def get_block_size(
        self, tensor_shape: Sequence[int], quantization_target: Target = "weight"
    ) -> tuple[int, ...]:
        """1 on the axis, the whole extent elsewhere; see the base class."""
        axis = _positive_axis(self.axis, len(tensor_shape))
        return tuple(1 if i == axis else n for i, n in enumerate(tensor_shape))

    @property
    def needs_axis(self) -> bool:
        """Whether the axis still has to be filled in (GRAN-7)."""
        return self.axis is None


@QuantizationGranularity.register("per_block")
class PerBlockGranularity(QuantizationGranularity):
    """One set of qparams per block of a fixed extent (GRAN-3, GRAN-4, GRAN-5).

    Attributes:
        axis: The axis that an int block_size divides; None with a tuple.
        block_size: Extent on the axis, or one extent per axis with -1 for the whole axis.
    """

    block_size: StrictInt | tuple[StrictInt, ...] = Field()

    @field_validator("block_size")
    @classmethod
    def _legal_block_size(cls, size: int | tuple[int, ...]) -> int | tuple[int, ...]:
        extents = size if isinstance(size, tuple) else (size,)
        whole = -1 if isinstance(size, tuple) else 1
        if not extents or any(n < 1 and n != whole for n in extents):
            raise ValueError(
                f"block_size {size}: allowed is an int >= 1, or a tuple of ints >= 1 or -1 [GRAN-5]"
            )
        return size

    @model_validator(mode="after")
    def _axis_fits_block_size(self) -> PerBlockGranularity:
        if isinstance(self.block_size, tuple) and self.axis is not None:
            raise ValueError(
                f"a tuple block_size names every axis itself: axis must be None, "
                f"given {self.axis} [GRAN-5]"
            )
        return self

    def get_block_size(
        self, tensor_shape: Sequence[int], quantization_target: Target = "weight"
    ) -> tuple[int, ...]:
        """The block; see the base class."""
        shape, size = tuple(tensor_shape), self.block_size
        if isinstance(size, tuple):
            return tuple(resolve_block_sizes(shape, size))
        axis = _positive_axis(self.axis, len(shape))
        # A weight's kernel axes stay whole, so a block never separates the taps of a filter.
        kept = 2 if quantization_target == "weight" else len(shape)
        extents = tuple(size if i == axis else (1 if i < kept else n) for i, n in enumerate(shape))
        _check_divides(shape, extents)
        return extents

    @property
    def needs_axis(self) -> bool:
        """Whether the axis still has to be filled in (GRAN-7)."""
        return self.axis is None and not isinstance(self.block_size, tuple)


# Default weight axes: (per channel, per block) (GRAN-7).
_DEFAULT_AXES: dict[str, tuple[int, int]] = {
    **dict.fromkeys(("Conv1d", "Conv2d", "Conv3d", "Linear", "Embedding"), (0, 1)),
    **dict.fromkeys(("ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"), (1, 0)),
}


def resolve_block_sizes(tensor_shape: Sequence[int], block_sizes: Sequence[int]) -> list[int]:
    """Extents of one block where each axis has its own, -1 standing for a whole axis (GRAN-5).

    Raises:
        GranularityError: Another number of extents than axes, or an extent below 1 that is not -1.
        BlockSizeMismatchError: An extent does not divide its axis (GRAN-6).
    """
    shape, sizes = tuple(tensor_shape), tuple(block_sizes)
    if len(sizes) != len(shape) or any(size < 1 and size != -1 for size in sizes):
        raise GranularityError(
            f"block_size for a tensor of rank {len(shape)}",
            given=sizes,
            allowed=f"{len(shape)} extents, each at least 1 or -1",
            clause="GRAN-6",
        )
    extents = [n if size == -1 else size for size, n in zip(sizes, shape, strict=True)]
    _check_divides(shape, extents)
    return extents


def _check_divides(shape: Sequence[int], extents: Sequence[int]) -> None:
    for i, (extent, n) in enumerate(zip(extents, shape, strict=True)):
        if extent and n % extent:
            raise BlockSizeMismatchError(
                f"block extent on axis {i} of shape {tuple(shape)}",
                given=extent,
                allowed=f"a divisor of {n}",
                clause="GRAN-6",
            )


def weighted_module_kinds() -> tuple[str, ...]:
    """Class names of the torch modules whose weight has a default axis (GRAN-7)."""
    return tuple(_DEFAULT_AXES)


def default_axis(module_kinds: Sequence[str], granularity: QuantizationGranularity) -> int:
    """Axis that a weight granularity takes when none is given (GRAN-7).

    Args:
        module_kinds: Class names of the module, most derived first; the first known one counts.
        granularity: Per channel or per block.

    Raises:
        GranularityError: No kind is known, or the granularity has no axis.
    """
    if isinstance(granularity, PerTensorGranularity):
        raise GranularityError(
            "per_tensor has no axis", given="per_tensor", allowed="per_channel, per_block",
            clause="GRAN-7",
        )  # fmt: skip
    if isinstance(granularity, PerBlockGranularity) and not granularity.needs_axis:
        raise GranularityError(
            "a tuple block_size names every axis itself", given=granularity,
            allowed="per_channel, per_block with an int block_size", clause="GRAN-7",
        )  # fmt: skip
    for kind in module_kinds:
        if kind in _DEFAULT_AXES:
            return _DEFAULT_AXES[kind][isinstance(granularity, PerBlockGranularity)]
    name = module_kinds[0] if module_kinds else "no module"
    raise GranularityError(
        f"no default axis for this module kind{closest(name, _DEFAULT_AXES)}; give axis= yourself",
        given=name,
        allowed=", ".join(_DEFAULT_AXES),
        clause="GRAN-7",
    )


def granularity_from(given: object) -> QuantizationGranularity:
    """Read a granularity given as an object or as ``{"type": "per_channel", "axis": 0}``.

    Raises:
        ValueError: Unknown type or key (SPEC-7).
    """
    if isinstance(given, QuantizationGranularity):
        return given
    if not isinstance(given, dict):
        raise ValueError(f"granularity must be an object or a mapping, given {given!r} [SPEC-7]")
    arguments = dict(given)
    kind = arguments.pop("type", None)
    known = QuantizationGranularity.REGISTRY
    if not isinstance(kind, str) or kind not in known:
        raise ValueError(
            f"granularity type {kind!r}{closest(kind, known)}: "
            f"allowed are {', '.join(known)} [SPEC-7]"
        )
    return known[kind](**arguments)


def blocks_of(shape: Sequence[int], block: Sequence[int]) -> tuple[int, ...]:
    """Number of blocks per axis: the shape of the qparams (GRAN-1)."""
    return tuple(n // e if e else 1 for n, e in zip(shape, block, strict=True))


def _positive_axis(axis: int | None, rank: int) -> int:
    if axis is None or not -rank <= axis < rank:
        raise GranularityError(
            f"axis for a tensor of rank {rank}",
            given=axis,
            allowed=f"{-rank} to {rank - 1}" if rank else "no axis: the tensor has rank 0",
            clause="GRAN-6",
        )
    return axis % rank
