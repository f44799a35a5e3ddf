"""Terminals that cannot show every character: the same output, spelled in what they have."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from tests.conformance.backends_for_tests import reference
from tests.conformance.report.report_pages import own

import quant_conformance
from quant_conformance.gate.document import GateDocument, Layer
from quant_conformance.report.gate_table import print_document
from quant_conformance.report.plain import HANDLER, spelled
from quant_conformance.verdicts.clauses import spec_clauses

ENVIRONMENTS = {
    "LC_ALL=C without UTF-8": {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    "ascii, strict": {"PYTHONIOENCODING": "ascii:strict"},
    "latin-1": {"PYTHONIOENCODING": "latin-1"},
    "UTF-8": {"PYTHONIOENCODING": "utf-8"},
}
ENCODE = ("--family", "encode", "--clause", "ENC-2")


def command(environment: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    words = [sys.executable, "-m", "quant_conformance.cli", *arguments]
    settings = {k: v for k, v in os.environ.items() if k not in ("LC_ALL", "PYTHONUTF8")}
    settings |= ENVIRONMENTS[environment]
    return subprocess.run(words, env=settings, capture_output=True, check=False)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_the_scoreboard_is_printed_whatever_the_terminal(environment: str) -> None:
    done = command(environment, "run", "--backend", own("NextCode"), "--no-isolate", *ENCODE)
    assert done.returncode == 1, done.stderr
    assert b"Traceback" not in done.stderr
    assert b"next-code" in done.stdout
    assert b" wrong in encode" in done.stdout
    if environment.startswith("ascii"):
        assert done.stdout.isascii()
        assert b"\n  ... and " in done.stdout


def test_a_message_of_any_characters_is_shown() -> None:
    case = "encode/float8_e4m3fn/every-value"
    backend = reference("RaisesStrangeText")
    done = command("ascii, strict", "explain", case, "--backend", backend)
    assert done.returncode == 0, done.stderr
    assert b"RuntimeError: \\xe9 \\xb5 v " in done.stdout


def test_a_reader_that_stops_early_sees_no_traceback() -> None:
    words = [sys.executable, "-m", "quant_conformance.cli", "list", "cases"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 1


def test_clauses_are_spelled_without_a_hole() -> None:
    # What SPEC.md and the suite write has a spelling; no reader meets an escape.
    texts = [clause.text for clause in spec_clauses().values()]
    package = Path(quant_conformance.__file__).parent
    texts += [path.read_text(encoding="utf-8") for path in package.rglob("*.py")]
    for text in texts:
        for character in {c for c in text if not c.isascii() and c != "�"}:
            assert "\\" not in spelled(character, "ascii"), character


def test_a_table_stays_aligned() -> None:
    document = GateDocument("net", "", "graph", "coreai", False, {})
    for name, steps in (("a", "linear → relu"), ("b", "linear")):
        document.layers.append(Layer(name, steps, ["Q-1"], "exact", "int8", 4, 1.0, 0.25, 40.0))
    written = io.BytesIO()
    out = io.TextIOWrapper(written, encoding="ascii", errors=HANDLER)
    console = Console(file=out, width=110)
    print_document(document, console)
    out.flush()
    _, first, second, *_ = written.getvalue().decode("ascii").splitlines()
    assert "linear -> relu" in first
    assert first.index("exact") == second.index("exact")


@pytest.mark.parametrize("width", [60, 80])
def test_no_verdict_of_the_gate_is_broken(width: int) -> None:
    document = GateDocument("net", "", "graph", "coreai", False, {})
    verdicts = ("admissible", "unsupported", "undecided", "unlikely")
    for verdict in verdicts:
        name, steps = "layer1.0.downsample.conv1/again", "conv2d → batch_norm → relu"
        document.layers.append(Layer(name, steps, ["Q-1"], verdict, "int8", 4, 1.0, 0.25, 40.0))
    out = io.StringIO()
    print_document(document, Console(file=out, width=width))
    lines = out.getvalue().splitlines()
    table = lines[: next(n for n, line in enumerate(lines) if "[Q-1]" in line)]
    assert all(len(line.rstrip()) <= width for line in table)
    for verdict in verdicts:
        figures = [line.split()[-5:] for line in table if verdict in line]
        assert figures == [[verdict, "100.0%", "25.00%", "40.0", "dB"]]
    words = "".join("".join(line[: width - 38].split()) for line in table)
    assert words.count("conv2d→batch_norm→relu") == len(verdicts)
