"""Backends in other languages: each skeleton compiles, and each example is exact."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest

from quant_conformance.cli import main
from quant_conformance.runner.questions import Limits
from quant_conformance.runner.run import Run
from quant_conformance.runner.runs import Plan, Runner
from quant_conformance.runner.selection import Selection, select_cases
from quant_conformance.wire.languages import LANGUAGES
from quant_conformance.wire.limits import Options
from quant_conformance.wire.model import ASKABLE
from quant_conformance.wire.references import reference_of
from quant_vectors import load_frozen

VECTORS = load_frozen()
QUICK = select_cases(VECTORS, Selection("quick"))
OFFERED = {
    "encode", "decode", "pack", "qparams", "quantize", "dequantize", "fake_quantize", "layer",
    "integer_layer",
}  # fmt: skip


def built(folder: Path, name: str, *more: str) -> Path:
    language = LANGUAGES[name]
    for command in (language.build, language.run):
        program = shlex.split(command)[:1]
        if program and not program[0].startswith("./") and shutil.which(program[0]) is None:
            pytest.skip(f"{program[0]} is not installed")
    assert main(["init-backend", str(folder), "--lang", name, *more]) == 0
    if language.build:
        subprocess.run(shlex.split(language.build), cwd=folder, check=True)
    return folder


def run(folder: Path, name: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(folder)
    command = LANGUAGES[name].run + (" {requests} {responses}" if kind == "cmd" else "")
    reference = reference_of(kind, command, Options())
    return Runner(VECTORS, QUICK, Plan(Limits(), isolate=False)).run(reference)


@pytest.mark.parametrize("name", LANGUAGES)
def test_a_skeleton_has_every_operation_and_supports_none(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = run(built(tmp_path / "new", name), name, "cmd", monkeypatch)
    assert done.summary == {"unsupported": len(QUICK)}
    said = {result.detail for result in done.results}
    asked = {case.operation for case in QUICK} & set(ASKABLE)
    assert {f"{operation} is not implemented" for operation in asked} <= said


@pytest.fixture(scope="module", params=LANGUAGES)
def example(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    name = request.param
    return built(tmp_path_factory.mktemp("example") / name, name, "--example")


def test_an_example_is_exact_on_what_it_supports(
    example: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_pipe = run(example, example.name, "pipe", monkeypatch)
    assert [r.id for r in by_pipe.failures] == []
    right = {r.family for r in by_pipe.results if r.verdict not in ("unsupported", "unavailable")}
    assert right >= OFFERED
    assert by_pipe.summary["exact"] > 1500
    by_batch = run(example, example.name, "cmd", monkeypatch)
    assert [r.verdict for r in by_batch.results] == [r.verdict for r in by_pipe.results]


def test_sources_are_short() -> None:
    root = files("quant_conformance.wire").joinpath("templates")
    for language in LANGUAGES.values():
        for template in [*language.files.values(), language.example[1]]:
            source = root.joinpath(*template.split("/")).read_text(encoding="utf-8")
            assert len(source.splitlines()) < 300, template


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init-backend", str(tmp_path), "--lang", "c"]) == 0
    assert main(["init-backend", str(tmp_path), "--lang", "c"]) == 2
    assert "has wire.h, backend.c already" in capsys.readouterr().err
    assert main(["init-backend", str(tmp_path / "x"), "--lang", "cobol"]) == 2
