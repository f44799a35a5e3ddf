"""Makes what the README shows of ``quant-conformance run``: ``make readme``.

The scoreboard stands between two comments. A sample stands below a comment with the command that
prints it, which runs in a folder that holds what the README says to save.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from quant_conformance.registry import BACKENDS
from quant_conformance.report.results import read_results
from quant_conformance.report.scoreboard_rows import COLUMNS
from quant_conformance.verdicts.verdict import Verdict

README = Path(__file__).parents[1] / "README.md"
BOARD = re.compile(
    r"(?<=<!-- scoreboard: made by `make readme` -->\n).*?(?=<!-- end of scor)", re.S
)
SAMPLE = re.compile(r"<!-- sample: (?P<command>.*?) -->\n```\n(?P<text>.*?)```\n", re.S)
SAVED = re.compile(r"Save this as\s+`(?P<name>[\w.]+)`:\n\n```python\n(?P<source>.*?)```\n", re.S)

Document = Mapping[str, Any]


def saved(readme: str) -> dict[str, str]:
    """The files that the README says to save."""
    return {found["name"]: found["source"] for found in SAVED.finditer(readme)}


def samples(readme: str) -> dict[str, str]:
    """Commands, and what they print according to the README."""
    return {found["command"]: found["text"] for found in SAMPLE.finditer(readme)}


def printed(readme: str, command: str) -> str:
    """What a command prints where there is no terminal."""
    program, *arguments = shlex.split(command)
    assert program == "quant-conformance"
    with tempfile.TemporaryDirectory() as folder:
        for name, source in saved(readme).items():
            Path(folder, name).write_text(source, encoding="utf-8")
        words = [sys.executable, "-m", "quant_conformance.cli", *arguments]
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise SystemExit(f"{command}: {done.stderr}")
    return done.stdout


def board(documents: Sequence[Document]) -> str:
    """The scoreboard as Markdown, a row for each backend."""
    totals = [document["summary"] for document in documents]
    columns = [
        column
        for column in COLUMNS
        if not column.rare
        or any(summary.get(v.value) for v in column.verdicts for summary in totals)
    ]
    version, digest = (documents[0]["vectors"][key] for key in ("version", "digest"))
    lines = [
        "",
        f"The quick tier of vectors {version} (sha256 `{digest[:16]}…`) on the",
        "pinned versions; `unsupported` is what a system does not have:",
        "",
        "| backend | versions | " + " | ".join(column.title for column in columns) + " |",
        "|---|---|" + "--:|" * len(columns),
    ]
    for document, summary in zip(documents, totals, strict=True):
        versions = ", ".join(f"{name} {v}" for name, v in sorted(document["versions"].items()))
        counts = [sum(summary.get(v.value, 0) for v in column.verdicts) for column in columns]
        cells = [document["backend"], versions, *(str(n) if n else "·" for n in counts)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""]) + "\n"


def rows(readme: str) -> Iterator[dict[str, str]]:
    """The rows of the README's scoreboard, by the titles of its columns."""
    found = BOARD.search(readme)
    assert found is not None
    lines = [line for line in found.group().splitlines() if line.startswith("|")]
    head, _, *body = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    for cells in body:
        yield dict(zip(head, cells, strict=True))


def run_all(backends: Sequence[str]) -> list[Document]:
    """Runs backends on the quick tier."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "results.json"
        words = [sys.executable, "-m", "quant_conformance.cli", "run", "--json", str(file)]
        words += [part for name in backends for part in ("--backend", name)]
        done = subprocess.run(words, stdout=subprocess.DEVNULL, check=False)
        if done.returncode not in (0, 1):
            raise SystemExit("the scoreboard cannot be made")
        return list(read_results(file).values())


def main() -> int:
    """Writes the README anew, or with ``--check`` says whether it is as it would be written."""
    before = README.read_text(encoding="utf-8")
    documents = run_all(list(BACKENDS))
    bad = [d["backend"] for d in documents if Verdict.UNAVAILABLE.value in d["summary"]]
    if bad:
        print(f"not installed: {', '.join(bad)}", file=sys.stderr)
        return 2
    hung = [d["backend"] for d in documents if Verdict.TIMED_OUT.value in d["summary"]]
    if hung:  # on a busy machine; that says nothing of the system
        print(f"timed out: {', '.join(hung)}; nothing is written", file=sys.stderr)
        return 2
    after = BOARD.sub(lambda _: board(documents), before)
    for command, text in samples(before).items():
        after = after.replace(f"```\n{text}```\n", f"```\n{printed(before, command)}```\n")
    if "--check" in sys.argv[1:]:
        print(
            "the README is as made" if after == before else "the README is out of date: make readme"
        )
        return int(after != before)
    README.write_text(after, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
