"""Reports that cannot be written: one line, nothing half-written, and still a scoreboard."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn, cast

import pytest
from tests.conformance.sets import encodes, write_set

from quant_conformance.cli import main
from quant_conformance.errors import UsageError
from quant_conformance.files import check_reports, write_reports, write_text
from quant_conformance.gate.freezing.vector_set import check_out
from quant_conformance.gate.judging.reproductions import Reproductions

Capture = pytest.CaptureFixture[str]
OPTIONS = ("--json", "--junit", "--markdown", "--html")


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_set(encodes(4), tmp_path_factory.mktemp("set")))


@pytest.fixture
def run(vectors: str) -> Callable[..., int]:
    def call(*more: str, backend: str = "numpy-reference") -> int:
        return main(["run", "--vectors", vectors, "--no-isolate", "--backend", backend, *more])

    return call


def fails_with(number: int) -> Callable[..., NoReturn]:
    def fail(*given: Any, **named: Any) -> NoReturn:
        raise OSError(number, os.strerror(number), "somewhere")

    return fail


FAULTS = {
    "a full disk": ("os.replace", errno.ENOSPC),
    "no permission": ("tempfile.mkstemp", errno.EACCES),
    "a read-only file system": ("tempfile.mkstemp", errno.EROFS),
    "a quota": ("os.chmod", errno.EDQUOT),
}


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("fault", FAULTS)
def test_an_error_is_one_line_after_the_scoreboard(
    run: Callable[..., int],
    tmp_path: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
    option: str,
    fault: str,
) -> None:
    name, number = FAULTS[fault]
    file = tmp_path / "report"
    file.write_text("before")
    monkeypatch.setattr(name, fails_with(number))
    assert run(option, str(file)) == 2
    monkeypatch.undo()
    out, err = capsys.readouterr()
    assert "numpy-reference (" in out
    assert err.splitlines()[-1] == f"quant-conformance: cannot write {file}: {os.strerror(number)}"
    assert "Traceback" not in err
    assert file.read_text() == "before"
    assert os.listdir(tmp_path) == ["report"]  # no temporary file is left


def test_the_other_reports_are_written(run: Callable[..., int], tmp_path: Path) -> None:
    full, html = "/dev/full", tmp_path / "r.html"
    assert run("--json", full, "--html", str(html)) == 2
    assert html.read_text().startswith("<!doctype html>")


def test_a_failure_of_the_backend_outranks_that_of_a_report(run: Callable[..., int]) -> None:
    wrong = f"{Path(__file__).parent / 'report' / 'report_pages.py'}:NextCode"
    assert run("--json", "/dev/full", backend=wrong) == 1


@pytest.mark.parametrize("option", OPTIONS)
def test_what_cannot_work_is_refused_before_the_run(
    run: Callable[..., int], tmp_path: Path, capsys: Capture, option: str
) -> None:
    for path, reason in (
        (tmp_path, "it is a folder; name a file"),
        (tmp_path / "none" / "r", f"there is no folder {tmp_path / 'none'}"),
    ):
        assert run(option, str(path)) == 2
        out, err = capsys.readouterr()
        assert (out, err) == ("", f"quant-conformance: cannot write {path}: {reason}\n")


def test_check_export_refuses_them_too(tmp_path: Path, capsys: Capture) -> None:
    for option in ("--json", "--html"):
        assert main(["check-export", "nets.py:net", option, str(tmp_path)]) == 2
        assert "it is a folder; name a file" in capsys.readouterr().err


def test_a_folder_without_permission_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root may write anywhere
    with pytest.raises(UsageError, match="no permission to write in"):
        check_reports([tmp_path / "r.json"])


def test_a_reproduction_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    kept = Reproductions(tmp_path / "file" / "repro", cast(Any, None))
    judged: Any = SimpleNamespace(layer=SimpleNamespace(name="linear"), region=None)
    assert kept.keep(judged, "linear", {}) is None
    assert re.fullmatch("no reproduction in .*/file/repro.*: Not a directory", kept.problem)


def test_a_recording_is_refused_where_nothing_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(UsageError, match="no permission to write in"):
        check_out(tmp_path / "vectors", overwrite=False)


def test_two_reports_need_two_files(tmp_path: Path) -> None:
    file, link = tmp_path / "r", tmp_path / "link"
    link.symlink_to(file)
    with pytest.raises(UsageError, match="cannot write two reports to"):
        check_reports([file, None, link])
    check_reports([file, None, tmp_path / "other"])
    check_reports([Path("/dev/null"), Path("/dev/null")])


def test_devices_pipes_and_links_stay_what_they_are(tmp_path: Path) -> None:
    write_text(Path("/dev/null"), "x")
    assert Path("/dev/null").is_char_device()
    link, file = tmp_path / "link", tmp_path / "file"
    link.symlink_to(file)
    write_text(link, "x")
    assert link.is_symlink()
    assert file.read_text() == "x"
    long = tmp_path / ("n" * 255)  # the longest name there is
    write_text(long, "x")
    assert long.read_text() == "x"
    assert not write_reports([(Path("/dev/full"), lambda: "x")])


def test_a_report_can_go_to_standard_output(vectors: str) -> None:
    command = [sys.executable, "-m", "quant_conformance.cli", "run", "--vectors", vectors]
    command += ["--backend", "numpy-reference", "--json", "/dev/stdout"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert '"backend": "numpy-reference"' in done.stdout


def test_a_full_standard_output_is_one_line_and_the_report_is_written(
    vectors: str, tmp_path: Path
) -> None:
    file = tmp_path / "r.json"
    command = [sys.executable, "-m", "quant_conformance.cli", "run", "--vectors", vectors]
    command += ["--backend", "numpy-reference", "--json", str(file)]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].endswith("No space left on device")
    assert file.read_text().startswith("{")
