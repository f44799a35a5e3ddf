"""Run saved models on Linux: ``CoreAIExecutor`` for .aimodel, ``MilExecutor`` for .mlpackage.

Both take and return numpy arrays by name, and both say what they cannot run by name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quant_conformance.runtimes.coreai.executor import CoreAIExecutor
from quant_conformance.runtimes.errors import ExecutorError, UnsupportedOperationError
from quant_conformance.runtimes.stored import StoredTensor

if TYPE_CHECKING:
    from quant_conformance.runtimes.coreml.executor import MilExecutor

__all__ = [
    "CoreAIExecutor",
    "ExecutorError",
    "MilExecutor",
    "StoredTensor",
    "UnsupportedOperationError",
]


def __getattr__(name: str) -> Any:
    """Imports ``MilExecutor`` when it is first used: it computes with torch."""
    if name == "MilExecutor":
        from quant_conformance.runtimes.coreml.executor import MilExecutor

        return MilExecutor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
