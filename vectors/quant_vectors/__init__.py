"""Frozen answers of the reference, and the loader that checks them before use.

``load()`` gives the frozen set v1, ``load("integer_v1")`` the one of integer layers,
``load("block_v1")`` that of small formats and
blocks, ``load_frozen()`` all as one; ``load(path=folder)`` gives a set of your own.
"""

from quant_vectors.errors import (
    ChecksumError,
    MissingFileError,
    MissingTensorError,
    SchemaError,
    TensorError,
    TruncatedError,
    UnknownCaseError,
    UnknownVersionError,
    UnsafePathError,
    VectorError,
)
from quant_vectors.loader import FROZEN, RELEASED, load, load_frozen
from quant_vectors.model import (
    BLOCK_FAMILIES,
    FAMILIES,
    INTEGER_FAMILIES,
    OPERATION_OUTPUTS,
    Case,
    VectorSet,
    joined,
)
from quant_vectors.writer import SetWriter

__all__ = [
    "BLOCK_FAMILIES",
    "FAMILIES",
    "FROZEN",
    "INTEGER_FAMILIES",
    "OPERATION_OUTPUTS",
    "RELEASED",
    "Case",
    "ChecksumError",
    "MissingFileError",
    "MissingTensorError",
    "SchemaError",
    "SetWriter",
    "TensorError",
    "TruncatedError",
    "UnknownCaseError",
    "UnknownVersionError",
    "UnsafePathError",
    "VectorError",
    "VectorSet",
    "joined",
    "load",
    "load_frozen",
]
