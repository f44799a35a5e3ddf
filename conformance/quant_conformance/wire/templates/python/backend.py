"""A backend in Python without quant_conformance: fill in what your system has."""

from wire import Unsupported, serve


def encode(q):
    raise Unsupported("encode is not implemented")


def decode(q):
    raise Unsupported("decode is not implemented")


def pack(q):
    raise Unsupported("pack is not implemented")


def unpack(q):
    raise Unsupported("unpack is not implemented")


def value_range(q):
    raise Unsupported("value_range is not implemented")


def qparams(q):
    raise Unsupported("qparams is not implemented")


def quantize(q):
    raise Unsupported("quantize is not implemented")


def dequantize(q):
    raise Unsupported("dequantize is not implemented")


def fake_quantize(q):
    raise Unsupported("fake_quantize is not implemented")


def gradient(q):
    raise Unsupported("gradient is not implemented")


def observe(q):
    raise Unsupported("observe is not implemented")


def default_axis(q):
    raise Unsupported("default_axis is not implemented")


def fold_batch_norm(q):
    raise Unsupported("fold_batch_norm is not implemented")


def lifecycle(q):
    raise Unsupported("lifecycle is not implemented")


def export_weights(q):
    raise Unsupported("export_weights is not implemented")


def layer(q):
    raise Unsupported("layer is not implemented")


def float_layer(q):
    raise Unsupported("float_layer is not implemented")


def requantize(q):
    raise Unsupported("requantize is not implemented")


def integer_layer(q):
    raise Unsupported("integer_layer is not implemented")


def validate_spec(q):
    raise Unsupported("validate_spec is not implemented")


def scale_layout(q):
    raise Unsupported("scale_layout is not implemented")


def block_scale(q):
    raise Unsupported("block_scale is not implemented")


def block_quantize(q):
    raise Unsupported("block_quantize is not implemented")


def block_dequantize(q):
    raise Unsupported("block_dequantize is not implemented")


def block_dot(q):
    raise Unsupported("block_dot is not implemented")


OPERATIONS = {
    "encode": encode,
    "decode": decode,
    "pack": pack,
    "unpack": unpack,
    "value_range": value_range,
    "qparams": qparams,
    "quantize": quantize,
    "dequantize": dequantize,
    "fake_quantize": fake_quantize,
    "gradient": gradient,
    "observe": observe,
    "default_axis": default_axis,
    "fold_batch_norm": fold_batch_norm,
    "lifecycle": lifecycle,
    "export_weights": export_weights,
    "layer": layer,
    "float_layer": float_layer,
    "requantize": requantize,
    "integer_layer": integer_layer,
    "validate_spec": validate_spec,
    "scale_layout": scale_layout,
    "block_scale": block_scale,
    "block_quantize": block_quantize,
    "block_dequantize": block_dequantize,
    "block_dot": block_dot,
}


def answer(q):
    if q.operation not in OPERATIONS:
        raise Unsupported("an operation that this program does not know")
    return OPERATIONS[q.operation](q)


serve(answer)
