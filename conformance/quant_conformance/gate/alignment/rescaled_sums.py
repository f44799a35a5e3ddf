"""Sums whose scales a converter divided by one of them: what they must hold, and what they give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from quant_conformance.gate.recording.recorder import Quantization
from quant_conformance.runtimes.program import RescaledSum
from quant_reference import QParams


@dataclass(frozen=True)
class Rescaled:
    """The scales of one sum as the file has them, found to be quotients of the right ones.

    Attributes:
        scales: result of an operand's quantizer -> the scale that it is dequantized by here.
        scale: what the sum is quantized by.
    """

    scales: Mapping[str, float]
    scale: float


def rescaled(
    found: RescaledSum,
    operands: tuple[Quantization, Quantization],
    scales: tuple[QParams, QParams, QParams],
    half: bool,
) -> Rescaled | str:
    """Checks the scales of a sum; returns what is wrong with them as text.

    Args:
        found: the sum in the file.
        operands: the quantizers of its operands, in the prepared model.
        scales: qparams of the operands and of the result, in float32.
        half: whether the program holds them in float16: it divides first.
    """
    first, second, result = (float(q.scale.reshape(-1)[0]) for q in scales)
    for divisor in (first, second):
        wanted = [_quotient(scale, divisor) for scale in (first, second, result)]
        if half:
            wanted = [float(np.float16(scale)) for scale in wanted]
        if [*found.scales, found.scale] == wanted:
            names = (operands[0].result, operands[1].result)
            return Rescaled(dict(zip(names, found.scales, strict=True)), found.scale)
    return (
        f"a sum with scales {found.scales[0]!r}, {found.scales[1]!r} and {found.scale!r} in the "
        f"file, which are no quotients of {first!r}, {second!r} and {result!r}"
    )


def _quotient(scale: float, divisor: float) -> float:
    return float(np.float32(scale) / np.float32(divisor))
