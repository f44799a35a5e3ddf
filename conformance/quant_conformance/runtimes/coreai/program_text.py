"""A Core AI program as text: its operations, and the same program cut at some of its values.

Each operation has a line of its own. To cut a program at a value, the value becomes an output, and
a new input takes its place among its readers.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from quant_conformance.runtimes.coreai.stored_weights import Constants
from quant_conformance.runtimes.errors import UnreadableProgramError

_NAME = re.compile(r"%\w+")
_OPERATION = re.compile(r"^\s+(%\w+) = coreai\.([\w.]+) ?(.*?) : (?:.* -> )?(tensor<[^>]*>)$")
_MAIN = re.compile(r"^(\s+coreai\.graph (?:\w+ )*@main\()(.*)(\) -> \()(.*)(\).*\{)$")
_OUTPUT = re.compile(r"^(\s+coreai\.output )(.*?)( : )(.*)$")
_TYPE = re.compile(r"tensor<((?:\d+x)*)(\w+)>")
_LABEL = re.compile(r'coreai\.name = "([^"]*)"')


@dataclass(frozen=True)
class TextOperation:
    """An operation of the main graph.

    Attributes:
        result: name of its only result.
        kind: what it does, without the dialect.
        operands: names of what it reads.
        type: type of the result.
    """

    result: str
    kind: str
    operands: tuple[str, ...]
    type: str

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the result."""
        return next(iter(_shapes(self.type)), ())

    @property
    def element(self) -> str:
        """Element type of the result."""
        found = _TYPE.fullmatch(self.type)
        return found[2] if found else ""


class CoreAIText:
    """The text of a program with a graph called main.

    Args:
        text: as Core AI prints it.

    Attributes:
        inputs: (name in the text, name for callers, element type) of each input.
        outputs: names of the outputs for callers.
        handed_on: their names in the text.
        shapes: those of the inputs, and those of the outputs.
        operations: name of its result -> operation; those with several results are left out.
        constants: the constants of the main graph.

    Raises:
        UnreadableProgramError: no graph called main, or one whose shapes are not fixed.
    """

    def __init__(self, text: str) -> None:
        self._lines = text.splitlines()
        self._first, self._last, head = self._main()
        self._start, arguments, self._arrow, self._results, self._end = head
        self._arguments = [part for part in re.split(r", (?=%)", arguments) if part]
        self.inputs = tuple(
            (part.split(":")[0], label, _TYPE.findall(part)[0][1])
            for part, label in zip(self._arguments, _LABEL.findall(arguments), strict=True)
        )
        self.outputs = tuple(_LABEL.findall(self._results))
        self.shapes = (_shapes(arguments), _shapes(self._results))
        body = self._lines[self._first : self._last]
        self.operations = {op.result: op for op in _parsed(body)}
        handed_on = (_OUTPUT.match(line) for line in body)
        self.handed_on = tuple(next((_NAME.findall(found[2]) for found in handed_on if found), ()))
        self.constants = Constants("\n".join(body), text)
        self._line_of = {_result(line): line for line in body if " = " in line}
        self._reads = {name: _operands(line) for name, line in self._line_of.items()}

    def line(self, name: str) -> str:
        """The line that makes a value."""
        return self._line_of[name]

    def cut(self, shown: Sequence[str], replaced: Sequence[str]) -> str:
        """The program with values as outputs, and inputs in the place of some.

        Args:
            shown: values to become outputs, called ``cut_`` and their name.
            replaced: values whose readers get new inputs, called ``given_`` and their name.
        """
        outputs = [self._results, *(self._described(name, "cut") for name in shown)]
        return self._written([*self._arguments, *self._given(replaced)], outputs, shown, replaced)

    def region(
        self, target: str, fixed: Collection[str]
    ) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
        """What computes one value, as a program of its own.

        Args:
            target: the value, which becomes the only output.
            fixed: values that become inputs where it depends on them.

        Returns:
            The text, the fixed values that are its inputs, and its other inputs as callers know
            them.
        """
        wanted, kept, given = [target], set[str](), list[str]()
        while wanted:
            name = wanted.pop()
            if name in kept or name in given:
                continue
            if name in fixed and name != target:
                given.append(name)
                continue
            kept.add(name)
            wanted += self._reads.get(name, ())
        arguments = [part for part in self._arguments if part.split(":")[0] in kept]
        labels = tuple(label for name, label, _ in self.inputs if name in kept)
        text = self._written(
            [*arguments, *self._given(given)],
            [self._described(target, "cut")],
            [target],
            given,
            kept,
        )
        return text, tuple(given), labels

    def _written(
        self,
        arguments: Sequence[str],
        results: Sequence[str],
        shown: Sequence[str],
        replaced: Sequence[str],
        kept: Collection[str] | None = None,
    ) -> str:
        renamed = {name: f"%given_{plain(name)}" for name in replaced}
        types = {name: self.operations[name].type for name in shown}
        head = self._start + ", ".join(arguments) + self._arrow + ", ".join(results) + self._end
        body = []
        for line in self._lines[self._first + 1 : self._last]:
            output = _OUTPUT.match(line)
            if output is not None:
                old = [] if kept is not None else [(output[2], output[4])]
                pairs = [*old, *types.items()]
                names, kinds = (", ".join(part) for part in zip(*pairs, strict=True))
                body.append(f"{output[1]}{_replaced(names, renamed, shown)}{output[3]}{kinds}")
            elif kept is None or _result(line) in kept:
                body.append(_renamed(line, renamed))
        tail = self._lines[self._last :]
        return "\n".join([*self._lines[: self._first], head, *body, *tail])

    def _given(self, names: Sequence[str]) -> list[str]:
        return [f"%given_{plain(name)}: {self._described(name, 'given')}" for name in names]

    def _described(self, name: str, prefix: str) -> str:
        return f'{self.operations[name].type} {{coreai.name = "{prefix}_{plain(name)}"}}'

    def _main(self) -> tuple[int, int, tuple[str, ...]]:
        for first, line in enumerate(self._lines):
            head = _MAIN.match(line)
            if head is not None:
                if "?" in head[2]:
                    raise UnreadableProgramError("the shapes of main are not fixed")
                closing = line[: len(line) - len(line.lstrip())] + "}"
                if closing not in self._lines[first:]:
                    raise UnreadableProgramError("main does not end")
                return first, self._lines.index(closing, first), head.groups()
        raise UnreadableProgramError("there is no graph called main")


def plain(name: str) -> str:
    """A value's name without its sign."""
    return name.lstrip("%")


def _parsed(body: Sequence[str]) -> Iterator[TextOperation]:
    for text in body:
        match = _OPERATION.match(text)
        if match:
            yield TextOperation(match[1], match[2], tuple(_NAME.findall(match[3])), match[4])


def _shapes(types: str) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(int(n) for n in dims.split("x") if n) for dims, _ in _TYPE.findall(types))


def _result(line: str) -> str:
    """Name of what a line makes; ``%6`` of ``%6:2 = …``, whose parts are read as ``%6#0``."""
    return line.split(" = ", 1)[0].strip().partition(":")[0]


def _operands(line: str) -> tuple[str, ...]:
    """Names in a line but for its results; none of them is in a type."""
    return tuple(_NAME.findall(line.partition(" = ")[2]))


def _renamed(line: str, renamed: Mapping[str, str]) -> str:
    """The line with its operands renamed; what it makes keeps its name."""
    result, separator, rest = line.partition(" = ")
    if not separator or not _NAME.fullmatch(result.strip().partition(":")[0]):
        return _NAME.sub(lambda match: renamed.get(match[0], match[0]), line)
    return result + separator + _NAME.sub(lambda match: renamed.get(match[0], match[0]), rest)


def _replaced(names: str, renamed: Mapping[str, str], shown: Collection[str]) -> str:
    """The outputs of a graph: its own read the replaced values, those that are shown do not."""
    own = [name.strip() for name in names.split(",")]
    split = len(own) - len(shown)
    return ", ".join([*(renamed.get(name, name) for name in own[:split]), *own[split:]])
