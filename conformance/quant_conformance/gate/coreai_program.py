"""Reads a saved .aimodel as the gate needs it, and runs it cut on the real Core AI runtime.

A program is text in which each operation has a line of its own. To cut it at a value, the value
becomes an output, and a new input takes its place among its readers.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from quant_conformance.coreai.client import CoreAIError, Runtime
from quant_conformance.coreai.types import Array, from_system, to_system
from quant_conformance.executors import CoreAIExecutor
from quant_conformance.executors.coreai_stored import Constants
from quant_conformance.executors.stored import StoredTensor
from quant_conformance.gate.errors import UnreadableProgramError
from quant_conformance.gate.programs import ProgramQuantizer, Readout, RescaledSum

_NAME = re.compile(r"%\w+")
_OPERATION = re.compile(r"^\s+(%\w+) = coreai\.([\w.]+) ?(.*?) : (?:.* -> )?(tensor<[^>]*>)$")
_MAIN = re.compile(r"^(\s+coreai\.graph (?:\w+ )*@main\()(.*)(\) -> \()(.*)(\).*\{)$")
_OUTPUT = re.compile(r"^(\s+coreai\.output )(.*?)( : )(.*)$")
_TYPE = re.compile(r"tensor<((?:\d+x)*)(\w+)>")
_INPUT_NAME = re.compile(r'coreai\.name = "([^"]*)"')
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
    **{
        f"{sign}i{bits}": f"{kind}{bits}"
        for sign, kind in (("s", "int"), ("u", "uint"))
        for bits in (8, 16, 32, 64)
    },
    "i1": np.bool_,
}
_CONSTANTS = ("constant", "blockwise_shift_scale")


@dataclass(frozen=True)
class _Line:
    """An operation of the main graph: its result, kind, operands and result type."""

    result: str
    kind: str
    operands: tuple[str, ...]
    type: str

    @property
    def shape(self) -> tuple[int, ...]:
        found = _TYPE.fullmatch(self.type)
        return tuple(int(n) for n in (found[1] if found else "").split("x") if n)

    @property
    def element(self) -> str:
        found = _TYPE.fullmatch(self.type)
        return found[2] if found else ""


class CoreAIProgram:
    """A saved .aimodel.

    Args:
        path: the asset (a folder).
        timeout: seconds for loading and for each run.

    Raises:
        ExecutorError: no such asset, or Core AI cannot load it.
        UnreadableProgramError: no graph called main, or dynamic shapes.
    """

    kind = "coreai"

    def __init__(self, path: Path | str, *, timeout: float = 120.0) -> None:
        self._path = Path(path).absolute()
        self._timeout = timeout
        self._runtime = Runtime(timeout=timeout)
        self._folder = tempfile.TemporaryDirectory(prefix="quant-conformance-gate-")
        self._runs = 0
        self._feeds: list[Array] = []  # of the last run
        self._text: str = self._ask("text", str(self._path))
        self._lines = self._text.splitlines()
        self._first, self._last = self._main()
        head = _MAIN.match(self._lines[self._first])
        if head is None or "?" in head[2]:
            raise UnreadableProgramError(f"{self._path.name}: main is not a graph of fixed shapes")
        self.inputs = tuple(_INPUT_NAME.findall(head[2]))
        self.outputs = tuple(_INPUT_NAME.findall(head[4]))
        body = self._lines[self._first : self._last]
        self._constants = Constants("\n".join(body), self._text)
        self._operations = {line.result: line for line in self._parsed(body)}
        self._text_of = {_result(line): line for line in body if _OPERATION.match(line)}
        self.quantizers = tuple(self._quantizers())
        self.sums: tuple[RescaledSum, ...] = ()
        self.floats: dict[str, tuple[int, ...]] = {
            op.result: op.shape
            for op in self._operations.values()
            if op.element in _FLOATS and op.kind not in _CONSTANTS
        }

    @property
    def weights(self) -> Mapping[str, StoredTensor]:
        """The quantized weights in the file."""
        return {
            op.result: self._constants.stored(self._text_of[op.result])
            for op in self._operations.values()
            if op.kind == "blockwise_shift_scale"
        }

    def run(
        self, feeds: Sequence[Array], wanted: Sequence[str], replaced: Mapping[str, Array]
    ) -> dict[str, Array]:
        """Runs the program, cut at ``replaced``; see :class:`Program`."""
        outputs = set(self.outputs)
        names = [n for n in dict.fromkeys([*wanted, *replaced]) if n not in outputs]
        text = self.cut(names, list(replaced))
        self._feeds = [self._feed(index, array) for index, array in enumerate(feeds)]
        answers = self._run_text(text, [*self._feeds, *self._as_given(replaced)])
        given = {name: answers[f"cut_{_plain(name)}"] for name in names}
        given |= {name: answers[name] for name in self.outputs}
        return {name: from_system(given[name]) for name in given}

    def cut(self, shown: Sequence[str], replaced: Sequence[str]) -> str:
        """The text of the program with values as outputs, and inputs in the place of some.

        Args:
            shown: values to become outputs, called ``cut_`` and their name.
            replaced: values among them whose readers get new inputs, ``given_`` and their name.
        """
        types = {name: self._operations[name].type for name in [*shown, *replaced]}
        renamed = {name: f"%given_{_plain(name)}" for name in replaced}
        head = _MAIN.match(self._lines[self._first])
        assert_head = [] if head is None else list(head.groups())
        if not assert_head:
            raise UnreadableProgramError(f"{self._path.name}: main is not a graph")
        inputs = [
            f'{renamed[n]}: {types[n]} {{coreai.name = "given_{_plain(n)}"}}' for n in replaced
        ]
        outputs = [f'{types[n]} {{coreai.name = "cut_{_plain(n)}"}}' for n in shown]
        start, arguments, arrow, results, end = assert_head
        lines = [
            *self._lines[: self._first],
            start
            + ", ".join([*filter(None, [arguments]), *inputs])
            + arrow
            + ", ".join([results, *outputs])
            + end,
        ]
        for line in self._lines[self._first + 1 : self._last]:
            lines.append(_with_output(_renamed(line, renamed), {n: types[n] for n in shown}))
        return "\n".join([*lines, *self._lines[self._last :]])

    def close(self) -> None:
        """Ends the child process."""
        self._runtime.close()

    def save(self, text: str, target: Path) -> Path:
        """Saves a program given as text."""
        self._ask("rewrite", str(self._path), text, str(target))
        return target

    def save_region(
        self, path: Path, target: str, given: Mapping[str, Array]
    ) -> dict[str, Array] | None:
        """Saves what computes one value as a model of its own.

        Args:
            path: the .aimodel to write.
            target: the value, which becomes the only output.
            given: values that become inputs where it depends on them.

        Returns:
            The model's inputs by name, or None where one is of a type that numpy cannot save.
        """
        wanted, kept, fixed = [target], set[str](), list[str]()
        while wanted:
            name = wanted.pop()
            op = self._operations.get(name)
            if name in kept or name in fixed:
                continue
            if name in given and name != target:
                fixed.append(name)
                continue
            kept.add(name)
            wanted += op.operands if op is not None else ()
        feeds = dict(zip(fixed, self._as_given({n: given[n] for n in fixed}), strict=True))
        if any(array.dtype.kind == "V" or "float8" in array.dtype.name for array in feeds.values()):
            return None
        self.save(self._region_text(target, kept, fixed), path)
        inputs = {f"given_{_plain(name)}": array for name, array in feeds.items()}
        return inputs | {
            name: self._feeds[index]
            for index, (argument, name) in enumerate(self._arguments())
            if argument in kept
        }

    def _region_text(self, target: str, kept: Collection[str], fixed: Sequence[str]) -> str:
        lines = self.cut([target], fixed).splitlines()
        shorter = []
        for line in lines[self._first + 1 : self._last]:
            output = _OUTPUT.match(line)
            if output:
                line = f"{output[1]}{target} : {self._operations[target].type}"
            if output or _result(line) in kept:
                shorter.append(line)
        head = _MAIN.match(lines[self._first])
        arguments = [] if head is None else _split_arguments(head[2])
        used = [a for a in arguments if a.split(":")[0] in kept or a.startswith("%given_")]
        start, _, arrow, _, end = ("",) * 5 if head is None else head.groups()
        result = f'{self._operations[target].type} {{coreai.name = "cut_{_plain(target)}"}}'
        first = start + ", ".join(used) + arrow + result + end
        return "\n".join([*lines[: self._first], first, *shorter, *lines[self._last :]])

    def _run_text(self, text: str, feeds: Sequence[Array]) -> dict[str, Array]:
        self._runs += 1
        target = Path(self._folder.name) / f"cut-{self._runs}.aimodel"
        self.save(text, target)
        with CoreAIExecutor(target, timeout=self._timeout) as executor:
            return executor.run(dict(zip(executor.inputs, feeds, strict=True)))

    def _as_given(self, replaced: Mapping[str, Array]) -> Iterator[Array]:
        for name, array in replaced.items():
            op = self._operations[name]
            dtype = {**_CODES, **_FLOATS}[op.element]
            yield to_system(array.reshape(op.shape), dtype)

    def _arguments(self) -> list[tuple[str, str]]:
        """Name in the text and name for callers, of each input."""
        head = _MAIN.match(self._lines[self._first])
        given = [] if head is None else _split_arguments(head[2])
        names = [argument.split(":")[0] for argument in given]
        return list(zip(names, self.inputs, strict=True))

    def _feed(self, index: int, array: Array) -> Array:
        """An input in the dtype that the program takes."""
        head = _MAIN.match(self._lines[self._first])
        types = [] if head is None else _TYPE.findall(head[2])
        element = types[index][1] if index < len(types) else ""
        if element not in _INPUTS:
            raise UnreadableProgramError(f"{self.inputs[index]} is an input of type {element}")
        return np.ascontiguousarray(array, _INPUTS[element])

    def _ask(self, verb: str, *arguments: str) -> str:
        try:
            answer: str = self._runtime.ask(verb, *arguments)
        except CoreAIError as error:
            raise UnreadableProgramError(f"{self._path.name}: {error}") from error
        return answer

    def _main(self) -> tuple[int, int]:
        for first, line in enumerate(self._lines):
            if _MAIN.match(line):
                closing = line[: len(line) - len(line.lstrip())] + "}"
                last = self._lines.index(closing, first)
                return first, last
        raise UnreadableProgramError(f"{self._path.name} has no graph called main")

    def _parsed(self, body: Sequence[str]) -> Iterator[_Line]:
        for text in body:
            match = _OPERATION.match(text)
            if match:
                yield _Line(match[1], match[2], tuple(_NAME.findall(match[3])), match[4])

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
            yield ProgramQuantizer(
                op.result,
                op.operands[0],
                _CODES[op.element],
                op.shape,
                self._readout(op),
                tuple(readers),
            )

    def _readout(self, op: _Line) -> Readout:
        (_, scale), (kind, zero_point), (_, offset), (_, axis) = (
            self._constants.read(name) for name in op.operands[1:5]
        )
        return Readout(
            scale,
            zero_point if "int" in kind else None,
            offset if (offset != 0).any() else None,
            int(axis.reshape(-1)[0]) if axis.size else 0,
        )


def _split_arguments(text: str) -> list[str]:
    """The arguments of a graph: ``%arg0: tensor<…> {…}``."""
    return [part for part in re.split(r", (?=%)", text) if part]


def _plain(name: str) -> str:
    return name.lstrip("%")


def _result(line: str) -> str:
    return line.split(" = ", 1)[0].strip()


def _renamed(line: str, renamed: Mapping[str, str]) -> str:
    """The line with its operands renamed; what it makes keeps its name."""
    result, separator, rest = line.partition(" = ")
    if not separator or not _NAME.fullmatch(result.strip()):
        result, rest = "", line
    return (
        result
        + separator * bool(result)
        + _NAME.sub(lambda match: renamed.get(match[0], match[0]), rest)
    )


def _with_output(line: str, types: Mapping[str, str]) -> str:
    match = _OUTPUT.match(line)
    if match is None:
        return line
    names = ", ".join([match[2], *types])
    return f"{match[1]}{names}{match[3]}" + ", ".join([match[4], *types.values()])
