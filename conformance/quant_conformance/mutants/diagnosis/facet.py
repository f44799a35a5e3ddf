"""One thing that is known of each element of an answer, and how to write it down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from quant_conformance.protocol import Array
from quant_conformance.verdicts.bits import code_values, is_float
from quant_reference.formats import get_format

Mask = NDArray[np.bool_]

Kind = Literal["truth", "size", "index", "word"]
"""A truth is a mask; a size is a magnitude; an index counts from 0; a word is one of the case's."""


@dataclass(frozen=True)
class Facet:
    """One thing that is known of every element of an answer.

    Attributes:
        kind: how its values are to be read.
        text: what it is about, as part of a sentence.
        values: one per element: booleans, or float64 with NaN where it does not apply.
    """

    kind: Kind
    text: str
    values: NDArray[Any]


def truth(text: str, holds: Any) -> Facet:
    """A facet that holds or not."""
    return Facet("truth", text, np.asarray(holds, np.bool_).reshape(-1))


def numbers(array: Array, fmt: str | None) -> NDArray[np.float64]:
    """Elements as float64; codes of a float format by their values."""
    values = array if fmt is None else code_values(np.ascontiguousarray(array), fmt)
    with np.errstate(invalid="ignore"):  # a NaN of bfloat16 warns on its way
        return values.astype(np.float64)


def subnormal(array: Array, fmt: str | None) -> Mask:
    """Marks the subnormals of a dtype, or of the float format whose codes are given."""
    if fmt is not None:
        form = get_format(fmt)
        least = 2.0 ** (1 - form.bias)
    elif is_float(array):
        least = 2.0**-14 if array.dtype == np.float16 else 2.0**-126
    else:
        return np.zeros(array.shape, np.bool_)
    values = np.abs(numbers(array, fmt))
    return np.asarray((values > 0) & (values < least))


def along(shape: tuple[int, ...], axis: int) -> NDArray[np.int64]:
    """Index along an axis, to be broadcast to the shape."""
    return np.arange(shape[axis]).reshape([-1 if a == axis else 1 for a in range(len(shape))])
