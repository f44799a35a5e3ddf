"""The README's recording, as a reader would paste it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"


def blocks() -> list[str]:
    """The code blocks of the section: the model, the command, what it prints."""
    section = README.read_text().partition("## Freeze a model of your own")[2].partition("\n## ")[0]
    return re.findall(r"```(?:python)?\n(.*?)```", section, re.DOTALL)


def called(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "quant_conformance.cli", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def shown(text: str) -> list[str]:
    """Lines without what hangs on the last bit of a sum: the shares and the size."""
    return [re.sub(r"\s+[\d.]+ %$|[\d,]+ kB$", "", line).rstrip() for line in text.splitlines()]


def test_the_example_prints_what_the_readme_says(tmp_path: Path) -> None:
    source, command, printed = blocks()
    (tmp_path / "my_model.py").write_text(source)
    program, *arguments = command.split()
    assert program == "quant-conformance"
    assert shown(called(tmp_path, *arguments)) == shown(printed)
    called(tmp_path, "run", "--vectors", "vectors", "--backend", "numpy-reference")
