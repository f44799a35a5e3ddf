"""The README's backend, as a reader would save it: run, diagnosed, mended, run again."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"
WRONG = "x.astype(np.float32) * (np.float32(1) / scale)"
RIGHT = "x.astype(np.float32) / scale"


@pytest.fixture(scope="module")
def example() -> str:
    section = README.read_text().partition("## Plug in a backend")[2]
    found = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert found is not None
    return found.group(1)


def run(folder: Path, source: str) -> subprocess.CompletedProcess[str]:
    (folder / "my_backend.py").write_text(source)
    command = [sys.executable, "-m", "quant_conformance.cli", "run"]
    return subprocess.run(
        [*command, "--backend", "my_backend.py:MyBackend"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_example_is_diagnosed_as_the_readme_says(example: str, tmp_path: Path) -> None:
    done = run(tmp_path, example)
    assert done.returncode == 1
    shown = re.search(r"matches multiply-by-reciprocal .* on 100 %", done.stdout)
    assert shown is not None
    assert shown.group() in README.read_text()


def test_the_example_is_right_once_it_divides(example: str, tmp_path: Path) -> None:
    assert WRONG in example
    done = run(tmp_path, example.replace(WRONG, RIGHT))
    assert done.returncode == 0, done.stdout
