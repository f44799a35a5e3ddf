"""What a program may take, and how it is called."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from quant_conformance.errors import UsageError


@dataclass(frozen=True)
class Options:
    """How a program is run.

    Attributes:
        format: of the files of a program that is run by the batch.
        case_seconds: time for one question.
        batch_seconds: time for one batch at most.
        total_seconds: time for all questions.
        output_bytes: what it may write into its folder, and what it may print.
        memory_bytes: its address space, where the system can limit that; 0 for no limit.
        ahead: questions that a pipe may hold before the first of them is answered.
        name: what reports call it; by default the name of the program.
    """

    format: str = "raw"
    case_seconds: float = 10.0
    batch_seconds: float = 300.0
    total_seconds: float = 3600.0
    output_bytes: int = 1 << 28
    memory_bytes: int = 0
    ahead: int = 128
    name: str = ""


def words_of(command: str) -> list[str]:
    """Splits a command into words, without a shell; words that name a file become absolute.

    The program runs in a folder of its own, where a relative path would lead nowhere.

    Raises:
        UsageError: no words, or quotes that do not close.
    """
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"command {command!r} cannot be split into words: {error}") from error
    if not words:
        raise UsageError("the command of the backend is empty")
    return [str(Path(word).absolute()) if Path(word).is_file() else word for word in words]


def name_of(words: list[str], options: Options) -> str:
    """Returns what reports call a program."""
    return options.name or Path(words[0]).name
