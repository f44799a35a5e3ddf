"""The pytest plugin, run as its users run it: in a pytest of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest
from tests.conformance.backends_for_tests import reference
from tests.conformance.sets import encodes, one_of_each, write_set

# Loaded by name, so that the tests need no installed entry point.
PLUGIN = ["-p", "quant_conformance.pytest_plugin"]
PYTEST = [sys.executable, "-m", "pytest", *PLUGIN, "-W", "error", "--strict-markers"]
CASES = [*encodes(4), *one_of_each()]


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(CASES, tmp_path_factory.mktemp("set"))


def run_pytest(folder: Path, vectors: Path, *arguments: str) -> tuple[str, dict[str, str], int]:
    """Runs pytest in ``folder``; returns what it printed, test -> outcome, and its exit code."""
    report = folder / "report.xml"
    done = subprocess.run(
        [*PYTEST, f"--junit-xml={report}", f"--quant-vectors={vectors}", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    outcomes = {}
    if report.exists():
        for case in Xml.parse(report).iter("testcase"):
            child = next((c for c in case if c.tag != "system-out"), None)
            outcomes[str(case.get("name"))] = "passed" if child is None else child.tag
    return done.stdout + done.stderr, outcomes, done.returncode


def test_every_case_is_a_test(tmp_path: Path, vectors: Path) -> None:
    (tmp_path / "test_other.py").write_text("import no_such_module")
    _, outcomes, code = run_pytest(tmp_path, vectors, "--quant-backend=numpy-reference")
    assert outcomes == {draft.id: "passed" for draft in CASES}
    assert code == 0


def test_failures_are_explained_and_what_is_lacking_is_skipped(
    tmp_path: Path, vectors: Path
) -> None:
    known = tmp_path / "known.toml"
    known.write_text('[[expect]]\ncases = "encode/tie"\nreason = "not a power"')
    options = [f"--quant-backend={reference('Raises')}", f"--quant-expectations={known}", "-rsxf"]
    text, outcomes, code = run_pytest(tmp_path, vectors, *options)
    assert code == 1
    assert outcomes.pop("encode/power-2") == "failure"
    assert "encode/power-2: crashed: RuntimeError: no such kernel" in text
    assert "ENC-1 Rounding" in text
    assert "self.backend.run" not in text  # no traceback
    assert outcomes.pop("encode/tie") == "skipped"
    assert "XFAIL" in text
    assert "not a power: codes[1]" in text
    assert "the backend has no decode()" in text
    assert outcomes == {
        draft.id: "passed" if draft.id.startswith("encode/power") else "skipped"
        for draft in CASES
        if draft.id in outcomes
    }


def test_with_xdist_even_if_it_hangs(tmp_path: Path, vectors: Path) -> None:
    options = [f"--quant-backend={reference('Hangs')}", "--quant-timeout=1", "-n2"]
    text, outcomes, code = run_pytest(tmp_path, vectors, *options, "--quant-family=encode")
    assert code == 1
    failed = sorted(name for name, outcome in outcomes.items() if outcome == "failure")
    assert failed == ["encode/power-2", "encode/tie"]
    assert "no answer within 1 s" in text
    assert len(outcomes) == 5


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (["-m", "Q_2"], ["quantize/tie"]),
        (["-m", "TiesToEven and encode"], ["encode/tie"]),
        (["-k", "unpack"], ["pack/unpack"]),
        (["--quant-case", "encode/power-[01]"], ["encode/power-0", "encode/power-1"]),
        (["--quant-family", "range"], ["range/zero-included"]),
    ],
)
def test_cases_are_selected(
    tmp_path: Path, vectors: Path, options: list[str], names: list[str]
) -> None:
    _, outcomes, code = run_pytest(tmp_path, vectors, "--quant-backend=numpy-reference", *options)
    assert (sorted(outcomes), code) == (names, 0)


def test_paths_on_the_command_line_are_collected_too(tmp_path: Path, vectors: Path) -> None:
    (tmp_path / "test_other.py").write_text("def test_it(): pass")
    options = ["--quant-backend=numpy-reference", "--quant-family=range", "test_other.py"]
    _, outcomes, code = run_pytest(tmp_path, vectors, *options)
    assert outcomes == {"range/zero-included": "passed", "test_it": "passed"}
    assert code == 0


def test_without_the_option_it_does_nothing(tmp_path: Path, vectors: Path) -> None:
    (tmp_path / "test_other.py").write_text("def test_it(): pass")
    _, outcomes, code = run_pytest(tmp_path, vectors)
    assert (outcomes, code) == ({"test_it": "passed"}, 0)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--quant-backend=numpy-refrence", "did you mean numpy-reference"),
        ("--quant-backend=nothere.py:A", "there is no file nothere.py"),
    ],
)
def test_a_mistake_is_a_usage_error(
    tmp_path: Path, vectors: Path, option: str, message: str
) -> None:
    text, outcomes, code = run_pytest(tmp_path, vectors, option)
    assert (outcomes, code) == ({}, 4)
    assert message in text
    assert "Traceback" not in text


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("LacksPackage", "unavailable: no-such-package-anywhere not installed"),
        ("RaisesInConstructor", "crashed: cannot be opened: SystemExit: no device"),
        ("Powerz", "unknown class in"),
        ("TakesTooLittle", "encode(x) cannot be called as the protocol does, encode(x, fmt)"),
    ],
)
def test_a_backend_that_cannot_be_asked_is_one_line(
    tmp_path: Path, vectors: Path, name: str, message: str
) -> None:
    options = [f"--quant-backend={reference(name)}", "--quant-family=pack"]
    text, outcomes, code = run_pytest(tmp_path, vectors, *options)
    assert (outcomes, code) == ({}, 4)
    (line,) = (line for line in text.splitlines() if line.startswith("ERROR: "))
    assert message in line
    assert "Traceback" not in text


def test_a_module_that_cannot_be_imported_is_one_line(tmp_path: Path, vectors: Path) -> None:
    (tmp_path / "broken.py").write_text("class B(:\n    pass\n")
    text, outcomes, code = run_pytest(tmp_path, vectors, "--quant-backend=broken.py:B")
    assert (outcomes, code) == ({}, 4)
    assert "ERROR: backend broken.py:B: broken.py cannot be imported: SyntaxError" in text
    assert "Traceback" not in text


@pytest.mark.parametrize("workers", [[], ["-n2"]], ids=["here", "xdist"])
def test_a_session_that_judged_nothing_does_not_pass(
    tmp_path: Path, vectors: Path, workers: list[str]
) -> None:
    options = [f"--quant-backend={reference('Misspelt')}", "--quant-case=*/power-0", *workers]
    text, outcomes, code = run_pytest(tmp_path, vectors, *options, "-rs")
    assert (outcomes, code) == ({"encode/power-0": "skipped"}, 4)
    assert "nothing was judged of backends_for_tests.py:Misspelt" in text
    assert "the backend has no encode(); is encoder() meant?" in text
