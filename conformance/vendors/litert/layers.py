"""Integer layers as single operators of LiteRT."""

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from models import Operand, run
from wire import Unsupported

ELEMENTWISE = {"add": "ADD", "sub": "SUB", "mul": "MUL"}


def attributes_of(ask):
    """Attributes of a layer by name; a list is a tuple."""
    found, start = {}, "arguments/attributes/"
    for path, value in ask.items():
        name, _, place = path[len(start) :].partition("/")
        if path.startswith(start) and place:
            found[name] = (*found[name], value)  # entries come in order
        elif path.startswith(start):
            found[name] = () if start + name + "/0" in ask else value
    return found


def activation(ask, result):
    """The fused activation whose bounds are those that a question gives."""
    least, greatest = ask.get("arguments/output/quant_min"), ask.get("arguments/output/quant_max")
    if least is None and greatest is None:
        return "NONE"
    if least == result.zero and greatest is None:
        return "RELU"
    raise Unsupported("LiteRT has bounds of its fused activations only")


def pair(value):
    return tuple(value) if isinstance(value, tuple) else (value, value)


def compute(kernels, op, operands, result, bias, attributes, fused):
    """The codes of a layer in torch's layout."""
    if op == "linear":
        if len(operands[0].shape) != 2:
            raise Unsupported("this adapter asks matrices")
        result.shape = [operands[0].shape[0], operands[1].shape[0]]
        return fully_connected(kernels, operands[0], operands[1], result, bias, fused)
    if op == "conv2d":
        return convolution(kernels, operands, result, bias, attributes, fused)
    if op in ELEMENTWISE:
        result.shape = np.broadcast_shapes(*[tuple(each.shape) for each in operands])
        options = getattr(schema, ELEMENTWISE[op].capitalize() + "OptionsT")()
        options.fusedActivationFunction = getattr(schema.ActivationFunctionType, fused)
        if hasattr(options, "potScaleInt16"):
            options.potScaleInt16 = False
        return run(kernels, ELEMENTWISE[op], operands, result, options)
    if op == "mean":
        return mean(kernels, operands[0], result, attributes)
    if op == "relu":
        result.shape = operands[0].shape
        return run(kernels, "RELU", operands, result)
    raise Unsupported("this adapter has no " + op)


def with_bias(operands, bias):
    """The operands and a constant bias, whose scale is the product of theirs."""
    given, weight = operands
    if bias is None:
        return operands
    scale = np.float32(given.scale) * np.asarray(weight.scale, np.float32)
    return [*operands, Operand(bias.dtype.name, bias.shape, bias, scale, constant=True)]


def check_weight(given, weight):
    if weight.dtype != "int8" or given.dtype == "uint8":
        raise Unsupported("LiteRT has int8 weights with activations of int8 or int16")
    if weight.zero:
        raise Unsupported("LiteRT's specification has symmetric int8 weights only")
    weight.constant = True


def fully_connected(kernels, given, weight, result, bias, fused):
    check_weight(given, weight)
    if result.dtype != given.dtype:
        raise Unsupported("FULLY_CONNECTED has codes of the dtype of its input")
    options = schema.FullyConnectedOptionsT()
    options.fusedActivationFunction = getattr(schema.ActivationFunctionType, fused)
    operands = with_bias([given, weight], bias)
    return run(kernels, "FULLY_CONNECTED", operands, result, options)


def convolution(kernels, operands, result, bias, attributes, fused):
    given, weight = operands
    check_weight(given, weight)
    if result.dtype != given.dtype:
        raise Unsupported("CONV_2D has codes of the dtype of its input")
    stride = pair(attributes.get("stride", 1))
    dilation = pair(attributes.get("dilation", 1))
    padding = pair(attributes.get("padding", 0))
    groups = attributes.get("groups", 1)
    size = given.shape[2:]
    reach = [(k - 1) * d + 1 for k, d in zip(weight.shape[2:], dilation)]
    out = [(n + 2 * p - r) // s + 1 for n, p, r, s in zip(size, padding, reach, stride)]
    same = [max((-(-n // s) - 1) * s + r - n, 0) for n, s, r in zip(size, stride, reach)]
    if any(padding) and list(same) != [2 * p for p in padding]:
        raise Unsupported("LiteRT pads nothing, or so that all outputs are there (SAME)")
    depthwise = groups > 1 and weight.shape[1] == 1 and groups == given.shape[1]
    name = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
    options = schema.DepthwiseConv2DOptionsT() if depthwise else schema.Conv2DOptionsT()
    options.padding = schema.Padding.SAME if any(padding) else schema.Padding.VALID
    options.strideH, options.strideW = stride
    options.dilationHFactor, options.dilationWFactor = dilation
    options.fusedActivationFunction = getattr(schema.ActivationFunctionType, fused)
    if depthwise:
        options.depthMultiplier = weight.shape[0] // groups
    order = (1, 2, 3, 0) if depthwise else (0, 2, 3, 1)
    x = Operand(
        given.dtype,
        [given.shape[axis] for axis in (0, 2, 3, 1)],
        np.ascontiguousarray(given.data.transpose(0, 2, 3, 1)),
        given.scale,
        given.zero,
    )
    kernel = Operand(
        "int8",
        [weight.shape[axis] for axis in order],
        np.ascontiguousarray(weight.data.transpose(order)),
        weight.scale,
        axis=3 if depthwise else 0,
        constant=True,
    )
    result.shape = [given.shape[0], *out, weight.shape[0]]
    codes = run(kernels, name, with_bias([x, kernel], bias), result, options)
    return np.ascontiguousarray(codes.transpose(0, 3, 1, 2))


def mean(kernels, given, result, attributes):
    dims = attributes["dim"]
    dims = np.array(dims if isinstance(dims, tuple) else [dims], np.int32)
    keep = bool(attributes.get("keepdim", False))
    gone = [int(d) % len(given.shape) for d in dims]
    result.shape = [
        1 if axis in gone else n for axis, n in enumerate(given.shape) if keep or axis not in gone
    ]
    options = schema.ReducerOptionsT()
    options.keepDims = keep
    axes = Operand("int32", dims.shape, dims, constant=True)
    return run(kernels, "MEAN", [given, axes], result, options)
