"""Changes to the program of a saved .aimodel, as Core AI prints it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

Edit = Callable[[str], str]
"""The text of a program -> another one."""

_NAME = re.compile(r"%\w+")


def both(*edits: Edit) -> Edit:
    """Several changes."""

    def edit(text: str) -> str:
        for one in edits:
            text = one(text)
        return text

    return edit


def resource(index: int, byte: int, change: Callable[[int], int]) -> Edit:
    """One byte of one of the large constants of a program."""

    def edit(text: str) -> str:
        match = list(re.finditer(r'\w+: "0x[0-9A-F]{8}([0-9A-F]*)"', text))[index]
        raw = bytearray.fromhex(match[1])
        raw[byte] = change(raw[byte])
        return text[: match.start(1)] + raw.hex().upper() + text[match.end(1) :]

    return edit


def on_line(kind: str, index: int, change: Callable[[str], str]) -> Edit:
    """One of the operations of a kind, in the order of the program; ``change`` gets its line."""

    def edit(text: str) -> str:
        match = list(re.finditer(rf"^.* = coreai\.{re.escape(kind)} .*$", text, re.MULTILINE))[
            index
        ]
        return text[: match.start()] + change(match[0]) + text[match.end() :]

    return edit


def exchanged(kind: str, index: int, one: int, other: int) -> Edit:
    """Two operands of one type in each other's place."""

    def change(line: str) -> str:
        names = _NAME.findall(line)[1:]
        names[one], names[other] = names[other], names[one]
        return _with_operands(line, names)

    return on_line(kind, index, change)


def constant(kind: str, index: int, operand: int, content: str, dtype: str) -> Edit:
    """Another constant as an operand."""

    def change(line: str) -> str:
        names = _NAME.findall(line)[1:]
        new = f"%planted_{_NAME.findall(line)[0][1:]}_{operand}"  # for this operation alone
        names[operand] = new
        indent = line[: len(line) - len(line.lstrip())]
        made = f"{indent}{new} = coreai.constant dense<{content}> : tensor<{dtype}>\n"
        return made + _with_operands(line, names)

    return on_line(kind, index, change)


def unsigned(index: int, zero_point: int, read: int | None = None) -> Edit:
    """A quantizer to int8, and its reader, as ones to and from uint8.

    Args:
        index: of the ``quantize``, and of the ``dequantize``.
        zero_point: of the former.
        read: that of the latter; None for the same.
    """

    def retyped(line: str) -> str:
        return line.replace("si8", "ui8")

    given = {"quantize": zero_point, "dequantize": zero_point if read is None else read}
    return both(
        *(constant(kind, index, 2, str(value), "ui8") for kind, value in given.items()),
        *(on_line(kind, index, retyped) for kind in given),
    )


def whole(index: int, values: Any) -> Edit:
    """A weight as a float constant; ``values`` is an array of its shape."""

    def change(line: str) -> str:
        raw = np.ascontiguousarray(values, np.float32).tobytes().hex().upper()
        name, kind = line.partition(" = ")[0], line.rpartition(" -> ")[2]
        return f'{name} = coreai.constant dense<"0x{raw}"> : {kind}'

    return on_line("blockwise_shift_scale", index, change)


def behind_the_output(text: str) -> str:
    """A relu behind what was the output."""
    (match,) = re.finditer(r"\n(\s+)coreai\.output (%\w+) : (tensor<\S+>)", text)
    space, name, kind = match.groups()
    lines = f"{space}%extra = coreai.relu {name} : ({kind}) -> {kind}\n"
    lines += f"{space}coreai.output %extra : {kind}"
    return f"{text[: match.start()]}\n{lines}{text[match.end() :]}"


def scale_of_another(text: str) -> str:
    """The second dequantize by the scale of the third, or of the one behind it."""
    first, second, third = list(re.finditer(r"coreai\.dequantize %\w+, (%\w+)", text))[1:4]
    other = second[1] if second[1] != first[1] else third[1]
    return text[: first.start(1)] + other + text[first.end(1) :]


def _with_operands(line: str, names: list[str]) -> str:
    head, separator, rest = line.partition(" = ")
    kind, _, tail = rest.partition(" ")
    # What stands behind the operands starts with a colon, or an attribute.
    behind = _NAME.split(tail)[-1]
    return f"{head}{separator}{kind} {', '.join(names)}{behind}"
