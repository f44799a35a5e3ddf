"""The oracle: SPEC.md once more, one number at a time, in exact fractions.

It is written from the clauses and not from the numpy code, shares nothing with it but the
declarations (formats, specs, granularities) and exists to be compared with it. Slow on purpose.
Inputs are taken to be legal; what SPEC.md refuses is refused by the numpy form. Where a clause
names a policy, the function takes it as a keyword: every legal alternative has an oracle too.
"""

from quant_reference.oracle.balls import Ball, Machine, Tensor
from quant_reference.oracle.batch_norm import (
    ChannelStatistics,
    fold_bias,
    fold_factor,
    fold_weight,
    output_channel,
)
from quant_reference.oracle.blocks import block_extents, block_members, default_axis
from quant_reference.oracle.codes import decode, encode, pack, unpack
from quant_reference.oracle.elementwise import (
    dequantize,
    fake_quantize,
    fake_quantize_gradient,
    quantize,
)
from quant_reference.oracle.layers import code_set, evaluate
from quant_reference.oracle.number import (
    DTYPES,
    FLOAT32,
    INFINITY,
    NAN,
    ZERO,
    Binary,
    Number,
    number,
    round_to,
)
from quant_reference.oracle.qparams import (
    BlockQParams,
    BlockRange,
    compute_qparams,
    observe,
    value_range,
)

__all__ = [
    "DTYPES",
    "FLOAT32",
    "INFINITY",
    "NAN",
    "ZERO",
    "Ball",
    "Binary",
    "BlockQParams",
    "BlockRange",
    "ChannelStatistics",
    "Machine",
    "Number",
    "Tensor",
    "block_extents",
    "block_members",
    "code_set",
    "compute_qparams",
    "decode",
    "default_axis",
    "dequantize",
    "encode",
    "evaluate",
    "fake_quantize",
    "fake_quantize_gradient",
    "fold_bias",
    "fold_factor",
    "fold_weight",
    "number",
    "observe",
    "output_channel",
    "pack",
    "quantize",
    "round_to",
    "unpack",
    "value_range",
]
