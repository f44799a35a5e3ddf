"""docs/gate.md: the recording, as a reader would paste it."""

from __future__ import annotations

import re
from pathlib import Path

import tests.docs.samples as pages

TEXT = pages.GATE.read_text(encoding="utf-8").partition("## Freeze a model of your own\n")[2]


def shown(text: str) -> list[str]:
    """Lines without what hangs on the last bit of a sum: the shares and the size."""
    return [re.sub(r"\s+[\d.]+ %$|[\d,]+ kB$", "", line).rstrip() for line in text.splitlines()]


def test_the_example_prints_what_the_page_says(tmp_path: Path) -> None:
    pages.prepare(tmp_path, TEXT)
    record, run = pages.commands(TEXT)
    (printed,) = re.findall(r"```\n(tensor .*?)```", TEXT, re.DOTALL)
    done = pages.called(tmp_path, record)
    assert done.returncode == 0, done.stderr
    assert shown(done.stdout) == shown(printed)
    done = pages.called(tmp_path, run)
    assert done.returncode == 0, done.stdout
