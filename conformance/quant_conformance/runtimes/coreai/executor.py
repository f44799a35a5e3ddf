"""Runs a saved .aimodel on the real Core AI CPU runtime, in a child process."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from quant_conformance.runtimes.coreai.client import CoreAIError, Runtime
from quant_conformance.runtimes.coreai.stored_weights import stored_tensors
from quant_conformance.runtimes.errors import ExecutorError, check_feeds
from quant_conformance.runtimes.stored import StoredTensor

Array = NDArray[Any]


class CoreAIExecutor:
    """A loaded function of an .aimodel; a context manager, or closed when it is forgotten.

    After a crash or a timeout the model is loaded again by the next run.

    Args:
        path: the asset (a folder). The program is loaded once, for any number of runs.
        function: its function.
        timeout: seconds for loading, and for each run.
        runtime: the process to use; it stays open. None starts one for this model.

    Raises:
        ExecutorError: no such asset or function, or Core AI cannot load it.
        TimeoutError: loading took longer than ``timeout``.
    """

    def __init__(
        self,
        path: Path | str,
        function: str = "main",
        *,
        timeout: float = 60.0,
        runtime: Runtime | None = None,
    ) -> None:
        self._path = Path(path).absolute()
        if not self._path.is_dir():
            raise ExecutorError(f"there is no .aimodel folder at {path}")
        self._function = function
        self._runtime = Runtime(timeout=timeout) if runtime is None else runtime
        self._shared = runtime is not None
        self._loaded = False
        described = self._load()
        self.inputs: tuple[str, ...] = tuple(described["inputs"])
        self.outputs: tuple[str, ...] = tuple(described["outputs"])

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Runs the function.

        Args:
            feeds: every input by name; dtypes are the program's (ml_dtypes for low-bit ones).

        Returns:
            Every output by name, in the program's order and dtypes.

        Raises:
            ExecutorError: Core AI refuses the inputs or fails; ``__cause__`` is a
                ``CoreAICrashError`` where its process died.
            TimeoutError: no answer in time.
        """
        check_feeds(feeds, self.inputs)
        if not self._loaded:
            self._load()
        given = {name: np.asarray(value, order="C") for name, value in feeds.items()}
        answers: dict[str, Array] = self._ask("run", given)
        return {name: answers[name] for name in self.outputs}

    @property
    def stored(self) -> tuple[StoredTensor, ...]:
        """The quantized weights in the file, in the order of the program."""
        return stored_tensors(self.text)

    @property
    def text(self) -> str:
        """The program as Core AI prints it."""
        return str(self._ask("text", str(self._path)))

    def close(self) -> None:
        """Ends the child process, if it is for this model alone."""
        if not self._shared:
            self._runtime.close()

    def _load(self) -> dict[str, Any]:
        described: dict[str, Any] = self._ask("open", str(self._path), self._function)
        self._loaded = True
        return described

    def _ask(self, verb: str, *arguments: Any) -> Any:
        try:
            return self._runtime.ask(verb, *arguments)
        except TimeoutError:
            self._loaded = False
            raise
        except CoreAIError as error:
            self._loaded = self._runtime.alive
            raise ExecutorError(f"{self._path.name}: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
