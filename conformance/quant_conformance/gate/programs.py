"""What the gate asks of an exported file: its quantizers, its weights, and runs cut at will."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from quant_conformance.executors.stored import StoredTensor
from quant_conformance.protocol import Array


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


class Program(Protocol):
    """An exported file.

    Attributes:
        kind: "coreai" or "coreml".
        inputs: input names, in order.
        outputs: output names, in order.
        quantizers: in the order of the program.
        floats: name and shape of each float result that may be cut, in the order of the program.
        weights: name of the values to the quantized weight in the file.
    """

    kind: str
    inputs: Sequence[str]
    outputs: Sequence[str]
    quantizers: Sequence[ProgramQuantizer]
    floats: Mapping[str, tuple[int, ...]]

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
