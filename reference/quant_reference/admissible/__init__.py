"""Admissible results: what correct arithmetic can produce (SPEC.md, ADM-1 to ADM-13).

For an operation whose result depends on the order of its roundings, each function here gives the
exact value and two radii around it, a rigorous and a probable one. :func:`evaluate` does so for a
list of steps, :func:`admissible_codes` maps the bounds through quantize, :func:`judge_codes` and
:func:`judge_values` give the verdicts.
"""

from quant_reference.admissible.activations import (
    celu,
    elu,
    gelu,
    hardsigmoid,
    hardswish,
    logsigmoid,
    mish,
    selu,
    sigmoid,
    silu,
    softplus,
)
from quant_reference.admissible.arithmetic import FAILURE, FLOAT32, ULP, Arithmetic
from quant_reference.admissible.attention import scaled_dot_product_attention, softmax
from quant_reference.admissible.batch_normalization import batch_norm
from quant_reference.admissible.bounds import Bounds
from quant_reference.admissible.codes import (
    VERDICTS,
    AdmissibleCodes,
    AdmissibleValues,
    admissible_codes,
    admissible_values,
    count_verdicts,
    judge_codes,
    judge_value_sets,
    judge_values,
)
from quant_reference.admissible.contractions import einsum, linear, matmul, mean, sum
from quant_reference.admissible.convolutions import conv, conv_transpose
from quant_reference.admissible.elementwise import (
    add,
    clamp,
    div,
    hardtanh,
    identity,
    leaky_relu,
    mul,
    neg,
    relu,
    relu6,
    round_to,
    sub,
)
from quant_reference.admissible.functions import erf, exp, log, pow, rsqrt, sqrt, tanh
from quant_reference.admissible.layer import FloatLayer, Layer, QuantizedTensor
from quant_reference.admissible.normalization import (
    group_norm,
    instance_norm,
    layer_norm,
    rms_norm,
)
from quant_reference.admissible.operations import OPERATIONS
from quant_reference.admissible.pooling import adaptive_avg_pool, avg_pool, max_pool
from quant_reference.admissible.shapes import (
    cat,
    embedding,
    pad,
    upsample_bilinear,
    upsample_nearest,
)
from quant_reference.admissible.steps import Step, evaluate
from quant_reference.errors import UnknownOperationError

__all__ = [
    "FAILURE",
    "FLOAT32",
    "OPERATIONS",
    "ULP",
    "VERDICTS",
    "AdmissibleCodes",
    "AdmissibleValues",
    "Arithmetic",
    "Bounds",
    "FloatLayer",
    "Layer",
    "QuantizedTensor",
    "Step",
    "UnknownOperationError",
    "adaptive_avg_pool",
    "add",
    "admissible_codes",
    "admissible_values",
    "avg_pool",
    "batch_norm",
    "cat",
    "celu",
    "clamp",
    "conv",
    "conv_transpose",
    "count_verdicts",
    "div",
    "einsum",
    "elu",
    "embedding",
    "erf",
    "evaluate",
    "exp",
    "gelu",
    "group_norm",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "identity",
    "instance_norm",
    "judge_codes",
    "judge_value_sets",
    "judge_values",
    "layer_norm",
    "leaky_relu",
    "linear",
    "log",
    "logsigmoid",
    "matmul",
    "max_pool",
    "mean",
    "mish",
    "mul",
    "neg",
    "pad",
    "pow",
    "relu",
    "relu6",
    "rms_norm",
    "round_to",
    "rsqrt",
    "scaled_dot_product_attention",
    "selu",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "sqrt",
    "sub",
    "sum",
    "tanh",
    "upsample_bilinear",
    "upsample_nearest",
]
