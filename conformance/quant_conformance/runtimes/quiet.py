"""Keeps what converters print away from whoever reads the output."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet(*, stdout: bool = True) -> Iterator[None]:
    """Keeps progress bars, warnings and notes about versions away.

    Args:
        stdout: whether standard output is kept away too; a backend leaves it to who runs it.
    """
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.ExitStack() as stack:
            stack.enter_context(warnings.catch_warnings())
            stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
            if stdout:
                stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
