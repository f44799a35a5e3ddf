"""What makes the reference fast and decides no number: chunks, casts, memory used again.

Each trick has a plain counterpart, which :func:`plain` selects: whole tensors with one qparam per
element, codes built by integer arithmetic, a new array per step. The tests compare both bit for
bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import product
from math import prod
from typing import Any

import ml_dtypes
import numpy as np

from quant_reference._arrays import Array, Float32
from quant_reference.blocks import spread, view_shape
from quant_reference.formats import Format

# 2**17 float32 elements are 512 KiB: a formula's few temporaries stay in a core's cache, which is
# what makes plain numpy expressions fast on large tensors, and bounds their extra memory.
CHUNK_ELEMENTS = 1 << 17

# numpy copies a broadcast operand whose rows are shorter than its buffer; a small one spares that.
UFUNC_BUFFER = 2048
LONG_RUN = 1024

_ML_DTYPES: dict[str, np.dtype[Any]] = {
    "float8_e4m3fn": np.dtype(ml_dtypes.float8_e4m3fn),
    "float8_e5m2": np.dtype(ml_dtypes.float8_e5m2),
    "float4_e2m1fn": np.dtype(ml_dtypes.float4_e2m1fn),
    "float8_e8m0fnu": np.dtype(ml_dtypes.float8_e8m0fnu),
    "float8_e3m4": np.dtype(ml_dtypes.float8_e3m4),
    "float8_e4m3ieee": np.dtype(ml_dtypes.float8_e4m3),
    "float8_e4m3fnuz": np.dtype(ml_dtypes.float8_e4m3fnuz),
    "float8_e4m3b11fnuz": np.dtype(ml_dtypes.float8_e4m3b11fnuz),
    "float8_e5m2fnuz": np.dtype(ml_dtypes.float8_e5m2fnuz),
    "float6_e2m3fn": np.dtype(ml_dtypes.float6_e2m3fn),
    "float6_e3m2fn": np.dtype(ml_dtypes.float6_e3m2fn),
    "float8_ue4m3": np.dtype(ml_dtypes.float8_e4m3fn),  # the codes below that of -0
}

_ENABLED: ContextVar[bool] = ContextVar("quant_reference_fast", default=True)


def enabled() -> bool:
    """Whether the tricks of this module are on."""
    return _ENABLED.get()


@contextmanager
def plain() -> Iterator[None]:
    """Switch the tricks off in this context."""
    token = _ENABLED.set(False)
    try:
        yield
    finally:
        _ENABLED.reset(token)


def over(function: Callable[..., Any], values: Array, *operands: Any) -> Array:
    """``function(values, *operands)``, which may overwrite values.

    Args:
        function: A ufunc, or what has its ``out``.
        values: A temporary array that nobody needs any more.
        *operands: Further operands.
    """
    if enabled() and values.ndim:  # an operation on rank 0 gives a scalar, which takes no output
        result: Array = function(values, *operands, out=values)
        return result
    return np.asarray(function(values, *operands))


def in_chunks(encoded: Callable[[Array], Array], values: Array) -> Array:
    """uint8 codes of an array, a chunk after the other if it is long and contiguous.

    Args:
        encoded: The codes of a part.
        values: The whole.
    """
    if not enabled() or values.size <= CHUNK_ELEMENTS or not values.flags.c_contiguous:
        return np.asarray(encoded(values))
    flat, codes = values.reshape(-1), np.empty(values.size, np.uint8)
    for start in range(0, flat.size, CHUNK_ELEMENTS):
        part = slice(start, start + CHUNK_ELEMENTS)
        codes[part] = encoded(flat[part])
    return codes.reshape(values.shape)


def cast_to_codes(values: Float32, form: Format) -> Array:
    """Codes of values within ±max by one cast; what it gives for NaN is left to the caller.

    Straight from float32: ml_dtypes rounds float64 input twice.
    """
    with np.errstate(invalid="ignore"):  # numpy warns of casting a signalling NaN
        return np.asarray(values).astype(_ML_DTYPES[form.name]).view(np.uint8)


def cast_from_codes(codes: Array, form: Format) -> Float32:
    """Values of the codes of a float or scale format by one cast."""
    # A view of the same width needs no contiguous array, and a scalar must stay one.
    return codes.view(_ML_DTYPES[form.name]).astype(np.float32)


class Parts:
    """The parts of tensors that an elementwise formula is computed for, one after the other.

    Iterating gives a part of each tensor, then of each parameter, so that they broadcast; the
    result for a part is stored before the next one is taken.

    Attributes:
        result: The whole result, in the tensors' shape.
    """

    result: Array

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        raise NotImplementedError

    def store(self, result: Array) -> None:
        """Keep the result of this part."""
        raise NotImplementedError


def parts(
    tensors: tuple[Array, ...], params: tuple[Array | None, ...], dtype: str | np.dtype[Any]
) -> Parts:
    """Divide the work of an elementwise formula.

    Args:
        tensors: Arrays of one shape.
        params: Arrays of the tensors' rank with one entry per block; None stays None.
        dtype: dtype of the result.
    """
    if enabled():
        return _Chunks(tensors, params, np.dtype(dtype))
    shape = tensors[0].shape
    return _Whole((*tensors, *(None if p is None else spread(p, shape) for p in params)))


def map_blocks(
    formula: Callable[..., Array],
    tensors: tuple[Array, ...],
    params: tuple[Array, ...],
    dtype: str | np.dtype[Any],
) -> Array:
    """Apply an elementwise formula to tensors and per-block parameters, part by part.

    Args:
        formula: Called with a part of each tensor, then of each parameter.
        tensors: As for :func:`parts`.
        params: As for :func:`parts`.
        dtype: What the formula's results are cast to.

    Returns:
        The result, C-contiguous, in the tensors' shape.
    """
    work = parts(tensors, params, dtype)
    with np.errstate(all="ignore"):  # special values are results by rule and not accidents
        for part in work:
            work.store(formula(*part).astype(dtype, copy=False))
    return work.result


class _Whole(Parts):
    """One part: everything, with an entry per element."""

    def __init__(self, operands: tuple[Any, ...]) -> None:
        self._operands = operands

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        yield self._operands

    def store(self, result: Array) -> None:
        self.result = np.asarray(result, order="C")


class _Chunks(Parts):
    """Parts of a size that suits a core's cache, with the parameters of their blocks."""

    def __init__(
        self,
        tensors: tuple[Array, ...],
        params: tuple[Array | None, ...],
        dtype: np.dtype[Any],
    ) -> None:
        self._tensors, self._params = tensors, params
        self._index: tuple[slice, ...] = ()
        self.result = np.empty(tensors[0].shape, dtype)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        if self.result.size == 0:
            return
        shape = self._tensors[0].shape
        blocks = next(p.shape for p in self._params if p is not None)
        view = view_shape(shape, blocks) or (1,)
        tensors = [t.reshape(view) for t in self._tensors]
        per_block = view_shape(blocks, blocks) or (1,)
        params = [None if p is None else p.reshape(per_block) for p in self._params]
        self._target = self.result.reshape(view)
        # Where a block is a short run of neighbours, repeating its entry is faster than
        # broadcasting; a chunk takes such a run whole.
        run = view[-1] if view[-1] <= min(LONG_RUN, CHUNK_ELEMENTS) else 1
        np.setbufsize(UFUNC_BUFFER)  # restored with the error state
        for index in _boxes(view):
            self._index = index
            of_blocks = tuple(
                part if axis % 2 == 0 else slice(None) for axis, part in enumerate(index)
            )
            entries = (None if p is None else p[of_blocks] for p in params)
            if run > 1:
                entries = (None if p is None else p.repeat(run, axis=-1) for p in entries)
            yield (*(t[index] for t in tensors), *entries)

    def store(self, result: Array) -> None:
        self._target[self._index] = result


def _boxes(shape: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
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
