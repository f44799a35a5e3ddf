"""A backend without packages that is exact on what it supports.

Python's floats are doubles. A quotient, product or sum of two float32 values, computed in double
and rounded to float32, is the one of float32: a double has more than twice its digits.
"""

import math
import re
import struct

from wire import Refused, Tensor, Unsupported, serve


def f32(x):
    try:
        return struct.unpack("<f", struct.pack("<f", x))[0]
    except OverflowError:
        return math.copysign(math.inf, x)


def rint(x):
    return float(round(x)) if math.isfinite(x) else x


def integer(name):
    found = re.fullmatch(r"(u?)int([248])", name)
    if not found:
        raise Unsupported(f"no format {name}")
    bits = int(found[2])
    return (0, 2**bits - 1) if found[1] else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def code_dtype(least):
    return "int8" if least else "uint8"


FLOATS = {"float8_e4m3fn": (4, 3, 7, 0x7E), "float8_e5m2": (5, 2, 15, 0x7B), "float4_e2m1fn": (2, 1, 1, 7)}


def floating(q):
    name = q.attributes["arguments/format"]
    if name not in FLOATS:
        raise Unsupported(f"no format {name}")
    return FLOATS[name]


def decoded(code, fmt):
    exponent, mantissa, bias, last = fmt
    size = code & (2 ** (exponent + mantissa) - 1)
    sign = -1.0 if code > size else 1.0
    if size > last:
        return sign * math.inf if fmt == FLOATS["float8_e5m2"] and size == 0x7C else math.nan
    m, e = size % 2**mantissa, size >> mantissa
    return sign * math.ldexp(m + (2**mantissa if e else 0), max(e, 1) - bias - mantissa)


def encoded(x, fmt):
    exponent, mantissa, _, last = fmt
    sign = 2 ** (exponent + mantissa) if math.copysign(1.0, x) < 0 else 0
    if math.isnan(x):
        return 0 if last == 7 else sign | (0x7F if last == 0x7E else 0x7E)
    best = 0
    for code in range(1, last + 1):
        middle = (decoded(best, fmt) + decoded(code, fmt)) / 2  # exact in double
        if abs(x) > middle or (abs(x) == middle and code % 2 == 0):
            best = code
    return sign | best


def encode(q):
    x, fmt = find(q, "x", "float32"), floating(q)
    return {"codes": Tensor("uint8", x.shape, [encoded(v, fmt) for v in x.values])}


def decode(q):
    codes, fmt = find(q, "codes"), floating(q)
    if codes.dtype != "uint8" or any(c >> (fmt[0] + fmt[1] + 1) for c in codes.values):
        raise Refused("codes of another dtype, or outside the format")
    return {"values": Tensor("float32", codes.shape, [decoded(c, fmt) for c in codes.values])}


def find(q, name, dtype=None):
    if name not in q.tensors:
        raise Unsupported(f"needs a tensor {name}")
    if dtype and q.tensors[name].dtype != dtype:
        raise Unsupported(f"{name} of another dtype")
    return q.tensors[name]


class Spec:
    """The format of a tensor, and its scale and zero point."""

    def __init__(self, q, at, prefix=""):
        if q.attributes[f"{at}/qformulation"] != "zp":
            raise Unsupported("a zero point only")
        self.least, self.greatest = integer(q.attributes[f"{at}/dtype"])
        self.dtype = code_dtype(self.least)
        self.lowest = self.least + in_clipping(q, at, self.least)
        scale, zero = find(q, prefix + "scale"), find(q, prefix + "zero_point")
        if (scale.dtype, zero.dtype, scale.shape) != ("float32", "int32", zero.shape):
            raise Refused("qparams of another dtype or of two shapes")
        if any(not 2**-126 <= s < math.inf for s in scale.values):
            raise Unsupported("positive normal scales only")
        if any(not self.lowest <= z <= self.greatest for z in zero.values):
            raise Refused("a zero point outside the format")
        self.scale, self.zero, self.shape = scale.values, zero.values, scale.shape

    def entries(self, shape):
        """For each element the place of its block's entry."""
        if len(shape) != len(self.shape):
            raise Refused("qparams of another rank")
        if any(n % b if b else n for n, b in zip(shape, self.shape)):
            raise Refused("qparams that do not tile the tensor")
        places = [0]
        for n, b in zip(shape, self.shape):
            places = [p * b + i // (n // b) for p in places for i in range(n)]
        return places

    def quantized(self, x, place):
        if math.isnan(x):
            return self.zero[place]
        code = f32(rint(f32(x / self.scale[place])) + self.zero[place])
        return int(min(max(code, self.lowest), self.greatest))

    def values(self, codes):
        if codes.dtype != self.dtype or any(not self.least <= c <= self.greatest for c in codes.values):
            raise Refused("codes of another dtype, or outside the format")
        pairs = zip(codes.values, self.entries(codes.shape))
        return [f32((c - self.zero[p]) * self.scale[p]) for c, p in pairs]


def in_clipping(q, at, least):
    return int(least < 0 and q.attributes[f"{at}/qscheme"] == "symmetric_with_clipping")


def quantize(q):
    x, spec = find(q, "x", "float32"), Spec(q, "spec")
    codes = [spec.quantized(v, p) for v, p in zip(x.values, spec.entries(x.shape))]
    return {"codes": Tensor(spec.dtype, x.shape, codes)}


def fake_quantize(q):
    x, spec = find(q, "x", "float32"), Spec(q, "spec")
    out = [
        v if math.isnan(v) else f32((spec.quantized(v, p) - spec.zero[p]) * spec.scale[p])
        for v, p in zip(x.values, spec.entries(x.shape))
    ]
    return {"values": Tensor("float32", x.shape, out)}


def dequantize(q):
    codes = find(q, "codes")
    return {"values": Tensor("float32", codes.shape, Spec(q, "spec").values(codes))}


def qparams(q):
    x, a = find(q, "x", "float32"), q.attributes
    least, greatest = integer(a["spec/dtype"])
    least += in_clipping(q, "spec", least)
    bounds = [a.get("spec/float_range/0"), a.get("spec/float_range/1"), a.get("spec/scale_dtype")]
    if a["spec/granularity/type"] != "per_tensor" or any(b is not None for b in bounds):
        raise Unsupported("one scale of the values alone")
    if not x.values or (a["spec/qparam_calculator_cls"], a["target"]) == ("dynamic", "weight"):
        raise Refused("no elements, or a dynamic weight")
    if not all(map(math.isfinite, x.values)):
        raise Unsupported("finite values only")
    low, high = min(0.0, *x.values) + 0.0, max(0.0, *x.values)
    asymmetric, size = a["spec/qscheme"] == "asymmetric", max(-low, high)
    scale = f32(f32(high - low) / (greatest - least)) if asymmetric else f32(size / ((greatest - least) / 2))
    scale = max(scale, 2.0**-23)
    if not math.isfinite(scale):
        raise Unsupported("finite ranges only")
    zero = 0 if integer(a["spec/dtype"])[0] else (greatest + 1) // 2
    if asymmetric:
        zero = int(min(max(least - rint(f32(low / scale)), least), greatest))
    ones = [1] * len(x.shape)
    return {
        "scale": Tensor("float32", ones, [scale]),
        "zero_point": Tensor("int32", ones, [zero]),
        "minval": Tensor("float32", ones, [low if asymmetric else -size + 0.0]),
    }


def packing(q):
    name, order = q.attributes["arguments/format"], q.attributes["arguments/order"]
    if order not in ("low_first", "high_first"):
        raise Refused("an order that there is not")
    least, greatest = (0, 15) if name == "float4_e2m1fn" else integer(name)
    bits = (greatest - least).bit_length()
    places = range(0, 8, bits)
    return least, greatest, bits, list(places if order == "low_first" else reversed(places))


def pack(q):
    least, greatest, bits, places = packing(q)
    codes = find(q, "codes", code_dtype(least)).values
    if any(not least <= c <= greatest for c in codes):
        raise Refused("a code outside the format")
    packed = [0] * -(-len(codes) // len(places))
    for i, c in enumerate(codes):
        packed[i // len(places)] |= (c & (2**bits - 1)) << places[i % len(places)]
    return {"packed": Tensor("uint8", [len(packed)], packed)}


def unpack(q):
    least, _, bits, places = packing(q)
    packed, count = find(q, "packed", "uint8"), q.attributes["arguments/count"]
    if len(packed.shape) != 1 or not 0 <= count <= len(packed.values) * len(places):
        raise Refused("bytes and count do not go together")
    codes = [b >> p & (2**bits - 1) for b in packed.values for p in places][:count]
    signed = [c - 2**bits if least and c >> (bits - 1) else c for c in codes]
    return {"codes": Tensor(code_dtype(least), [count], signed)}


def rows(values, depth):
    return [values[i : i + depth] for i in range(0, len(values), depth)]


def layer(q):
    a, at = q.attributes, "arguments/steps"
    ops = [a[f"{at}/{i}/op"] for i in range(a[at])]
    if ops not in (["linear"], ["linear", "logsigmoid"]) or a["arguments/arithmetic/values"] != "float32":
        raise Unsupported("linear in float32, and logsigmoid behind it")
    left, right, bias = (a.get(f"{at}/0/inputs/{i}") for i in range(3))
    x, w, out = find(q, left), find(q, right), Spec(q, "spec", "output:")
    if len(out.scale) != 1:
        raise Unsupported("one output scale only")
    xs, ws = (Spec(q, f"arguments/operands/{n}", f"{n}:").values(t) for n, t in ((left, x), (right, w)))
    add = find(q, bias, "float32").values if bias else [0.0] * w.shape[0]
    sums = [
        math.fsum([b, *(u * v for u, v in zip(row, weights))])
        for row in rows(xs, w.shape[1])
        for weights, b in zip(rows(ws, w.shape[1]), add)
    ]
    if ops[-1] == "logsigmoid":
        sums = [min(s, 0.0) - math.log1p(math.exp(-abs(s))) for s in sums]
    shape = [*x.shape[:-1], w.shape[0]]
    return {"codes": Tensor(out.dtype, shape, [out.quantized(f32(s), 0) for s in sums])}


def integer_layer(q):
    a = q.attributes
    if a["arguments/op"] != "linear":
        raise Unsupported("linear only")
    least, greatest = integer(a["arguments/output/dtype"])
    zero, dtype = a["arguments/output/zero_point"], code_dtype(least)
    least, greatest = a.get("arguments/output/quant_min", least), a.get("arguments/output/quant_max", greatest)
    (x, xs, xz), (w, ws, wz) = (
        [find(q, f"operand_{i}{part}") for part in ("", ":scale", ":zero_point")] for i in (0, 1)
    )
    if x.dtype not in ("int8", "uint8") or w.dtype not in ("int8", "uint8"):
        raise Unsupported("8-bit codes only")
    width, depth, output = w.shape[0], w.shape[1], find(q, "output:scale", "float32").values[0]
    bias = q.tensors["bias"].values if "bias" in q.tensors else [0] * width
    codes = []
    for row in rows(x.values, depth):
        for n, weights in enumerate(rows(w.values, depth)):
            z = wz.values[n if len(wz.values) > 1 else 0]
            acc = bias[n] + sum((u - xz.values[0]) * (v - z) for u, v in zip(row, weights))
            # The rule float64_even of INT-5.
            scale = xs.values[0] * ws.values[n if len(ws.values) > 1 else 0] / output
            codes.append(int(min(max(rint(acc * scale), least - zero), greatest - zero) + zero))
    return {"codes": Tensor(dtype, [*x.shape[:-1], width], codes)}


OFFERED = [encode, decode, pack, unpack, qparams, quantize, dequantize, fake_quantize, layer, integer_layer]
OPERATIONS = {function.__name__: function for function in OFFERED}


def answer(q):
    if q.operation not in OPERATIONS:
        raise Unsupported(f"{q.operation} is not offered")
    return OPERATIONS[q.operation](q)


serve(answer)
