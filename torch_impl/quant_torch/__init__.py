"""A quantizer for PyTorch models: configure, prepare, calibrate or train, finalize, export.

Module paths and names follow the system this package implements, so that a script changes by its
import name alone. ``import quant_torch`` loads torch and pydantic; a subpackage such as
``quant_torch.export`` is loaded when its name is first used.
"""

from importlib import import_module
from types import ModuleType

from quant_torch._backends import CoreAIExportError
from quant_torch.common import (
    CoreMLExportError,
    DependencyVersionWarning,
    ExportBackend,
    TorchaoTorchIncompatibilityWarning,
    UntestedTorchVersionWarning,
)

__version__ = "0.2.0"

__all__ = [
    "CoreAIExportError",
    "CoreMLExportError",
    "DependencyVersionWarning",
    "ExportBackend",
    "TorchaoTorchIncompatibilityWarning",
    "UntestedTorchVersionWarning",
    "__version__",
]

_SUBPACKAGES = ("casting", "common", "config", "export", "inspection", "quantization")


def __getattr__(name: str) -> ModuleType:
    if name in _SUBPACKAGES:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_SUBPACKAGES})
