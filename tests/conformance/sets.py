"""Small vector sets in memory, with answers worked out by hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from quant_vectors import Case, SetWriter, VectorSet

PER_TENSOR = {"type": "per_tensor"}
INT8 = {"dtype": "int8", "qscheme": "symmetric", "qformulation": "zp", "granularity": PER_TENSOR}
UINT8_MINVAL = {**INT8, "dtype": "uint8", "qscheme": "asymmetric", "qformulation": "minval"}
E4M3 = {**INT8, "dtype": "float8_e4m3fn"}

ONE = np.ones((1,), np.float32)
ZERO_POINT = np.zeros((1,), np.int32)


@dataclass
class Draft:
    """A case with its tensors, before they get names."""

    id: str
    operation: str
    inputs: Mapping[str, Any] = field(default_factory=dict)
    expected: Mapping[str, Any] = field(default_factory=dict)
    alternatives: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)


def make_set(drafts: Iterable[Draft], flags: Mapping[str, Any] | None = None) -> VectorSet:
    """Builds a set; the family of a case is what its id begins with."""
    tensors: dict[str, dict[str, Any]] = {}
    cases = []
    for draft in drafts:
        family = draft.id.partition("/")[0]
        table = tensors.setdefault(family, {})

        def name(arrays: Mapping[str, Any], table: dict[str, Any] = table) -> dict[str, str]:
            names = {}
            for role, array in arrays.items():
                names[role] = f"t{len(table):04}"
                table[names[role]] = np.asarray(array)
            return names

        defaults = {"clauses": ("Q-1",), "flags": (), "comment": "made for a test"}
        cases.append(
            Case(
                id=draft.id,
                family=family,
                operation=draft.operation,
                inputs=name(draft.inputs),
                expected=name(draft.expected),
                alternatives={key: name(value) for key, value in draft.alternatives.items()},
                **{**defaults, **draft.more},
            )
        )
    families = {case.family: {} for case in cases}
    return VectorSet(
        tuple(cases), {"version": "v1", "families": families}, flags or {}, "0" * 64, tensors
    )


def write_set(drafts: Iterable[Draft], folder: Path) -> Path:
    """Writes a set that ``--vectors`` can be given."""
    drafts = list(drafts)
    flags = {name for draft in drafts for name in draft.more.get("flags", ())}
    text = {"bug": "a bug", "effect": "an effect", "link": "example/repo#1"}
    writer = SetWriter("v1", "test", "0", dict.fromkeys(sorted(flags), text))
    for draft in drafts:
        writer.add(
            draft.id,
            draft.operation,
            inputs=draft.inputs,
            expected=draft.expected,
            alternatives=draft.alternatives,
            **{"clauses": ("Q-1",), "flags": (), "comment": "made for a test", **draft.more},
        )
    writer.write(folder)
    return folder


def f32(*values: float) -> np.ndarray[Any, Any]:
    return np.array(values, np.float32)


def encodes(count: int, family: str = "encode") -> list[Draft]:
    """Cases for float8_e4m3fn: 1, 2, 4, … are codes 0x38, 0x40, 0x48, …."""
    return [
        Draft(
            f"{family}/power-{i}",
            "encode",
            {"x": f32(2.0 ** (i % 8), -(2.0 ** (i % 8)))},
            {"codes": np.array([0x38 + 8 * (i % 8), 0xB8 + 8 * (i % 8)], np.uint8)},
            more={"arguments": {"format": "float8_e4m3fn"}, "clauses": ("ENC-1",)},
        )
        for i in range(count)
    ]


def one_of_each() -> list[Draft]:
    """One case per operation, each worked out from SPEC.md by hand."""
    params = {"scale": f32(0.5), "zero_point": ZERO_POINT}
    fmt = {"arguments": {"format": "float8_e4m3fn"}}
    int4 = {"arguments": {"format": "int4", "order": "low_first"}}
    weight = {"spec": INT8, "target": "weight"}
    # 127.5 is the greatest |x|, and half of 255 steps: the scale is 1.
    scale_one = {"scale": f32(1), "zero_point": ZERO_POINT, "minval": f32(-127.5)}
    return [
        Draft(
            "encode/tie",
            "encode",
            # 1.0625 is midway between 1 (0x38) and 1.125 (0x39): the even code.
            {"x": f32(1.0625, -0.0)},
            {"codes": np.array([0x38, 0x80], np.uint8)},
            more={**fmt, "clauses": ("ENC-1", "ENC-3"), "flags": ("TiesToEven",)},
        ),
        Draft(
            "decode/max",
            "decode",
            {"codes": np.array([0x7E, 0x01], np.uint8)},
            {"values": f32(448, 2**-9)},
            more={**fmt, "clauses": ("DEC-1",)},
        ),
        Draft(
            "pack/pack",
            "pack",
            {"codes": np.array([1, -1], np.int8)},
            {"packed": np.array([0xF1], np.uint8)},
            more={**int4, "clauses": ("PACK-1",)},
        ),
        Draft(
            "pack/unpack",
            "unpack",
            {"packed": np.array([0xF1], np.uint8)},
            {"codes": np.array([1, -1], np.int8)},
            more={"arguments": {**int4["arguments"], "count": 2}, "clauses": ("PACK-2",)},
        ),
        Draft(
            "range/zero-included",
            "value_range",
            {"x": f32(1, 3)},
            {"lo": f32(-0.0), "hi": f32(3)},
            more={**weight, "clauses": ("RANGE-1",)},
        ),
        Draft(
            "qparams/unit",
            "qparams",
            {"x": f32(-127.5, 3)},
            scale_one,
            more={**weight, "clauses": ("QP-2",)},
        ),
        Draft(
            "quantize/tie",
            "quantize",
            {"x": f32(0.25, 0.75, 100), **params},  # quotients 0.5, 1.5, 200
            {"codes": np.array([0, 2, 127], np.int8)},
            more={"spec": INT8, "clauses": ("Q-2",), "flags": ("TiesToEven",)},
        ),
        Draft(
            "quantize/nan",
            "quantize",
            {"x": f32(np.nan), "scale": ONE},
            {"codes": np.array([0x7F], np.uint8)},
            {"any_nan": {"codes": np.array([0xFF], np.uint8)}},
            more={
                "spec": E4M3,
                "rule": "policy",
                "policy": "nan_payload",
                "choice": "canonical",
                "clauses": ("Q-6",),
            },
        ),
        Draft(
            "dequantize/half",
            "dequantize",
            {"codes": np.array([-3, 4], np.int8), **params},
            {"values": f32(-1.5, 2)},
            more={"spec": INT8, "clauses": ("DQ-1",)},
        ),
        Draft(
            "fake_quantize/half",
            "fake_quantize",
            {"x": f32(0.6, -1000), **params},
            {"values": f32(0.5, -64)},
            more={"spec": INT8, "clauses": ("FQ-1",)},
        ),
        Draft(
            "gradient/outside",
            "gradient",
            {"x": f32(1, 1000), "grad": f32(3, 5), **params},
            {"gradient": f32(3, 0)},
            more={"spec": INT8, "clauses": ("GRAD-1", "GRAD-2")},
        ),
        Draft(
            "observe/global",
            "observe",
            {"batch_0": f32(-127.5, 3), "batch_1": f32(1, 2)},
            scale_one,
            more={
                "spec": INT8,
                "target": "activation",
                "arguments": {"kind": "global_minmax"},
                "clauses": ("OBS-3",),
            },
        ),
        Draft(
            "default_axis/transposed",
            "default_axis",
            more={
                "arguments": {
                    "module_kind": "ConvTranspose2d",
                    "granularity": {"type": "per_channel", "axis": None},
                },
                "result": 1,
                "clauses": ("GRAN-7",),
            },
        ),
        Draft(
            "invalid_spec/int3",
            "validate_spec",
            more={
                "arguments": {"mapping": {"dtype": "int3"}},
                "result": "refused",
                "clauses": ("SPEC-1",),
            },
        ),
    ]
