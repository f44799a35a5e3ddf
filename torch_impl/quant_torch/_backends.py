"""The targets that a quantized model can be finalized for."""

from __future__ import annotations

from enum import EnumMeta, StrEnum

_DEPRECATED = {"MLIR": "CoreAI", "MIL": "CoreML"}


class _NamesDeprecatedMembers(EnumMeta):
    """Say which member replaced a deprecated one, instead of a bare AttributeError."""

    def __getattr__(cls, name: str) -> object:
        if name in _DEPRECATED:
            raise AttributeError(
                f"ExportBackend.{name} is deprecated and not supported; "
                f"use ExportBackend.{_DEPRECATED[name]}"
            )
        raise AttributeError(f"ExportBackend has no member {name!r}; there are CoreAI and CoreML")


class ExportBackend(StrEnum, metaclass=_NamesDeprecatedMembers):
    """What ``Quantizer.finalize`` prepares a model for.

    Attributes:
        CoreAI: Core AI operators over low-bit buffers.
        CoreML: Buffers and operators that coremltools converts.
    """

    CoreAI = "coreai"
    CoreML = "coreml"


class CoreMLExportError(ValueError):
    """The model holds something that Core ML cannot express."""


class CoreAIExportError(ValueError):
    """The model holds something that Core AI, or its converter, cannot express."""
