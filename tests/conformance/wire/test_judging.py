"""Answers in files: what came back is judged as a backend would be."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.conformance.sets import encodes, write_set

from quant_conformance.cli import main
from quant_conformance.runner.captured import Captured
from quant_conformance.runner.loading import open_backend
from quant_conformance.wire.formats import FORMATS
from quant_conformance.wire.model import Record
from quant_conformance.wire.serve import answer_of

CASES = ["--family", "pack", "--family", "default_axis", "--family", "layer"]


def answered(folder: Path, fmt: str) -> None:
    backend, _ = open_backend("numpy-reference")
    assert backend is not None
    for file in folder.glob(f"*{FORMATS[fmt].suffix}"):
        asked = FORMATS[fmt].read(file.read_bytes()).records
        answers = [answer_of(backend, question, Captured()) for question in asked]
        (folder / "answers" / file.name).write_bytes(FORMATS[fmt].write(answers))


@pytest.fixture(scope="module", params=FORMATS)
def each(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("asked") / "questions"
    assert main(["questions", "--out", str(folder), "--format", request.param, *CASES]) == 0
    answered(folder, request.param)
    return folder


@pytest.fixture
def asked(tmp_path: Path) -> Path:
    folder = tmp_path / "questions"
    vectors = str(write_set(encodes(12), tmp_path / "set"))
    assert main(["questions", "--out", str(folder), "--vectors", vectors]) == 0
    answered(folder, "raw")
    return folder


def verdicts(path: Path) -> dict[str, str]:
    return {case["id"]: case["verdict"] for case in json.loads(path.read_text())["cases"]}


def test_the_verdicts_are_those_of_the_backend(each: Path, tmp_path: Path) -> None:
    mine, right = tmp_path / "mine.json", tmp_path / "right.json"
    assert main(["judge", str(each / "answers"), "--json", str(mine)]) == 0
    assert main(["run", "--backend", "numpy-reference", *CASES, "--json", str(right)]) == 0
    assert verdicts(mine) == verdicts(right)
    assert len(verdicts(mine)) == 525


def rewritten(folder: Path, change: Callable[[list[Record]], Sequence[Record]]) -> Path:
    file = folder / "answers" / "encode.raw"
    file.write_bytes(
        FORMATS["raw"].write(change(list(FORMATS["raw"].read(file.read_bytes()).records)))
    )
    return folder / "answers"


def counts(answers: Path, tmp_path: Path, *more: str) -> tuple[int, dict[str, int]]:
    out = tmp_path / "out.json"
    own = str(answers.parents[1] / "set")
    code = main(["judge", str(answers), "--vectors", own, "--json", str(out), *more])
    found = list(verdicts(out).values())
    return code, {name: found.count(name) for name in sorted(set(found))}


def test_unanswered_ones_are_counted_apart_and_fail(asked: Path, tmp_path: Path) -> None:
    answers = rewritten(asked, lambda records: records[:-3])
    assert counts(answers, tmp_path) == (1, {"exact": 9, "unanswered": 3})
    declared = counts(answers, tmp_path, "--partial", "encode/*")
    assert declared == (0, {"exact": 9, "unsupported": 3})
    assert counts(answers, tmp_path, "--partial", "quantize/*")[0] == 1


def test_the_four_statuses_differ(asked: Path, tmp_path: Path) -> None:
    def change(records: list[Record]) -> list[Record]:
        first, second, third, fourth, *rest = records
        return [
            replace(first, status="unsupported", text="no float8", tensors={}),
            replace(second, status="unsupported", text=" ", tensors={}),
            replace(third, status="refused", text="no", tensors={}),
            replace(fourth, status="failed", text="out of memory", tensors={}),
            *rest[1:],
        ]

    found = {"crashed": 2, "exact": 7, "unanswered": 1, "unsupported": 1, "wrong": 1}
    assert counts(rewritten(asked, change), tmp_path) == (1, found)


GARBAGE = {
    "dtype": lambda t: t.astype(np.int64),
    "shape": lambda t: t.reshape(1, *t.shape),
    "length": lambda t: np.concatenate([t, t]),
    "value": lambda t: t ^ 1,
}


@pytest.mark.parametrize("kind", GARBAGE)
def test_a_wrong_answer_is_wrong(asked: Path, tmp_path: Path, kind: str) -> None:
    def change(records: list[Record]) -> list[Record]:
        at = next(i for i, r in enumerate(records) if "codes" in r.tensors)
        tensor = GARBAGE[kind](records[at].tensors["codes"])
        records[at] = replace(records[at], tensors={"codes": tensor})
        return records

    assert counts(rewritten(asked, change), tmp_path) == (1, {"exact": 11, "wrong": 1})


def test_names_that_are_missing_or_of_nothing(asked: Path, tmp_path: Path) -> None:
    def change(records: list[Record]) -> list[Record]:
        records[0] = replace(records[0], tensors={})
        records[1] = replace(records[1], tensors={**records[1].tensors, "more": np.zeros(1)})
        records[2] = replace(records[2], status="question")
        return records

    assert counts(rewritten(asked, change), tmp_path) == (1, {"exact": 9, "wrong": 3})


def test_a_question_that_is_answered_twice_is_wrong(asked: Path, tmp_path: Path) -> None:
    answers = rewritten(asked, lambda records: [*records, records[5]])
    assert counts(answers, tmp_path) == (1, {"exact": 11, "wrong": 1})


def test_answers_to_what_was_not_asked_spoil_their_file(asked: Path, tmp_path: Path) -> None:
    answers = rewritten(asked, lambda records: [*records, replace(records[0], id=77)])
    assert counts(answers, tmp_path) == (1, {"wrong": 12})


def test_a_file_that_is_cut_off_loses_what_is_behind(asked: Path, tmp_path: Path) -> None:
    file = asked / "answers" / "encode.raw"
    file.write_bytes(file.read_bytes()[:-5])
    assert counts(asked / "answers", tmp_path) == (1, {"exact": 11, "wrong": 1})


def test_two_files_of_one_family(asked: Path, tmp_path: Path) -> None:
    shutil.copy(asked / "answers" / "encode.raw", asked / "answers" / "encode.npz")
    assert counts(asked / "answers", tmp_path) == (1, {"wrong": 12})


def test_a_link_is_not_followed(asked: Path, tmp_path: Path) -> None:
    file = asked / "answers" / "encode.raw"
    file.rename(tmp_path / "elsewhere.raw")
    file.symlink_to(tmp_path / "elsewhere.raw")
    assert counts(asked / "answers", tmp_path) == (1, {"wrong": 12})


def test_a_smaller_selection_does_not_hide_what_was_to_be_asked(
    asked: Path, tmp_path: Path
) -> None:
    code, found = counts(asked / "answers", tmp_path, "--family", "encode", "--tier", "full")
    assert (code, found["exact"]) == (0, 12)
    manifest = asked / "questions.json"
    manifest.write_text(
        manifest.read_text().replace('"patterns": []', '"patterns": ["encode/power-1*"]')
    )
    assert counts(asked / "answers", tmp_path)[0] == 1


def test_other_vectors_are_refused(
    asked: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = asked / "questions.json"
    digest = json.loads(manifest.read_text())["vectors"]["digest"]
    manifest.write_text(manifest.read_text().replace(digest, "0" * 64))
    own = str(asked.parent / "set")
    assert main(["judge", str(asked / "answers"), "--vectors", own]) == 2
    assert "the questions are of v1 (000000000000)" in capsys.readouterr().err
    manifest.write_text("{}")
    assert main(["judge", str(asked / "answers")]) == 2
    assert main(["judge", str(tmp_path / "nothing")]) == 2
    assert main(["questions", "--out", str(asked)]) == 2
    assert main(["questions", "--out", str(tmp_path / "q"), "--family", "placement"]) == 2
