"""Names that every kind of compression shares, where scripts for coreai_opt import them from."""

from __future__ import annotations

from enum import StrEnum

from quant_torch._backends import CoreMLExportError, ExportBackend

__all__ = [
    "CompressionTargetTensor",
    "CompressionType",
    "CoreMLExportError",
    "DependencyVersionWarning",
    "ExportBackend",
    "TorchaoTorchIncompatibilityWarning",
    "UntestedTorchVersionWarning",
]


class DependencyVersionWarning(UserWarning):
    """Base of two warnings that scripts filter by class; this package gives neither."""


class TorchaoTorchIncompatibilityWarning(DependencyVersionWarning):
    """Never given: torchao is not imported."""


class UntestedTorchVersionWarning(DependencyVersionWarning):
    """Never given: a torch that lacks what is needed is refused when quant_torch is imported."""


class CompressionType(StrEnum):
    """Kinds of compression; this package quantizes and does nothing else."""

    QUANTIZATION = "quantization"


class CompressionTargetTensor(StrEnum):
    """What a spec is applied to; each member equals the string that is accepted in its place.

    Attributes:
        WEIGHT: A parameter or buffer.
        ACTIVATION: A tensor that is computed.
    """

    WEIGHT = "weight"
    ACTIVATION = "activation"
