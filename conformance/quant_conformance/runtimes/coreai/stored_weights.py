"""Reads the quantized weights of a Core AI program from its text.

A weight is a ``coreai.blockwise_shift_scale`` of four constants: codes, scale, the code that is
subtracted and the value that is added. The scale may be cast to e8m0 from a constant of another
type, or from what a table holds at the places that a constant names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from quant_conformance.runtimes.errors import ExecutorError
from quant_conformance.runtimes.stored import StoredTensor
from quant_reference import get_format, unpack

Array = NDArray[Any]

_FORMATS = {
    **{f"{sign}i{bits}": f"{'u' * (sign == 'u')}int{bits}" for sign in "su" for bits in (2, 4, 8)},
    "f8E4M3FN": "float8_e4m3fn",
    "f8E5M2": "float8_e5m2",
    "f4E2M1FN": "float4_e2m1fn",
}
_FLOATS: dict[str, Any] = {
    "f32": np.float32,
    "f16": np.float16,
    "bf16": ml_dtypes.bfloat16,
    "f8E8M0FNU": ml_dtypes.float8_e8m0fnu,
    "f8E4M3FN": ml_dtypes.float8_e4m3fn,
    "f8E5M2": ml_dtypes.float8_e5m2,
    "f4E2M1FN": ml_dtypes.float4_e2m1fn,
}
_VALUE = r"%\w+"
_CONSTANT = re.compile(
    rf"^\s*({_VALUE}) = coreai\.constant (dense|dense_resource)<(.*)> : tensor<([\dx]*)(\w+)>",
    re.MULTILINE,
)
_WEIGHT = re.compile(
    rf"coreai\.blockwise_shift_scale ({_VALUE}), ({_VALUE}), ({_VALUE}), ({_VALUE}) :"
)
_GRAPH = re.compile(r"^\s*coreai\.graph ", re.MULTILINE)
_CAST = re.compile(
    rf"^\s*({_VALUE}) = coreai\.cast ({_VALUE}) : tensor<[\dx]*b?f\d+> to tensor<[\dx]*f8E8M0FNU>",
    re.MULTILINE,
)
_LOOKUP = re.compile(
    rf"^\s*({_VALUE}) = coreai\.lut_to_dense ({_VALUE}), ({_VALUE}), {_VALUE} :", re.MULTILINE
)
_RESOURCE = re.compile(r'^\s+([\w.]+): "0x([0-9A-Fa-f]*)"', re.MULTILINE)
_NUMBER = re.compile(r"[^\s,\[\]]+")
_RESOURCE_HEADER = 4
"""Bytes at the start of a resource: its alignment."""


def stored_tensors(text: str) -> tuple[StoredTensor, ...]:
    """Returns the weights of a program in the order of the program.

    Args:
        text: the program as Core AI prints it.

    Raises:
        ExecutorError: a weight is not made of constants of known types.
    """
    resources = dict(_RESOURCE.findall(text))
    found: list[StoredTensor] = []
    for graph in _GRAPH.split(text):  # names are unique in a graph, not in a program of several
        names = _Names.of(graph)
        found += (_stored(match, names, resources) for match in _WEIGHT.finditer(graph))
    return tuple(found)


class Constants:
    """The constants of one graph of a program, by name.

    Args:
        body: the text of the graph, in which names are unique.
        text: the text of the whole program, whose end holds the large ones.
    """

    def __init__(self, body: str, text: str) -> None:
        self._resources = dict(_RESOURCE.findall(text))
        self._names = _Names.of(body)

    def read(self, name: str) -> tuple[str, Array]:
        """Returns the element type, by its name in the reference, and the values.

        Codes of low-bit floats are uint8; indices (``si32``, ``ui32``) are integers.

        Raises:
            ExecutorError: no constant of that name, or of an unknown type.
        """
        if name not in self._names.constants:
            raise ExecutorError(f"{name} is not a constant")
        constant = self._names.constants[name]
        kind = constant[5]
        if kind in _FORMATS:
            return _FORMATS[kind], _codes(constant, _FORMATS[kind], self._resources)
        if kind in _FLOATS:
            return kind, _floats(constant, self._resources)
        if kind in ("si32", "ui32"):
            raw = _bytes(constant, self._resources)
            if raw is not None:
                return "int32", np.frombuffer(raw, np.int32).reshape(_shape(constant))
            numbers = [int(token) for token in _NUMBER.findall(constant[3])]
            return "int32", _filled(np.array(numbers, np.int64), _shape(constant))
        raise ExecutorError(f"{name} is a constant of type {kind}")

    def stored(self, line: str) -> StoredTensor:
        """Returns the weight that a ``blockwise_shift_scale`` makes.

        Args:
            line: the operation.

        Raises:
            ExecutorError: it is not made of constants of known types.
        """
        match = _WEIGHT.search(line)
        if match is None:
            raise ExecutorError(f"no weight: {line.strip()}")
        return _stored(match, self._names, self._resources)


@dataclass(frozen=True)
class _Names:
    """What the names of one graph mean.

    Attributes:
        constants: name to constant.
        casts: name of a cast to e8m0 to what it casts.
        lookups: name of what a table gives to the names of the places and of the table.
    """

    constants: Mapping[str, re.Match[str]]
    casts: Mapping[str, str]
    lookups: Mapping[str, tuple[str, str]]

    @classmethod
    def of(cls, graph: str) -> _Names:
        constants = {match[1]: match for match in _CONSTANT.finditer(graph)}
        casts = {match[1]: match[2] for match in _CAST.finditer(graph)}
        lookups = {match[1]: (match[2], match[3]) for match in _LOOKUP.finditer(graph)}
        return cls(constants, casts, lookups)


def _stored(weight: re.Match[str], names: _Names, resources: Mapping[str, str]) -> StoredTensor:
    codes, scale, subtracted, added = weight.groups()
    constants = [_constant(name, weight[0], names) for name in (codes, subtracted, added)]
    kinds = [match[5] for match in constants]
    if kinds[0] not in _FORMATS or kinds[2] not in _FLOATS:
        raise ExecutorError(f"a weight of tensors of {kinds}")
    dtype = _FORMATS[kinds[0]]
    stored = _codes(constants[0], dtype, resources)
    scales = _scales(scale, weight[0], names, resources)
    if not get_format(dtype).is_integer:
        return StoredTensor(dtype, stored, scales, None)
    offset = _floats(constants[2], resources)
    if np.any(offset.astype(np.float32) != 0):
        return StoredTensor(dtype, stored, scales, None, offset)
    return StoredTensor(dtype, stored, scales, _codes(constants[1], dtype, resources))


def _constant(name: str, operation: str, names: _Names) -> re.Match[str]:
    if name not in names.constants:
        raise ExecutorError(f"{name} of {operation!r} is not a constant")
    return names.constants[name]


def _scales(name: str, operation: str, names: _Names, resources: Mapping[str, str]) -> Array:
    """The scales of a weight: a constant, or e8m0 by one of the detours around coreai-torch."""
    source = names.casts.get(name, name)
    places, table = names.lookups.get(source, (None, source))
    constant = _constant(table, operation, names)
    if constant[5] not in _FLOATS:
        raise ExecutorError(f"scales of type {constant[5]}")
    scales = _floats(constant, resources)
    if places is not None:
        if scales.size != scales.shape[-2]:
            raise ExecutorError(f"{operation!r} has more than one table, or one of vectors")
        scales = scales.ravel()[_codes(_constant(places, operation, names), "uint8", resources)]
    if source == name:
        return scales
    return scales.astype(np.float32).astype(ml_dtypes.float8_e8m0fnu)


def _codes(constant: re.Match[str], dtype: str, resources: Mapping[str, str]) -> Array:
    fmt, shape = get_format(dtype), _shape(constant)
    raw = _bytes(constant, resources)
    if raw is not None:
        count = int(np.prod(shape, dtype=np.int64))
        if fmt.bits < 8 and constant[2] == "dense_resource":
            codes = unpack(np.frombuffer(raw, np.uint8), dtype, "low_first", count)
        else:
            codes = np.frombuffer(raw, fmt.code_dtype)
        return codes.reshape(shape)
    if fmt.is_integer:
        numbers = [int(token) for token in _NUMBER.findall(constant[3])]
        return _filled(np.array(numbers, fmt.code_dtype), shape)
    return _floats(constant, resources).view(np.uint8)


def _floats(constant: re.Match[str], resources: Mapping[str, str]) -> Array:
    dtype, shape = np.dtype(_FLOATS[constant[5]]), _shape(constant)
    raw = _bytes(constant, resources)
    if raw is not None:
        return np.frombuffer(raw, dtype).reshape(shape)
    values = [_float(token, dtype) for token in _NUMBER.findall(constant[3])]
    return _filled(np.array(values, dtype), shape)


def _float(token: str, dtype: np.dtype[Any]) -> Any:
    if token.startswith("0x"):  # infinities and NaN are written as bits, high byte first
        return np.frombuffer(bytes.fromhex(token[2:])[::-1], dtype)[0]
    # Printed with enough digits to be distinguished; ml_dtypes rounds from float32 only.
    return np.float32(token).astype(dtype)


def _bytes(constant: re.Match[str], resources: Mapping[str, str]) -> bytes | None:
    if constant[2] == "dense_resource":
        return bytes.fromhex(resources[constant[3]])[_RESOURCE_HEADER:]
    if constant[3].startswith('"0x'):
        return bytes.fromhex(constant[3].strip('"')[2:])
    return None


def _filled(values: Array, shape: tuple[int, ...]) -> Array:
    return np.full(shape, values.reshape(())) if values.size == 1 else values.reshape(shape)


def _shape(constant: re.Match[str]) -> tuple[int, ...]:
    return tuple(int(n) for n in constant[4].split("x") if n)
