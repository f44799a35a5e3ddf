"""docs/gating.md: its examples of CI run as they are written."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import tests.docs.samples as pages

from quant_conformance.runner.gates import FAIL_ON

yaml = pytest.importorskip("yaml")

TEXT = (pages.ROOT / "docs" / "gating.md").read_text(encoding="utf-8")
EXAMPLES: list[dict[Any, Any]] = [
    yaml.safe_load(found["text"]) for found in pages.BLOCK.finditer(TEXT) if found["kind"] == "yaml"
]
GITHUB, GITLAB = EXAMPLES
STEPS = GITHUB["jobs"]["conformance"]["steps"]
LINES = {
    "github": [step["run"] for step in STEPS if "run" in step],
    "gitlab": GITLAB["conformance"]["script"],
}


@pytest.mark.parametrize("system", LINES)
def test_the_lines_of_an_example_run(system: str, tmp_path: Path) -> None:
    install, *lines = LINES[system]
    assert install == 'pip install "quant-conformance[conformance]"'
    assert len(lines) == 2
    for line in lines:
        done = pages.called(tmp_path, line)
        assert done.returncode == 0, done.stdout + done.stderr
    written = {path.name for path in tmp_path.iterdir()}
    assert written == {"conformance.xml", "conformance.json"}


@pytest.mark.parametrize("system", LINES)
def test_the_gate_of_an_example_fails_where_it_should(system: str, tmp_path: Path) -> None:
    # Right wherever it answers, and it does not answer everything.
    source = "from quant_conformance.backends.numpy_reference import NumpyReference\n\n\n"
    source += "class Mine(NumpyReference):\n    name = 'mine'\n\n    def supports(self, case):\n"
    source += "        return 'float8 only' if 'float4' in str(case.arguments) else None\n"
    (tmp_path / "mine.py").write_text(source)
    line = re.sub("ml-dtypes|numpy-reference", "mine.py:Mine", LINES[system][-1])
    done = pages.called(
        tmp_path, line.replace("encode=330", "encode=all").replace("pack", "encode")
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(r"condition not met mine: encode: \d+ cases were judged, all", done.stdout)


def test_what_is_uploaded_is_what_is_written() -> None:
    assert STEPS[-1]["with"]["path"] == "conformance.*"
    assert STEPS[-1]["if"] == "always()"
    artifacts = GITLAB["conformance"]["artifacts"]
    assert artifacts["reports"]["junit"] == "conformance.xml"
    assert artifacts["paths"] == ["conformance.json"]
    assert artifacts["when"] == "always"


def test_the_table_names_every_verdict() -> None:
    (row,) = re.findall(r"(?m)^\| `--fail-on VERDICT` \| (.*) \|$", TEXT)
    assert re.findall(r"`(\w+)`", row) == list(FAIL_ON)
