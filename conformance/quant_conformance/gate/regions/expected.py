"""What the prepared model fixes: codes, qparams and values, by the reference's own arithmetic."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from quant_conformance.gate.recording.recorder import Quantization, Recording
from quant_conformance.protocol import Array
from quant_reference import QParams, dequantize, quantize
from quant_reference.admissible import Arithmetic, Bounds, add, mul
from quant_reference.blocks import spread

LEAST_HALF = np.float16(2.0**-24)
"""What a nonzero number too small for float16 becomes when a program is cast (not 0)."""


@dataclass(frozen=True)
class FileReads:
    """How a file reads quantized tensors, where that is not by the qparams that are right.

    What is wrong of it is wrong once, where the tensor itself is judged; what is computed from the
    tensor is held to what follows from the values that it got.

    Attributes:
        wide: results of quantizers whose scale is float32 in a file that was cast; a cast may leave
            a scale alone that float16 would spoil.
        values: result of a quantizer -> what the file's readers get for the right codes.
        zero_points: result of a quantizer -> the zero point, in the codes of the prepared model, by
            which a sum with scales of its own reads it.
        whole: results of quantizers of weights that the file does not hold quantized.
    """

    wide: frozenset[str] = frozenset()
    values: Mapping[str, Array] = field(default_factory=dict)
    zero_points: Mapping[str, int] = field(default_factory=dict)
    whole: frozenset[str] = frozenset()

    @property
    def otherwise(self) -> set[str]:
        """Results of quantizers that are read by other qparams, or that the file does not hold."""
        return {*self.values, *self.zero_points, *self.whole}


class Expected:
    """Answers for one recording; a value, of which other ones are made.

    Args:
        recording: one run of a prepared model.
        half: whether the program is cast to 16 bits, so that scales, offsets and float values are
            rounded to float16.
        reads: what the file reads otherwise.
        codes: result of a quantizer -> its codes, where they are others than recorded.
    """

    def __init__(
        self,
        recording: Recording,
        half: bool,
        reads: FileReads | None = None,
        codes: Mapping[str, Array] | None = None,
    ) -> None:
        self.recording = recording
        self.half = half
        self.reads = FileReads() if reads is None else reads
        self._given = {} if codes is None else dict(codes)
        self._quantized: dict[str, Array] = {}  # computed when they are first asked for

    def with_reads(self, reads: FileReads) -> Expected:
        """What is right for a file that reads so."""
        other = Expected(self.recording, self.half, reads, self._given)
        other._quantized = self._quantized  # they do not depend on it
        return other

    def with_codes(self, codes: Mapping[str, Array]) -> Expected:
        """What a program has to compute with where quantizers gave other codes than recorded.

        Args:
            codes: result of a quantizer -> its codes.
        """
        values = {n: a for n, a in self.reads.values.items() if n not in codes}
        reads = replace(self.reads, values=values, zero_points={})
        return Expected(self.recording, self.half, reads, {**self._given, **codes})

    def quantized_as_floats(self, names: Collection[str]) -> Expected:
        """Takes weights that are whole in the file for the quantized ones, held as floats.

        Without this they are taken for the ones that were never quantized; which of the two a file
        holds shows in what it computes.

        Args:
            names: results of their quantizers.
        """
        values = {n: a for n, a in self.reads.values.items() if n not in names}
        return self.with_reads(replace(self.reads, values=values))

    def codes(self, quantization: Quantization) -> Array:
        """The codes of the prepared model (Q-1 to Q-5)."""
        name = quantization.result
        if name in self._given:
            return self._given[name]
        if name not in self._quantized:
            source = self.recording.values[quantization.source]
            facts = quantization.facts
            self._quantized[name] = quantize(source, facts.spec, facts.qparams)
        return self._quantized[name]

    def qparams(self, quantization: Quantization) -> QParams:
        """The qparams that the program has to hold."""
        facts = quantization.facts
        if not self.half or quantization.result in self.reads.wide:
            return facts.qparams
        keeps = facts.spec.scale_dtype is not None  # a power of two beyond float16's range
        scale = facts.qparams.scale if keeps else to_half(facts.qparams.scale)
        minval = facts.qparams.minval
        return replace(
            facts.qparams, scale=scale, minval=None if minval is None else to_half(minval)
        )

    def values(self, quantization: Quantization, scale: float | None = None) -> Array:
        """What the program computes with: the codes dequantized by its qparams (DQ-1 to DQ-3).

        Args:
            quantization: the quantizer.
            scale: another scale, where the program has one.
        """
        facts = quantization.facts
        qparams = self.qparams(quantization)
        if scale is not None:
            qparams = replace(qparams, scale=np.full_like(qparams.scale, scale))
            zero_point = self.reads.zero_points.get(quantization.result)
            if zero_point is not None:
                return self._rounded(_counted_from(self.codes(quantization), zero_point, scale))
        values = self.reads.values.get(quantization.result)
        if values is None or scale is not None:
            values = dequantize(self.codes(quantization), facts.spec, qparams)
        return self._rounded(values)

    def _rounded(self, values: Array) -> Array:
        return values.astype(np.float16).astype(np.float32) if self.half else values

    def operand(self, name: str, scale: float | None = None, *, cast: bool = True) -> Array:
        """A recorded value as the program has it.

        Args:
            name: the value.
            scale: as in :meth:`values`.
            cast: whether a parameter is rounded in a program that was cast; a cast may leave
                parameters in float32 where it leaves their operation.
        """
        if name in self._by_result:
            return self.values(self._by_result[name], scale)
        array = self.recording.values[name]
        rounded = cast or name not in self.recording.states
        return to_half(array) if self.half and rounded and array.dtype.kind == "f" else array

    def bounds(self, name: str, scale: float | None = None, *, cast: bool = True) -> Bounds:
        """The operand with what a program may make of it.

        A 16-bit program may round the product and the sum of a minval dequantize (DQ-2) each to
        float16; every other operand is known to the bit.
        """
        quantization = self._by_result.get(name)
        if self.half and quantization is not None and name not in self.reads.values:
            spec, qparams = quantization.facts.spec, self.qparams(quantization)
            if spec.qformulation == "minval" and qparams.minval is not None:
                arithmetic = Arithmetic("float16")
                levels = self.codes(quantization).astype(np.float32) - np.float32(spec.quant_min)
                steps = mul(levels, spread(qparams.scale, levels.shape), arithmetic=arithmetic)
                return add(steps, spread(qparams.minval, levels.shape), arithmetic=arithmetic)
        return Bounds.exact(self.operand(name, scale, cast=cast))

    def agrees(self, quantization: Quantization) -> bool:
        """Whether the prepared model's own fake-quantize gave what the reference gives (FQ-1)."""
        facts = quantization.facts
        values = dequantize(self.codes(quantization), facts.spec, facts.qparams)
        source = self.recording.values[quantization.source]
        given = self.recording.values[quantization.result]
        same = np.array_equal(given, values.astype(given.dtype), equal_nan=True)
        return bool(same or np.isnan(source).any())  # what a code holds for a NaN is a policy

    @cached_property
    def _by_result(self) -> Mapping[str, Quantization]:
        return {q.result: q for q in self.recording.quantizations}


def _counted_from(codes: Array, zero_point: int, scale: float) -> Array:
    """DQ-1 by a zero point that the format need not have: what a file was found to read by."""
    levels = codes.astype(np.int32) - zero_point
    return levels.astype(np.float32) * np.float32(scale)


def to_half(array: Array) -> Array:
    """Rounds to float16, as a cast of a program does: what is not zero stays so."""
    with np.errstate(over="ignore"):
        rounded = array.astype(np.float16)
    least = np.copysign(LEAST_HALF, rounded)
    return np.where((rounded == 0) & (array != 0), least, rounded).astype(np.float32)
