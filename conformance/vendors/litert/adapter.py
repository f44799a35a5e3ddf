"""Answers of LiteRT: `adapter.py reference|optimized|xnnpack`, in the raw format on a pipe.

A question becomes a model of one operator. What LiteRT has no operator for, or does not take, is
unsupported; nothing here computes a code.
"""

import os
import sys

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(
    0, os.path.join(HERE, "..", "..", "quant_conformance", "wire", "templates", "python")
)

import layers  # noqa: E402
from models import KERNELS, Operand, run  # noqa: E402
from wire import Tensor, Unsupported, serve  # noqa: E402

if len(sys.argv) != 2 or sys.argv[1] not in KERNELS:
    sys.exit("usage: adapter.py " + "|".join(KERNELS))
KERNEL_SET = sys.argv[1]
CODES = ("int8", "uint8", "int16")


def array(question, name):
    tensor = question.tensors.get(name)
    if tensor is None:
        return None
    if tensor.dtype in ("bfloat16", "other"):
        raise Unsupported("no tensors of dtype " + tensor.dtype)
    return np.array(tensor.values, tensor.dtype).reshape(tensor.shape)


def tensor(codes):
    return Tensor(codes.dtype.name, codes.shape, codes.ravel().tolist())


def requantize(question):
    """FULLY_CONNECTED over one element that is 0: the accumulators are its bias."""
    ask = question.attributes
    acc = array(question, "acc")
    into = ask["arguments/dtype"]
    if into not in ("int8", "int16"):
        raise Unsupported("FULLY_CONNECTED with a bias has int8 and int16 codes, not " + into)
    if "arguments/quant_min" in ask or "arguments/quant_max" in ask:
        raise Unsupported("LiteRT has no free bounds")
    if acc.dtype == np.int64 and into == "int8":
        raise Unsupported("int8 codes have an int32 bias")
    weight_scale = array(question, "weight_scale")
    if weight_scale.ndim:
        axis, shape = ask.get("arguments/axis", -1), [1] * acc.ndim
        if not -acc.ndim <= axis < acc.ndim or len(weight_scale) != acc.shape[axis]:
            raise Unsupported("no such channels can be written in a model")
        shape[axis] = -1
        weight_scale = np.broadcast_to(weight_scale.reshape(shape), acc.shape).ravel()
    scale = array(question, "input_scale")
    wide = np.int64 if into == "int16" else np.int32
    codes = layers.fully_connected(
        KERNEL_SET,
        Operand(into, [1, 1], np.zeros([1, 1], into), scale),
        Operand("int8", [acc.size, 1], np.zeros([acc.size, 1], np.int8), weight_scale),
        Operand(
            into, [1, acc.size], None, array(question, "output_scale"), ask["arguments/zero_point"]
        ),
        acc.astype(wide).ravel(),
        "NONE",
    )
    return {"codes": tensor(codes.reshape(acc.shape))}


def integer_layer(question):
    ask = question.attributes
    operands, place = [], 0
    while "arguments/operands/%d" % place in ask:
        name = "operand_%d" % place
        dtype = ask["arguments/operands/%d" % place]
        if dtype not in CODES:
            raise Unsupported("operands of int8, uint8 and int16 only, not " + dtype)
        zero = np.ravel(array(question, name + ":zero_point"))
        if np.any(zero != zero[0]):
            raise Unsupported("LiteRT has one zero point for all channels")
        codes, scale = array(question, name), array(question, name + ":scale")
        operands.append(Operand(dtype, codes.shape, codes, scale, int(zero[0])))
        place += 1
    into = ask["arguments/output/dtype"]
    if into not in CODES:
        raise Unsupported("codes of int8, uint8 and int16 only, not " + into)
    zero = ask["arguments/output/zero_point"]
    result = Operand(into, [], None, array(question, "output:scale"), zero)
    codes = layers.compute(
        KERNEL_SET,
        ask["arguments/op"],
        operands,
        result,
        array(question, "bias"),
        layers.attributes_of(ask),
        layers.activation(ask, result),
    )
    return {"codes": tensor(codes)}


def spec_of(question, shape):
    """Scale, zero point and axis of a spec that QUANTIZE and DEQUANTIZE can say."""
    ask = question.attributes
    dtype = ask["spec/dtype"]
    if dtype not in CODES:
        raise Unsupported("codes of int8, uint8 and int16 only, not " + dtype)
    if ask["spec/qformulation"] != "zp":
        raise Unsupported("LiteRT has zero points only")
    scale, zero = array(question, "scale"), array(question, "zero_point")
    if scale is None or scale.dtype != np.float32:
        raise Unsupported("LiteRT has float32 scales")
    zero = np.zeros(scale.shape, np.int32) if zero is None else zero
    if scale.ndim != len(shape) or zero.shape != scale.shape:
        raise Unsupported("a model cannot say qparams of another rank or of two shapes")
    axes = [axis for axis, n in enumerate(scale.shape) if n > 1]
    if len(axes) > 1 or any(scale.shape[a] != shape[a] for a in axes):
        raise Unsupported("LiteRT has scales per tensor and along one axis, no blocks")
    if zero.size and np.any(zero != zero.flat[0]):
        raise Unsupported("this adapter writes one zero point for all channels")
    return dtype, scale, int(zero.flat[0]) if zero.size else 0, axes[0] if axes else 0


def quantize(question):
    x = array(question, "x")
    if x.dtype != np.float32:
        raise Unsupported("QUANTIZE takes float32")
    dtype, scale, zero, axis = spec_of(question, x.shape)
    if question.attributes["spec/qscheme"] == "symmetric_with_clipping":
        raise Unsupported("QUANTIZE has the whole range of the codes only")
    result = Operand(dtype, x.shape, None, scale, zero, axis)
    codes = run(KERNEL_SET, "QUANTIZE", [Operand("float32", x.shape, x)], result)
    return {"codes": tensor(codes)}


def dequantize(question):
    codes = array(question, "codes")
    dtype, scale, zero, axis = spec_of(question, codes.shape)
    if codes.dtype.name != dtype:
        raise Unsupported("codes of dtype " + codes.dtype.name + " for " + dtype)
    given = Operand(dtype, codes.shape, codes, scale, zero, axis)
    values = run(KERNEL_SET, "DEQUANTIZE", [given], Operand("float32", codes.shape))
    return {"values": tensor(values)}


OPERATIONS = {
    "requantize": requantize,
    "integer_layer": integer_layer,
    "quantize": quantize,
    "dequantize": dequantize,
}


def answer(question):
    if question.operation not in OPERATIONS:
        raise Unsupported("LiteRT has no operator for " + question.operation)
    return OPERATIONS[question.operation](question)


if __name__ == "__main__":
    serve(answer)
