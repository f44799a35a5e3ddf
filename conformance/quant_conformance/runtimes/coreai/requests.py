"""What is asked of the Core AI runtime: one small operation on one array, as plain data."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from quant_conformance.runtimes.coreai.types import Array


def _zero() -> Array:
    return np.zeros((), np.float32)


@dataclass(frozen=True)
class Request:
    """One operation of a Core AI program.

    Attributes:
        operation: a key of the table in programs.py.
        x: the input, as the suite holds it (codes of low-bit floats as uint8 bits).
        x_type: element type of the input in the program.
        result_type: element type of the answer.
        shape: shape of the answer where it is not the input's.
        code_type: format of the codes, and of the zero point.
        scale: scale constant (for statistics: the range of the codes), of rank 0, 1 or x's.
        scale_type: element type of the scale.
        zero_point: first offset of the operation, in codes.
        offset: second offset: minval, or zero.
        offset_type: element type of the second offset in ``quantize``, to which x is cast first.
        axis: axis along which a 1-D scale lies.
        negative_zero: add -0 where there is no offset, and not +0 as exporters do; nothing else
            than -0 itself tells the two apart.
    """

    operation: str
    x: Array
    x_type: str
    result_type: str
    shape: tuple[int, ...] | None = None
    code_type: str = "int8"
    scale: Array = field(default_factory=_zero)
    scale_type: str = "float32"
    zero_point: Array = field(default_factory=_zero)
    offset: Array = field(default_factory=_zero)
    offset_type: str = "float32"
    axis: int = 0
    negative_zero: bool = False

    @property
    def result_shape(self) -> tuple[int, ...]:
        """Shape of the answer."""
        return self.x.shape if self.shape is None else self.shape

    @property
    def key(self) -> tuple[object, ...]:
        """Identifies the request by its contents."""
        arrays = (self.x, self.scale, self.zero_point, self.offset)
        return (
            self.operation,
            *(self.x_type, self.result_type, self.shape, self.code_type, self.scale_type),
            *(self.offset_type, self.axis, self.negative_zero),
            *((array.shape, array.dtype.str, array.tobytes()) for array in arrays),
        )
