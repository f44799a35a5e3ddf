"""Flags of the set of integer layers."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from quant_conformance.generate.flag import Flag

INTEGER_FLAGS: Mapping[str, Flag] = MappingProxyType(
    {
        "RequantizeTies": Flag(
            "Ties of a requantization go another way than the rule of the engine says.",
            "Codes are off by one beside another kernel of the same engine.",
            "tensorflow/tensorflow#25087",
        ),
        "MixedRounding": Flag(
            "One operator rounds once and another twice, or one in float and others in integers.",
            "A step behind a steep function becomes many.",
            "google-ai-edge/LiteRT#7441",
        ),
        "MultiplierWidth": Flag(
            "The multiplier has too few bits, is truncated, or carries where there is no bit.",
            "Large accumulators are off by one or more.",
            "google/XNNPACK#2036",
        ),
        "MultiplierOrder": Flag(
            "The multiplier is evaluated in another order or dtype than elsewhere in the engine.",
            "Codes near a tie differ between two operators with the same scales.",
            "",
        ),
        "WideAccumulator": Flag(
            "Accumulators are rounded to float32, or to fewer bits, before they are scaled.",
            "Accumulators beyond 2^24 come out wrong.",
            "",
        ),
        "AccumulatorOverflow": Flag(
            "A left shift, a product or a sum leaves its 32 bits and wraps.",
            "Large values turn into small ones, or change their sign.",
            "",
        ),
        "RequantizeClamp": Flag(
            "The code is narrowed before it is clamped, or clamped before the zero point is added.",
            "What should saturate wraps around.",
            "",
        ),
        "IntegerZeroPoint": Flag(
            "A zero point is left out, added with the wrong sign, or folded wrongly into the bias.",
            "Every code of a channel is shifted.",
            "",
        ),
        "ActivationBounds": Flag(
            "The bounds of a fused relu or relu6 are another code than the zero point's or 6's.",
            "Values below zero, or above six, come through.",
            "",
        ),
        "ChannelMultiplier": Flag(
            "A channel is scaled by the multiplier of another one.",
            "Channels but the first are wrong.",
            "",
        ),
        "ShiftRange": Flag(
            "A shift of nothing, of more than 31 bits, or to the left is made wrongly.",
            "Layers with very small or very large multipliers are wrong.",
            "apache/tvm#15929",
        ),
        "RefusedRequantization": Flag(
            "Scales or zero points that give no multiplier are accepted.",
            "A layer computes with garbage, without a word.",
            "",
        ),
        "IntegerPadding": Flag(
            "Padding is 0 instead of the zero point's code.",
            "The border of a feature map is off.",
            "",
        ),
        "IntegerBias": Flag(
            "A bias is left out, added behind the scaling or given to another channel.",
            "A channel is shifted.",
            "",
        ),
        "PartialSums": Flag(
            "Sums of some products saturate or wrap in 16 bits, or are kept in float32.",
            "Layers with large operands are wrong, and only those.",
            "",
        ),
        "SumScales": Flag(
            "A sum or a concat scales an operand by the other's scale, or not at all.",
            "Residual connections are wrong.",
            "",
        ),
        "AverageRounding": Flag(
            "An average truncates, counts padding wrongly or rounds ties another way.",
            "Pools are off by one.",
            "",
        ),
    }
)
"""Flag -> what it stands for."""
