"""What the gate asks of an exported file: its quantizers, its weights, and runs cut at will."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from quant_conformance.protocol import Array
from quant_conformance.runtimes.stored import StoredTensor


@dataclass(frozen=True)
class Readout:
    """The qparams of one quantize or dequantize operation of a file.

    Attributes:
        scale: float32 or float16, of rank 0 or 1.
        zero_point: in the codes' dtype, or None for float formats.
        offset: what is added in values (minval), or None.
        axis: of a scale of rank 1.
    """

    scale: Array
    zero_point: Array | None
    offset: Array | None = None
    axis: int = 0


@dataclass(frozen=True)
class ProgramQuantizer:
    """One quantize operation of a file.

    Attributes:
        codes: name of its result in the program.
        source: name of what it reads.
        dtype: format of the codes.
        shape: of the codes.
        quantize: its qparams.
        dequantize: those of the operations that dequantize its codes.
    """

    codes: str
    source: str
    dtype: str
    shape: tuple[int, ...]
    quantize: Readout
    dequantize: tuple[Readout, ...] = ()


_TWINS = {("uint8", "int8"): 128, ("int8", "uint8"): -128}
"""Formats of one width whose codes differ by a constant: (file's, prepared model's) -> constant."""


def as_prepared(quantizer: ProgramQuantizer, dtype: str) -> ProgramQuantizer:
    """A file's quantizer in the codes of the prepared model, where that is only another count.

    A converter may store int8 codes as uint8 with a zero point that is 128 more: every code means
    the same value.

    Args:
        quantizer: the file's.
        dtype: the prepared model's format.
    """
    offset = _TWINS.get((quantizer.dtype, dtype))
    if offset is None:
        return quantizer

    def moved(readout: Readout) -> Readout:
        zero_point = readout.zero_point
        if zero_point is None:
            return readout
        return replace(readout, zero_point=zero_point.astype(np.int32) - offset)

    return replace(
        quantizer,
        dtype=dtype,
        quantize=moved(quantizer.quantize),
        dequantize=tuple(moved(readout) for readout in quantizer.dequantize),
    )


def converted(codes: Array, source: str, target: str) -> Array:
    """Codes of one format as codes of its twin; unchanged where they are none."""
    if source == target:
        return codes
    offset = _TWINS.get((source, target))
    if offset is None:
        return codes
    return (codes.astype(np.int16) - offset).astype(target)


@dataclass(frozen=True)
class RescaledSum:
    """A sum whose scales a converter divided by the scale of one of its operands.

    coremltools does so: ``x·s + y·t``, quantized by u, becomes ``x·(s/t) + y·1`` quantized by u/t.

    Attributes:
        operands: names of the codes that it reads, or of the values of a stored constant.
        scales: what they are dequantized by for this sum alone.
        zero_points: what is subtracted before, in the codes of the file.
        codes: name of the codes of its result.
        scale: what the result is quantized by.
    """

    operands: tuple[str, str]
    scales: tuple[float, float]
    zero_points: tuple[int, int]
    codes: str
    scale: float


Shapes = Sequence[tuple[int, ...]]


class Program(Protocol):
    """An exported file.

    Attributes:
        kind: "coreai" or "coreml".
        inputs: input names, in order.
        outputs: output names, in order.
        handed_on: names of the values that are the outputs, in order.
        shapes: those of the inputs and those of the outputs, in order.
        quantizers: in the order of the program.
        sums: the sums whose scales were divided; their dequantize operations are no readers of a
            quantizer.
        floats: name and shape of each float result that may be cut, in the order of the program.
        weights: name of the values to the quantized weight in the file.
        lacking: operations that what runs the file lacks; known after a run.
        operations: result -> kind and operands, in the order of the program; the inputs are
            first, of the kind "input".
    """

    @property
    def kind(self) -> str:  # noqa: D102 (the class says what they are)
        ...

    @property
    def inputs(self) -> Sequence[str]:  # noqa: D102
        ...

    @property
    def outputs(self) -> Sequence[str]:  # noqa: D102
        ...

    @property
    def handed_on(self) -> Sequence[str]:  # noqa: D102
        ...

    @property
    def shapes(self) -> tuple[Shapes, Shapes]:  # noqa: D102
        ...

    @property
    def quantizers(self) -> Sequence[ProgramQuantizer]:  # noqa: D102
        ...

    @property
    def sums(self) -> Sequence[RescaledSum]:  # noqa: D102
        ...

    @property
    def floats(self) -> Mapping[str, tuple[int, ...]]:  # noqa: D102
        ...

    @property
    def lacking(self) -> Sequence[str]:  # noqa: D102
        ...

    @property
    def operations(self) -> Mapping[str, tuple[str, tuple[str, ...]]]:  # noqa: D102
        ...

    @property
    def weights(self) -> Mapping[str, StoredTensor]:
        """The quantized weights in the file, by the name of their values."""
        ...

    def run(
        self,
        feeds: Sequence[Array],
        wanted: Sequence[str],
        replaced: Mapping[str, Array],
    ) -> dict[str, Array]:
        """Runs the program.

        Args:
            feeds: its inputs, in order.
            wanted: values to return; codes as the suite holds them.
            replaced: values whose readers get these arrays instead; what the program itself
                computes there is still what is returned for them.

        Returns:
            The values by name, without those that follow from an operation in ``lacking``.
        """
        ...

    def save_region(
        self, path: Path, target: str, given: Mapping[str, Array]
    ) -> dict[str, Array] | None:
        """Saves what computes one value as a model of its own, for a reproduction.

        Args:
            path: where.
            target: the value.
            given: values that become inputs where it depends on them.

        Returns:
            The model's inputs by name, or None where it cannot be saved.
        """
        ...

    def close(self) -> None:
        """Ends what runs it."""
        ...
