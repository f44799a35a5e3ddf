"""Mutants of what an exported file holds for a weight (SPEC.md, GRAN-7, QP and Q)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from quant_conformance.mutants import wrong
from quant_conformance.mutants.exchanged import Mutated, Step
from quant_conformance.mutants.model import Mutant, known
from quant_conformance.protocol import Array
from quant_reference import PerTensor, QParams, QuantizationSpec

EXPORT = ("export_weights",)


def _stored(change: Callable[[Array, QuantizationSpec], Array]) -> Step:
    """Other codes in the file: ``change(codes, spec)``."""
    return lambda p, x, spec, qparams: change(p.right.quantize(x, spec, qparams), spec)


def _narrow(change: Callable[[Array, QuantizationSpec], Array]) -> Step:
    """Other codes of formats whose codes share a byte in the file."""
    return _stored(lambda codes, spec: change(codes, spec) if spec.format.bits < 8 else codes)


def _swapped(codes: Array, spec: QuantizationSpec) -> Array:
    """The two codes of each byte in the other order, along the last axis."""
    pairs = codes[..., : codes.shape[-1] // 2 * 2]
    swapped = pairs.reshape(*codes.shape[:-1], -1, 2)[..., ::-1].reshape(pairs.shape)
    return np.concatenate([swapped, codes[..., pairs.shape[-1] :]], axis=-1)


def _unsigned(codes: Array, spec: QuantizationSpec) -> Array:
    fields: Array = codes & codes.dtype.type(2**spec.format.bits - 1)
    return fields


def _from_least(codes: Array, spec: QuantizationSpec) -> Array:
    """Count levels from the least code of the format, and not from the least one in use."""
    step = spec.quant_min - spec.format.quant_min
    moves = spec.format.is_integer and spec.qformulation == "minval"
    return codes - np.array(step, codes.dtype) if moves else codes


def _requantized(p: Mutated, x: Array, spec: QuantizationSpec, qparams: QParams) -> Any:
    """The fake-quantized weight in the place of the weight, under the same qparams."""
    whole = p.qparams(x, replace(spec, granularity=PerTensor()), "weight")
    return p.right.quantize(p.fake_quantize(x, spec, whole), spec, qparams)


def _scale(change: Callable[[Array], Array]) -> Callable[..., QParams]:
    def stored(p: Mutated, qparams: QParams, spec: QuantizationSpec) -> QParams:
        right = p.right.stored_qparams(qparams, spec)
        return right if spec.scale_dtype else replace(right, scale=change(right.scale))

    return stored


def _first_channel(scale: Array) -> Array:
    return np.broadcast_to(scale.reshape(-1)[0], scale.shape).copy()


def _no_zero_point(p: Mutated, qparams: QParams, spec: QuantizationSpec) -> QParams:
    right = p.right.stored_qparams(qparams, spec)
    if right.zero_point is None:
        return right
    middle = 0 if spec.format.kind == "int" else 2 ** (spec.format.bits - 1)
    return replace(right, zero_point=np.full_like(right.zero_point, middle))


EXPORTS: tuple[Mutant, ...] = (
    known("exported-axis-of-another-module", "takes the axis of every weight for a Linear's",
          "GRAN-7", EXPORT, complete_axis=lambda p, granularity, module_kind: (
              p.right.complete_axis(granularity, "Linear"))),
    known("exported-from-quantized-values", "makes codes of values that were quantized per tensor",
          "Q-1", EXPORT, quantize=_requantized),
    known("exported-from-float16", "makes codes of the weight in float16", "Q-1", EXPORT,
          pitfall="double-rounding",
          quantize=lambda p, x, spec, qparams: p.right.quantize(
              wrong.through(np.float16)(x).astype(x.dtype), spec, qparams)),
    known("exported-scale-in-float16", "stores scales in float16", "QP-9", EXPORT,
          stored_qparams=_scale(lambda scale: np.maximum(
              wrong.through(np.float16)(scale), np.float32(2.0**-24)))),
    known("exported-scale-of-first-channel", "stores the first scale for all channels", "GRAN-2",
          EXPORT, stored_qparams=_scale(_first_channel)),
    known("exported-without-zero-point", "stores no zero point", "Q-3 QP-4", EXPORT,
          stored_qparams=_no_zero_point),
    known("exported-nibbles-swapped", "stores the codes of a byte in the other order", "PACK-1",
          EXPORT, pitfall="nibbles", quantize=_narrow(_swapped)),
    known("exported-unsigned", "reads packed codes without their sign", "PACK-2", EXPORT,
          pitfall="nibbles", quantize=_narrow(_unsigned)),
    known("exported-from-least-code", "counts clipped codes from the least code of the format",
          "SPEC-6", EXPORT, quantize=_stored(_from_least)),
)  # fmt: skip
