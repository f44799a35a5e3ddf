"""fake_quantize: division, minval, scales, shapes and tails (FQ-1)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant_conformance.generate.builder import Builder
from quant_conformance.generate.families.elementwise import ask, half_codes, params_of
from quant_conformance.generate.families.fake_quantize import tie_values, zero_point_of
from quant_conformance.generate.families.quantize_float import float_kinds
from quant_conformance.generate.floats import DTYPES, FLOAT32_MAX, around, cast, f32
from quant_conformance.generate.layouts import QUICK_TAILS, make_spec
from quant_conformance.generate.rivals import DIVISIONS, fma, keep
from quant_conformance.generate.streams import reals

Array = NDArray[Any]


def build(builder: Builder) -> None:
    """Add the part of the family."""
    for kind in ("int8-sym-zp", "uint8-asym-zp", "int4-asym-zp"):
        for name in ("reciprocal", "float64", "bfloat16-scale"):
            _division(builder, kind, name)
    for kind in ("int8-asym-minval", "uint4-asym-minval", "int8-sym-minval"):
        _minval(builder, kind)
    for kind in ("int8-sym-zp", "uint8-asym-zp", "int4-asym-minval", *float_kinds()):
        _scales(builder, kind)
        _shapes(builder, kind)
        _tails(builder, kind)


def _division(builder: Builder, kind: str, name: str) -> None:
    spec = make_spec(kind)
    rival, flag = DIVISIONS[name]
    for dtype in DTYPES:
        best = f32()
        chosen = np.float32(1)
        for scale in np.abs(
            reals(f"fake_quantize/{kind}/{dtype}/{name}", (16,), exponents=(-7, 0))
        ):
            x = around(cast(half_codes(spec) * float(scale), dtype), (-1, 0, 1)).ravel()
            wide = x.astype(np.float32)
            telling = x[keep(np.rint(wide / scale) != np.rint(rival(wide, scale)), 24)]
            if telling.size > best.size:
                best, chosen = telling, scale
        if best.size:
            ask(
                builder,
                f"division/{kind}-{dtype}-{name}",
                "fake_quantize",
                spec,
                params_of(spec, chosen, zero_point_of(spec, 5)),
                best,
                flag,
                f"differs if x/scale is computed as {name}",
            )


def _minval(builder: Builder, kind: str) -> None:
    spec = make_spec(kind)
    steps = np.arange(int(spec.quant_max - spec.quant_min) + 1).astype(np.float32)
    best: tuple[Any, ...] = (-1,)
    scales = np.abs(reals(f"fake_quantize/{kind}/scale", (48,), exponents=(-6, 0)))
    shares = np.abs(reals(f"fake_quantize/{kind}/share", (48,), exponents=(-1, 6)))
    for scale, share in zip(scales, shares, strict=True):
        minval = -(scale * share)
        values = steps * scale + minval
        telling = int(np.count_nonzero(values != fma(steps, scale, minval)))
        if telling > best[0]:
            best = (telling, scale, minval, values)
    _, scale, minval, values = best
    x = values[:: max(1, values.size // 48)]
    for dtype in DTYPES:
        ask(
            builder,
            f"minval/{kind}-{dtype}",
            "fake_quantize",
            spec,
            params_of(spec, scale, None, 1, minval),
            cast(x, dtype),
            "MinvalFormula WiderIntermediate",
            "numbers on the grid; the product and the sum are rounded one after the other",
        )


def _scales(builder: Builder, kind: str) -> None:
    spec = make_spec(kind)
    top = min(spec.quant_max, 12.0)
    steps = np.arange(-top - 1, top + 2, dtype=np.float64)
    scales = {"least": 2.0**-127, "normal": 2.0**-126, "greatest": 2.0**127, "small": 2.0**-100}
    if spec.scale_dtype is None:
        scales |= {"subnormal": 2.0**-149, "odd": 11 * 2.0**-149, "max": FLOAT32_MAX}
    for name, scale in scales.items():
        with np.errstate(all="ignore"):
            x = np.concatenate([steps * scale, (steps + 0.5) * scale]).astype(np.float32)
        x = x[np.isfinite(x)]
        flags = "Subnormals" if scale < 2.0**-120 else "Rounding"
        flags += " E8M0Extremes" if spec.scale_dtype else ""
        ask(
            builder,
            f"scale/{kind}-{name}",
            "fake_quantize",
            spec,
            params_of(spec, np.float32(scale), None, 1, np.float32(-3 * min(scale, 1e37))),
            x,
            flags,
            f"a scale of {scale:g}",
            clauses="Q-8",
        )
    bits16 = (np.arange(-9, 10) * 2.0**-133).astype(np.float32)
    ask(
        builder,
        f"scale/{kind}-bfloat16-subnormal",
        "fake_quantize",
        spec,
        params_of(spec, np.float32(2.0**-127), None, 1, np.float32(-(2.0**-130))),
        cast(bits16 * np.float32(16), "bfloat16"),
        "Subnormals",
        "subnormal bfloat16 numbers",
        clauses="Q-8 FQ-3",
    )


def _shapes(builder: Builder, kind: str) -> None:
    spec = make_spec(kind)
    for index, (name, shape) in enumerate(
        {"scalar": (), "single": (1,), "ones": (1, 1, 1), "tall": (4, 1), "empty": (0, 2)}.items()
    ):
        x = reals(f"fake_quantize/shape/{kind}/{name}", shape, DTYPES[index % 3], exponents=(-1, 2))
        ask(
            builder,
            f"shape/{kind}-{name}",
            "fake_quantize",
            spec,
            params_of(spec, 0.25, None, len(shape)),
            x,
            "EmptyAndScalar",
            f"a tensor of shape {shape}",
        )


def _tails(builder: Builder, kind: str) -> None:
    spec = make_spec(kind)
    params = params_of(spec, 0.25)
    values = tie_values(spec, params, 0)
    for length in sorted(QUICK_TAILS)[:: 1 if kind == "int8-sym-zp" else 3]:
        x = cast(values[(np.arange(length) * 5 + length) % values.size], "float32")
        ask(
            builder,
            f"tail/{kind}-length{length}",
            "fake_quantize",
            spec,
            params,
            x,
            "TailElements TiesToEven",
            f"{length} ties: every vector width has its tail",
        )
