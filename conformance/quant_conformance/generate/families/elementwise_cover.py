"""The broad coverage of quantize, dequantize, fake_quantize and gradient, and their layouts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant_conformance.generate import data
from quant_conformance.generate.builder import Builder
from quant_conformance.generate.coverage import coverage
from quant_conformance.generate.families.elementwise import ask
from quant_conformance.generate.layouts import ALL_LAYOUTS, layout_variants, make_spec
from quant_conformance.generate.policies import unclamped
from quant_conformance.generate.streams import Shape, integers
from quant_reference import QParams, QuantizationSpec

Array = NDArray[Any]

_LAYOUT_KINDS = (
    "int8-sym-zp",
    "uint8-asym-zp",
    "int4-asym-minval",
    "float8_e4m3fn-scale32",
    "float4_e2m1fn-e8m0",
    "int4-clip-zp",
)


def build(builder: Builder) -> None:
    """Add the broad part of four families."""
    for operation, density in (
        ("fake_quantize", "full"),
        ("quantize", "once"),
        ("gradient", "once"),
    ):
        for row in coverage(operation, density):
            flags = "SpecCoverage" + ("" if row.granularity_kind == "per_tensor" else " BlockAxis")
            blocks = row.layout.blocks(row.spec.granularity)
            params = data.qparams(row.label, blocks, row.spec)
            x = data.mixed(row.label, row.layout.shape, row.spec, params, row.dtype)
            more = {}
            if operation == "gradient":
                inside = inside_range(x, row.spec, params)
                more["grad"] = data.gradients(row.label, row.layout.shape, inside, row.dtype)
            extra = "FQ-3" if operation == "fake_quantize" and row.dtype != "float32" else ""
            ask(
                builder,
                f"cover/{row.name}",
                operation,
                row.spec,
                params,
                x,
                flags,
                "ties, edges, clipped values and zeros",
                clauses=f"{row.clause} {extra}",
                target=row.layout.target,
                full=row.full,
                **more,
            )
    for row in coverage("dequantize", "once"):
        flags = "SpecCoverage" + ("" if row.granularity_kind == "per_tensor" else " BlockAxis")
        params = data.qparams(row.label, row.layout.blocks(row.spec.granularity), row.spec)
        codes = any_codes(row.label, row.layout.shape, row.spec)
        ask(
            builder,
            f"cover/{row.name}",
            "dequantize",
            row.spec,
            params,
            codes,
            flags,
            "random codes",
            clauses=row.clause,
            target=row.layout.target,
            full=row.full,
        )
    _layouts(builder)


def any_codes(label: str, shape: Shape, spec: QuantizationSpec) -> Array:
    """Return random codes of a format; of a float format only those that are not NaN."""
    fmt = spec.format
    if fmt.is_integer:
        low, high = int(fmt.quant_min), int(fmt.quant_max)
        return integers(f"{label}/codes", shape, low, high).astype(fmt.code_dtype)
    finite = {"float8_e4m3fn": 126, "float8_e5m2": 123, "float4_e2m1fn": 7}[fmt.name]
    magnitude = integers(f"{label}/codes", shape, 0, finite)
    sign = integers(f"{label}/sign", shape, 0, 1) << (fmt.bits - 1)
    return (magnitude | sign).astype(np.uint8)


def inside_range(x: Array, spec: QuantizationSpec, params: QParams) -> Array:
    """Mark the elements whose code before the clamp is in use."""
    inputs = {"x": x, "scale": params.scale}
    if params.zero_point is not None and params.minval is not None:
        inputs |= {"zero_point": params.zero_point, "minval": params.minval}
    code = unclamped(inputs, spec)
    inside: Array = (code >= spec.quant_min) & (code <= spec.quant_max)
    return inside


def _layouts(builder: Builder) -> None:
    for index, (name, granularity, clause, flags) in enumerate(layout_variants()):
        layout = ALL_LAYOUTS[name.split("-", 1)[0]]
        # What quantize gets wrong here, one of the other two gets wrong too.
        for operation in ("quantize", ("dequantize", "fake_quantize")[index % 2]):
            kind = _LAYOUT_KINDS[(index + len(operation)) % len(_LAYOUT_KINDS)]
            spec = make_spec(kind, granularity)
            label = f"{operation}/layout/{name}"
            params = data.qparams(label, layout.blocks(granularity), spec)
            if operation == "dequantize":
                tensor = any_codes(label, layout.shape, spec)
            else:
                tensor = data.mixed(label, layout.shape, spec, params, "float32")
            ask(
                builder,
                f"layout/{name}-{kind}",
                operation,
                spec,
                params,
                tensor,
                " ".join(flags),
                f"{list(layout.shape)}, scales that differ by powers of two and more",
                clauses=clause,
                target=layout.target,
            )
