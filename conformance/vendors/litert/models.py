"""Models of one operator for LiteRT, and their results under one set of its kernels."""

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from wire import Unsupported

KERNELS = {
    "reference": OpResolverType.BUILTIN_REF,
    "optimized": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    "xnnpack": OpResolverType.AUTO,
}

VERSIONS = {"MEAN": 2, "RELU": 2, "QUANTIZE": 2, "DEQUANTIZE": 2}
"""Versions of operators with int8 codes; the others have them in version 5."""


class Operand:
    """A tensor of a model: a constant, an input, or the result.

    Attributes:
        dtype: name of the numpy dtype.
        shape: its shape.
        data: its elements; None for the result.
        scale: float32 scales, one or one for each entry of ``axis``; None without quantization.
        zero: zero point, the same everywhere.
        axis: the axis of more than one scale.
        constant: whether the elements are part of the model.
    """

    def __init__(self, dtype, shape, data=None, scale=None, zero=0, axis=0, constant=False):
        self.dtype, self.shape, self.data = dtype, [int(n) for n in shape], data
        self.scale, self.zero, self.axis, self.constant = scale, zero, axis, constant


def tensor_of(operand, name, buffer):
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.buffer = name, operand.shape, buffer
    tensor.type = getattr(schema.TensorType, operand.dtype.upper())
    if operand.scale is not None:
        scales = np.ravel(operand.scale).astype(np.float32).tolist()
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale = scales
        tensor.quantization.zeroPoint = [int(operand.zero)] * len(scales)
        tensor.quantization.quantizedDimension = operand.axis
    return tensor


def model_of(name, operands, result, options):
    """The bytes of a model of one operator; ``options`` is an object of the schema or None."""
    model, graph, operator = schema.ModelT(), schema.SubGraphT(), schema.OperatorT()
    code = schema.OperatorCodeT()
    code.builtinCode = getattr(schema.BuiltinOperator, name)
    code.deprecatedBuiltinCode = min(code.builtinCode, 127)
    code.version = VERSIONS.get(name, 5)
    model.buffers, graph.tensors, graph.inputs = [schema.BufferT()], [], []
    for place, operand in enumerate([*operands, result]):
        buffer = 0
        if operand.constant:
            buffer = len(model.buffers)
            model.buffers.append(schema.BufferT())
            model.buffers[-1].data = np.ascontiguousarray(operand.data).tobytes()
        elif operand is not result:
            graph.inputs.append(place)
        graph.tensors.append(tensor_of(operand, "t%d" % place, buffer))
    operator.opcodeIndex, operator.inputs = 0, list(range(len(operands)))
    operator.outputs = graph.outputs = [len(operands)]
    if options is not None:
        kind = type(options).__name__[:-1]  # the classes end with T
        operator.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
        operator.builtinOptions = options
    graph.operators = [operator]
    model.version, model.operatorCodes, model.subgraphs = 3, [code], [graph]
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def run(kernels, name, operands, result, options=None):
    """The elements of the result.

    Raises:
        Unsupported: LiteRT does not take the model, or XNNPACK leaves it to other kernels.
    """
    try:
        interpreter = Interpreter(
            model_content=model_of(name, operands, result, options),
            experimental_op_resolver_type=KERNELS[kernels],
            num_threads=1,
        )
        interpreter.allocate_tensors()
    except (RuntimeError, ValueError) as refusal:
        said = [line for line in str(refusal).splitlines() if line.strip()]
        raise Unsupported("LiteRT does not take it: " + " ".join(said)[:140]) from None
    if kernels == "xnnpack" and not any(
        op["op_name"] == "DELEGATE" for op in interpreter._get_ops_details()
    ):
        raise Unsupported("the XNNPACK delegate leaves this " + name + " to the built-in kernels")
    for place, operand in enumerate(operands):
        if not operand.constant:
            interpreter.set_tensor(place, operand.data)
    interpreter.invoke()
    return interpreter.get_tensor(len(operands))
