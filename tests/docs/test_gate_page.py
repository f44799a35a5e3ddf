"""docs/gate.md: the export, as a reader would paste it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import tests.docs.samples as pages

from quant_conformance.gate.document import FAILING, ORDER

pytest.importorskip("coreai_torch")

TEXT = pages.GATE.read_text(encoding="utf-8")


FIGURE = re.compile(r"[-\[(]*\d[\d.,]*[%\])]?|·|dB|exact,?|admissible")
"""What may hang on the last bit of a sum, with the two verdicts that pass."""


def shown(text: str) -> list[list[str]]:
    """The other words of each line."""
    return [
        [word for word in line.split() if not FIGURE.fullmatch(word)] for line in text.splitlines()
    ]


def test_the_example_prints_what_the_page_says(tmp_path: Path) -> None:
    pages.prepare(tmp_path, TEXT)
    command, command_16 = (c for c in pages.commands(TEXT) if " check-export " in c)
    printed, printed_16 = re.findall(r"```\n(tensor .*?verdict: \w+\n)```", TEXT, re.DOTALL)
    done = pages.called(tmp_path, command)
    assert done.returncode == 0, done.stdout
    assert shown(done.stdout) == shown(printed)
    assert not (tmp_path / "repro").exists()
    done = pages.called(tmp_path, command_16)
    assert done.returncode == 1
    assert shown(done.stdout) == shown(printed_16)
    assert (tmp_path / "repro/linear/reproduce.py").is_file()
    done = pages.called(tmp_path, command_16, "--accumulate", "float16")
    assert done.returncode == 0, done.stdout


def test_the_table_of_verdicts_is_that_of_the_gate() -> None:
    table = dict(re.findall(r"(?m)^\| `(\w+)` \| .* \| (.*) \|$", TEXT))
    assert table.keys() == {*ORDER, *FAILING} - {"crashed", "timed_out"}
    assert {word for word, passes in table.items() if passes != "yes"} == table.keys() & set(
        FAILING
    )
