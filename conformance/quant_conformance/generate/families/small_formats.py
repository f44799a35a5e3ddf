"""encode, decode and pack of the formats that no spec names (FMT-5 to FMT-8, ENC-8 to ENC-11)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant_conformance.generate.builder import Builder
from quant_conformance.generate.families.encode_special import NANS
from quant_conformance.generate.floats import FLOAT32_MAX, around, f32, from_bits, step
from quant_conformance.generate.streams import integers, reals
from quant_reference import FORMATS, SPEC_FORMATS, Format, decode, pack

Array = NDArray[Any]
SMALL = tuple(fmt for name, fmt in FORMATS.items() if name not in SPEC_FORMATS)


def build(builder: Builder) -> None:
    """Add the three families."""
    for fmt in SMALL:
        _codes(builder, fmt)
        _midpoints(builder, fmt)
        _beyond(builder, fmt)
        _nan(builder, fmt)
        _refused(builder, fmt)
    for fmt in SMALL:
        _decoded(builder, fmt)
    for fmt in SMALL:
        _packed(builder, fmt)


def clauses_of(fmt: Format) -> tuple[str, str]:
    """The clause of a format, and that of its encoding."""
    if fmt.kind == "fixed":
        return "FMT-6", "ENC-9"
    if fmt.kind == "table":
        return "FMT-8", "ENC-11"
    if not fmt.signed:
        return "FMT-7", "ENC-10"
    return "FMT-5", "ENC-1" if fmt.negative_zero else "ENC-8"


def all_codes(fmt: Format) -> Array:
    """Every code of a format."""
    return np.arange(1 << fmt.bits).astype(np.uint8).view(fmt.code_dtype)


def finite_values(fmt: Format) -> Array:
    """Every finite value, ascending; both zeros are one."""
    values = decode(all_codes(fmt), fmt)
    return np.unique(values[np.isfinite(values)])


def _add(builder: Builder, fmt: Format, case: str, x: Array, flags: str, comment: str,
         **more: Any) -> None:  # fmt: skip
    tensor = np.asarray(x)
    if not fmt.signed:  # what is negative is refused
        tensor = np.where(tensor < 0, -tensor, tensor)
    builder.add(
        f"format_encode/{fmt.name}/{case}", "encode",
        clauses=(*clauses_of(fmt), *more.pop("clauses", ())), flags=flags, comment=comment,
        arguments={"format": fmt.name}, inputs={"x": tensor}, **more,
    )  # fmt: skip


def _codes(builder: Builder, fmt: Format) -> None:
    values = decode(all_codes(fmt), fmt)
    used = values[np.isfinite(values) & (values > -2)] if fmt.kind == "fixed" else values
    _add(builder, fmt, "every-value", used[np.isfinite(used)], "FormatTable",
         "every value has its own code")  # fmt: skip
    near = around(used[np.isfinite(used)]).reshape(-1)
    near = near[np.abs(near) <= min(fmt.quant_max, -fmt.quant_min or fmt.quant_max)]
    _add(builder, fmt, "beside-values", near, "FormatTable", "the numbers beside every value")
    for part in range(2):
        exponents = (-fmt.bias - fmt.mantissa_bits if fmt.kind == "float" else -8, fmt.max_pow2 - 1)
        x = reals(f"format/{fmt.name}/{part}", (160,), exponents=exponents)
        _add(builder, fmt, f"random{part}", x, "FormatTies FormatTable", "random numbers")
    for dtype in ("float16", "bfloat16"):
        x = reals(f"format/{fmt.name}/{dtype}", (96,), dtype, exponents=(-6, fmt.max_pow2 - 1))
        _add(builder, fmt, dtype, np.abs(x) if not fmt.signed else x, "FormatTies FormatTable",
             f"random numbers of {dtype}")  # fmt: skip
    zeros = f32(0.0, -0.0, 1e-45, -1e-45, 1e-30, -1e-30, 0.0) if fmt.signed else f32(0, -0.0, 1e-45)
    _add(builder, fmt, "zeros", zeros, "NoNegativeZero", "zeros, and what rounds to them")
    for word, shape in {"scalar": (), "matrix": (3, 5), "empty": (0, 2)}.items():
        x = reals(f"format/{fmt.name}/{word}", shape, exponents=(-2, 0))
        _add(builder, fmt, f"shape-{word}", x, "FormatTable", f"shape {shape}")


def _midpoints(builder: Builder, fmt: Format) -> None:
    values = finite_values(fmt).astype(np.float64)
    middles = ((values[:-1] + values[1:]) / 2).astype(np.float32)
    near = around(middles).reshape(-1)
    near = near[(near >= fmt.quant_min) & (near <= fmt.quant_max)]
    for part, chunk in enumerate(np.array_split(near, max(1, near.size // 400))):
        _add(builder, fmt, f"midpoints{part}", chunk, "FormatTies NoNegativeZero",
             "every midpoint and the numbers beside it",
             policy="mxint8_least" if _is_least(fmt, chunk) else None)  # fmt: skip
    if fmt.kind == "float":
        twice = [step(middles, bits) for bits in (4095, -4095, 8191, -8191, 32767, -32767)]
        x = np.concatenate(twice)
        x = x[np.abs(x) <= fmt.quant_max]
        for part, chunk in enumerate(np.array_split(x, max(1, x.size // 400))):
            _add(builder, fmt, f"double-rounding{part}", chunk, "FormatTies",
                 "beside midpoints, which 16 bits do not tell", clauses=("ENC-2",))  # fmt: skip


def _is_least(fmt: Format, x: Array) -> bool:
    return fmt.kind == "fixed" and bool((x < -127.5 / 64).any())


def _beyond(builder: Builder, fmt: Format) -> None:
    values = finite_values(fmt)
    top, gap = float(values[-1]), float(values[-1]) - float(values[-2])
    edge = f32(top + gap / 2)
    x = np.concatenate([f32(top), around(edge).reshape(-1), f32(top + gap, 2 * top, 1e9)])
    x = np.concatenate([x, f32(FLOAT32_MAX, np.inf)])
    overflow = "overflow" if fmt.has_nan else None
    clauses = ("ENC-5",) if fmt.kind == "float" else ()
    for word, tensor in (("plus", x), ("minus", -x)):
        if word == "minus" and not fmt.signed:
            continue
        policy = "mxint8_least" if _is_least(fmt, tensor) else overflow
        _add(builder, fmt, f"beyond-{word}", tensor, "FormatOverflow",
             "numbers beyond the greatest one, and infinity", policy=policy,
             clauses=clauses)  # fmt: skip
    if fmt.has_nan:
        below = step(edge, [-1, -2, -100])
        signed = np.concatenate([below, -below]) if fmt.signed else below
        _add(builder, fmt, "below-the-edge", signed, "FormatOverflow",
             "beyond the greatest value, and rounded back to it", clauses=clauses)  # fmt: skip


def _nan(builder: Builder, fmt: Format) -> None:
    if fmt.kind != "float":
        return
    one = fmt.has_nan and not (fmt.negative_zero and fmt.signed)
    policy = None if one else "nan_payload" if fmt.has_nan else "nan_in_fp6"
    nans = from_bits(*NANS)
    _add(builder, fmt, "nan", nans, "FormatNaN", "NaNs of both signs", policy=policy,
         clauses=("ENC-4",))  # fmt: skip
    mixed = np.concatenate([f32(1, 0.5), nans[:2], f32(2, 0.0)])
    _add(builder, fmt, "nan-among-numbers", mixed, "FormatNaN", "NaNs among numbers",
         policy=policy, clauses=("ENC-4",))  # fmt: skip


def _refused(builder: Builder, fmt: Format) -> None:
    bad = {}
    if fmt.kind != "float":
        bad["nan"] = f32(0.5, np.nan)
    if not fmt.signed:
        bad["negative"] = f32(1.0, -0.5)
        bad["minus-infinity"] = f32(1.0, -np.inf)
    for word, x in bad.items():
        builder.add_result(
            f"format_encode/{fmt.name}/refused-{word}", "encode", "refused",
            clauses=clauses_of(fmt), flags=("FormatNaN",), comment=f"{word} has no code",
            arguments={"format": fmt.name}, inputs={"x": x},
        )  # fmt: skip
    if fmt.name == "float8_e4m3ieee":
        for operation, tensor in (
            ("encode", {"x": f32(1)}),
            ("decode", {"codes": np.zeros(1, np.uint8)}),
        ):
            family = "format_encode" if operation == "encode" else "format_decode"
            builder.add_result(
                f"{family}/ambiguous/float8_e4m3", operation, "refused", clauses=("FMT-4",),
                flags=("FormatTable",), comment="a name of two formats",
                arguments={"format": "float8_e4m3"}, inputs=tensor,
            )  # fmt: skip


def _decoded(builder: Builder, fmt: Format) -> None:
    codes = all_codes(fmt)
    order = np.argsort((np.arange(codes.size) * 37 + 11) % max(codes.size, 7), kind="stable")
    chosen = {
        "every-code": codes, "shuffled": codes[order], "first": codes[:3], "last": codes[-3:],
        "middle": codes[codes.size // 2 - 2 : codes.size // 2 + 2], "scalar": codes[1].reshape(()),
        "matrix": np.resize(codes[::3], (2, 3)), "empty": codes[:0],
    }  # fmt: skip
    for word, tensor in chosen.items():
        builder.add(
            f"format_decode/{fmt.name}/{word}", "decode",
            clauses=("DEC-1", clauses_of(fmt)[0]), flags="FormatTable FormatNaN",
            comment="codes and their values", arguments={"format": fmt.name},
            inputs={"codes": np.asarray(tensor)},
        )  # fmt: skip
    if fmt.bits < 8:
        builder.add_result(
            f"format_decode/{fmt.name}/refused-too-wide", "decode", "refused",
            clauses=("DEC-1", clauses_of(fmt)[0]), flags=("FormatTable",),
            comment="a code of more bits than the format has", arguments={"format": fmt.name},
            inputs={"codes": np.array([0, 1 << fmt.bits], np.uint8)},
        )  # fmt: skip


def _packed(builder: Builder, fmt: Format) -> None:
    low = -(1 << (fmt.bits - 1)) if fmt.kind == "fixed" else 0
    high = low + (1 << fmt.bits) - 1
    for order in ("low_first", "high_first"):
        for count in (1, 2, 3, 4, 5, 7, 8, 31):
            codes = integers(f"format/pack/{fmt.name}/{order}/{count}", (count,), low, high)
            codes[-1] = high
            held = codes.astype(fmt.code_dtype)
            clauses = ("PACK-4",) if fmt.bits in (6, 7) else ("PACK-1", clauses_of(fmt)[0])
            named: dict[str, Any] = {
                "clauses": clauses, "flags": "SixBits", "comment": f"{count} codes"
            }  # fmt: skip
            asked = {"format": fmt.name, "order": order}
            place = f"format_pack/{fmt.name}/{order}/{count}"
            builder.add(f"{place}-pack", "pack", arguments=asked, inputs={"codes": held}, **named)
            builder.add(
                f"{place}-unpack", "unpack", arguments={**asked, "count": count},
                inputs={"packed": pack(held, fmt, order)}, **named,
            )  # fmt: skip
        if fmt.bits == 6:
            rest = integers(f"format/pack/{fmt.name}/{order}/rest", (7,), 0, 255).astype(np.uint8)
            for count in (1, 4, 5, 9):
                builder.add(
                    f"format_pack/{fmt.name}/{order}/rest{count}-unpack", "unpack",
                    clauses=("PACK-3", "PACK-4"), flags="SixBits",
                    comment="what stands behind the last code is ignored",
                    arguments={"format": fmt.name, "order": order, "count": count},
                    inputs={"packed": rest},
                )  # fmt: skip
            builder.add_result(
                f"format_pack/{fmt.name}/{order}/refused-too-many", "unpack", "refused",
                clauses=("PACK-3", "PACK-4"), flags=("SixBits",),
                comment="three bytes hold four codes",
                arguments={"format": fmt.name, "order": order, "count": 5},
                inputs={"packed": rest[:3]},
            )  # fmt: skip
