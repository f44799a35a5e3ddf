"""The exceptions of the vector sets: which file or case, what was found, what is right."""

from __future__ import annotations


class VectorError(ValueError):
    """Base of every error about a vector set."""


class UnknownVersionError(VectorError):
    """No frozen set carries the version that was asked for."""


class MissingFileError(VectorError):
    """The set's folder, its manifest or a file that the manifest names is not there."""


class UnsafePathError(VectorError):
    """A manifest names a file outside its own folder."""


class TruncatedError(VectorError):
    """A file is shorter than the manifest says."""


class ChecksumError(VectorError):
    """A file's contents are not the ones that the manifest was written for."""


class SchemaError(VectorError):
    """A JSON file that is not JSON, or whose shape is not the one its schema states."""


class TensorError(VectorError):
    """A tensor whose stored dtype or shape is not the one that its cases file states."""


class MissingTensorError(TensorError):
    """A case or a tensor table names a tensor that the set does not hold."""


class UnknownCaseError(VectorError, KeyError):
    """No case of the set has the id that was asked for."""

    __str__ = VectorError.__str__  # KeyError would show the message's repr
