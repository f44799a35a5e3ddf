"""The README's export, as a reader would paste it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("coreai_torch")

README = Path(__file__).parents[3] / "README.md"


def blocks() -> list[str]:
    """The model, the command, what it prints, and what it prints of 16 bits."""
    section = README.read_text().partition("## Gate an export")[2].partition("\n## ")[0]
    return re.findall(r"```(?:python)?\n(.*?)```", section, re.DOTALL)


def called(folder: Path, *arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "quant_conformance.cli", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


FIGURE = re.compile(r"[-\[(]*\d[\d.,]*[%\])]?|·|dB|exact,?|admissible")
"""What may hang on the last bit of a sum, with the two verdicts that pass."""


def shown(text: str) -> list[list[str]]:
    """The other words of each line."""
    return [
        [word for word in line.split() if not FIGURE.fullmatch(word)] for line in text.splitlines()
    ]


def test_the_example_prints_what_the_readme_says(tmp_path: Path) -> None:
    source, command, printed, printed_16 = blocks()
    (tmp_path / "my_net.py").write_text(source)
    program, *arguments = command.split()
    assert program == "quant-conformance"
    code, out = called(tmp_path, *arguments)
    assert code == 0, out
    assert shown(out) == shown(printed)
    assert not (tmp_path / "repro").exists()
    code, out = called(tmp_path, *arguments, "--cast-16bit")
    assert code == 1
    assert shown(out) == shown(printed_16)
    assert (tmp_path / "repro/linear/reproduce.py").is_file()
    code, out = called(tmp_path, *arguments, "--cast-16bit", "--accumulate", "float16")
    assert code == 0, out
