"""Frozen answers of the reference, and the loader that checks them before use.

``load()`` gives the frozen set of this release; ``load(path=folder)`` one of your own.
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
from quant_vectors.loader import load
from quant_vectors.model import FAMILIES, OPERATION_OUTPUTS, Case, VectorSet
from quant_vectors.writer import SetWriter

__all__ = [
    "FAMILIES",
    "OPERATION_OUTPUTS",
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
    "load",
]
