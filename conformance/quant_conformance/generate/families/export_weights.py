"""export_weights: codes and qparams in the file of an exported model, for every kind of spec.

The same questions as ``qparams`` and ``quantize`` ask, one after the other; here the answer goes
through whatever an exporter does to it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant_conformance.generate.builder import Builder
from quant_conformance.generate.families.elementwise import clauses_of
from quant_conformance.generate.floats import cast
from quant_conformance.generate.layouts import make_spec, spec_kinds
from quant_conformance.generate.streams import integers, reals
from quant_reference import (
    Granularity,
    PerBlock,
    PerChannel,
    PerTensor,
    QuantizationSpec,
    block_shape,
)
from quant_reference.granularity import complete_axis

Array = NDArray[Any]
Shape = tuple[int, ...]

MODULES: tuple[tuple[str, Shape], ...] = (
    ("Linear", (4, 6)),
    ("Conv2d", (4, 2, 1, 3)),
    ("ConvTranspose2d", (2, 4, 3, 1)),
    ("Embedding", (6, 4)),
    ("Conv1d", (2, 6, 2)),
)
"""Module kinds with the shapes of their weights."""

_FP4 = ("Linear", (2, 64))
"""Two FP4 codes share a byte, and 32 neighbours a scale."""


def build(builder: Builder) -> None:
    """Add the family."""
    for index, kind in enumerate(spec_kinds()):
        fp4 = kind.startswith("float4")
        # Six kinds have one dtype: each of them meets each of the six granularities.
        name, shape = _FP4 if fp4 else MODULES[(index + index // 6) % len(MODULES)]
        granularity = PerBlock(-1, 32) if fp4 else _granularity((index + index // 6) % 6, shape)
        spec = make_spec(kind, granularity)
        _add(builder, f"cover/{kind}-{name}", name, _weight(kind, shape, spec, name), spec)
    _special(builder)


def _granularity(variant: int, shape: Shape) -> Granularity:
    """Defaults of the module, axes that are named, and one extent for each axis."""
    variants: tuple[Granularity, ...] = (
        PerChannel(None),
        PerBlock(None, 2),
        PerTensor(),
        PerChannel(1 - len(shape)),
        PerBlock(0, 2),
        PerBlock(None, (2, 2, *[-1] * (len(shape) - 2))),
    )
    return variants[variant]


def _weight(label: str, shape: Shape, spec: QuantizationSpec, module: str) -> Array:
    """A weight whose blocks have scales far apart, with ties where a scale is a power of two."""
    x = reals(f"export/{label}", shape, exponents=(-3, 0))
    if not spec.format.is_integer:
        return x * np.exp2(integers(f"export/{label}/rows", (shape[0],), -9, 4)).astype(
            np.float32
        ).reshape(-1, *[1] * (len(shape) - 1))
    levels = int(spec.quant_max - spec.quant_min)
    extents = block_shape(shape, complete_axis(spec.granularity, module), "weight")
    counts = tuple(n // e for n, e in zip(shape, extents, strict=True))
    steps = integers(f"export/{label}/steps", shape, -levels, levels) / 2
    for number, block in enumerate(np.ndindex(counts)):
        here = tuple(slice(i * e, (i + 1) * e) for i, e in zip(block, extents, strict=True))
        scale = 2.0 ** (number % 5 - 9) * (1 if number % 2 == 0 else 1.1)
        part = x[here]
        chosen = steps[here].copy()
        # The ends of the range: all levels, about zero or from one that is not in the middle.
        chosen.reshape(-1)[0] = levels / 2
        if spec.qscheme == "asymmetric":
            chosen.reshape(-1)[0] = levels - levels // 3
            chosen = np.maximum(chosen, -(levels // 3))
            chosen.reshape(-1)[-1] = -(levels // 3)
        part[...] = (chosen * scale).astype(np.float32)
    return x


def _special(builder: Builder) -> None:
    quiet = reals("export/quiet", (4, 6), exponents=(-3, 0))
    dead = quiet.copy()
    dead[1] = 0

    def linear(name: str, kind: str, x: Array, flags: str, comment: str, clauses: str) -> None:
        spec = make_spec(kind, PerChannel(0))
        _add(builder, f"special/{name}-{kind}", "Linear", x, spec, flags, comment, clauses)

    for kind in ("int8-sym-zp", "int4-asym-zp", "uint8-asym-minval", "float8_e4m3fn-scale32"):
        flags = "ObserverZeroRange LeastScale"
        linear("dead-channel", kind, dead, flags, "a channel of zeros", "QP-1")
    linear("dead-channel", "float8_e5m2-e8m0", dead, "ObserverZeroRange E8M0Extremes",
           "a channel of zeros", "QP-7")  # fmt: skip
    blocks = reals("export/dead-block", (1, 64), exponents=(-3, 0))
    blocks[:, 32:] = 0
    _add(
        builder,
        "special/dead-block-float4_e2m1fn-e8m0",
        "Linear",
        blocks,
        make_spec("float4_e2m1fn-e8m0", PerBlock(-1, 32)),
        "ObserverZeroRange E8M0Extremes",
        "a block of zeros, whose scale is the least one",
    )
    for kind in ("int8-asym-zp", "uint4-asym-zp", "int4-asym-minval"):
        linear("positive", kind, np.abs(quiet), "OneSidedRange", "nothing below zero", "RANGE-1")
    for kind, dtype in (("int8-clip-zp", "float16"), ("int4-asym-zp", "bfloat16")):
        linear(dtype, kind, cast(quiet, dtype), "QParamsDtype", f"a weight in {dtype}", "QP-9")
    _add(
        builder,
        "special/float4-convolution",
        "Conv2d",
        reals("export/fp4", (1, 32, 1, 1), exponents=(-3, 0)),
        make_spec("float4_e2m1fn-e8m0", PerBlock(1, 32)),
        comment="a kernel axis comes last, where packed codes want their blocks",
    )


def _add(
    builder: Builder,
    case: str,
    module: str,
    x: Array,
    spec: QuantizationSpec,
    flags: str = "SpecCoverage",
    comment: str = "what the file holds",
    clauses: str = "",
) -> None:
    named = f"{_qparams_clauses(spec)} {clauses_of('quantize', spec)} {clauses}"
    if spec.granularity != complete_axis(spec.granularity, module):
        named += " GRAN-7"
        flags += " DefaultAxis"
    if spec.format.bits < 8:
        named += " PACK-1" + (" PACK-2" if spec.format.kind == "int" else "")
    named += f" {_granularity_clause(spec.granularity)}"
    flags = " ".join(dict.fromkeys(f"{flags} StoredCodes StoredQParams".split()))
    if not isinstance(spec.granularity, PerTensor):
        flags += " BlockAxis"
    builder.add(
        f"export_weights/{case}",
        "export_weights",
        clauses=named,
        flags=flags,
        comment=comment,
        spec=spec,
        target="weight",
        arguments={"module_kind": module},
        inputs={"x": x},
    )


def _qparams_clauses(spec: QuantizationSpec) -> str:
    if not spec.format.is_integer:
        return "QP-7" if spec.scale_dtype else "QP-6"
    offset = "QP-5" if spec.qformulation == "minval" else "QP-4"
    return ("QP-3 " if spec.qscheme == "asymmetric" else "QP-2 ") + offset


def _granularity_clause(granularity: Granularity) -> str:
    if isinstance(granularity, PerBlock):
        return "GRAN-5" if isinstance(granularity.block_size, tuple) else "GRAN-3"
    return "GRAN-1" if isinstance(granularity, PerTensor) else "GRAN-2"
