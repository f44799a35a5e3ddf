"""Few functions lie between the command line and the arithmetic, and each does something."""

from __future__ import annotations

import traceback
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import quant_conformance
import quant_reference
from quant_conformance.cli import main

OURS = tuple(
    str(Path(package.__file__ or "").parent) for package in (quant_conformance, quant_reference)
)
ASKED = ("run", "--backend", "numpy-reference", "--no-isolate", "--case")


@pytest.mark.parametrize(
    ("case", "last"),
    [
        ("quantize/cover/int4-asym-zp-*", ["quantize", "unclamped_codes", "quotient"]),
        ("quantize/cover/int4-asym-minval-*", ["quantize", "unclamped_codes", "over"]),
        ("fake_quantize/cover/float8_e4m3fn-*", ["fake_quantize", "unclamped_codes", "quotient"]),
        (
            "gradient/cover/int4-asym-zp-*",
            ["fake_quantize_gradient", "unclamped_codes", "quotient"],
        ),
    ],
)
def test_eight_frames_to_the_division(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], case: str, last: list[str]
) -> None:
    stacks: list[traceback.StackSummary] = []

    def divide(*_: Any, **__: Any) -> Any:
        stacks.append(traceback.extract_stack())
        raise ZeroDivisionError("where am I?")

    monkeypatch.setattr(import_module("quant_reference.quantize"), "divide", divide)
    assert main([*ASKED, case]) == 1
    assert "where am I?" in capsys.readouterr().out
    frames = [frame for frame in stacks[0] if frame.filename.startswith(OURS)]
    assert [frame.name for frame in frames][-len(last) :] == last
    assert [frame.name for frame in frames][: -len(last)] == [
        "main",
        "run",
        "run_all",
        "run",
        "invoke",
    ]
    assert len(frames) <= 8
    assert len({frame.filename for frame in frames}) <= 6
