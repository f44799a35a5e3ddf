"""Every flag of the frozen set: the bug it catches, the bug's effect, and where it was seen."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple


class Flag(NamedTuple):
    """What a flag stands for.

    Attributes:
        bug: What an implementation gets wrong.
        effect: What its user then sees.
        link: One place where it was seen: ``owner/repo#number``, a paper, or empty.
    """

    bug: str
    effect: str
    link: str


_ROUNDING = {
    "TiesToEven": Flag(
        "Ties are rounded away from zero, up, or toward zero instead of to the even code.",
        "Codes are off by one on exact ties; the mean drifts in one direction.",
        "microsoft/onnxruntime#25045",
    ),
    "TailElements": Flag(
        "The vectorised body and the scalar tail of a kernel round differently.",
        "The last few elements are off by one, for some lengths only.",
        "microsoft/onnxruntime#28606",
    ),
    "TruncationFloat16": Flag(
        "float16 or bfloat16 input is truncated instead of rounded.",
        "Every code is up to one too small in magnitude.",
        "microsoft/onnxruntime#32452",
    ),
    "E2M1Ties": Flag(
        "The ties 0.25, 1.25, 2.5 and 5 of float4 go to the odd code.",
        "One in sixteen typical FP4 codes is wrong.",
        "ROCm/aiter#3992",
    ),
    "ReciprocalMultiply": Flag(
        "x is multiplied by 1/scale instead of divided by scale.",
        "Off by one near ties: invisible on random data, common on data that was quantized before.",
        "onnx/onnx#6433",
    ),
    "DoubleRounding": Flag(
        "A value is rounded twice, through float16, bfloat16, float64 or a wider code.",
        "Off by one beside ties.",
        "triton-lang/triton#10846",
    ),
    "WiderIntermediate": Flag(
        "An intermediate is kept in float64 or fused (FMA) where float32 is prescribed.",
        "Last-bit differences in values, off by one in codes beside ties.",
        "pytorch/ao#4725",
    ),
    "NarrowIntermediate": Flag(
        "An intermediate is computed in the input's float16 or bfloat16 instead of float32.",
        "Off by one for large codes, wrong last bits in values.",
        "flashinfer-ai/flashinfer#5128",
    ),
    "Rounding": Flag(
        "Values between two codes, far from any tie, go to the wrong one.",
        "Plain wrong results.",
        "",
    ),
    "TieOffByOne": Flag(
        "Fusing quantize and dequantize into one kernel changes the result on ties.",
        "One step of difference between the fused and the unfused model.",
        "microsoft/onnxruntime#32132",
    ),
    "CastBack": Flag(
        "The float32 result is truncated, rounded twice or saturated on its way to the dtype of x.",
        "Wrong last bits in float16 and bfloat16, or 65504 instead of infinity.",
        "",
    ),
}

_SPECIAL = {
    "Saturation": Flag(
        "Values beyond the greatest one saturate too early, wrap, or become NaN.",
        "Outliers turn into NaN or into values of the other sign.",
        "sgl-project/sglang#40581",
    ),
    "Overflow": Flag(
        "A raw cast treats values beyond max, the boundary 464/465 or infinities inconsistently.",
        "Neither saturating nor IEEE-like: some outliers are NaN, others are clamped.",
        "ucb-bar/saturn-vectors#101",
    ),
    "NaNEncoding": Flag(
        "NaN is encoded as a number, or a NaN code is decoded as a number.",
        "A NaN silently becomes 448, 480 or 0.",
        "ROCm/hipBLASLt#5792",
    ),
    "NaNToInteger": Flag(
        "NaN goes through an undefined cast to an integer.",
        "Which code is stored depends on the CPU and on the position in the vector.",
        "google/XNNPACK#10460",
    ),
    "NaNInRange": Flag(
        "A NaN is lost in min, max or amax, or spreads to other blocks.",
        "A broken batch goes unnoticed, or one NaN poisons the tensor.",
        "NVIDIA/TransformerEngine#3550",
    ),
    "Infinity": Flag(
        "Infinities in x, in a range or in a scale are clamped, dropped or turned into NaN.",
        "A finite-looking result where nothing finite is right, or the reverse.",
        "jax-ml/ml_dtypes#260",
    ),
    "Subnormals": Flag(
        "Subnormal inputs, scales, codes or results are flushed to zero or misread.",
        "Small values vanish; a subnormal scale divides by zero.",
        "tile-ai/tilelang#2704",
    ),
    "NegativeZero": Flag(
        "The sign of zero is lost, invented, or a tiny negative value becomes NaN.",
        "-0 reads as +0 or as NaN; an integer format gives -0.",
        "onnx/onnx#5764",
    ),
    "CastBeforeClamp": Flag(
        "The code is cast to an integer type before it is clamped.",
        "3e9 becomes -128 or 0: the largest outliers change sign.",
        "pytorch/executorch#22811",
    ),
    "EmptyAndScalar": Flag(
        "Tensors without elements, with one element or without axes are mishandled.",
        "Crashes, or answers of another shape.",
        "",
    ),
}

_LAYOUT = {
    "NibbleOrder": Flag(
        "The first code of a byte is taken from the wrong end.",
        "Neighbouring weights are swapped.",
        "gittensor-ai-lab/sparkinfer#761",
    ),
    "SignExtension": Flag(
        "Packed negative codes are not sign-extended, or leak into their neighbours.",
        "-1 reads as 15.",
        "keras-team/keras#22338",
    ),
    "IncompleteByte": Flag(
        "The last, incomplete byte is dropped, filled with garbage, or read to its end.",
        "Tensors with an odd number of elements lose or gain one.",
        "",
    ),
    "BlockAxis": Flag(
        "Qparams are applied along the wrong axis.",
        "Silently wrong on square tensors, an error on others.",
        "openvinotoolkit/openvino#32917",
    ),
    "InterleavedBlocks": Flag(
        "Elements of a block are taken with a stride instead of as neighbours.",
        "Scales belong to other elements than they were computed from.",
        "onnxsim/onnxsim#749",
    ),
    "NegativeAxis": Flag(
        "A negative axis is not counted from the end.",
        "Another axis is quantized, or an error is raised.",
        "",
    ),
    "DefaultAxis": Flag(
        "The default axis of a transposed convolution is taken from plain convolutions.",
        "Per input channel instead of per output channel.",
        "",
    ),
    "BlockShape": Flag(
        "Block extents do not follow from granularity, target and rank as they should.",
        "Qparams of another shape.",
        "",
    ),
}

_QPARAMS = {
    "Int2Clamp": Flag(
        "Codes of 2-bit formats are clamped to the range of 4 or 8 bits, or not at all.",
        "Codes that two bits cannot hold.",
        "google/XNNPACK#10460",
    ),
    "ClippedMinimum": Flag(
        "symmetric_with_clipping keeps the least code, or symmetric drops it.",
        "-128 where -127 is the least, or the reverse.",
        "microsoft/onnxruntime#3442",
    ),
    "ZeroPointOffByOne": Flag(
        "The zero point is one off: -127 for -128, 127 for 128.",
        "The whole tensor is shifted by one step.",
        "microsoft/onnxruntime#3442",
    ),
    "ZeroPointRounding": Flag(
        "The zero point is added before rounding, or is itself not rounded to even.",
        "Off by one on ties for odd zero points.",
        "webmachinelearning/webnn-baseline#101",
    ),
    "ZeroPointWidth": Flag(
        "q - zero_point is computed in 8 bits, or the zero point is read with the wrong sign.",
        "Large codes wrap around.",
        "microsoft/onnxruntime#25823",
    ),
    "ScaleDivisor": Flag(
        "A symmetric range is divided by 127 or 128 instead of 127.5, or the reverse.",
        "Every scale is off by up to 0.4 %, 2-bit scales by a third.",
        "arXiv:1712.05877",
    ),
    "LeastScale": Flag(
        "The least scale is missing, added instead of a maximum, or another number.",
        "Division by zero for constant tensors, or scales that are slightly too large.",
        "pytorch/pytorch#39239",
    ),
    "QParamsDtype": Flag(
        "Ranges and scales of float16 and bfloat16 tensors are computed in another dtype.",
        "Scales differ in their last bits, and with them codes.",
        "",
    ),
    "QParamsArithmetic": Flag(
        "The scale or the zero point comes from a rearranged formula.",
        "Last-bit differences in the scale, off by one in the zero point.",
        "arXiv:1712.05877",
    ),
    "MinvalFormula": Flag(
        "minval is left out, fused or subtracted after the division.",
        "Off by one, or values that miss the end of the range.",
        "arXiv:1712.05877",
    ),
    "E8M0Scale": Flag(
        "The shared exponent is rounded up or to nearest, or misses its clamps (2**-127, 0xFF).",
        "Every block scale is a factor of two off.",
        "ROCm/FlyDSL#590",
    ),
    "E8M0Extremes": Flag(
        "The least and greatest e8m0 scales are flushed, wrapped or read as NaN.",
        "Blocks of tiny or huge values become 0 or NaN.",
        "graphcore-research/gfloat#62",
    ),
    "FixedRange": Flag(
        "float_range bounds are intersected with the data, applied to the wrong side or ignored.",
        "Ranges drift with the data although they are fixed.",
        "",
    ),
}

_OBSERVERS = {
    "ObserverZeroRange": Flag(
        "A tensor of zeros, or of one value, gives a zero or NaN scale.",
        "Division by zero in the first dead channel.",
        "pytorch/pytorch#39239",
    ),
    "OneSidedRange": Flag(
        "A range that is all positive or all negative is not widened to contain zero.",
        "Zero cannot be represented; padding changes results.",
        "pytorch/pytorch#23838",
    ),
    "ObserverOrder": Flag(
        "Batches are folded in the wrong order, or the first one is averaged with zero.",
        "Calibration depends on something that it should not.",
        "arXiv:1712.05877",
    ),
    "MovingAverage": Flag(
        "The weights of the moving average are swapped, or it is rearranged to r + c(new - r).",
        "Ranges that follow too fast, or last-bit differences.",
        "arXiv:1712.05877",
    ),
    "ObserverDtype": Flag(
        "The running range is kept in another dtype than the tensor's.",
        "Observers of float16 and bfloat16 models drift apart from the reference.",
        "",
    ),
    "ClippedGradient": Flag(
        "The gradient passes where the input was clamped, or stops inside the range.",
        "Training drifts out of the range, or stops at its edge.",
        "arXiv:1308.3432",
    ),
    "GradientMask": Flag(
        "The incoming gradient is multiplied by a mask instead of selected.",
        "inf * 0 = NaN outside the range; -0 instead of +0.",
        "arXiv:1308.3432",
    ),
    "ScaledGradient": Flag(
        "The gradient inside the range is scaled, rounded or cast.",
        "Training steps of another size.",
        "arXiv:1308.3432",
    ),
    "IllegalSpec": Flag(
        "A spec that makes no sense is accepted.",
        "The mistake shows much later, as a wrong number.",
        "",
    ),
    "IllegalInput": Flag(
        "Arguments that have no right answer are answered instead of refused.",
        "Garbage that looks like a result.",
        "",
    ),
    "LegalSpec": Flag(
        "A spec that is legal is refused.",
        "A configuration that works elsewhere cannot be used.",
        "",
    ),
    "SpecCoverage": Flag(
        "One combination of dtype, scheme, formulation, granularity and layout goes another way.",
        "Right on the common path, wrong on this one.",
        "",
    ),
}

_PLACEMENT = {
    "QuantizerInsideRegion": Flag(
        "A quantizer stands between operations that an engine runs as one, or is missing around.",
        "The engine cannot fuse, or computes in float; accuracy is measured on another model.",
        "",
    ),
    "SharedQParams": Flag(
        "Tensors whose values are the same get qparams of their own, or others' qparams.",
        "Requantization between a pool, a reshape or a concatenation and its neighbours.",
        "",
    ),
    "KnownRange": Flag(
        "The range of an activation function is observed instead of known, or known wrongly.",
        "Codes that no value uses, or values cut off that calibration did not see.",
        "",
    ),
    "EagerPlacement": Flag(
        "A call site is quantized as in a graph: inputs or outputs left out, qparams shared.",
        "Eager mode gives another model than it documents.",
        "",
    ),
}

FLAGS: Mapping[str, Flag] = MappingProxyType(
    {**_ROUNDING, **_SPECIAL, **_LAYOUT, **_QPARAMS, **_OBSERVERS, **_PLACEMENT}
)
"""Flag -> what it stands for."""
