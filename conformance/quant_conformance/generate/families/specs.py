"""default_axis and invalid_spec: what a configuration means, and what must be refused."""

from __future__ import annotations

from typing import Any

from quant_conformance.generate.builder import Builder
from quant_conformance.generate.layouts import spec_kinds
from quant_reference import ALIASES, MODULE_KINDS, default_axis, granularity_from_dict

_BLOCK = {"type": "per_block", "axis": None, "block_size": 16}
_CHANNEL = {"type": "per_channel", "axis": None}
_E8M0 = "float8_e8m0fnu"


def build(builder: Builder) -> None:
    """Add both families."""
    _default_axes(builder)
    for clause, cases in _REFUSED.items():
        for name, mapping in cases.items():
            _spec(builder, f"refused/{name}", mapping, "refused", (clause,), "must be refused")
    for clause, cases in _ACCEPTED.items():
        for name, mapping in cases.items():
            _spec(builder, f"accepted/{name}", mapping, "accepted", (clause,), "is legal")
    for kind, members in spec_kinds().items():
        _spec(builder, f"accepted/kind-{kind}", members, "accepted", ("SPEC-1",), "is legal")
    for alias, name in ALIASES.items():
        if name == _E8M0:
            mapping = {"dtype": "float8_e5m2", "scale_dtype": alias}
        else:
            mapping = {"dtype": alias}
        _spec(builder, f"accepted/alias-{alias}", mapping, "accepted", ("FMT-4",), f"means {name}")


def _spec(
    builder: Builder,
    case: str,
    mapping: dict[str, Any],
    result: str,
    clauses: tuple[str, ...],
    comment: str,
) -> None:
    builder.add_result(
        f"invalid_spec/{case}",
        "validate_spec",
        result,
        clauses=clauses,
        flags=("IllegalSpec",) if result == "refused" else ("LegalSpec",),
        comment=comment,
        arguments={"mapping": mapping},
    )


def _default_axes(builder: Builder) -> None:
    for module_kind in MODULE_KINDS:
        for name, granularity in (("channel", _CHANNEL), ("block", _BLOCK)):
            axis = default_axis(module_kind, granularity_from_dict(granularity))
            builder.add_result(
                f"default_axis/{module_kind}-{name}",
                "default_axis",
                axis,
                clauses=("GRAN-7",),
                flags=("DefaultAxis",),
                comment=f"the axis of a {module_kind} weight",
                arguments={"module_kind": module_kind, "granularity": granularity},
            )
    for module_kind in ("LSTM", "BatchNorm2d", "MultiheadAttention", "conv2d", "Conv4d", ""):
        builder.add_result(
            f"default_axis/refused-{module_kind or 'empty'}",
            "default_axis",
            "refused",
            clauses=("GRAN-7",),
            flags=("DefaultAxis",),
            comment="a module kind without a default axis",
            arguments={"module_kind": module_kind, "granularity": _CHANNEL},
        )
    builder.add_result(
        "default_axis/refused-per-tensor",
        "default_axis",
        "refused",
        clauses=("GRAN-7",),
        flags=("DefaultAxis",),
        comment="per tensor has no axis",
        arguments={"module_kind": "Linear", "granularity": {"type": "per_tensor"}},
    )
    tuples = {"Linear": [1, 2], "Conv2d": [1, 2, -1, -1], "ConvTranspose2d": [2, 1, 3, 3]}
    for module_kind, extents in tuples.items():
        builder.add_result(
            f"default_axis/refused-{module_kind}-tuple",
            "default_axis",
            "refused",
            clauses=("GRAN-7", "GRAN-5"),
            flags=("DefaultAxis",),
            comment="a tuple block_size names every axis itself",
            arguments={
                "module_kind": module_kind,
                "granularity": {"type": "per_block", "axis": None, "block_size": extents},
            },
        )


_REFUSED: dict[str, dict[str, dict[str, Any]]] = {
    "FMT-4": {
        "dtype-unknown": {"dtype": "int3"},
        "dtype-float16": {"dtype": "float16"},
        "dtype-case": {"dtype": "INT8"},
        "dtype-fnuz": {"dtype": "float8_e4m3fnuz"},
        "dtype-empty": {"dtype": ""},
        "dtype-none": {"dtype": None},
        "dtype-number": {"dtype": 8},
        "dtype-int16": {"dtype": "int16"},
        "dtype-e3m2": {"dtype": "float6_e3m2fn"},
    },
    "SPEC-1": {
        "dtype-scale-format": {"dtype": _E8M0},
        "qscheme-unknown": {"qscheme": "affine"},
        "qscheme-none": {"qscheme": None},
        "qscheme-case": {"qscheme": "Symmetric"},
        "qscheme-clipping-asymmetric": {"qscheme": "asymmetric_with_clipping"},
        "qformulation-unknown": {"qformulation": "scale"},
        "qformulation-none": {"qformulation": None},
        "calculator-unknown": {"qparam_calculator_cls": "histogram"},
        "calculator-none": {"qparam_calculator_cls": None},
        "range-calculator-unknown": {"range_calculator_cls": "percentile"},
        "fake-quantize-unknown": {"fake_quantize_cls": "learned"},
        "key-unknown": {"bits": 8},
        "key-misspelt": {"qschema": "symmetric"},
        "key-quant-min": {"dtype": "int8", "quant_min": -127},
    },
    "SPEC-2": {
        f"{dtype}-{name}": {"dtype": dtype, **members}
        for dtype in ("float8_e4m3fn", "float8_e5m2", "float4_e2m1fn")
        for name, members in (
            ("asymmetric", {"qscheme": "asymmetric"}),
            ("clipping", {"qscheme": "symmetric_with_clipping"}),
            ("minval", {"qformulation": "minval"}),
        )
    },
    "SPEC-3": {
        **{
            f"scale-dtype-{dtype}": {"dtype": dtype, "scale_dtype": _E8M0}
            for dtype in ("int2", "int4", "int8", "uint2", "uint4", "uint8")
        },
        "scale-dtype-e4m3": {"dtype": "float8_e4m3fn", "scale_dtype": "float8_e4m3fn"},
        "scale-dtype-float16": {"dtype": "float8_e4m3fn", "scale_dtype": "float16"},
        "scale-dtype-float32": {"dtype": "float8_e4m3fn", "scale_dtype": "float32"},
        "scale-dtype-int8": {"dtype": "int8", "scale_dtype": "int8"},
        "scale-dtype-false": {"dtype": "float8_e5m2", "scale_dtype": False},
    },
    "SPEC-4": {
        "range-lo-positive": {"float_range": [0.5, 1.0]},
        "range-hi-negative": {"float_range": [-1.0, -0.5]},
        "range-empty": {"float_range": [0.0, 0.0]},
        "range-empty-minus-zero": {"float_range": [-0.0, 0.0]},
        "range-swapped": {"float_range": [1.0, -1.0]},
        "range-one-bound": {"float_range": [1.0]},
        "range-three-bounds": {"float_range": [-1.0, 0.0, 1.0]},
        "range-number": {"float_range": 1.0},
        "range-none": {"float_range": None},
        "range-text": {"float_range": ["-1", "1"]},
        "range-bool": {"float_range": [False, True]},
        "range-bool-lo": {"float_range": [False, 1.0]},
        "range-lo-only-positive": {"float_range": [0.5, None]},
        "range-hi-only-negative": {"float_range": [None, -0.5]},
        "range-beyond-floats": {"float_range": [-1.0, 10**400]},
        "range-mapping": {"float_range": {"lo": -1.0, "hi": 1.0}},
        "range-beyond-float32": {"float_range": [-1.0, 1e39]},
        "range-beyond-float32-lo-only": {"float_range": [-3.4028236e38, None]},
        "range-difference-beyond-float32": {"float_range": [-3e38, 3e38]},
        "range-vanishing": {"float_range": [-1e-60, 0.0]},
        "range-vanishing-both": {"float_range": [-1e-60, 1e-46]},
    },
    "SPEC-5": {
        "dynamic-clipping": {
            "qparam_calculator_cls": "dynamic",
            "qscheme": "symmetric_with_clipping",
        },
        "dynamic-range": {"qparam_calculator_cls": "dynamic", "float_range": [-1.0, 1.0]},
        "dynamic-range-lo": {"qparam_calculator_cls": "dynamic", "float_range": [-1.0, None]},
        "dynamic-range-hi": {"qparam_calculator_cls": "dynamic", "float_range": [None, 1.0]},
    },
    "SPEC-7": {
        "granularity-unknown": {"granularity": {"type": "per_row"}},
        "granularity-untyped": {"granularity": {"axis": 0}},
        "granularity-text": {"granularity": "per_tensor"},
        "granularity-none": {"granularity": None},
        "granularity-key": {"granularity": {"type": "per_channel", "axis": 0, "block_size": 4}},
        "granularity-tensor-axis": {"granularity": {"type": "per_tensor", "axis": 0}},
        "granularity-block-key": {
            "granularity": {"type": "per_block", "axis": 0, "block_size": 4, "group": 1}
        },
        "block-size-missing": {"granularity": {"type": "per_block", "axis": 1}},
    },
    "GRAN-2": {
        "axis-fraction": {"granularity": {"type": "per_channel", "axis": 0.5}},
        "axis-text": {"granularity": {"type": "per_channel", "axis": "0"}},
        "axis-bool": {"granularity": {"type": "per_channel", "axis": True}},
        "axis-list": {"granularity": {"type": "per_channel", "axis": [0]}},
    },
    "GRAN-3": {
        "block-size-zero": {"granularity": {"type": "per_block", "axis": 1, "block_size": 0}},
        "block-size-negative": {"granularity": {"type": "per_block", "axis": 1, "block_size": -4}},
        "block-size-whole-int": {"granularity": {"type": "per_block", "axis": 1, "block_size": -1}},
        "block-size-fraction": {"granularity": {"type": "per_block", "axis": 1, "block_size": 4.0}},
        "block-size-bool": {"granularity": {"type": "per_block", "axis": 1, "block_size": True}},
        "block-size-none": {"granularity": {"type": "per_block", "axis": 1, "block_size": None}},
        "block-size-text": {"granularity": {"type": "per_block", "axis": 1, "block_size": "32"}},
    },
    "GRAN-5": {
        "tuple-with-axis": {"granularity": {"type": "per_block", "axis": 0, "block_size": [1, 4]}},
        "tuple-zero": {"granularity": {"type": "per_block", "axis": None, "block_size": [0, 4]}},
        "tuple-negative": {
            "granularity": {"type": "per_block", "axis": None, "block_size": [-2, 4]}
        },
        "tuple-empty": {"granularity": {"type": "per_block", "axis": None, "block_size": []}},
        "tuple-fraction": {
            "granularity": {"type": "per_block", "axis": None, "block_size": [1, 2.5]}
        },
    },
}

_ACCEPTED: dict[str, dict[str, dict[str, Any]]] = {
    "SPEC-1": {"empty": {}},
    "SPEC-3": {"float4-none": {"dtype": "float4_e2m1fn", "scale_dtype": None}},
    "SPEC-4": {
        "range-none-none": {"float_range": [None, None]},
        "range-lo-zero": {"float_range": [0.0, 6.0]},
        "range-hi-zero": {"float_range": [-6.0, 0.0]},
        "range-integers": {"float_range": [-1, 1]},
        "range-lo-only": {"float_range": [-1.0, None]},
        "range-hi-only": {"float_range": [None, 0.0]},
        "range-widest": {"float_range": [-1.7014117e38, 1.7014117e38]},
        "range-greatest-float32": {"float_range": [0.0, 3.4028235e38]},
        "range-vanishing-lo": {"float_range": [-1e-60, 1.0]},
        "range-least-float32": {"float_range": [0.0, 1e-45]},
    },
    "SPEC-5": {
        "dynamic": {"qparam_calculator_cls": "dynamic"},
        "dynamic-asymmetric": {"qparam_calculator_cls": "dynamic", "qscheme": "asymmetric"},
        "calculator-static": {"qparam_calculator_cls": "static"},
        "calculator-moving-average": {"qparam_calculator_cls": "moving_average"},
        "calculator-global-minmax": {"qparam_calculator_cls": "global_minmax"},
    },
    "SPEC-6": {"clipping-unsigned": {"dtype": "uint4", "qscheme": "symmetric_with_clipping"}},
    "SPEC-7": {
        "channel-axis-none": {"granularity": _CHANNEL},
        "block-axis-none": {"granularity": _BLOCK},
        "channel-axis-negative": {"granularity": {"type": "per_channel", "axis": -1}},
        "block-size-one": {"granularity": {"type": "per_block", "axis": 0, "block_size": 1}},
        "block-tuple": {"granularity": {"type": "per_block", "axis": None, "block_size": [-1, 4]}},
        "tensor": {"granularity": {"type": "per_tensor"}},
    },
}
