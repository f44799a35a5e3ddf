"""Bugs that were found in real systems; every one has a mutant."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple


class Pitfall(NamedTuple):
    """One kind of bug.

    Attributes:
        text: What goes wrong.
        seen: Where, as ``owner/repo#number``, or in words.
    """

    text: str
    seen: tuple[str, ...]


PITFALLS: Mapping[str, Pitfall] = MappingProxyType(
    {
        "ties": Pitfall(
            "ties away from zero instead of to even",
            (
                "sonos/tract#2850",
                "microsoft/onnxruntime#25045",
                "tenstorrent/tt-metal#56525",
                "intel/torch-xpu-ops#5349",
            ),
        ),
        "tail": Pitfall(
            "SIMD body and scalar tail round differently", ("microsoft/onnxruntime#28606",)
        ),
        "truncation": Pitfall("truncation on float16 input", ("microsoft/onnxruntime#32452",)),
        "e2m1-ties": Pitfall(
            "E2M1 ties 0.25, 1.25, 2.5 and 5", ("ROCm/aiter#3992", "ROCm/aiter#4030")
        ),
        "reciprocal": Pitfall("reciprocal instead of division", ("onnx/onnx#6433",)),
        "double-rounding": Pitfall(
            "double rounding through float16 or bfloat16",
            ("triton-lang/triton#10846", "flashinfer-ai/flashinfer#5128", "pytorch/ao#4725"),
        ),
        "saturation": Pitfall(
            "early or missing saturation, the boundary 464/465, infinities",
            (
                "sgl-project/sglang#40581",
                "ucb-bar/saturn-vectors#101",
                "flashinfer-ai/flashinfer#4053",
                "jax-ml/ml_dtypes#260",
            ),
        ),
        "nan": Pitfall(
            "NaN encoding, NaN lost in amax",
            (
                "ROCm/hipBLASLt#5792",
                "google/XNNPACK#10460",
                "NVIDIA/TransformerEngine#3550",
                "pytorch/ao#4271",
            ),
        ),
        "subnormals": Pitfall(
            "subnormals flushed or misread",
            ("tile-ai/tilelang#2704", "tenstorrent/tt-metal#51971", "pytorch/pytorch#177870"),
        ),
        "negative-zero": Pitfall(
            "-0 lost, -tiny becomes NaN", ("onnx/onnx#5764", "ROCm/rocm-libraries#7439")
        ),
        "nibbles": Pitfall(
            "int4 nibble order, sign extension",
            ("gittensor-ai-lab/sparkinfer#761", "keras-team/keras#22338"),
        ),
        "int2": Pitfall("int2 clamp", ("google/XNNPACK#10460",)),
        "zero-point": Pitfall(
            "zero point: -127 for -128, 127 for 128, added before rounding",
            (
                "microsoft/onnxruntime#3442",
                "microsoft/onnxruntime#25823",
                "webmachinelearning/webnn-baseline#101",
            ),
        ),
        "cast-before-clamp": Pitfall(
            "integer cast before the clamp",
            (
                "intel/torch-xpu-ops#5231",
                "pytorch/executorch#22811",
                "apache/tvm#9558",
                "ONNX ReferenceEvaluator: int8 of 3e9 is -128",
            ),
        ),
        "e8m0": Pitfall(
            "E8M0 scale rule (floor, ceil, round) and extremes 2^-127, 0xFF",
            (
                "ROCm/FlyDSL#590",
                "vllm-project/vllm#43557",
                "graphcore-research/gfloat#62",
                "pytorch/ao#4725",
            ),
        ),
        "blocks": Pitfall(
            "block axis swapped, blocks interleaved",
            ("openvinotoolkit/openvino#32917", "onnxsim/onnxsim#749"),
        ),
        "shared-byte": Pitfall(
            "two codes of a byte share a scale at odd group sizes", ("Comfy-Org/comfy-kitchen#50",)
        ),
        "memory-order": Pitfall(
            "per-channel parameters taken along the memory order", ("pytorch/executorch#16429",)
        ),
        "magnitude": Pitfall(
            "magnitude instead of clamp below zero for unsigned outputs",
            ("tenstorrent/tt-metal#56290",),
        ),
        "averaged-zero": Pitfall(
            "zero mixed into a running average", ("neuralmagic/compressed-tensors#9",)
        ),
        "fusion": Pitfall(
            "fusing quantize and dequantize changes ties by one step",
            ("microsoft/onnxruntime#32132",),
        ),
        "requantize-rounding": Pitfall(
            "requantization rounds twice, once or in float, and operators differ",
            (
                "tensorflow/tensorflow#25087",
                "google-ai-edge/LiteRT#7441",
                "apache/tvm#15929",
            ),
        ),
        "multiplier-width": Pitfall(
            "fixed-point multipliers too coarse for models calibrated in float",
            ("google/XNNPACK#2036",),
        ),
        "nvfp4-scale": Pitfall(
            "NVFP4 scale: nearest, up or down; global scale or its inverse; reciprocal",
            (
                "triton-lang/triton#11668",
                "radixark/miles#1054",
                "vllm-project/vllm#54974",
            ),
        ),
        "zero-block": Pitfall(
            "a block of zeros has the scale 0", ("huggingface/kernels-community#681",)
        ),
        "observer-ranges": Pitfall(
            "observers of zeros only and of one-sided data",
            ("pytorch/pytorch#39239", "pytorch/pytorch#23838"),
        ),
    }
)
"""Key -> the bug and where it was seen."""
