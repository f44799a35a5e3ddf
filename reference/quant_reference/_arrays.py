"""Array plumbing shared by the operations: accepted dtypes, block views, cache-sized chunks.

Nothing here decides a number; the formulas live in the modules that SPEC.md names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from math import prod
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from quant_reference.errors import InputError

Array = NDArray[Any]
Float32 = NDArray[np.float32]

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
FLOAT_DTYPES = (np.dtype(np.float16), BFLOAT16, np.dtype(np.float32))

# 2**17 float32 elements are 512 KiB: a formula's few temporaries stay in a core's cache, which is
# what makes plain numpy expressions fast on large tensors, and bounds their extra memory.
CHUNK_ELEMENTS = 1 << 17

# numpy copies a broadcast operand whose rows are shorter than its buffer; a small one spares that.
UFUNC_BUFFER = 2048
LONG_RUN = 1024


def native(x: object, name: str, allowed: str, clause: str) -> Array:
    """Return x as an array in native byte order; refuse what is not an array of numbers."""
    array = np.asarray(x)
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if array.dtype.kind in "OSUMm" or (array.dtype.kind == "V" and array.dtype != BFLOAT16):
        raise InputError(
            f"{name}: not an array of numbers", given=array.dtype, allowed=allowed, clause=clause
        )
    return array


_FLOATS = "float16, bfloat16 or float32"


def float_array(x: object, name: str, clause: str) -> Array:
    """Return x in native byte order if its dtype is float16, bfloat16 or float32."""
    array = native(x, name, _FLOATS, clause)
    if array.dtype not in FLOAT_DTYPES:
        raise InputError(
            f"dtype of {name} is not supported", given=array.dtype, allowed=_FLOATS, clause=clause
        )
    return array


def to_float32(x: Array) -> Float32:
    """Widen to float32, which is exact for every accepted dtype."""
    return x.astype(np.float32, copy=False)


def round_to(values: Array, dtype: np.dtype[Any]) -> Float32:
    """Round float32 values to the nearest of ``dtype`` (ties to even), kept as float32."""
    if dtype == np.float32:
        return values
    with np.errstate(over="ignore"):  # beyond float16's range the rounded value is an infinity
        return values.astype(dtype).astype(np.float32)


def block_view_shape(shape: tuple[int, ...], blocks: tuple[int, ...]) -> tuple[int, ...]:
    """Shape that splits every axis into (number of blocks, block extent)."""
    view: list[int] = []
    for extent, count in zip(shape, blocks, strict=True):
        view += (count, extent // count)
    return tuple(view)


def check_blocks(shape: tuple[int, ...], blocks: tuple[int, ...], clause: str) -> None:
    """Refuse qparams whose shape does not tile the tensor."""
    # An axis without elements may have no blocks either.
    if len(shape) != len(blocks) or any(
        extent % count if count else extent for extent, count in zip(shape, blocks, strict=True)
    ):
        raise InputError(
            f"qparams do not tile a tensor of shape {shape}",
            given=f"qparams of shape {blocks}",
            allowed="the rank of the tensor and, per axis, a number of blocks that divides it",
            clause=clause,
        )


def map_blocks(
    formula: Callable[..., Array],
    tensors: tuple[Array, ...],
    params: tuple[Array, ...],
    out_dtype: np.dtype[Any],
) -> Array:
    """Apply an elementwise formula to tensors and per-block parameters, a chunk at a time.

    Args:
        formula: Called with chunks of the tensors, then the parameters of these chunks shaped
            so that they broadcast; returns the chunk's result.
        tensors: Arrays of one shape.
        params: Arrays of the tensors' rank with one entry per block, all of one shape.
        out_dtype: dtype of the result.

    Returns:
        The result, C-contiguous, in the tensors' shape.
    """
    shape, blocks = tensors[0].shape, params[0].shape
    out = np.empty(shape, dtype=out_dtype)
    if out.size == 0:
        return out
    view = block_view_shape(shape, blocks) or (1,)
    views = [t.reshape(view) for t in tensors]
    spread = [p.reshape(block_view_shape(blocks, blocks) or (1,)) for p in params]
    target = out.reshape(view)
    # Where a block is a short run of neighbours, repeating its entry is faster than broadcasting;
    # a chunk takes such a run whole.
    run = view[-1] if view[-1] <= min(LONG_RUN, CHUNK_ELEMENTS) else 1
    # Special values take part in the arithmetic by rule; they are results and not accidents.
    with np.errstate(all="ignore"):
        np.setbufsize(UFUNC_BUFFER)  # restored with the error state
        for index in _chunks(view):
            of_blocks = tuple(
                part if axis % 2 == 0 else slice(None) for axis, part in enumerate(index)
            )
            chunks = (v[index] for v in views)
            entries = (p[of_blocks] for p in spread)
            if run > 1:
                entries = (p.repeat(run, axis=-1) for p in entries)
            target[index] = formula(*chunks, *entries)
    return out


def _chunks(shape: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
    """Cut an index space, in C order, into boxes of about CHUNK_ELEMENTS elements."""
    whole = len(shape)  # axes from here on are taken whole
    while whole > 0 and prod(shape[whole - 1 :]) <= CHUNK_ELEMENTS:
        whole -= 1
    if whole == 0:
        yield (slice(None),) * len(shape)
        return
    step = max(1, CHUNK_ELEMENTS // prod(shape[whole:]))
    rest = (slice(None),) * (len(shape) - whole)
    for lead in product(*(range(n) for n in shape[: whole - 1])):
        fixed = tuple(slice(i, i + 1) for i in lead)
        for start in range(0, shape[whole - 1], step):
            yield (*fixed, slice(start, start + step), *rest)
