"""Flags about whole tensors: qparams, observers, specs, placement, exported files."""

from __future__ import annotations

from quant_conformance.generate.flag import Flag

QPARAMS = {
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

OBSERVERS = {
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

PLACEMENT = {
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

EXPORT = {
    "StoredCodes": Flag(
        "The codes in an exported file are made of values that were rounded, or moved, or swapped.",
        "The model on the device is not the one that was evaluated.",
        "",
    ),
    "StoredQParams": Flag(
        "Scales or offsets in an exported file are cast, left out or another channel's.",
        "The model on the device is not the one that was evaluated.",
        "",
    ),
}

LAYER = {
    "LayerSums": Flag(
        "Products or terms are summed in a narrower dtype, with a bias, twice, or not at all.",
        "Results that drift with the depth of a layer.",
        "",
    ),
    "LayerFormula": Flag(
        "An operation follows another formula, or an attribute of it is ignored.",
        "A layer that is right in its tests' defaults and wrong in a model.",
        "",
    ),
    "LayerOperands": Flag(
        "Operands of a layer are dequantized without their zero point, or with another scale.",
        "A layer that is right on symmetric specs per tensor and wrong on others.",
        "",
    ),
    "LayerRounding": Flag(
        "A result is requantized by another rule than a quantizer's.",
        "One code off on ties, in every fused layer.",
        "microsoft/onnxruntime#32132",
    ),
    "LayerSpecial": Flag(
        "Subnormal results are flushed, or infinities in an operand become NaN or a large number.",
        "Masks that leak, small activations that vanish.",
        "",
    ),
}

LIFECYCLE = {
    "BatchNormFold": Flag(
        "A batch norm is folded by another formula, in other dtypes, or into other channels.",
        "Weights that are a few ulp off, or those of another channel, before they are quantized.",
        "",
    ),
    "BatchNormTraining": Flag(
        "A folded batch norm trains on other statistics than it should, or is not frozen.",
        "A model that trains on something else than it is evaluated on.",
        "",
    ),
    "Lifecycle": Flag(
        "Observers or fake-quantization are on when they should be off, or ranges begin anew.",
        "Calibration that is not used, or qparams that move during evaluation.",
        "",
    ),
}
