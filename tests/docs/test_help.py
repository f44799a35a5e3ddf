"""What the command line and ``help()`` say of themselves."""

from __future__ import annotations

import inspect
import re
import shlex
from typing import Any

import pytest
import typer

from quant_conformance.cli import main
from quant_conformance.commands.app import app


def leaves(command: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    inner = getattr(command, "commands", None)
    if not inner:
        return [path]
    return [leaf for name, each in inner.items() for leaf in leaves(each, (*path, name))]


COMMANDS = leaves(typer.main.get_command(app))


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_the_help_of_a_command_has_one_example_that_parses(
    path: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert main([*path, "--help"]) == 0
    (line,) = re.findall(r"Example: quant-conformance (.*?)\s*$", capsys.readouterr().out, re.M)
    words = shlex.split(line)
    assert tuple(words[: len(path)]) == path
    command: Any = typer.main.get_command(app)
    for name in path:
        command = command.commands[name]
    # Raises where an option or an argument is not the command's.
    context = command.make_context(path[-1], words[len(path) :], resilient_parsing=False)
    assert context.args == []


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_options_and_commands_are_described(path: tuple[str, ...]) -> None:
    command: Any = typer.main.get_command(app)
    for name in path:
        command = command.commands[name]
    assert command.help
    nameless = [p.name for p in command.params if not getattr(p, "help", None)]
    assert nameless in ([], ["what"])  # whose choices say what it is


def test_help_shows_the_arguments_of_the_quantizer() -> None:
    pytest.importorskip("torch")
    from quant_torch.quantization import Quantizer

    text = inspect.getdoc(Quantizer) or ""
    arguments = set(inspect.signature(Quantizer).parameters)
    assert set(re.findall(r"(?m)^    (\w+): ", text.partition("Args:")[2])) >= arguments
    assert "Example" in text
    for name, method in inspect.getmembers(Quantizer, inspect.isroutine):
        if name.startswith("_"):
            continue
        doc = inspect.getdoc(method) or ""
        named = [p for p in inspect.signature(method).parameters if p != "self"]
        assert [p for p in named if f"{p}: " not in doc] == [], name
