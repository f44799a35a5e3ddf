"""The Core AI process, but for one message: there it hangs or dies, as the environment says."""

from __future__ import annotations

import os
import time
from typing import Any

from quant_conformance.runtimes.coreai import worker

WISH = "QUANT_CONFORMANCE_TEST_WISH"
"""Environment variable: ``verb:hang`` or ``verb:crash``."""


def main(handle: int) -> None:
    """Answers as the real one does, until the message comes."""
    verb, _, wish = os.environ[WISH].partition(":")
    right = worker._Worker.__init__

    def changed(self: Any) -> None:
        right(self)
        self.verbs[verb] = _hang if wish == "hang" else _crash

    worker._Worker.__init__ = changed  # type: ignore[method-assign]
    worker.main(handle)


def _hang(*_: Any) -> None:
    time.sleep(60)


def _crash(*_: Any) -> None:
    print("the runtime says farewell", flush=True)
    os.abort()
