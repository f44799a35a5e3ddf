"""What quantizers and regions are tried with beside the recorded batch.

A batch seldom saturates, and hardly ever has a tie; a quantizer that clamps at another code or
rounds ties otherwise gives the same codes on it. Probes have those places in them, as far as the
operation before the quantizer can give them: what a relu cannot give, a file need not get right.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from quant_conformance.gate.recording.recorder import Quantization, Recording
from quant_conformance.gate.regions.region import Region
from quant_conformance.protocol import Array
from quant_reference import QParams, QuantizationSpec, decode, dequantize, quantize
from quant_reference.admissible import Step
from quant_reference.blocks import spread

Reach = tuple[float, float]
"""Least and greatest value that an operation can give."""

EVERYTHING: Reach = (-math.inf, math.inf)

_BOUNDED: Mapping[str, Reach] = {
    **dict.fromkeys(("relu", "exp", "sqrt", "abs"), (0.0, math.inf)),
    **dict.fromkeys(("sigmoid", "hardsigmoid", "softmax"), (0.0, 1.0)),
    "relu6": (0.0, 6.0),
    "tanh": (-1.0, 1.0),
    "erf": (-1.0, 1.0),
}

_UNBOUNDED = frozenset(
    {
        *("linear", "matmul", "einsum", "add", "sub", "mul", "neg", "batch_norm", "layer_norm"),
        *("group_norm", "instance_norm", "rms_norm", "sum", "mean"),
        *(f"{kind}{n}d" for kind in ("conv", "conv_transpose", "avg_pool") for n in (1, 2, 3)),
    }
)
"""Operations that no converter ends with a clamp."""

_MOVES = frozenset(
    {
        *("identity", "clone", "reshape", "flatten", "transpose", "permute", "expand", "select"),
        *("slice", "squeeze", "unsqueeze", "cat", "max_pool1d", "max_pool2d", "max_pool3d"),
    }
)


class Reaches:
    """What the values of one recording can be.

    Args:
        recording: one run of a prepared model.
    """

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._quantized = {q.result: q for q in recording.quantizations}

    def of(self, region: Region) -> Reach:
        """The values that the last operation of a region can give."""
        return self._of(region.target, {step.output: step for step in region.steps})

    def _of(self, name: str, makers: Mapping[str, Step]) -> Reach:
        step = makers.get(name)
        if step is None:
            return self._of_fixed(name)
        if step.op in ("clamp", "hardtanh"):
            low, high = (
                step.attributes.get(key, step.attributes.get(f"{key}_val"))
                for key in ("min", "max")
            )
            return (-math.inf if low is None else low, math.inf if high is None else high)
        if step.op in _BOUNDED:
            return _BOUNDED[step.op]
        if step.op in _UNBOUNDED:
            return EVERYTHING
        if step.op in _MOVES:
            parts = [self._of(str(given), makers) for given in step.inputs]
            return min(low for low, _ in parts), max(high for _, high in parts)
        return self._recorded(name)

    def _of_fixed(self, name: str) -> Reach:
        if name in self._quantized:
            facts = self._quantized[name].facts
            values = [
                dequantize(np.full(self._recording.values[name].shape, code), *both)
                for code in _ends(facts.spec)
                for both in [(facts.spec, facts.qparams)]
            ]
            return float(np.min(values)), float(np.max(values))
        return EVERYTHING if name in self._recording.inputs else self._recorded(name)

    def _recorded(self, name: str) -> Reach:
        values = self._recording.values.get(name)
        if values is None or not values.size or values.dtype.kind != "f":
            return 0.0, 0.0
        finite = values[np.isfinite(values)]
        return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)


def probe_values(quantization: Quantization, shape: tuple[int, ...], reach: Reach) -> Array:
    """Values for a quantizer: beyond both ends, ties, zero, every code, as far as they are reached.

    Args:
        quantization: the quantizer.
        shape: of the values; what matters most comes first, if there is not room for all.
        reach: the values that what is before the quantizer can give.
    """
    spec, qparams = quantization.facts.spec, quantization.facts.qparams
    integer = spec.format.is_integer
    ends = _code_places(spec, _zero(spec, qparams)) if integer else _float_places(spec)
    places = np.resize(ends, math.prod(shape)).reshape(shape)
    scale = spread(qparams.scale, places.shape).astype(np.float64)
    if spec.qformulation == "minval" and qparams.minval is not None:
        values = (places - spec.quant_min) * scale + spread(qparams.minval, places.shape)
    elif qparams.zero_point is not None:
        values = (places - spread(qparams.zero_point, places.shape)) * scale
    else:
        values = places * scale
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(np.clip(values, *reach), np.float32)


def probe_codes(
    quantization: Quantization, shape: tuple[int, ...], reach: Reach, turn: int
) -> Array:
    """Codes for what reads a quantizer: every code in turn, and runs of each end and of zero.

    The runs are at the same places for all quantizers, with the same ends and with opposite ones,
    so that sums and differences of two reach their ends; the codes in turn begin elsewhere for
    each, so that operands differ.

    Args:
        quantization: the quantizer.
        shape: of the codes.
        reach: the values that what is before the quantizer can give.
        turn: number of the quantizer.
    """
    spec, qparams = quantization.facts.spec, quantization.facts.qparams
    least, greatest, zero = (
        quantize(np.full(shape, value, np.float32), spec, qparams)
        for value in (*_finite(reach, spec, qparams), 0.0)
    )
    codes = _finite_codes(spec)
    size = math.prod(shape)
    in_turn = np.resize(np.roll(codes, -(turn * 37) % len(codes)), size).reshape(shape)
    order = _order(spec, in_turn)
    low, high = _order(spec, least), _order(spec, greatest)
    in_turn = np.where(order < low, least, np.where(order > high, greatest, in_turn))
    run = (np.arange(size) * 8 // max(size, 1)).reshape(shape)
    up, down = (run == 6, run == 7) if turn % 2 else (run == 7, run == 6)
    runs = [(run == 1) | up, (run == 3) | down, run == 5]
    with_runs = np.select(runs, [greatest, least, zero], in_turn)
    return with_runs.astype(least.dtype)


def _zero(spec: QuantizationSpec, qparams: QParams) -> float:
    """The code nearest to zero, in the first block."""
    scale = float(qparams.scale.reshape(-1)[0])
    if qparams.zero_point is not None:
        return float(qparams.zero_point.reshape(-1)[0])
    if qparams.minval is not None and scale > 0:
        return float(spec.quant_min) - round(float(qparams.minval.reshape(-1)[0]) / scale)
    return 0.0


def _code_places(spec: QuantizationSpec, zero: float) -> Array:
    """Places between codes, as numbers that stand for code + part of a step."""
    low, high = float(spec.quant_min), float(spec.quant_max)
    span = high - low
    first = [
        *(high + 3 * span, low - 3 * span, low - 0.5, high + 0.5, low - 1, high + 1, zero),
        *(zero + 0.5, zero - 0.5, zero + 1.5, low, high, low + 0.5, high - 0.5),
        *(low - 0.51, high + 0.51, low - 0.49, high + 0.49, low - 2, high + 2),
    ]
    codes = np.arange(low, high + 1)
    return np.array([*first, *(codes + 0.5), *codes, *(codes + 0.499), *(codes + 0.501)])


def _float_places(spec: QuantizationSpec) -> Array:
    """The values of a float format, the middles between them, and values beyond the greatest."""
    values = np.unique(decode(_finite_codes(spec), spec.dtype).astype(np.float64))
    most = float(spec.quant_max)
    values = values[np.abs(values) <= most]
    middles = (values[1:] + values[:-1]) / 2
    first = [2 * most, -2 * most, 1.01 * most, -1.01 * most, most, -most, 0.0]
    return np.array([*first, *middles[::3], *values, *middles])


def _finite_codes(spec: QuantizationSpec) -> Array:
    fmt = spec.format
    if fmt.is_integer:
        return np.arange(int(spec.quant_min), int(spec.quant_max) + 1).astype(fmt.code_dtype)
    codes = np.arange(2**fmt.bits).astype(np.uint8)
    values = decode(codes, spec.dtype).astype(np.float64)
    kept = np.isfinite(values) & (np.abs(values) <= float(spec.quant_max))
    return np.asarray(codes[kept & ~((values == 0) & np.signbit(values))])


def _order(spec: QuantizationSpec, codes: Array) -> Array:
    return np.asarray(decode(codes, spec.dtype).astype(np.float64))


def _ends(spec: QuantizationSpec) -> tuple[Any, Any]:
    codes = _finite_codes(spec)
    order = _order(spec, codes)
    return codes[np.argmin(order)], codes[np.argmax(order)]


def _finite(reach: Reach, spec: QuantizationSpec, qparams: QParams) -> Reach:
    """The reach with numbers in the place of infinities, beyond every code."""
    most = (
        float(np.max(np.abs(qparams.scale))) * 4.0 * max(abs(spec.quant_max), abs(spec.quant_min))
    )
    if qparams.minval is not None:
        most += float(np.max(np.abs(qparams.minval)))
    most = min(most, 1e30)
    return max(reach[0], -most), min(reach[1], most)
