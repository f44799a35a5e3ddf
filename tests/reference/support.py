"""From arrays to the oracle's numbers and back, and what the tests of the reference draw from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import product
from typing import Any

import ml_dtypes
import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from quant_reference import SPEC_FORMATS, QParams, QuantizationSpec, oracle
from quant_reference.oracle import BlockQParams, Number

Array = NDArray[Any]

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
DTYPES: dict[str, np.dtype[Any]] = {
    "float32": np.dtype(np.float32),
    "bfloat16": BFLOAT16,
    "float16": np.dtype(np.float16),
}
INTEGERS = tuple(name for name, fmt in SPEC_FORMATS.items() if fmt.is_integer)
FLOATS = tuple(name for name, fmt in SPEC_FORMATS.items() if fmt.kind == "float")
SCHEMES = ("symmetric", "symmetric_with_clipping", "asymmetric")
FORMULATIONS = ("zp", "minval")


def specs() -> list[QuantizationSpec]:
    """Every legal combination of dtype, scheme, formulation and scale dtype, per tensor."""
    integer = [
        QuantizationSpec(dtype, scheme, formulation)
        for dtype, scheme, formulation in product(INTEGERS, SCHEMES, FORMULATIONS)
    ]
    floating = [QuantizationSpec(dtype, scale_dtype="float8_e8m0fnu") for dtype in FLOATS]
    return [*integer, *floating, *(QuantizationSpec(n) for n in FLOATS if n != "float4_e2m1fn")]


def label(spec: QuantizationSpec) -> str:
    """Short name of a spec for a test's id."""
    return f"{spec.dtype}-{spec.qscheme}-{spec.qformulation}-{spec.scale_dtype or 'float32'}"


def numbers(array: Array) -> list[Number]:
    """The elements in C order, exactly."""
    with np.errstate(invalid="ignore"):  # signalling NaN
        exact = np.asarray(array, np.float64)
    return [oracle.number(value) for value in exact.ravel().tolist()]


def to_array(values: Iterable[Number], dtype: np.dtype[Any] | type = np.float32) -> Array:
    """Numbers that ``dtype`` holds, as an array of it."""
    exact = np.array([float(value) for value in values], np.float64)
    with np.errstate(all="ignore"):
        narrow = exact.astype(dtype)
    assert np.array_equal(narrow.astype(np.float64), exact, equal_nan=True), "not representable"
    return narrow


def assert_same(actual: Array, expected: Sequence[Number | int], dtype: Any, *inputs: Any) -> None:
    """Same dtype and, element for element, the same bits; any NaN equals any NaN."""
    assert isinstance(actual, np.ndarray)
    assert actual.dtype == np.dtype(dtype)
    assert actual.size == len(expected)
    if actual.dtype.kind in "iu":
        wrong = actual.ravel() != np.array(expected)
    else:
        wanted = np.array([float(value) for value in expected], np.float64)
        with np.errstate(invalid="ignore"):  # signalling NaN
            got = actual.ravel().astype(np.float64)
        equal = (got == wanted) & (np.signbit(got) == np.signbit(wanted))
        wrong = ~(equal | (np.isnan(got) & np.isnan(wanted)))
    if wrong.any():
        first = int(np.flatnonzero(wrong)[0])
        given = [np.ravel(values)[first] for values in inputs]
        raise AssertionError(
            f"{int(wrong.sum())} of {wrong.size} differ, first at {first}: given {given}, "
            f"got {actual.ravel()[first]!r}, the oracle says {expected[first]}"
        )


def with_neighbours(values: Array) -> Array:
    """Each float32 value with the float32 below and above it; 1-D."""
    flat = np.asarray(values, np.float32).ravel()
    with np.errstate(over="ignore"):
        below = np.nextafter(flat, np.float32(-np.inf))
        above = np.nextafter(flat, np.float32(np.inf))
    return np.stack([below, flat, above], axis=1).ravel()


def qparams(scale: Any, zero_point: Any = None, minval: Any = None, rank: int = 1) -> QParams:
    """Qparams from scalars or arrays, a scalar taking the given rank."""

    def shaped(value: Any, dtype: type) -> Array | None:
        if value is None:
            return None
        array = np.asarray(value, dtype)
        return array.reshape((1,) * rank) if array.ndim == 0 else array

    scales = shaped(scale, np.float32)
    assert scales is not None
    return QParams(scales, shaped(zero_point, np.int32), shaped(minval, np.float32))


def block_qparams(params: QParams) -> list[BlockQParams]:
    """The oracle's form of every entry, in C order."""
    count = params.scale.size
    zero_points = [None] * count if params.zero_point is None else params.zero_point.ravel()
    minvals = [None] * count if params.minval is None else numbers(params.minval)
    return [
        BlockQParams(scale, None if zero_point is None else int(zero_point), minval)
        for scale, zero_point, minval in zip(
            numbers(params.scale), zero_points, minvals, strict=True
        )
    ]


def elementwise(
    formula: Callable[..., Any], params: QParams, shape: Sequence[int], *columns: Sequence[Any]
) -> list[Any]:
    """``formula(element of each column…, qparams of the element's block)``, in C order."""
    extents = [
        whole // (count or 1) for whole, count in zip(shape, params.scale.shape, strict=True)
    ]
    results: list[Any] = [None] * len(columns[0])
    blocks = oracle.block_members(shape, extents)
    for members, of_block in zip(blocks, block_qparams(params), strict=True):
        for flat in members:
            results[flat] = formula(*(column[flat] for column in columns), of_block)
    return results


def bit_arrays(dtype_name: str, min_size: int = 1, max_size: int = 24) -> st.SearchStrategy[Array]:
    """1-D arrays of a float dtype from arbitrary bits: NaN, infinities and subnormals included."""
    width = DTYPES[dtype_name].itemsize * 8
    unsigned = np.dtype(f"uint{width}")
    anywhere = st.integers(0, 2**width - 1)
    return st.lists(anywhere, min_size=min_size, max_size=max_size).map(
        lambda bits: np.array(bits, unsigned).view(DTYPES[dtype_name])
    )


def scales() -> st.SearchStrategy[float]:
    """Float32 scales: any finite positive one, ordinary ones more often than chance has it."""
    return st.one_of(
        st.floats(2.0**-149, 2.0**127, width=32),
        st.floats(2.0**-20, 2.0**10, width=32, exclude_min=True),
    )
