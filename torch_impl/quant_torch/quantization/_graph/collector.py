"""Python's cycle collector, paused while a graph is made."""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from quant_torch._torch_internals import EXPORTER


@contextmanager
def collector_paused() -> Iterator[None]:
    """Collect no cycles inside.

    The first export of a process imports a thousand modules, and each export makes a hundred
    thousand objects; nearly all of them live on. The collector goes through all that is there
    again and again while they are made, which takes a fifth of the first prepare, and finds
    nothing.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def import_exporter() -> None:
    """Import what ``torch.export`` imports when it is first used.

    The modules go to the collector's oldest generation at once: young objects are searched as soon
    as the collector goes on, and these are half a million. What an export makes stays young, since
    there the collector does find something.
    """
    if EXPORTER in sys.modules:
        return
    with collector_paused():
        with suppress(ImportError):  # torch's own affair; without it, the export imports its own
            importlib.import_module(EXPORTER)
        if gc.get_freeze_count() == 0:
            gc.freeze()
            gc.unfreeze()
