"""docs/wire.md: its tables are those of the code, and its documents follow their schemas."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import tests.docs.samples as pages

from quant_conformance.cli import main
from quant_conformance.report.wire_page import filled
from quant_conformance.wire.documents import document_of
from quant_conformance.wire.languages import LANGUAGES
from quant_conformance.wire.model import Record

PAGE = pages.ROOT / "docs" / "wire.md"
TEXT = PAGE.read_text(encoding="utf-8")


def schema(name: str) -> object:
    path = files("quant_conformance").joinpath("schemas", f"{name}.schema.json")
    return json.loads(path.read_text(encoding="utf-8"))


def test_what_is_made_is_up_to_date() -> None:
    assert filled(TEXT) == TEXT


def test_the_printed_case_is_what_the_bytes_are() -> None:
    # By hand: 1.0625 is 0x3f880000, the magic and the length are where the tables say.
    block = next(b["text"] for b in pages.BLOCK.finditer(TEXT) if b["text"].startswith("0000"))
    data = bytes.fromhex("".join(line[6:53] for line in block.splitlines()))
    assert data[:4] == b"QCW1"
    assert int.from_bytes(data[16:20], "little") == len(data) - 20
    assert bytes.fromhex("0000883f00000080") == data[-8:]


def test_the_reader_is_short_and_without_this_package() -> None:
    (code,) = [code for code, _ in pages.snippets(TEXT)]
    lines = [line for line in code.splitlines() if line]
    assert len(lines) <= 22
    assert not [line for line in lines if "import" in line and "quant" in line]


def test_documents_follow_their_schemas(tmp_path: Path) -> None:
    out = tmp_path / "asked"
    assert main(["questions", "--out", str(out), "--family", "encode", "--tier", "full"]) == 0
    jsonschema.validate(json.loads((out / "questions.json").read_text()), schema("questions"))
    x = np.zeros((2, 0), np.float16)
    question = Record(1, "question", "encode", {"arguments": {"format": "int4"}}, {"x": x})
    answer = Record(1, "unsupported", "no int4")
    for record in (question, answer):
        jsonschema.validate(json.loads(document_of([record])), schema("records"))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"schema": "quant-conformance/answers/1"}, schema("records"))


def test_the_table_of_languages_has_the_commands_that_are_run() -> None:
    # tests/conformance/wire/test_languages.py runs these commands for each language.
    page = pages.VENDOR.read_text(encoding="utf-8")
    rows = re.findall(r"(?m)^\| [^|]+ \| `(\w+)` \| (.*) \| `(.*)` \|$", page)
    shown = {
        name: (build.strip("`").replace("none", ""), run)
        for name, build, run in rows
        if name in LANGUAGES
    }
    assert shown == {name: (each.build, each.run) for name, each in LANGUAGES.items()}
