"""Adapters of vendors' SDKs: their pins, their syntax, and the reader that they share."""

from __future__ import annotations

import ast
import importlib.util
import re
import runpy
import struct
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

from quant_conformance.registry import BACKENDS

ROOT = Path(__file__).parents[3]
VENDORS = ROOT / "conformance" / "vendors"
TEMPLATE = ROOT / "conformance/quant_conformance/wire/templates/python/wire.py"
NAMES = sorted(path.parent.name for path in VENDORS.glob("*/adapter.py"))
KERNELS = runpy.run_path(str(VENDORS / "run.py"))["KERNELS"]


def test_the_runner_knows_every_vendor() -> None:
    assert sorted(KERNELS) == NAMES
    assert not set(NAMES) & set(BACKENDS)


@pytest.mark.parametrize("name", NAMES)
def test_requirements_are_pinned(name: str) -> None:
    lines = (VENDORS / name / "requirements.txt").read_text().splitlines()
    assert lines
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][\w.]*", line)] == []


@pytest.mark.parametrize("name", NAMES)
def test_adapters_are_python_3_9_and_import_no_package_of_ours(name: str) -> None:
    for path in (VENDORS / name).glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 9))
        assert not [n for n in ast.walk(tree) if type(n).__name__ in ("Match", "TryStar")]
        assert not re.search(r"(?m)^\s*(import|from) quant_", path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", NAMES)
def test_known_failures_have_a_section(name: str) -> None:
    page = (ROOT / "docs" / "integer_engines.md").read_text(encoding="utf-8")
    titles = {title.lower().replace(" ", "-") for title in re.findall(r"(?m)^### (.*)$", page)}
    for kernels in KERNELS[name]:
        text = (VENDORS / name / f"known-{kernels}.toml").read_text(encoding="utf-8")
        for entry in tomllib.loads(text)["expect"]:
            assert entry["link"].removeprefix("docs/integer_engines.md#") in titles


def test_a_vendor_that_is_not_there_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, VENDORS / "run.py", "nobody"], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "no vendor nobody; there are: litert" in done.stderr


def wire() -> ModuleType:
    spec = importlib.util.spec_from_file_location("wire_template", TEMPLATE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("dtype", "form"),
    [("int8", "b"), ("uint8", "B"), ("int16", "h"), ("int32", "i"), ("int64", "q")],
)
def test_the_reader_writes_every_integer_dtype(dtype: str, form: str) -> None:
    module = wire()
    values = [0, 1, 100]
    answer = module.record(7, 1, "", {"codes": module.Tensor(dtype, [3], values)})
    assert struct.unpack_from("<I", answer)[0] == len(answer) - 4
    data = struct.pack(f"<3{form}", *values)
    assert data in answer
    question = module.Question(answer[4:])
    codes = question.tensors["codes"]
    assert (question.id, codes.dtype, codes.shape, codes.values) == (7, dtype, [3], values)
