"""The frozen set, and small sets of one's own on disk, to be broken by the tests."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from quant_vectors import SetWriter, VectorSet, load

FLAGS = {"TiesToEven": {"bug": "Ties go up.", "effect": "Off by one.", "link": "owner/repo#1"}}


@cache
def loaded(version: str) -> VectorSet:
    """A frozen set, read once."""
    return load(version)


def v1() -> VectorSet:
    return loaded("v1")


def small_writer() -> SetWriter:
    """Three families: tensors of four dtypes, a policy, and answers without tensors."""
    writer = SetWriter("v9", "1", "seed", FLAGS)
    about = {"clauses": ("ENC-1",), "flags": ("TiesToEven",), "comment": "made for a test"}
    writer.add(
        "encode/first",
        "encode",
        inputs={"x": np.array([1.5, -2.5], ml_dtypes.bfloat16)},
        expected={"codes": np.array([2, -2], np.int8)},
        arguments={"format": "int8"},
        **about,
    )
    writer.add(
        "encode/second",
        "encode",
        inputs={"x": np.array([np.nan], np.float32)},
        expected={"codes": np.array([0x7F], np.uint8)},
        alternatives={"any_nan": {"codes": np.array([0xFF], np.uint8)}},
        rule="policy",
        policy="nan_payload",
        choice="canonical",
        **about,
    )
    writer.add(
        "range/first",
        "value_range",
        inputs={"x": np.array([[1.5], [-2.5]], np.float16)},
        expected={"lo": np.array([[-2.5]], np.float16), "hi": np.array([[1.5]], np.float16)},
        target="weight",
        **about,
    )
    writer.add("default_axis/first", "default_axis", inputs={}, expected={}, result=0, **about)
    return writer


def small_set(folder: Path) -> Path:
    """Write the small set into a folder."""
    small_writer().write(folder)
    return folder


def rewrite(folder: Path, name: str, change: Callable[[Any], Any]) -> None:
    """Change a JSON file and make the manifest agree, as a clumsy editor would."""
    file = folder / name
    file.write_text(json.dumps(change(json.loads(file.read_text()))))
    if name != "manifest.json":
        reseal(folder, name)


def reseal(folder: Path, name: str) -> None:
    """Put a file's present size and checksum into the manifest."""
    content = (folder / name).read_bytes()
    entry = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    rewrite(folder, "manifest.json", lambda m: {**m, "files": {**m["files"], name: entry}})
