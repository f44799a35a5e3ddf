"""Mutants that accept a granularity which does not fit the tensor (SPEC.md, GRAN-6)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from quant_conformance.mutants.exchanged import Mutated, Step
from quant_conformance.mutants.model import known
from quant_conformance.mutants.tables.families import RANGE_AND_QPARAMS
from quant_reference import Granularity, GranularityError, PerBlock, PerChannel, block_shape

Shape = tuple[int, ...]


def _repaired(repair: Callable[[Shape, Any], Granularity | None]) -> Step:
    """Another granularity where the right one is refused: ``repair(shape, granularity)``."""

    def extents(p: Mutated, shape: Shape, granularity: Granularity, target: Any) -> Shape:
        try:
            return block_shape(shape, granularity, target)
        except GranularityError:
            other = repair(shape, granularity)
            if other is None:
                raise
            return block_shape(shape, other, target)

    return extents


def _on_axis(granularity: Any, axis: int) -> Granularity:
    if isinstance(granularity, PerChannel):
        return PerChannel(axis)
    return PerBlock(axis, granularity.block_size)


def _divisors(shape: Shape, granularity: Any) -> Granularity | None:
    """The greatest extents below those asked for that divide their axes."""
    size, axis = getattr(granularity, "block_size", None), granularity.axis
    if isinstance(size, tuple) and len(size) == len(shape):
        return PerBlock(None, tuple(-1 if n % e else e for n, e in zip(shape, size, strict=True)))
    if isinstance(size, int) and axis is not None and -len(shape) <= axis < len(shape):
        return PerBlock(axis, max(d for d in range(1, size + 1) if shape[axis] % d == 0))
    return None


def _round_the_clock(shape: Shape, granularity: Any) -> Granularity | None:
    axis = granularity.axis
    return None if axis is None or not shape else _on_axis(granularity, axis % len(shape))


def _first_axis(shape: Shape, granularity: Any) -> Granularity | None:
    extents = isinstance(getattr(granularity, "block_size", None), tuple)
    return _on_axis(granularity, 0) if granularity.axis is None and not extents else None


def _lengthened(shape: Shape, granularity: Any) -> Granularity | None:
    size = getattr(granularity, "block_size", None)
    if not isinstance(size, tuple) or len(size) == len(shape):
        return None
    return PerBlock(None, tuple((*size, *[-1] * len(shape))[: len(shape)]))


MISFITS = (
    known(
        "indivisible-axis-accepted",
        "takes a smaller extent where the one asked for does not divide its axis",
        "GRAN-6",
        RANGE_AND_QPARAMS,
        block_shape=_repaired(_divisors),
    ),
    known(
        "axis-out-of-range-accepted",
        "counts an axis beyond the rank round the clock",
        "GRAN-6",
        RANGE_AND_QPARAMS,
        block_shape=_repaired(_round_the_clock),
    ),
    known(
        "missing-axis-accepted",
        "takes axis 0 where none is given",
        "GRAN-6",
        RANGE_AND_QPARAMS,
        block_shape=_repaired(_first_axis),
    ),
    known(
        "extents-of-other-rank-accepted",
        "fills up or cuts off a tuple of extents of another length than the rank",
        "GRAN-6",
        RANGE_AND_QPARAMS,
        block_shape=_repaired(_lengthened),
    ),
)
