"""quantize, dequantize, fake_quantize and gradient where a byte crosses the border of two groups.

Two codes of four bits, or four of two, share a byte. With groups or rows of an odd length the
qparams change within it, which a kernel that works byte by byte overlooks.
"""

from __future__ import annotations

from quant_conformance.generate import data
from quant_conformance.generate.builder import Builder
from quant_conformance.generate.families.elementwise import ask
from quant_conformance.generate.families.elementwise_cover import any_codes, inside_range
from quant_conformance.generate.layouts import granularity_clause, make_spec
from quant_conformance.generate.streams import Shape
from quant_reference import Granularity, PerBlock, PerChannel, scale_shape

_OPERATIONS = ("quantize", "dequantize", "fake_quantize", "gradient")

_LAYOUTS: tuple[tuple[str, Shape, Granularity], ...] = (
    ("groups-of-3-in-rows-of-6", (2, 6), PerBlock(1, 3)),
    ("groups-of-3-in-rows-of-9", (2, 9), PerBlock(1, 3)),
    ("groups-of-5", (15,), PerBlock(0, 5)),
    ("rows-of-5", (3, 5), PerChannel(0)),
)
"""In the second the bytes of the rows differ by whether a row starts with a new byte."""

_KINDS = (
    "int4-sym-zp",
    "uint4-asym-zp",
    "float4_e2m1fn-e8m0",
    "int4-asym-minval",
    "int2-asym-zp",
    "uint2-asym-minval",
)


def build(builder: Builder) -> None:
    """Add the cases to four families."""
    for start, operation in enumerate(_OPERATIONS):
        for index, (name, shape, granularity) in enumerate(_LAYOUTS):
            for number in range(3):
                kind = _KINDS[(start + index + 2 * number) % len(_KINDS)]
                _ask(builder, operation, f"odd-groups/{name}-{kind}", kind, shape, granularity)


def _ask(
    builder: Builder, operation: str, name: str, kind: str, shape: Shape, granularity: Granularity
) -> None:
    spec, label = make_spec(kind, granularity), f"{operation}/{name}"
    target = "activation" if len(shape) == 1 else "weight"
    params = data.qparams(label, scale_shape(shape, granularity, target), spec)  # type: ignore[arg-type]
    more = {}
    if operation == "dequantize":
        tensor = any_codes(label, shape, spec)
    else:
        tensor = data.mixed(label, shape, spec, params, "float32")
    if operation == "gradient":
        more["grad"] = data.gradients(label, shape, inside_range(tensor, spec, params), "float32")
    blocked = isinstance(granularity, PerBlock)
    ask(
        builder,
        name,
        operation,
        spec,
        params,
        tensor,
        "SharedByte BlockAxis",
        f"{list(shape)}, qparams that change within a byte of {8 // spec.format.bits} codes",
        clauses=granularity_clause(target) if blocked else "GRAN-2",
        target=target,
        **more,
    )
