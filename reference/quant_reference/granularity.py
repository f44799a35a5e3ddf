"""Granularity: which elements share one set of qparams (SPEC.md, GRAN-1 to GRAN-7)."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal, get_args

from quant_reference.errors import GranularityError, SpecError

Target = Literal["weight", "activation"]


@dataclass(frozen=True)
class PerTensor:
    """One block: the whole tensor (GRAN-1)."""

    def to_dict(self) -> dict[str, Any]:
        """Plain form, the inverse of :func:`granularity_from_dict`."""
        return {"type": "per_tensor"}


@dataclass(frozen=True)
class PerChannel:
    """One block per index of an axis (GRAN-2).

    Attributes:
        axis: The axis, negative from the end; None until :func:`default_axis` fills it in.
    """

    axis: int | None = None

    def __post_init__(self) -> None:
        _check_axis(self.axis)

    def to_dict(self) -> dict[str, Any]:
        """Plain form, the inverse of :func:`granularity_from_dict`."""
        return {"type": "per_channel", "axis": self.axis}


@dataclass(frozen=True)
class PerBlock:
    """Blocks of a fixed extent (GRAN-3, GRAN-4, GRAN-5).

    Attributes:
        axis: The axis that an int block_size divides, negative from the end, or None until
            :func:`default_axis` fills it in; always None with a tuple.
        block_size: Extent on the axis, or one extent per axis with -1 for the whole axis.
    """

    axis: int | None = None
    block_size: int | tuple[int, ...] = 32

    def __post_init__(self) -> None:
        _check_axis(self.axis)
        size = self.block_size
        if isinstance(size, list | tuple):
            object.__setattr__(self, "block_size", tuple(size))
            legal = len(size) > 0 and all(_is_int(n) and (n >= 1 or n == -1) for n in size)
            if legal and self.axis is not None:
                raise SpecError(
                    "a tuple block_size names every axis itself",
                    given=f"axis={self.axis}",
                    allowed="axis=None",
                    clause="GRAN-5",
                )
        else:
            legal = _is_int(size) and size >= 1
        if not legal:
            raise SpecError(
                "block_size",
                given=size,
                allowed="an int >= 1, or a tuple of ints >= 1 or -1",
                clause="GRAN-5" if isinstance(size, list | tuple) else "GRAN-3",
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain form, the inverse of :func:`granularity_from_dict`."""
        size = self.block_size
        plain = list(size) if isinstance(size, tuple) else size
        return {"type": "per_block", "axis": self.axis, "block_size": plain}


Granularity = PerTensor | PerChannel | PerBlock

_TYPES: Mapping[str, tuple[type[Granularity], frozenset[str]]] = MappingProxyType(
    {
        "per_tensor": (PerTensor, frozenset()),
        "per_channel": (PerChannel, frozenset({"axis"})),
        "per_block": (PerBlock, frozenset({"axis", "block_size"})),
    }
)

MODULE_KINDS: Mapping[str, tuple[int, int]] = MappingProxyType(
    {
        "Conv1d": (0, 1),
        "Conv2d": (0, 1),
        "Conv3d": (0, 1),
        "Linear": (0, 1),
        "Embedding": (0, 1),
        "ConvTranspose1d": (1, 0),
        "ConvTranspose2d": (1, 0),
        "ConvTranspose3d": (1, 0),
    }
)
"""Default weight axes (per_channel, per_block) by module kind (GRAN-7)."""


def granularity_from_dict(mapping: Mapping[str, Any]) -> Granularity:
    """Build a granularity from ``{"type": ..., "axis": ..., "block_size": ...}`` (SPEC-7).

    Raises:
        SpecError: Unknown type or key, or a missing block_size.
    """
    if not isinstance(mapping, Mapping):
        raise SpecError("granularity", given=mapping, allowed="a mapping", clause="SPEC-7")
    kind = mapping.get("type")
    if not isinstance(kind, str) or kind not in _TYPES:
        raise SpecError("granularity type", given=kind, allowed=", ".join(_TYPES), clause="SPEC-7")
    cls, keys = _TYPES[kind]
    arguments = {key: value for key, value in mapping.items() if key != "type"}
    # A plain form may say "axis": null where the type takes no axis.
    if kind == "per_tensor" and arguments.get("axis", 0) is None:
        del arguments["axis"]
    unknown = sorted(set(arguments) - keys, key=str)
    if unknown:
        raise SpecError(
            f"unknown key for {kind}",
            given=unknown[0],
            allowed=", ".join(sorted(keys)) or "no further key",
            clause="SPEC-7",
        )
    if kind == "per_block" and "block_size" not in arguments:
        raise SpecError(
            "per_block without block_size",
            given=dict(mapping),
            allowed="block_size",
            clause="SPEC-7",
        )
    return cls(**arguments)


def block_shape(
    shape: tuple[int, ...], granularity: Granularity, target: Target
) -> tuple[int, ...]:
    """Extents of one block in a tensor of the given shape.

    Clauses GRAN-1 (per tensor), GRAN-2 (per channel), GRAN-3 (per block, weights), GRAN-4 (per
    block, activations), GRAN-5 (one extent per axis), GRAN-6 (what does not fit is refused).

    Args:
        shape: The tensor's shape.
        granularity: With its axis filled in.
        target: ``"weight"`` or ``"activation"``; they differ for an int block_size only.

    Returns:
        One extent per axis, each dividing the axis.

    Raises:
        GranularityError: Axis missing or out of range, block extent that does not divide its
            axis, tuple of another length than the rank (GRAN-6).
        SpecError: Unknown target.
    """
    shape = tuple(int(n) for n in shape)
    if target not in get_args(Target):
        raise SpecError(
            "target", given=target, allowed=" or ".join(get_args(Target)), clause="GRAN-4"
        )
    if isinstance(granularity, PerTensor):
        return shape
    if isinstance(granularity, PerChannel):
        axis = _resolve_axis(granularity.axis, len(shape))
        return tuple(1 if i == axis else n for i, n in enumerate(shape))
    size = granularity.block_size
    if isinstance(size, tuple):
        if len(size) != len(shape):
            raise GranularityError(
                f"block_size for a tensor of rank {len(shape)}",
                given=size,
                allowed=f"{len(shape)} extents",
                clause="GRAN-6",
            )
        extents = tuple(
            n if extent == -1 else extent for extent, n in zip(size, shape, strict=True)
        )
    else:
        axis = _resolve_axis(granularity.axis, len(shape))
        # Kernel axes of a weight stay whole: a block never splits one filter tap from another.
        whole_from = 2 if target == "weight" else len(shape)
        extents = tuple(
            size if i == axis else (n if i >= whole_from else 1) for i, n in enumerate(shape)
        )
    for i, (extent, n) in enumerate(zip(extents, shape, strict=True)):
        if extent > 0 and n % extent:
            raise GranularityError(
                f"block extent on axis {i} of shape {shape}",
                given=extent,
                allowed=f"a divisor of {n}",
                clause="GRAN-6",
            )
    return extents


def scale_shape(
    shape: tuple[int, ...], granularity: Granularity, target: Target
) -> tuple[int, ...]:
    """Shape of the qparams: blocks per axis, in the rank of the tensor (GRAN-1).

    Args and errors as for :func:`block_shape`.
    """
    extents = block_shape(shape, granularity, target)
    return tuple(n // e if e else 1 for n, e in zip(shape, extents, strict=True))


def default_axis(module_kind: str, granularity: Granularity) -> int:
    """Axis that a weight granularity takes when none is given (GRAN-7).

    Args:
        module_kind: Name of the module class, for example ``"ConvTranspose2d"``.
        granularity: PerChannel or PerBlock.

    Raises:
        GranularityError: A module kind without a default, or a granularity that takes no axis: per
            tensor, or blocks given by a tuple.
    """
    if module_kind not in MODULE_KINDS:
        close = difflib.get_close_matches(str(module_kind), MODULE_KINDS, n=1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        raise GranularityError(
            f"no default axis for this module kind{hint}",
            given=module_kind,
            allowed=", ".join(MODULE_KINDS),
            clause="GRAN-7",
        )
    if isinstance(granularity, PerTensor):
        raise GranularityError(
            "per_tensor has no axis",
            given=granularity,
            allowed="PerChannel, PerBlock",
            clause="GRAN-7",
        )
    if isinstance(granularity, PerBlock) and isinstance(granularity.block_size, tuple):
        raise GranularityError(
            "a tuple block_size names every axis itself",
            given=granularity,
            allowed="PerChannel, PerBlock with an int block_size",
            clause="GRAN-7",
        )
    return MODULE_KINDS[module_kind][isinstance(granularity, PerBlock)]


def complete_axis(granularity: Granularity, module_kind: str) -> Granularity:
    """The granularity with the default axis of a module's weight where none is given (GRAN-7).

    Args:
        granularity: One per tensor or of blocks given by a tuple stays as it is.
        module_kind: Name of the module class.

    Raises:
        GranularityError: A module kind without a default axis.
    """
    if isinstance(granularity, PerTensor) or granularity.axis is not None:
        return granularity
    if isinstance(granularity, PerBlock) and isinstance(granularity.block_size, tuple):
        return granularity
    return replace(granularity, axis=default_axis(module_kind, granularity))


def _resolve_axis(axis: int | None, rank: int) -> int:
    if axis is None or not -rank <= axis < rank:
        raise GranularityError(
            f"axis for a tensor of rank {rank}",
            given=axis,
            allowed=f"{-rank} to {rank - 1}" if rank else "no axis: the tensor has rank 0",
            clause="GRAN-6",
        )
    return axis % rank


def _check_axis(axis: object) -> None:
    if axis is not None and not _is_int(axis):
        raise SpecError("axis", given=axis, allowed="an int or None", clause="GRAN-2")


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
