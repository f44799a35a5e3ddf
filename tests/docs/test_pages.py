"""Every page: its snippets run, its commands and links exist, and its words are plain."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import tests.docs.samples as pages
import typer

from quant_conformance.commands.app import app

ROOT = pages.ROOT
WRITTEN = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
    *(
        ROOT / "docs" / f"{name}.md"
        for name in ("vendor", "wire", "gating", "quantizer", "gate", "architecture")
    ),
]
"""Pages that are written by hand, with snippets and commands that a reader would paste."""

ALL = [
    *ROOT.glob("*.md"),
    *(ROOT / "docs").glob("*.md"),
    ROOT / "vectors/quant_vectors/README.md",
    ROOT / "reference/quant_reference/SPEC.md",
]

_RUN = """
import contextlib, io, json, sys, warnings
warnings.simplefilter("ignore")
printed = []
for code in json.load(sys.stdin):
    sink = io.StringIO()
    with contextlib.redirect_stdout(sink):
        exec(compile(code, "page", "exec"), {"__name__": "page"})
    printed.append(sink.getvalue())
print("@@@" + json.dumps(printed))
"""

LONG = "Paste this and run it:"
"""Stands before a snippet that a test of its own runs."""


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@pytest.mark.parametrize("page", WRITTEN, ids=named)
def test_snippets_print_what_the_page_shows(page: Path, tmp_path: Path) -> None:
    text = text_of(page)
    if page.name == "CONTRIBUTING.md":
        pytest.skip("its snippets are pieces of this repository")
    head, _, rest = text.partition(LONG)
    run = [*pages.snippets(head), *pages.snippets(rest)[1 if rest else 0 :]]
    if not run:
        pytest.skip("no snippets")
    if any("torch" in code for code, _ in run):
        pytest.importorskip("torch")
    pages.prepare(tmp_path, text)
    done = subprocess.run(
        [sys.executable, "-c", _RUN],
        cwd=tmp_path,
        input=json.dumps([code for code, _ in run]),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout.rpartition("@@@")[2])
    assert printed == [shown for _, shown in run]


def test_the_readme_shows_pieces_of_what_the_pages_show() -> None:
    whole = text_of(pages.VENDOR) + text_of(pages.GATE)
    blocks = [b["text"] for b in pages.BLOCK.finditer(text_of(pages.README)) if not b["kind"]]
    lines = [line for text in blocks for line in text.splitlines()]
    assert [line for line in lines if not line.startswith("make ") and line not in whole] == []
    assert len(lines) > 10


def test_the_readme_is_short() -> None:
    assert len(text_of(pages.README).splitlines()) <= 200


@pytest.mark.parametrize(
    "question",
    [
        ("how to plug in a C kernel", "docs/vendor.md#a-c-kernel"),
        ("what `unlikely` means", "docs/vendor.md#verdicts"),
        ("the rule for a zero point", "reference/quant_reference/SPEC.md#qp-4-zero-point"),
        (
            "how to freeze scales in QAT",
            "docs/quantizer.md#quantization-aware-training-and-how-to-freeze-scales",
        ),
        ("why a clause has its number of mutants", "docs/architecture.md#mutants"),
    ],
    ids=lambda question: question[0],
)
def test_the_readme_leads_to_the_answer(question: tuple[str, str]) -> None:
    assert f"]({question[1]})" in text_of(pages.README)


# Commands


def all_commands() -> Iterator[tuple[str, str]]:
    for page in WRITTEN:
        for line in pages.commands(text_of(page)):
            yield named(page), line.partition("#")[0].strip()


@pytest.mark.parametrize(("page", "line"), sorted(set(all_commands())))
def test_a_command_exists_with_its_options(page: str, line: str) -> None:
    words = shlex.split(line)
    if words[0] == "make":
        targets = re.findall(r"(?m)^([a-z-]+):", text_of(ROOT / "Makefile"))
        assert words[1] in targets
    if words[0] != "quant-conformance":
        return
    command, rest = typer.main.get_command(app), words[1:]
    while commands := getattr(command, "commands", None):
        command = commands[rest.pop(0)]
    options = {name for parameter in command.params for name in parameter.opts}
    assert {word for word in rest if word.startswith("--")} <= options


# Links


def slug(title: str) -> str:
    """The anchor of a heading, as GitHub and the site make it."""
    plain = re.sub(r"\[(.*?)\]\(.*?\)", r"\1", title).replace("`", "").strip().lower()
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


@cache
def anchors(path: Path) -> frozenset[str]:
    outside = re.sub(r"(?ms)^```.*?^```", "", text_of(path))
    return frozenset(slug(title) for title in re.findall(r"(?m)^#+ (.*)$", outside))


@pytest.mark.parametrize("page", ALL, ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    outside = re.sub(r"(?ms)^```.*?^```", "", text_of(page))
    bad = []
    for target in re.findall(r"\]\(([^)\s]+)\)", outside):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            bad.append(target)
    assert bad == []


# What is true of the code


def test_the_layers_are_those_of_the_import_contract() -> None:
    project = tomllib.loads(text_of(ROOT / "pyproject.toml"))
    (contract,) = (c for c in project["tool"]["importlinter"]["contracts"] if c["type"] == "layers")
    (shown,) = re.findall(r"```layers\n(.*?)```", text_of(ROOT / "docs/architecture.md"), re.S)
    assert shown.splitlines() == contract["layers"]


def test_extras_of_the_readme_are_those_of_the_project() -> None:
    project = tomllib.loads(text_of(ROOT / "pyproject.toml"))["project"]
    rows = re.findall(r"(?m)^\| ((?:`\w+`(?:, )?)+) \| ", text_of(pages.README))
    named_there = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert set(project["optional-dependencies"]) <= named_there
