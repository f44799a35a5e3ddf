"""A quantized layer as a question: operands, steps, and the output's quantization (ADM-13)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from quant_reference._arrays import Array
from quant_reference.admissible.arithmetic import FLOAT32, Arithmetic
from quant_reference.admissible.bounds import Bounds
from quant_reference.admissible.codes import (
    AdmissibleCodes,
    AdmissibleValues,
    admissible_codes,
    admissible_values,
)
from quant_reference.admissible.steps import Step, evaluate
from quant_reference.errors import InputError
from quant_reference.qparams import QParams
from quant_reference.quantize import dequantize
from quant_reference.spec import QuantizationSpec


@dataclass(frozen=True, eq=False)
class QuantizedTensor:
    """Codes with what they mean.

    Attributes:
        codes: int8 or uint8, any rank.
        spec: Gives dtype, qscheme and qformulation.
        qparams: Rank of codes, one entry per block.
    """

    codes: Array
    spec: QuantizationSpec
    qparams: QParams

    def dequantize(self) -> Array:
        """Values of the codes as float32 (DQ-1 to DQ-3)."""
        return dequantize(self.codes, self.spec, self.qparams)


class _Region:
    """What a layer has whether its result is quantized or not (ADM-13)."""

    steps: tuple[Step, ...]
    operands: Mapping[str, QuantizedTensor | Array]
    arithmetic: Arithmetic

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", tuple(self.steps))
        if not self.steps:
            raise InputError("layer", given="no steps", allowed="at least one", clause="ADM-13")
        for name, operand in self.operands.items():
            if isinstance(operand, QuantizedTensor):
                continue
            if np.asarray(operand).dtype not in (np.float32, np.int32):
                raise InputError(
                    f"operand {name}",
                    given=np.asarray(operand).dtype,
                    allowed="a QuantizedTensor, float32 or int32",
                    clause="ADM-13",
                )

    @property
    def output(self) -> str:
        """Name of the result."""
        return self.steps[-1].output

    def values(self) -> dict[str, Array]:
        """Operands as numbers: dequantized, and in the dtype of values (DQ-1 to DQ-3, FQ-3).

        Indices stay int32.
        """
        dtype = self.arithmetic.value.dtype
        found: dict[str, Array] = {}
        for name, operand in self.operands.items():
            array = operand.dequantize() if isinstance(operand, QuantizedTensor) else operand
            with np.errstate(over="ignore"):  # beyond float16's range it is an infinity
                found[name] = array if array.dtype == np.int32 else array.astype(dtype)
        return found

    def bounds(self) -> Bounds:
        """Where the result may lie before it is quantized."""
        return evaluate(self.steps, self.values(), self.arithmetic)[self.output]


@dataclass(frozen=True, eq=False)
class Layer(_Region):
    """A region of a model between quantizers (ADM-13).

    Attributes:
        steps: What is computed; the output of the last one is quantized.
        operands: By name: quantized tensors, float32 arrays, or int32 indices of an embedding.
        output_spec: What the result is quantized to.
        output_qparams: In the rank of the result.
        arithmetic: dtypes of values and sums.

    Raises:
        InputError: No step, or an operand of another dtype.
    """

    steps: tuple[Step, ...]
    operands: Mapping[str, QuantizedTensor | Array]
    output_spec: QuantizationSpec
    output_qparams: QParams
    arithmetic: Arithmetic = FLOAT32

    def admissible(self) -> AdmissibleCodes:
        """The codes that correct arithmetic can give (ADM-11)."""
        return admissible_codes(
            self.bounds(), self.output_spec, self.output_qparams, self.arithmetic
        )


@dataclass(frozen=True, eq=False)
class FloatLayer(_Region):
    """A region whose result is not quantized (ADM-12, ADM-13).

    Attributes:
        steps: What is computed; the output of the last one is the result.
        operands: As for :class:`Layer`.
        arithmetic: dtypes of values and sums.

    Raises:
        InputError: No step, or an operand of another dtype.
    """

    steps: tuple[Step, ...]
    operands: Mapping[str, QuantizedTensor | Array]
    arithmetic: Arithmetic = FLOAT32

    def admissible_values(self) -> AdmissibleValues:
        """The values that correct arithmetic can give (ADM-12)."""
        return admissible_values(self.bounds(), self.arithmetic)
