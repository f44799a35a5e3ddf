"""The settings under which the numerics are repeated do something, and it is noticed if not."""

from __future__ import annotations

import dataclasses

import pytest
from tests.cpus import __main__ as cpus
from tests.cpus.probe import probe
from tests.cpus.settings import MARKED, PARTS, SETTINGS

pytest.importorskip("torch")


def test_a_setting_that_does_nothing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    idle = dataclasses.replace(SETTINGS["no-onednn"], onednn=True)
    monkeypatch.setitem(cpus.SETTINGS, "idle", idle)  # type: ignore[arg-type]
    lines, failed = cpus.run("idle", ["sample"], "")
    assert len(lines) == 1
    assert len(failed) == 1
    assert "and not 'off'" in failed[0]


def test_the_hook_turns_onednn_off_in_torch() -> None:
    said = probe(cpus.environment_of(SETTINGS["no-onednn"], ""))
    assert said["onednn"] == "off"
    assert cpus.unmet(SETTINGS["no-onednn"], said) == ""


def test_what_the_processor_lacks_is_left_out_by_name() -> None:
    lines, failed = cpus.run("torch-avx2", ["sample"], "SSE41")
    assert failed == []
    assert lines == ["== torch-avx2: left out, this processor has no AVX2"]


def test_the_sample_has_some_of_each_part() -> None:
    for part in ("executors", "gate", "zoo"):
        folders = [word for word in PARTS[part] if word.startswith("tests/")]
        assert any(name.startswith(tuple(folders)) for name in MARKED), part
    assert any("scores" in name for name in MARKED)
    assert any("vectors" in setting.sample for setting in SETTINGS.values())
