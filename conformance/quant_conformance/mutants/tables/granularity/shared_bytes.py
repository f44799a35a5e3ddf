"""Mutants that work byte by byte where a group ends within a byte (SPEC.md, Q-8, GRAN-2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from quant_conformance.mutants.exchanged import Mutated, Step
from quant_conformance.mutants.model import known
from quant_conformance.mutants.tables.families import APPLIED
from quant_conformance.protocol import Array
from quant_reference import QParams, QuantizationSpec

Shape = tuple[int, ...]


def _codes_of_a_byte(p: Mutated, spec: QuantizationSpec) -> int:
    return 8 // p.get_format(spec.dtype).bits


def _per_element(p: Mutated, shape: Shape, *rest: Any) -> tuple[Array, Any]:
    scale, offset = p.right.checked_params(shape, *rest)
    return p.spread(scale, shape), None if offset is None else p.spread(offset, shape)


def _taken_from(chosen: Callable[[Array, int, int], Array]) -> Step:
    """Qparams of another element: ``chosen(position, codes of a byte, elements of a row)``."""

    def checked_params(
        p: Mutated, shape: Shape, spec: QuantizationSpec, *rest: Any
    ) -> tuple[Array, Any]:
        scale, offset = _per_element(p, shape, spec, *rest)
        size, row = int(np.prod(shape)), shape[-1] if shape else 1
        taken = chosen(np.arange(size), _codes_of_a_byte(p, spec), row)
        taken = np.minimum(taken, max(size - 1, 0))
        offset = None if offset is None else offset.reshape(-1)[taken].reshape(shape)
        return scale.reshape(-1)[taken].reshape(shape), offset

    return checked_params


def _whole_bytes(
    p: Mutated, shape: Shape, spec: QuantizationSpec, qparams: QParams, clause: str
) -> tuple[Array, Any]:
    """Counts the groups of the last axis in bytes, of which a group has a whole number."""
    per_byte = _codes_of_a_byte(p, spec)
    scale, offset = _per_element(p, shape, spec, qparams, clause)
    groups = qparams.scale.shape[-1] if shape else 1
    if per_byte == 1 or groups < 2 or not scale.size:
        return scale, offset
    length = shape[-1] // groups
    group = np.arange(shape[-1]) // per_byte // max(1, length // per_byte)
    taken = np.minimum(group, groups - 1) * length
    return scale[..., taken], None if offset is None else offset[..., taken]


@np.errstate(all="ignore")
def _nibble_of_the_group(
    p: Mutated, codes: Array, spec: QuantizationSpec, qparams: QParams
) -> Array:
    """Picks the code within a byte by its position in the group."""
    right = p.right.dequantize(codes, spec, qparams)
    per_byte = _codes_of_a_byte(p, spec)
    if per_byte == 1 or codes.ndim == 0 or codes.size == 0:
        return right
    length = codes.shape[-1] // qparams.scale.shape[-1]
    position = np.arange(codes.size)
    within = position % codes.shape[-1] % length
    taken = np.minimum(position - position % per_byte + within % per_byte, codes.size - 1)
    return p.right.dequantize(codes.reshape(-1)[taken].reshape(codes.shape), spec, qparams)


SHARED_BYTES = (
    known(
        "first-scale-of-a-byte",
        "gives all codes of a byte the qparams of its first",
        "Q-8 GRAN-2",
        APPLIED,
        pitfall="shared-byte",
        checked_params=_taken_from(lambda i, per_byte, row: i - i % per_byte),
    ),
    known(
        "first-scale-of-a-byte-by-rows",
        "gives all codes of a byte the qparams of its first, where each row starts a new byte",
        "Q-8 GRAN-2",
        APPLIED,
        pitfall="shared-byte",
        checked_params=_taken_from(lambda i, per_byte, row: i - i % row % per_byte),
    ),
    known(
        "last-scale-of-a-byte",
        "gives all codes of a byte the qparams of its last",
        "Q-8 GRAN-2",
        APPLIED,
        pitfall="shared-byte",
        checked_params=_taken_from(lambda i, per_byte, row: i - i % per_byte + per_byte - 1),
    ),
    known(
        "groups-of-whole-bytes",
        "counts groups in whole bytes, so that odd groups begin too early",
        "Q-8 GRAN-3",
        APPLIED,
        pitfall="shared-byte",
        checked_params=_whole_bytes,
    ),
    known(
        "nibble-of-the-group",
        "picks a code within its byte by the position in the group, not in the tensor",
        "Q-8 GRAN-3",
        ("dequantize",),
        pitfall="shared-byte",
        dequantize=_nibble_of_the_group,
    ),
)
