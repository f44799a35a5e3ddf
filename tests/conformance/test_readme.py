"""The README's backend and scoreboard, as a reader would run them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import tests.readme_samples as readme

import quant_vectors
from quant_conformance.registry import BACKENDS
from quant_conformance.report.scoreboard_rows import COLUMNS
from quant_conformance.verdicts.verdict import Verdict

TEXT = readme.README.read_text(encoding="utf-8")
WRONG = "x.astype(np.float32) * (np.float32(1) / scale)"
RIGHT = "x.astype(np.float32) / scale"
CURRENT = f"sha256 `{quant_vectors.load().digest[:16]}…`" in TEXT
"""Whether the README's numbers are of these vectors; it names those that they are of."""


def comparable(text: str) -> str:
    """All of the text, or what does not hang on which cases there are."""
    if CURRENT:
        return text
    kept = [line for line in text.splitlines() if not re.match(r"  (policy|wrong| )|See", line)]
    return re.sub(r"─+|\s*(\d+|·)", " #", "\n".join(kept))


@pytest.fixture(scope="module")
def example() -> str:
    return readme.saved(TEXT)["my_backend.py"]


def test_the_example_prints_what_the_readme_says() -> None:
    ((command, shown),) = readme.samples(TEXT).items()
    assert command == "quant-conformance run --backend my_backend.py:MyBackend"
    assert f"```\n{command}\n```\n" in TEXT  # the reader is told to run the same
    assert comparable(readme.printed(TEXT, command)) == comparable(shown)
    assert re.search(r"matches multiply-by-reciprocal .* on 100 %", shown)


def test_the_example_is_right_once_it_divides(example: str, tmp_path: Path) -> None:
    assert WRONG in example
    (tmp_path / "my_backend.py").write_text(example.replace(WRONG, RIGHT))
    command = [sys.executable, "-m", "quant_conformance.cli", "run"]
    command += ["--backend", "my_backend.py:MyBackend"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_scoreboard_has_every_backend_and_every_case() -> None:
    rows = list(readme.rows(TEXT))
    assert [row["backend"] for row in rows] == list(BACKENDS)
    (made,) = readme.run_all(["numpy-reference"])
    head = rows[0]
    versions = [f"{name} {version}" for name, version in sorted(made["versions"].items())]
    assert head["versions"] == ", ".join(versions)
    counts = {c.title: sum(made["summary"].get(v.value, 0) for v in c.verdicts) for c in COLUMNS}
    # A column that is not there counts nothing, of any backend.
    shown = {c.title: head.get(c.title, "·") for c in COLUMNS}
    if CURRENT:
        assert {title: int(text.replace("·", "0")) for title, text in shown.items()} == counts
    assert all(text == "·" or int(text) > 0 for text in shown.values())


def test_the_scoreboard_is_made_of_any_verdicts() -> None:
    vectors = {"version": "v1", "digest": "ab" * 32}
    of_all = dict.fromkeys((verdict.value for verdict in Verdict), 1)
    documents = [
        {"backend": "a", "versions": {"x": "1"}, "vectors": vectors, "summary": of_all},
        {"backend": "b", "versions": {}, "vectors": vectors, "summary": {"exact": 1234}},
    ]
    text = readme.board(documents)
    first, second = readme.rows(
        f"<!-- scoreboard: made by `make readme` -->\n{text}<!-- end of scoreboard -->"
    )
    assert list(first) == ["backend", "versions", *(column.title for column in COLUMNS)]
    assert sum(int(n) for n in list(first.values())[2:]) == len(Verdict)
    assert (second["exact"], second["wrong"]) == ("1234", "·")
    few = readme.board(documents[1:])
    assert "undecided" not in few
    assert "abababababababab" in few
