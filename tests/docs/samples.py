"""Makes what the pages show of ``quant-conformance run``: ``make readme``.

The scoreboard stands between two comments. A sample stands below a comment with the command that
prints it, which runs in a folder that holds what the page says to save and to compile.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import quant_vectors
from quant_conformance.registry import BACKENDS
from quant_conformance.report.results import read_results
from quant_conformance.report.scoreboard_rows import COLUMNS
from quant_conformance.verdicts.verdict import Verdict

ROOT = Path(__file__).parents[2]
SCOREBOARD = ROOT / "docs" / "scoreboard.md"
VENDOR = ROOT / "docs" / "vendor.md"
QUANTIZER = ROOT / "docs" / "quantizer.md"
GATE = ROOT / "docs" / "gate.md"
README = ROOT / "README.md"

BOARD = re.compile(
    r"(?<=<!-- scoreboard: made by `make readme` -->\n).*?(?=<!-- end of scor)", re.S
)
SAMPLE = re.compile(r"<!-- sample: (?P<command>.*?) -->\n```\n(?P<text>.*?)```\n", re.S)
SAVED = re.compile(r"[Ss]ave this as\s+`(?P<name>[\w.]+)`:\n\n```\w+\n(?P<source>.*?)```\n", re.S)
BLOCK = re.compile(r"```(?P<kind>\w*)\n(?P<text>.*?)```(?:\n\n```text\n(?P<shown>.*?)```)?", re.S)
COMPILER = "cc "

Document = Mapping[str, Any]


def saved(page: str) -> dict[str, str]:
    """The files that a page says to save."""
    return {found["name"]: found["source"] for found in SAVED.finditer(page)}


def samples(page: str) -> dict[str, str]:
    """Commands, and what they print according to a page."""
    return {found["command"]: found["text"] for found in SAMPLE.finditer(page)}


def snippets(page: str) -> list[tuple[str, str]]:
    """Python that is to be run, with what it prints according to a page."""
    kept = saved(page).values()
    return [
        (found["text"], found["shown"] or "")
        for found in BLOCK.finditer(page)
        if found["kind"] == "python" and found["text"] not in kept
    ]


def commands(page: str) -> list[str]:
    """The lines of shell that a page shows."""
    return [
        line
        for found in BLOCK.finditer(page)
        if not found["kind"]
        for line in found["text"].splitlines()
        if line.startswith(("quant-conformance ", "make ", COMPILER, "pytest "))
    ]


def prepare(folder: Path, page: str) -> None:
    """Saves and compiles in a folder what a page says; the frozen vectors are there as ``v1``."""
    for name, source in saved(page).items():
        (folder / name).write_text(source, encoding="utf-8")
    (folder / "v1").symlink_to(Path(quant_vectors.__file__).parent / "v1")
    for line in commands(page):
        if line.startswith(COMPILER) and shutil.which(COMPILER.strip()):
            subprocess.run(shlex.split(line), cwd=folder, check=True)


def called(folder: Path, command: str, *more: str) -> subprocess.CompletedProcess[str]:
    """Runs a command as a page shows it, with further arguments."""
    program, *arguments = shlex.split(command)
    assert program == "quant-conformance"
    words = [sys.executable, "-m", "quant_conformance.cli", *arguments, *more]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)


def printed(page: str, command: str) -> str:
    """What a command prints where there is no terminal."""
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder), page)
        done = called(Path(folder), command)
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


def rows(page: str) -> Iterator[dict[str, str]]:
    """The rows of the scoreboard, by the titles of its columns."""
    found = BOARD.search(page)
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
    """Writes the pages anew, or with ``--check`` says whether they are as they would be written."""
    before = {page: page.read_text(encoding="utf-8") for page in (SCOREBOARD, VENDOR)}
    after = dict(before)
    documents = run_all(list(BACKENDS))
    bad = [d["backend"] for d in documents if Verdict.UNAVAILABLE.value in d["summary"]]
    if bad:
        print(f"not installed: {', '.join(bad)}", file=sys.stderr)
        return 2
    hung = [d["backend"] for d in documents if Verdict.TIMED_OUT.value in d["summary"]]
    if hung:  # on a busy machine; that says nothing of the system
        print(f"timed out: {', '.join(hung)}; nothing is written", file=sys.stderr)
        return 2
    after[SCOREBOARD] = BOARD.sub(lambda _: board(documents), before[SCOREBOARD])
    for command, text in samples(before[VENDOR]).items():
        made = printed(before[VENDOR], command)
        after[VENDOR] = after[VENDOR].replace(f"```\n{text}```\n", f"```\n{made}```\n")
    if "--check" in sys.argv[1:]:
        stale = [page.name for page in before if before[page] != after[page]]
        print(f"{', '.join(stale)}: out of date: make readme" if stale else "the pages are as made")
        return int(bool(stale))
    for page, text in after.items():
        page.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
