"""Cases of requantize: every rule at its ties, ends, shifts and orders (INT-3 to INT-8)."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from quant_conformance.generate.builder import Builder
from quant_conformance.generate.streams import integers, reals
from quant_conformance.protocol import Array
from quant_conformance.rule_questions.integers import (
    requantization_arguments,
    requantization_inputs,
)
from quant_reference.integer import CODE_FORMATS, Requantization

F32 = np.float32
ONE: Final = np.ones((), F32)
INT32: Final = (-(2**31), 2**31 - 1)
ALL: Final = ("INT-5", "INT-6", "INT-7", "INT-8")


def build(builder: Builder) -> None:
    """Add the family."""
    _ties(builder)
    _multipliers(builder)
    _ends(builder)
    _channels(builder)
    _formats(builder)
    _orders(builder)
    _at_random(builder)
    _refused(builder)


def add(
    builder: Builder,
    name: str,
    acc: Any,
    params: Requantization,
    flags: str,
    comment: str,
    clauses: tuple[str, ...] = ALL,
    wide: bool = False,
) -> None:
    """Add a case, with the policy if its rules give more than one answer."""
    values = np.asarray(acc).astype(np.int64 if wide else np.int32)
    tensors = requantization_inputs(values, params)
    arguments = requantization_arguments(params)
    builder.add_told(
        f"requantize/{name}",
        "requantize",
        clauses=clauses,
        flags=tuple(flags.split()),
        comment=comment,
        arguments=arguments,
        inputs=tensors,
    )  # fmt: skip


def scale(value: float) -> Array:
    """A float32 scale."""
    return np.asarray(F32(value))


def halves(multiplier: float, span: int, label: str, count: int, part: float = 0.5) -> Array:
    """Accumulators whose products with the multiplier lie at half steps, and one beside them.

    Args:
        multiplier: M.
        span: Greatest step.
        label: The stream that the steps are drawn from.
        count: How many steps.
        part: Where between two steps; 0 for whole ones, at which floors part.
    """
    steps = integers(label, (count,), -span - 1, span)
    near = np.rint((steps + part) / multiplier)
    spread = np.concatenate([near - 1, near, near + 1])
    return np.asarray(np.clip(spread, *INT32).astype(np.int64).astype(np.int32))


def _ties(builder: Builder) -> None:
    """Exact halves of a power of two, which each rounding takes its own way."""
    for bits in (1, 2, 3, 5, 8, 12, 16, 20, 23):
        steps = np.arange(-6, 6) * 2 + 1
        half = np.concatenate([steps, np.arange(-150, 150, 37) * 2 + 1]) * 2 ** (bits - 1)
        acc = np.concatenate([half - 1, half, half + 1]).astype(np.int32)
        for zero_point in (0, 3, -128, 127):
            add(
                builder, f"ties/shift-{bits}/zero-{zero_point}", acc,
                Requantization(scale(2.0**-bits), ONE, ONE, zero_point),
                "RequantizeTies MixedRounding IntegerZeroPoint",
                f"exact halves and one beside, M = 2^-{bits}, zero point {zero_point}",
            )  # fmt: skip
    for numerator in (3, 5, 7, 11, 127):
        for bits in (3, 9, 14):
            multiplier = numerator * 2.0 ** -(bits + numerator.bit_length())
            acc = halves(multiplier, 128, f"requantize/odd/{numerator}/{bits}", 40)
            add(
                builder, f"ties/{numerator}-shift-{bits}", acc,
                Requantization(scale(multiplier), ONE, ONE, 1),
                "RequantizeTies MixedRounding",
                f"halves of an M with the numerator {numerator}",
            )  # fmt: skip


def _multipliers(builder: Builder) -> None:
    """M from 2^-33 to 2^20, at both ends of what a shift can be."""
    for exponent in (-33, -32, -31, -30, -28, -26, -24, -12, -1, 0, 1, 4, 10, 20):
        for fraction in (1.0, 1.5, 2 - 2.0**-23, 1 + 2.0**-23, 4 / 3, 1.7):
            value = float(F32(2.0**exponent * fraction))
            label = f"requantize/multiplier/{exponent}/{fraction}"
            acc = np.concatenate(
                [halves(value, 126, label, 14), [0, 1, -1, *INT32, 2**24 + 1, -(2**24) - 1]]
            )
            add(
                builder, f"multiplier/2e{exponent}x{fraction:.3f}-{fraction.hex()[4:10]}", acc,
                Requantization(scale(value), ONE, ONE, -1),
                "ShiftRange MultiplierWidth AccumulatorOverflow",
                f"M = {value.hex()}",
                ("INT-4", *ALL),
            )  # fmt: skip
    # Mantissas that 15 and 31 bits round up to a power of two.
    for bits in (16, 17, 20):
        value = 2.0**-15 * (2 - 2.0**-bits)
        acc = integers(f"requantize/carry/{bits}", (60,), 2**26, 2**28)
        for sign in (1, -1):
            add(
                builder, f"carry/{bits}/{'up' if sign > 0 else 'down'}", sign * acc,
                Requantization(scale(value), ONE, ONE, 0, "int16"),
                "MultiplierWidth", "a mantissa that carries in 15 bits", ("INT-4", *ALL),
            )  # fmt: skip


def _ends(builder: Builder) -> None:
    """Accumulators at the ends of int32 and beyond what float32 holds."""
    ends = [*INT32, INT32[0] + 1, INT32[1] - 1, 2**30, -(2**30), 2**30 + 1, 0, 1, -1]
    for exponent in (-31, -24, -23, -8, 0, 1, 2, 7):
        acc = np.array([*ends, *(2**25 + np.arange(-3, 4)), *(-(2**26) + np.arange(-3, 4))])
        add(
            builder, f"ends/2e{exponent}", acc, Requantization(scale(2.0**exponent), ONE, ONE, 7),
            "AccumulatorOverflow RequantizeClamp WideAccumulator",
            f"the ends of int32 by 2^{exponent}",
        )  # fmt: skip
    for bits in (25, 27, 30):
        near = (np.arange(-60, 60) * 2 + 1) * 2 ** (bits - 8)
        acc = np.concatenate([near, near + 1, near - 1])
        acc = acc[np.abs(acc) < 2**31]
        add(
            builder, f"wide/{bits}", acc, Requantization(scale(2.0 ** (7 - bits)), ONE, ONE),
            "WideAccumulator RequantizeTies",
            "accumulators beside halves that float32 does not hold",
        )  # fmt: skip
    for bounds, zero_point in (((-3, 127), -3), ((0, 60), 0), ((-128, -20), -128), ((5, 5), 5)):
        acc = np.arange(-300, 300, 7, dtype=np.int32)
        add(
            builder, f"bounds/{bounds[0]}-to-{bounds[1]}", acc,
            Requantization(scale(0.5), ONE, ONE, zero_point, "int8", *bounds),
            "ActivationBounds RequantizeClamp", f"codes from {bounds[0]} to {bounds[1]}",
        )  # fmt: skip


def _channels(builder: Builder) -> None:
    """A multiplier for each channel, on each axis."""
    for axis, shape in ((0, (5, 9)), (1, (2, 5, 7)), (-1, (3, 3, 5)), (1, (1, 5))):
        steps = np.abs(reals(f"requantize/channels/{axis}/{shape}", (5,), exponents=(-9, -2)))
        place = [1] * len(shape)
        place[axis] = 5
        half = integers(f"requantize/channels/acc/{axis}/{shape}", shape, -120, 120) + 0.5
        acc = np.rint(half / steps.astype(np.float64).reshape(place) / 0.5)
        for zero_point in (0, -9):
            add(
                builder,
                f"channels/axis-{axis}/{'x'.join(map(str, shape))}/zero-{zero_point}",
                acc.astype(np.int32),
                Requantization(scale(0.5), steps, ONE, zero_point, axis=axis),
                "ChannelMultiplier", f"one multiplier for each of five channels, {list(shape)}",
            )  # fmt: skip


def _formats(builder: Builder) -> None:
    """Each format at its ends, and int64 accumulators."""
    for name, fmt in CODE_FORMATS.items():
        for zero_point in sorted({fmt.quant_min, 0, fmt.quant_max, (fmt.quant_max + 1) // 2}):
            label = f"requantize/format/{name}/{zero_point}"
            acc = halves(0.0371, fmt.quant_max, label, 20)
            acc = np.concatenate([acc, np.arange(-40, 40, 3) * fmt.quant_max])
            add(
                builder, f"format/{name}/zero-{zero_point}", acc,
                Requantization(scale(0.0371), ONE, ONE, zero_point, name),
                "RequantizeClamp IntegerZeroPoint RequantizeTies",
                f"{name}, zero point {zero_point}",
                ("INT-1", *ALL),
            )  # fmt: skip
    for name in ("int16", "int8"):
        wide = integers(f"requantize/int64/{name}", (60,), -(2**31), 2**31 - 1) * 2**15 + 12345
        span = CODE_FORMATS[name].quant_max
        add(
            builder, f"int64/{name}", wide,
            Requantization(scale(span * 2.0**-46), scale(0.83), ONE, 0, name),
            "WideAccumulator MultiplierWidth", "int64 accumulators of 46 bits",
            ("INT-1", "INT-4", *ALL),
                wide=True,
        )  # fmt: skip


def _orders(builder: Builder) -> None:
    """Scales of which the orders of evaluation make different multipliers, at telling sums."""
    for index in range(24):
        drawn = np.abs(reals(f"requantize/order/{index}", (3,), exponents=(-3, 1)))
        shift = 2.0 ** -(14 + index % 10)
        params = Requantization(
            scale(drawn[0] * shift), scale(drawn[1]), scale(drawn[2]), 2, "int16"
        )
        multiplier = float(params.input_scale) * float(drawn[1]) / float(drawn[2])
        span, label = min(int(2**31 * multiplier), 32000), f"requantize/order/acc/{index}"
        whole = halves(multiplier, span, f"{label}/whole", 40, 0.0)
        acc = np.concatenate([halves(multiplier, span, label, 50), whole])
        add(
            builder, f"order/{index}", acc, params, "MultiplierOrder MultiplierWidth",
            "halves beside which the orders of the multiplier part", ("INT-3", *ALL),
        )  # fmt: skip


def _at_random(builder: Builder) -> None:
    """Many accumulators of usual size, so that a share of them says something."""
    for index in range(12):
        drawn = np.abs(reals(f"requantize/random/{index}", (3,), exponents=(-6, -2)))
        params = Requantization(
            scale(drawn[0]), scale(drawn[1]), scale(drawn[2]),
            int(integers(f"requantize/random/zero/{index}", (), -128, 127)),
        )  # fmt: skip
        multiplier = float(drawn[0]) * float(drawn[1]) / float(drawn[2])
        span = int(min(200 / multiplier, 2**30))
        acc = integers(f"requantize/random/acc/{index}", (500,), -span, span)
        near = halves(multiplier, 128, f"requantize/random/near/{index}", 80)
        add(
            builder, f"random/{index}", np.concatenate([acc, near]), params,
            "MixedRounding RequantizeTies", "accumulators at random and beside halves",
        )  # fmt: skip


def _refused(builder: Builder) -> None:
    """What gives no multiplier or no code (INT-3, INT-8)."""
    acc = np.arange(6, dtype=np.int32).reshape(2, 3)
    one = scale(0.5)
    bad: tuple[tuple[str, str, Requantization], ...] = (
        ("zero-scale", "INT-3", Requantization(scale(0.0), one, one)),
        ("negative-scale", "INT-3", Requantization(one, scale(-0.5), one)),
        ("nan-scale", "INT-3", Requantization(one, one, scale(np.nan))),
        ("infinite-scale", "INT-3", Requantization(scale(np.inf), one, one)),
        ("subnormal-scale", "INT-3", Requantization(one, one, scale(1e-40))),
        ("zero-point-too-great", "INT-8", Requantization(one, one, one, 128)),
        ("zero-point-too-small", "INT-8", Requantization(one, one, one, -1, "uint8")),
        ("bounds-reversed", "INT-8", Requantization(one, one, one, 0, "int8", 5, 4)),
        ("bounds-outside", "INT-8", Requantization(one, one, one, 0, "int8", -129, 4)),
        ("too-few-scales", "INT-8", Requantization(one, np.ones(2, F32), one, axis=1)),
        ("no-such-axis", "INT-8", Requantization(one, np.ones(3, F32), one, axis=2)),
    )
    for name, clause, params in bad:
        builder.add_result(
            f"requantize/refused/{name}",
            "requantize",
            "refused",
            clauses=(clause, "INT-8") if clause != "INT-8" else (clause,),
            flags=("RefusedRequantization",),
            comment=name.replace("-", " "),
            arguments=requantization_arguments(params),
            inputs=requantization_inputs(acc, params),
        )
