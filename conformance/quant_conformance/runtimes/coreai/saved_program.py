"""A saved .aimodel as the gate needs it, run cut on the real Core AI runtime."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from quant_conformance.runtimes import CoreAIExecutor, ExecutorError
from quant_conformance.runtimes.coreai.client import CoreAICrashError, CoreAIError, Runtime
from quant_conformance.runtimes.coreai.program_text import CoreAIText, TextOperation, plain
from quant_conformance.runtimes.coreai.types import Array, from_system, to_system
from quant_conformance.runtimes.errors import UnloadableProgramError, UnreadableProgramError
from quant_conformance.runtimes.program import ProgramQuantizer, Readout, RescaledSum
from quant_conformance.runtimes.stored import StoredTensor

_FLOATS = {"f32": "float32", "f16": "float16"}
_CODES = {
    "si8": "int8",
    "ui8": "uint8",
    "f8E4M3FN": "float8_e4m3fn",
    "f8E5M2": "float8_e5m2",
}
_INPUTS: dict[str, Any] = {
    "f32": np.float32,
    "f16": np.float16,
    **{f"si{bits}": f"int{bits}" for bits in (8, 16, 32, 64)},
    **{f"ui{bits}": f"uint{bits}" for bits in (8, 16, 32, 64)},
    "i1": np.bool_,
}
_CONSTANTS = ("constant", "blockwise_shift_scale")


class CoreAIProgram:
    """A saved .aimodel; see :class:`Program` for its members.

    Args:
        path: the asset (a folder).
        timeout: seconds for loading and for each run.

    Raises:
        UnloadableProgramError: no such asset, or Core AI cannot load it.
        UnreadableProgramError: it has a form that is not known.
        ExecutorError: Core AI died of it.
        TimeoutError: Core AI hangs.
    """

    kind = "coreai"

    def __init__(self, path: Path | str, *, timeout: float = 120.0) -> None:
        self._path = Path(path).absolute()
        self._runtime = Runtime(timeout=timeout)
        self._folder = tempfile.TemporaryDirectory(prefix="quant-conformance-gate-")
        self._runs = 0
        self._feeds: list[Array] = []  # of the last run
        if not self._path.is_dir():
            raise UnloadableProgramError(f"there is no .aimodel folder at {path}")
        self._text = CoreAIText(self._ask("text", str(self._path), refused=UnloadableProgramError))
        self._operations = self._text.operations
        self.inputs = tuple(label for _, label, _ in self._text.inputs)
        self.outputs = self._text.outputs
        self.handed_on = self._text.handed_on
        self.shapes = self._text.shapes
        self.quantizers = tuple(self._quantizers())
        self.sums: tuple[RescaledSum, ...] = ()
        self.lacking: tuple[str, ...] = ()
        self.operations: dict[str, tuple[str, tuple[str, ...]]] = {
            **{name: ("input", ()) for name, _, _ in self._text.inputs},
            **{op.result: (op.kind, op.operands) for op in self._operations.values()},
        }
        self.floats: dict[str, tuple[int, ...]] = {
            op.result: op.shape
            for op in self._operations.values()
            if op.element in _FLOATS and op.kind not in _CONSTANTS
        }

    @property
    def weights(self) -> Mapping[str, StoredTensor]:
        """The quantized weights in the file."""
        with _reading():
            return {
                op.result: self._text.constants.stored(self._text.line(op.result))
                for op in self._operations.values()
                if op.kind == "blockwise_shift_scale"
            }

    def run(
        self, feeds: Sequence[Array], wanted: Sequence[str], replaced: Mapping[str, Array]
    ) -> dict[str, Array]:
        """Runs the program, cut at ``replaced``."""
        names = [n for n in dict.fromkeys([*wanted, *replaced]) if n not in self.outputs]
        self._feeds = [self._feed(index, array) for index, array in enumerate(feeds)]
        self._runs += 1
        target = Path(self._folder.name) / f"cut-{self._runs}.aimodel"
        self._save(self._text.cut(names, list(replaced)), target)
        given = [*self._feeds, *self._as_given(replaced)]
        with CoreAIExecutor(target, runtime=self._runtime) as executor:
            answers = executor.run(dict(zip(executor.inputs, given, strict=True)))
        found = {name: answers[f"cut_{plain(name)}"] for name in names}
        found |= {name: answers[name] for name in self.outputs}
        return {name: from_system(array) for name, array in found.items()}

    def save_region(
        self, path: Path, target: str, given: Mapping[str, Array]
    ) -> dict[str, Array] | None:
        """Saves what computes one value as a model of its own."""
        text, fixed, labels = self._text.region(target, given)
        feeds = dict(zip(fixed, self._as_given({n: given[n] for n in fixed}), strict=True))
        if any("float8" in array.dtype.name for array in feeds.values()):
            return None
        self._save(text, path)
        inputs = {f"given_{plain(name)}": array for name, array in feeds.items()}
        own = dict(zip(self.inputs, self._feeds, strict=True))
        return inputs | {label: own[label] for label in labels}

    def close(self) -> None:
        """Ends the child process."""
        self._runtime.close()

    def _save(self, text: str, target: Path) -> None:
        self._ask("rewrite", str(self._path), text, str(target))

    def _as_given(self, replaced: Mapping[str, Array]) -> Iterator[Array]:
        for name, array in replaced.items():
            op = self._operations[name]
            dtype = {**_CODES, **_FLOATS}[op.element]
            yield to_system(array.reshape(op.shape), dtype)

    def _feed(self, index: int, array: Array) -> Array:
        """An input in the dtype that the program takes."""
        _, label, element = self._text.inputs[index]
        if element not in _INPUTS:
            raise UnreadableProgramError(f"{label} is an input of type {element}")
        return np.ascontiguousarray(array, _INPUTS[element])

    def _ask(
        self,
        verb: str,
        *arguments: str,
        refused: type[UnreadableProgramError] = UnreadableProgramError,
    ) -> str:
        try:
            answer: str = self._runtime.ask(verb, *arguments)
        except CoreAICrashError as error:
            raise ExecutorError(f"{self._path.name}: {error}") from error
        except CoreAIError as error:
            raise refused(f"{self._path.name}: {error}") from error
        return answer

    def _quantizers(self) -> Iterator[ProgramQuantizer]:
        for op in self._operations.values():
            if op.kind != "quantize":
                continue
            if op.element not in _CODES:
                raise UnreadableProgramError(f"{op.result} quantizes to {op.element}")
            readers = [
                self._readout(reader)
                for reader in self._operations.values()
                if reader.kind == "dequantize" and reader.operands[0] == op.result
            ]
            dtype = _CODES[op.element]
            yield ProgramQuantizer(
                op.result, op.operands[0], dtype, op.shape, self._readout(op), tuple(readers)
            )

    def _readout(self, op: TextOperation) -> Readout:
        with _reading():
            (_, scale), (kind, zero_point), (_, offset), (_, axis) = (
                self._text.constants.read(name) for name in op.operands[1:5]
            )
        return Readout(
            scale,
            zero_point if "int" in kind else None,
            offset if np.any(offset != 0) else None,
            int(axis.reshape(-1)[0]) if axis.size else 0,
        )


@contextmanager
def _reading() -> Iterator[None]:
    """What is not the constant that it has to be makes the program unreadable."""
    try:
        yield
    except ExecutorError as error:
        raise UnreadableProgramError(str(error)) from error
