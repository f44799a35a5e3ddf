"""The process that Core AI lives in: authors, saves, loads and runs what it is asked.

Messages are ``(verb, *arguments)``; every answer is ``("ok", value)`` or ``("error", text)``.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from quant_conformance.process import die_with_parent
from quant_conformance.runtimes.coreai.requests import Request
from quant_conformance.runtimes.coreai.types import Array, from_system, to_system

MAX_TEXT = 2000


def main(handle: int) -> None:
    """Answers messages on the connection at file descriptor ``handle`` until it closes."""
    connection = Connection(handle)
    die_with_parent()
    worker = _Worker()
    connection.send(_answer(worker.hello))
    while True:
        try:
            verb, *arguments = connection.recv()
        except EOFError:
            return
        connection.send(_answer(worker.verbs[verb], *arguments))


def _answer(function: Callable[..., Any], *arguments: Any) -> tuple[str, Any]:
    try:
        return "ok", function(*arguments)
    except Exception as error:  # whatever Core AI raises is an answer to the one who asked
        return "error", f"{type(error).__name__}: {error}"[:MAX_TEXT]


class _Worker:
    """Holds the event loop of the runtime and at most one loaded model."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._model: Any = None
        self._function: Any = None
        self.verbs: dict[str, Callable[..., Any]] = {
            "answer": self.answer,
            "open": self.open,
            "run": self.run,
            "text": self.text,
            "rewrite": self.rewrite,
        }

    def hello(self) -> str:
        """Imports Core AI and returns its version."""
        import coreai.authoring
        import coreai.runtime  # noqa: F401 (its import can fail by itself)

        return "Core AI"

    def answer(self, requests: Sequence[Request]) -> list[Array]:
        """Runs the requests as one program, saved to an asset of its own."""
        from quant_conformance.runtimes.coreai.authoring import build_program

        program = build_program(requests)
        folder = Path(tempfile.mkdtemp(prefix="coreai-"))
        try:
            asset = program.save_asset(folder / f"requests-{os.getpid()}.aimodel")
            feeds = {f"x{i}": to_system(r.x, r.x_type) for i, r in enumerate(requests)}
            answers = self._loop.run_until_complete(_run_once(asset, feeds))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return [from_system(answers[f"y{i}"]) for i in range(len(requests))]

    def open(self, path: str, function: str) -> dict[str, Any]:
        """Loads a saved model and describes the inputs and outputs of one of its functions."""
        from coreai.authoring import AIModelAsset

        self._function = self._model = None  # what was loaded before goes
        asset = AIModelAsset.load(Path(path))
        self._model = asset.executable()
        model = self._loop.run_until_complete(self._model.__aenter__())
        if function not in model.function_names:
            raise KeyError(f"no function {function!r}; there are {sorted(model.function_names)}")
        self._function = model.load_function(function)
        described = self._function.desc
        return {"inputs": list(described.input_names), "outputs": list(described.output_names)}

    def text(self, path: str) -> str:
        """The program of a saved model, as Core AI prints it."""
        from coreai.authoring import AIModelAsset

        return str(AIModelAsset.load(Path(path)).program)

    def rewrite(self, path: str, text: str, target: str) -> str:
        """Saves a program given as text, with the dialects of a saved model, as another model.

        ``coreai.authoring`` reads no text, so the compiler's own bindings do.
        """
        from coreai._compiler.ir import Module
        from coreai.authoring import AIModelAsset, AIProgram

        context = AIModelAsset.load(Path(path)).program._module._context
        program = AIProgram._from_mlir_module(Module.parse(text, context=context))
        program.save_asset(Path(target))
        return target

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Runs the function that ``open`` loaded."""
        return self._loop.run_until_complete(_call(self._function, feeds))


async def _run_once(asset: Any, feeds: Mapping[str, Array]) -> dict[str, Array]:
    async with asset.executable() as model:
        return await _call(model.load_function("main"), feeds)


async def _call(function: Any, feeds: Mapping[str, Array]) -> dict[str, Array]:
    from coreai.runtime import NDArray

    outputs = await function({name: NDArray(value) for name, value in feeds.items()})
    return {name: np.array(value.numpy(), copy=True) for name, value in outputs.items()}
