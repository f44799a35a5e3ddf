"""Flags of the set of small formats and blocks."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from quant_conformance.generate.flag import Flag

BLOCK_FLAGS: Mapping[str, Flag] = MappingProxyType(
    {
        "FormatTable": Flag(
            "A format's bias, width, greatest value or special codes are those of another one.",
            "Every value is off by a power of two, or the greatest ones are lost.",
            "",
        ),
        "FormatTies": Flag(
            "Ties between codes of a small float go another way than to the even code.",
            "Codes are off by one on a share of the values that is not random.",
            "ROCm/aiter#3992",
        ),
        "FormatOverflow": Flag(
            "Values beyond the greatest one, and infinities, become something else.",
            "A saturating kernel and another one differ on the outliers alone.",
            "jax-ml/ml_dtypes#260",
        ),
        "FormatNaN": Flag(
            "NaN is lost, or its code is that of a number.",
            "A broken tensor looks healthy.",
            "ROCm/hipBLASLt#5792",
        ),
        "NoNegativeZero": Flag(
            "A format without -0 is given the code of the sign bit for it, which is NaN.",
            "Small negative numbers become NaN.",
            "ROCm/rocm-libraries#7439",
        ),
        "SixBits": Flag(
            "Codes of six bits are not packed four to three bytes, or in the other order.",
            "Weights are read from a shifted stream of bits.",
            "",
        ),
        "BlockScaleRule": Flag(
            "The scale of a block is rounded another way than the rule of the system says.",
            "Two kernels of one project give different scales for the same block.",
            "vllm-project/vllm#43557",
        ),
        "BlockScaleRange": Flag(
            "Scales at the ends of their format are wrapped, flushed or not clamped.",
            "Blocks of very small or very great numbers are lost.",
            "pytorch/ao#4725",
        ),
        "BlockNaN": Flag(
            "A NaN or an infinity in a block is not seen by its scale.",
            "The block becomes ordinary numbers.",
            "pytorch/ao#4271",
        ),
        "ZeroBlock": Flag(
            "A block of zeros has a scale by which nothing can be divided.",
            "Zeros become NaN.",
            "huggingface/kernels-community#681",
        ),
        "TensorScale": Flag(
            "The scale of the tensor is left out, inverted, or applied at another place.",
            "All values are off by one factor, or by the last bit.",
            "vllm-project/vllm#54974",
        ),
        "ScaleRounding": Flag(
            "An E4M3 scale is rounded up or down where the nearest is meant.",
            "Results are not bitwise those of another library.",
            "triton-lang/triton#11668",
        ),
        "ScaleReciprocal": Flag(
            "Multiplication by a reciprocal in the place of a division.",
            "Invisible at random, wrong on values beside boundaries.",
            "onnx/onnx#6433",
        ),
        "BlockCut": Flag(
            "Blocks are cut along another axis, interleaved, or the last short one is lost.",
            "Elements are scaled by the scale of another block.",
            "openvinotoolkit/openvino#32917",
        ),
        "ScaleLayout": Flag(
            "Scales are not where a matrix unit reads them.",
            "Rows are multiplied by the scales of other rows.",
            "",
        ),
        "BlockDot": Flag(
            "Sums of a dot product leave out or repeat a scale or a block.",
            "Outputs are off by a power of two.",
            "",
        ),
        "RefusedBlock": Flag(
            "Scales of another shape, an uneven axis or a missing scale are accepted.",
            "Some plausible result comes out.",
            "",
        ),
    }
)
"""Name -> the bug, its effect, and where it was seen."""
