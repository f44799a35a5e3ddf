"""Run saved models on Linux: ``CoreAIExecutor`` for .aimodel, ``MilExecutor`` for .mlpackage.

Both take and return numpy arrays by name, and both say what they cannot run by name.
"""

from __future__ import annotations

from quant_conformance.executors.coreai import CoreAIExecutor
from quant_conformance.executors.errors import ExecutorError, UnsupportedOperationError
from quant_conformance.executors.mil import MilExecutor
from quant_conformance.executors.stored import StoredTensor

__all__ = [
    "CoreAIExecutor",
    "ExecutorError",
    "MilExecutor",
    "StoredTensor",
    "UnsupportedOperationError",
]
