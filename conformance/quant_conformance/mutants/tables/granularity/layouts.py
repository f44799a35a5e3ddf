"""Mutants that apply qparams to the wrong elements, and default axes (SPEC.md, Q-8, GRAN-7)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from quant_conformance.mutants.exchanged import Mutated, Step
from quant_conformance.mutants.model import known
from quant_conformance.mutants.tables.families import APPLIED
from quant_conformance.protocol import Array
from quant_reference import (
    MODULE_KINDS,
    Granularity,
    PerBlock,
)

Shape = tuple[int, ...]


def _interleaved(p: Mutated, parameter: Array, shape: Shape) -> Array:
    repeats = [n // c if n else 0 for n, c in zip(shape, parameter.shape, strict=True)]
    return np.tile(parameter, repeats).astype(np.float32)


def _transposed(p: Mutated, parameter: Array, shape: Shape) -> Array:
    """The right shape, filled in the wrong order."""
    return p.right.spread(parameter.T.reshape(parameter.shape), shape)


def _swapped_square(p: Mutated, parameter: Array, shape: Shape) -> Array:
    """Scales applied along the other one of two equally long axes."""
    if len(shape) >= 2 and shape[0] == shape[1]:
        parameter = np.swapaxes(parameter, 0, 1)
    return p.right.spread(parameter, shape)


def _last_as_before(p: Mutated, parameter: Array, shape: Shape) -> Array:
    changed = parameter.copy().reshape(-1)
    changed[-1:] = changed[-2:-1] if changed.size > 1 else changed[-1:]
    return p.right.spread(changed.reshape(parameter.shape), shape)


def _shifted(p: Mutated, parameter: Array, shape: Shape) -> Array:
    """Blocks that start one element late along their axis."""
    return np.roll(p.right.spread(parameter, shape), 1, axis=-1) if shape else parameter


def _by_flat_position(channel: Callable[[Array, int, int], Array]) -> Step:
    """Qparams by the position in memory: ``channel(position, elements, channels)``."""

    def spread(p: Mutated, parameter: Array, shape: Shape) -> Array:
        size = int(np.prod(shape))
        flat = parameter.reshape(-1)[channel(np.arange(size), max(size, 1), parameter.size)]
        return flat.reshape(shape).astype(np.float32)

    return spread


def _default(change: Callable[[str, bool, int], int]) -> Step:
    """Another default axis: ``change(module kind, is per block, right axis)``."""

    def default_axis(p: Mutated, module_kind: str, granularity: Granularity) -> int:
        right = p.right.default_axis(module_kind, granularity)
        return change(module_kind, isinstance(granularity, PerBlock), right)

    return default_axis


def _any_kind(p: Mutated, module_kind: str, granularity: Granularity) -> int:
    kind = module_kind if module_kind in MODULE_KINDS else "Linear"
    return p.right.default_axis(kind, granularity)


LAYOUTS = (
    known(
        "scales-interleaved",
        "applies the qparams of blocks to every n-th element",
        "Q-8 GRAN-3",
        APPLIED,
        pitfall="blocks",
        spread=_interleaved,
    ),
    known(
        "scales-transposed",
        "reads qparams in Fortran order",
        "Q-8 GRAN-5",
        APPLIED,
        pitfall="blocks",
        spread=_transposed,
    ),
    known(
        "scales-along-other-axis",
        "applies qparams along the other axis of a square tensor",
        "Q-8 GRAN-2",
        APPLIED,
        pitfall="blocks",
        spread=_swapped_square,
    ),
    known(
        "channel-from-flat-position",
        "gives element i of the flat tensor the qparams of channel i mod n",
        "Q-8 GRAN-2",
        APPLIED,
        pitfall="memory-order",
        spread=_by_flat_position(lambda position, size, count: position % count),
    ),
    known(
        "channel-from-leading-rows",
        "gives the n-th part of the flat tensor the qparams of channel n, whatever the axis",
        "Q-8 GRAN-2",
        APPLIED,
        pitfall="memory-order",
        spread=_by_flat_position(lambda position, size, count: position * count // size),
    ),
    known(
        "scales-of-first-block",
        "applies the qparams of the first block to all",
        "Q-8 GRAN-2",
        APPLIED,
        spread=lambda p, parameter, shape: np.full(
            shape, parameter.reshape(-1)[0] if parameter.size else 1, np.float32
        ),
    ),
    known(
        "last-scale-missing",
        "applies the qparams of the last block but one to the last",
        "Q-8",
        APPLIED,
        spread=_last_as_before,
    ),
    known(
        "blocks-shifted",
        "starts blocks one element late",
        "Q-8",
        APPLIED,
        spread=_shifted,
    ),
    *(
        known(
            f"default-axis-{kind}-{form}",
            f"swaps the default axis of {kind}, {form.replace('-', ' ')}",
            "GRAN-7",
            ("default_axis",),
            default_axis=_default(
                lambda of, blocked, right, kind=kind, block=form == "per-block": (  # type: ignore[misc]
                    1 - right if (of, blocked) == (kind, block) else right
                )
            ),
        )
        for kind in MODULE_KINDS
        for form in ("per-channel", "per-block")
    ),
    known(
        "default-axis-zero",
        "takes 0 for every default axis",
        "GRAN-7",
        ("default_axis",),
        default_axis=_default(lambda of, blocked, right: 0),
    ),
    known(
        "default-axis-of-any-module",
        "treats unknown modules as Linear",
        "GRAN-7",
        ("default_axis",),
        default_axis=_any_kind,
    ),
)
