"""A quantizer for PyTorch models: configure, prepare, calibrate or train, finalize, export.

Module paths and names follow the system this package implements, so that a script changes by its
import name alone. ``import quant_torch`` loads torch and pydantic; torchao is imported by graph
mode's ``prepare()`` only.
"""

from quant_torch._backends import CoreMLExportError, ExportBackend

__version__ = "0.1.0.dev0"

__all__ = ["CoreMLExportError", "ExportBackend", "__version__"]
