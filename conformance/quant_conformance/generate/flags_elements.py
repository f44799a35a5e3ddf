"""Flags about single elements: rounding, special values, where codes lie in memory."""

from __future__ import annotations

from quant_conformance.generate.flag import Flag

ROUNDING = {
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

SPECIAL = {
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

LAYOUT = {
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
    "SharedByte": Flag(
        "All codes of a byte are given the qparams of one of them.",
        "At odd group sizes and odd row lengths, an element beside each border is wrong.",
        "Comfy-Org/comfy-kitchen#50",
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
