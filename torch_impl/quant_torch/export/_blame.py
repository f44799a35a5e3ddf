"""Says which operations a converter failed on: those that it cannot convert on their own."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from torch import nn

from quant_torch.export._origins import Origin

MOST = 200
"""Operations that are tried, each with other shapes or arguments than those before."""

_ADVICE = (
    "write it in other operations, or keep it outside of the exported model; docs/converters.md "
    "lists what each converter takes"
)

Attempt = tuple[tuple[Any, ...], Callable[[], Origin], Callable[[], object]]
"""A key that equal operations share, the origin of one, and a conversion of it alone."""


def blame(converter: str, error: Exception, attempts: Iterable[Attempt]) -> str:
    """The message for a conversion that failed, with every operation that fails on its own.

    Args:
        converter: Its name and version.
        error: What it raised for the whole model.
        attempts: The operations of the model, in order.
    """
    failures: dict[tuple[Any, ...], str | None] = {}
    lines = []
    for key, origin, convert in attempts:
        if key not in failures:
            if len(failures) == MOST:
                break
            failures[key] = _failure(convert)
        if failures[key] is not None:
            lines.append(f"{origin()}: {failures[key]}")
    if not lines:
        return (
            f"{converter} cannot convert this model, although it converts each of its operations "
            f"on its own: {_told(error)}"
        )
    listed = "\n  ".join(dict.fromkeys(lines))
    return f"{converter} cannot convert this model; {_ADVICE}\n  {listed}"


def _failure(convert: Callable[[], object]) -> str | None:
    try:
        with silent():
            convert()
    except Exception as error:  # whatever a converter raises is what is asked for
        return _told(error)
    return None


def _told(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:300]}"


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Without progress bars, warnings and logs."""
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stderr(io.StringIO()),
            contextlib.redirect_stdout(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


class Alone(nn.Module):
    """One operation as a model.

    Args:
        function: Calls it with the tensors that are inputs.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self._function = function

    def forward(self, *tensors: Any) -> Any:
        """What the operation gives."""
        return self._function(*tensors)
