"""What goes over the wire: records with a status, a text, attributes and tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

import ml_dtypes
import numpy as np

from quant_conformance.operations import MAX_BYTES
from quant_conformance.protocol import Array
from quant_reference.spec import QuantizationSpec
from quant_vectors import OPERATION_OUTPUTS

if TYPE_CHECKING:
    from quant_vectors import Case

Status = Literal["question", "answered", "refused", "unsupported", "failed"]

STATUSES: Final[tuple[Status, ...]] = ("question", "answered", "refused", "unsupported", "failed")
"""Statuses; the place of each is its number in the raw format."""

QUESTIONS_SCHEMA: Final = "quant-conformance/questions/1"
ANSWERS_SCHEMA: Final = "quant-conformance/answers/1"

LONGEST_FILE: Final = MAX_BYTES
"""Bytes of the longest file of answers that is read."""

MAX_RANK: Final = 16

MAX_TEXT: Final = 2000
"""Characters of a reason that are kept."""


@dataclass(frozen=True)
class Dtype:
    """A dtype of the wire.

    Attributes:
        code: its number in the raw format.
        safetensors: its name in a safetensors file.
        numpy: how numpy holds it.
    """

    code: int
    safetensors: str
    numpy: np.dtype[Any]


DTYPES: Final[Mapping[str, Dtype]] = {
    "float32": Dtype(1, "F32", np.dtype("<f4")),
    "float16": Dtype(2, "F16", np.dtype("<f2")),
    "bfloat16": Dtype(3, "BF16", np.dtype(ml_dtypes.bfloat16)),
    "int8": Dtype(4, "I8", np.dtype("i1")),
    "uint8": Dtype(5, "U8", np.dtype("u1")),
    "int16": Dtype(6, "I16", np.dtype("<i2")),
    "int32": Dtype(7, "I32", np.dtype("<i4")),
    "int64": Dtype(8, "I64", np.dtype("<i8")),
    "float64": Dtype(9, "F64", np.dtype("<f8")),
    "bool": Dtype(10, "BOOL", np.dtype("?")),
    "uint16": Dtype(11, "U16", np.dtype("<u2")),
    "uint32": Dtype(12, "U32", np.dtype("<u4")),
    "uint64": Dtype(13, "U64", np.dtype("<u8")),
}
"""Name of a dtype to what the formats call it; a code is never given to another dtype."""

NOT_ON_THE_WIRE: Final[Mapping[str, str]] = {
    "placement": "the question names a torch model of this package",
    "model": "the question names a torch model of this package",
    "model_output": "the question is of a whole model, which the backend has to hold",
}
"""Operations that cannot be asked by bytes alone, and why."""

ASKABLE: Final = tuple(name for name in OPERATION_OUTPUTS if name not in NOT_ON_THE_WIRE)
"""Operations that a program or a file of answers can be judged by."""


@dataclass(frozen=True)
class Record:
    """A question or an answer.

    Attributes:
        id: number of the question: the place of its case in the whole set.
        status: which of the two, and of an answer, which kind.
        text: the operation of a question; the reason of an answer that gives no result.
        attributes: plain JSON values.
        tensors: arrays by name.
        fault: what is wrong with the record as it came, or nothing.
    """

    id: int
    status: Status
    text: str = ""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    tensors: Mapping[str, Array] = field(default_factory=dict)
    fault: str = ""


@dataclass(frozen=True)
class Contents:
    """What a file of records holds.

    Attributes:
        records: what could be read.
        fault: why the rest could not be, or nothing.
    """

    records: tuple[Record, ...] = ()
    fault: str = ""


class Format(Protocol):
    """One way of writing records into a file."""

    suffix: str

    def write(self, records: Sequence[Record]) -> bytes:
        """Returns the file of these records, all questions or all answers."""
        ...

    def read(self, content: bytes) -> Contents:
        """Reads a file that may hold anything; never raises."""
        ...


def question_of(number: int, case: Case, tensors: Mapping[str, Array]) -> Record:
    """Writes a case down as a question, without anything that says its answer.

    Args:
        number: the question's id.
        case: the case.
        tensors: its inputs.
    """
    arguments = {name: value for name, value in case.arguments.items() if name != "tier"}
    if "operands" in arguments and isinstance(arguments["operands"], Mapping):
        arguments["operands"] = {
            name: QuantizationSpec.from_dict(dict(kind)).to_dict()
            if isinstance(kind, Mapping)
            else kind
            for name, kind in arguments["operands"].items()
        }
    attributes: dict[str, Any] = {}
    if case.spec is not None:
        attributes["spec"] = dict(case.spec)
    if case.target is not None:
        attributes["target"] = case.target
    if arguments:
        attributes["arguments"] = arguments
    return Record(number, "question", case.operation, attributes, dict(tensors))


@cache
def _names() -> Mapping[Any, str]:
    return {dtype.numpy: name for name, dtype in DTYPES.items()}


def dtype_name(array: Array) -> str:
    """Returns the name of an array's dtype, in the table of the wire."""
    name = _names().get(array.dtype)
    if name is not None:
        return name
    name = str(array.dtype.name)
    if name not in DTYPES:
        raise ValueError(f"dtype {name} is not in the table of the wire: {', '.join(DTYPES)}")
    return name


def array_of(dtype: str, shape: Sequence[int], data: bytes | memoryview) -> Array:
    """Builds an array of bytes that may be of any length.

    Raises:
        ValueError: the dtype is unknown, or shape and bytes do not go together.
    """
    if dtype not in DTYPES:
        raise ValueError(f"dtype {dtype!r} is unknown; allowed: {', '.join(DTYPES)}")
    if len(shape) > MAX_RANK:
        raise ValueError(f"rank {len(shape)} is above {MAX_RANK}")
    size = DTYPES[dtype].numpy.itemsize
    for extent in shape:  # in Python's integers, which do not overflow
        size *= extent
    if size != len(data):
        raise ValueError(f"{dtype}{list(shape)} takes {size} bytes, {len(data)} came")
    if dtype == "bool":
        flags: Array = np.frombuffer(data, np.uint8).reshape(shape) != 0
        return flags
    array = np.frombuffer(data, DTYPES[dtype].numpy).reshape(shape)
    return array.astype(array.dtype.newbyteorder("="))


def bytes_of(array: Array) -> bytes:
    """Returns an array's elements in row-major order, little-endian."""
    return array.astype(DTYPES[dtype_name(array)].numpy, order="C").tobytes()


def shortened(text: str) -> str:
    """Returns a foreign text as one printable line of bounded length."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= MAX_TEXT else line[: MAX_TEXT - 1] + "…"
