"""The examples of SPEC.md: how they are written, read, computed anew and filled in.

An example is a call with its numbers in decimal, the same call with its floats in hexadecimal, and
the answer in both forms; a call or an answer without floats stands once::

    >>> quantize([0.5, -2.5], scale=1.0)
    ... quantize([0x1p-1, -0x1.4p+1], scale=0x1p+0)
    [0, -2]

``python -m tests.reference.spec_examples`` completes an example of which only the first line is
there: the hexadecimal form, and the answer, from the oracle where it has one.
"""

from __future__ import annotations

import ast
import math
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import quant_reference

PATH = Path(quant_reference.__file__).parent / "SPEC.md"
HEX = re.compile(r"-?0x[0-9a-f.]+p[+-]?\d+")
DECIMAL = re.compile(r"(?<![\w.])-?\d+(?:\.\d+(?:e[+-]?\d+)?|e[+-]?\d+)(?![\w.])")
CLAUSE = re.compile(r"^### ([A-Z][A-Z0-9]*-\d+) ")
SPECIAL = {"nan": math.nan, "inf": math.inf}
FLOAT64 = ("eps", "averaging_constant", "momentum", "number")
"""Arguments that are Python floats: all others are rounded to float32 first."""


@dataclass(frozen=True)
class Example:
    """One example as it stands.

    Attributes:
        clause: The clause that it belongs to.
        line: Number of its first line in SPEC.md, from 1.
        decimal: The call for people.
        exact: The call with floats in hexadecimal; the same text where there are none.
        answers: The lines of the answer: decimal and hexadecimal, or one.
    """

    clause: str
    line: int
    decimal: str
    exact: str
    answers: tuple[str, ...]

    def faults(self) -> list[str]:
        """What is wrong with the text alone: forms that do not agree, or are not the shortest."""
        found = []
        if in_decimal(self.exact) != self.decimal:
            found.append(f"{self.decimal} is not {self.exact}")
        if len(self.answers) == 2 and in_decimal(self.answers[1]) != self.answers[0]:
            found.append(f"{self.answers[0]} is not {self.answers[1]}")
        numbers = HEX.findall(self.exact + self.answers[-1])
        found += [n for n in numbers if n != hexadecimal(float.fromhex(n))]
        return found


def examples(text: str) -> Iterator[Example]:
    """Every example of a text in this form, in order."""
    clause, lines = "", text.splitlines()
    for number, line in enumerate(lines, start=1):
        heading = CLAUSE.match(line)
        clause = heading[1] if heading else clause
        if not line.startswith(">>> "):
            continue
        rest = []
        for following in lines[number:]:
            if following.startswith((">>> ", "```")):
                break
            rest.append(following)
        exact = line[4:]
        if rest and rest[0].startswith("... "):
            exact = rest.pop(0)[4:]
        yield Example(clause, number, line[4:], exact, tuple(rest))


def hexadecimal(value: float) -> str:
    """The shortest hexadecimal form: 0x1.8p+0, -0x0p+0, nan."""
    if not math.isfinite(value):
        return "nan" if math.isnan(value) else f"{value:g}"
    return re.sub(r"\.?0*p", "p", value.hex())


def decimal(value: float) -> str:
    """The fewest digits that tell a number from others of float32, or else of float64."""
    if not math.isfinite(value):
        return "nan" if math.isnan(value) else f"{value:g}"
    with np.errstate(over="ignore"):
        held = float(np.float32(value)) == value
    return str(np.float32(value)) if held else repr(value)


def in_decimal(text: str) -> str:
    """A text with its hexadecimal floats in decimal."""
    return HEX.sub(lambda number: decimal(float.fromhex(number[0])), text)


def written(value: Any, number: Any = hexadecimal) -> str:
    """An answer as text."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(written(item, number) for item in value)}]"
    if isinstance(value, float):
        return str(number(value))
    if isinstance(value, str):
        return f'"{value}"'
    return str(value)


def evaluated(call: str, functions: dict[str, Any]) -> str:
    """The answer of some functions to an exact call, in hexadecimal; refusals are an answer.

    Raises:
        NotImplementedError: They do not have it.
    """
    plain = HEX.sub(lambda number: repr(float.fromhex(number[0])), call)
    name = call.partition("(")[0]
    if name not in functions:
        raise NotImplementedError(name)
    try:
        answer = eval(plain, {"__builtins__": {}}, {**functions, **SPECIAL})
    except NotImplementedError:
        raise
    except (ValueError, ArithmeticError, RuntimeError) as error:
        clause = re.search(r"\[([A-Z0-9]+-\d+)\]|^([A-Z0-9]+-\d+): ", str(error), re.M)
        # quant_torch names no clause where pydantic refuses; the others always do.
        return f"refused by {clause[1] or clause[2]}" if clause else REFUSED
    return written(answer)


REFUSED = "refused"
REFUSED_BY_THE_ORACLE = ("ENC-6", "ENC-7", "ENC-9", "ENC-10", "ENC-11")
"""The oracle takes inputs to be legal, but for those that have no code."""


def all_answers(call: str, who: dict[str, dict[str, Any]]) -> dict[str, str]:
    """The answer of everybody who has one; the oracle is not asked what the numpy form refuses."""
    found: dict[str, str] = {}
    for name in sorted(who, key=lambda name: name != "reference"):
        refused = found.get("reference", "").rpartition("refused by ")[2]
        if name == "oracle" and refused in _refusals(found) - set(REFUSED_BY_THE_ORACLE):
            continue
        try:
            answer = evaluated(call, who[name])
        except NotImplementedError:
            continue
        found[name] = found["reference"] if answer == REFUSED and refused else answer
    return found


def _refusals(found: dict[str, str]) -> set[str]:
    return {text.removeprefix("refused by ") for text in found.values() if "refused by" in text}


def exact_call(call: str) -> str:
    """A call whose decimals are replaced: by float32 numbers, or as they are in FLOAT64."""
    named = re.compile(rf"(?:\b(?:{'|'.join(FLOAT64)})=)?{DECIMAL.pattern}")

    def replaced(found: re.Match[str]) -> str:
        name, _, digits = found[0].rpartition("=")
        with np.errstate(over="ignore"):
            value = float(digits) if name else float(np.float32(digits))
        return f"{name}={hexadecimal(value)}" if name else hexadecimal(value)

    return named.sub(replaced, call)


def completed(text: str, who: dict[str, dict[str, Any]]) -> str:
    """The text with every example completed that has a first line only."""
    lines = text.splitlines()
    for example in reversed(list(examples(text))):
        if example.answers and any(example.answers):
            continue
        exact = exact_call(example.decimal)
        answers = all_answers(exact, who)
        if len(answers) < 2 or len(set(answers.values())) > 1:
            print(f"{example.clause}: {example.decimal}: {answers}", file=sys.stderr)
            continue
        answer = next(iter(answers.values()))
        names = ", ".join(answers)
        print(f"{example.clause}: {names}: {example.decimal} -> {in_decimal(answer)}")
        shown = in_decimal(exact)
        new = [f">>> {shown}"] + ([f"... {exact}"] if exact != shown else [])
        new += [in_decimal(answer)] + ([answer] if in_decimal(answer) != answer else [])
        lines[example.line - 1 : example.line] = new
    return "\n".join(lines) + "\n"


def parsed(call: str) -> tuple[str, list[Any], dict[str, Any]]:
    """Name, arguments and keywords of a call, for those who show it."""
    tree = ast.parse(call, mode="eval").body
    if not isinstance(tree, ast.Call) or not isinstance(tree.func, ast.Name):
        raise ValueError(call)
    keywords = {str(k.arg): ast.unparse(k.value) for k in tree.keywords}
    return tree.func.id, [ast.unparse(argument) for argument in tree.args], keywords


if __name__ == "__main__":
    from tests.reference.spec_functions import implementers

    path = Path(sys.argv[1]) if len(sys.argv) > 1 else PATH
    path.write_text(completed(path.read_text(encoding="utf-8"), implementers()), encoding="utf-8")
