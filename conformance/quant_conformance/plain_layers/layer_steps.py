"""Steps of a quantized layer: each operation in plain numpy, in the dtypes that the layer names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from quant_conformance.plain_layers.functions import FUNCTIONS, LayerMath
from quant_conformance.plain_layers.scattering import SCATTERING
from quant_conformance.plain_layers.selections import SELECTIONS
from quant_conformance.plain_layers.sums import like
from quant_conformance.protocol import Array
from quant_reference.admissible import FloatLayer, Layer, QuantizedTensor

Factors = list[float | None]


class Layers(LayerMath):
    """One admissible evaluation of a layer (SPEC.md, ADM-1, ADM-2 and ADM-13)."""

    @np.errstate(all="ignore")
    def layer(self, layer: Layer) -> Array:
        """Codes of the result (ADM-13)."""
        return self.layer_codes(self.computed(layer), layer)

    @np.errstate(all="ignore")
    def float_layer(self, layer: FloatLayer) -> Array:
        """The result itself."""
        return self.computed(layer)

    def layer_codes(self, x: Array, layer: Layer) -> Array:
        """The result quantized (ADM-11)."""
        codes: Array = self.quantize(x, layer.output_spec, layer.output_qparams)
        return codes

    def computed(self, layer: Layer | FloatLayer) -> Array:
        """The result of the last step, in the dtype of values."""
        values = np.dtype(layer.arithmetic.values)
        self.sums = np.dtype(layer.arithmetic.accumulate)
        known: dict[str, Any] = {
            name: self.operand(operand, values) for name, operand in layer.operands.items()
        }
        for step in layer.steps:
            inputs = [
                known[name] if isinstance(name, str) else self.constant(name, values)
                for name in step.inputs
            ]
            made = self.step(step.op, inputs, dict(step.attributes))
            known[step.output] = np.asarray(self.stored(made, values))
        return np.asarray(known[layer.output], values)

    def operand(self, operand: QuantizedTensor | Array, values: np.dtype[Any]) -> Array:
        """A tensor in the dtype of values (ADM-13)."""
        if isinstance(operand, QuantizedTensor):
            return self.held(self.dequantized(operand), values)
        return operand if operand.dtype == np.int32 else self.held(operand, values)

    def dequantized(self, operand: QuantizedTensor) -> Array:
        """Values of the codes (DQ-1 to DQ-3)."""
        found: Array = self.dequantize(operand.codes, operand.spec, operand.qparams)
        return found

    def held(self, array: Array, values: np.dtype[Any]) -> Array:
        """An operand, rounded to the dtype of values."""
        return array.astype(values)

    def constant(self, given: float | None, values: np.dtype[Any]) -> Any:
        """A number in a program (ADM-1)."""
        return None if given is None else values.type(given)

    def stored(self, result: Array, values: np.dtype[Any]) -> Array:
        """A result in the dtype of values; indices that were only moved stay what they are."""
        return result if result.dtype == np.int32 else result.astype(values)

    def step(self, op: str, inputs: list[Any], attributes: dict[str, Any]) -> Array:
        """One operation."""
        made: Array = _STEPS[op](self, *inputs, **attributes)
        return made

    # exact operations (ADM-5)

    def relu(self, x: Array) -> Array:
        """The greater of x and 0."""
        return np.maximum(x, like(x, 0))

    def between(self, x: Array, min: float | None = None, max: float | None = None) -> Array:
        """Between two constants."""
        low = None if min is None else like(x, min)
        high = None if max is None else like(x, max)
        return np.clip(x, low, high)

    def cat(self, *parts: Array, dim: int = 0) -> Array:
        """One behind the other."""
        return np.concatenate(parts, axis=dim)

    def pad(self, x: Array, pad: list[int], value: float = 0.0) -> Array:
        """A constant around the last axes."""
        width = [(0, 0)] * (x.ndim - len(pad) // 2)
        width += [(pad[i], pad[i + 1]) for i in range(len(pad) - 2, -1, -2)]
        return np.pad(x, width, constant_values=value)

    def embedding(self, indices: Array, weight: Array) -> Array:
        """Rows of a table."""
        return weight[indices.astype(np.int64)]

    def flatten(self, x: Array, start_dim: int = 0, end_dim: int = -1) -> Array:
        """Axes start_dim to end_dim as one."""
        start, end = start_dim % x.ndim, end_dim % x.ndim
        return x.reshape(*x.shape[:start], -1, *x.shape[end + 1 :])

    # elementwise arithmetic (ADM-4)

    def add(self, a: Array, b: Array, alpha: float = 1) -> Array:
        """A sum, the second operand times alpha."""
        return a + b if alpha == 1 else a + self.scaled(b, alpha)

    def sub(self, a: Array, b: Array, alpha: float = 1) -> Array:
        """A difference."""
        return a - b if alpha == 1 else a - self.scaled(b, alpha)

    def scaled(self, b: Array, alpha: float) -> Array:
        """Times a constant."""
        return b * like(b, alpha)

    def mul(self, a: Array, b: Array) -> Array:
        """A product."""
        return a * b

    def div(self, a: Array, b: Array) -> Array:
        """A quotient (ADM-5)."""
        return a / b

    def running(self, x: Array, dim: int) -> Array:
        """Sums of the first elements (ADM-2)."""
        return np.cumsum(x, axis=dim, dtype=self.sums)

    # interpolation (ADM-10)

    def upsample_nearest(
        self, x: Array, size: list[int], scale_factor: Factors | None = None
    ) -> Array:
        """Element floor(i · n/m), or floor(i / factor)."""
        factors = scale_factor or [None] * len(size)
        for axis, (m, factor) in enumerate(zip(size, factors, strict=True), start=2):
            n = x.shape[axis]
            index = self.nearest(n, m) if factor is None else self.spaced(n, m, factor)
            x = np.take(x, index, axis=axis)
        return x

    def nearest(self, n: int, m: int) -> Array:
        """Which of n inputs each of m outputs takes."""
        return np.arange(m) * n // m

    def spaced(self, n: int, m: int, factor: float) -> Array:
        """Which of n inputs each of m outputs takes that are 1/factor apart."""
        return np.asarray(np.minimum(np.floor(np.arange(m) / factor).astype(int), n - 1))

    def upsample_bilinear(
        self,
        x: Array,
        size: list[int],
        align_corners: bool = False,
        scale_factor: Factors | None = None,
    ) -> Array:
        """Between the two nearest inputs on each axis."""
        factors = scale_factor or [None] * len(size)
        for axis, (m, factor) in enumerate(zip(size, factors, strict=True), start=2):
            n = x.shape[axis]
            step = n / m if factor is None else 1 / factor
            place = self.places(n, m, step, align_corners).astype(x.dtype)
            below = np.minimum(np.floor(place).astype(int), n - 1)
            above = np.minimum(below + 1, n - 1)
            shape = [-1 if a == axis else 1 for a in range(x.ndim)]
            share = (place - below.astype(x.dtype)).reshape(shape)
            lower, upper = np.take(x, below, axis=axis), np.take(x, above, axis=axis)
            x = np.add(lower * (1 - share), upper * share)
        return x

    def places(self, n: int, m: int, step: float, align_corners: bool) -> Array:
        """Where in n inputs each of m outputs lies, which are a step apart."""
        steps = np.arange(m, dtype=np.float32)
        if align_corners:
            return steps * np.float32((n - 1) / max(m - 1, 1))
        middle = (steps + np.float32(0.5)) * np.float32(step) - np.float32(0.5)
        return np.asarray(np.maximum(middle, np.float32(0)))


def _turned(x: Array, dim0: int, dim1: int) -> Array:
    return x.swapaxes(dim0, dim1)


_STEPS: Mapping[str, Callable[..., Array]] = {
    **{f"conv{n}d": lambda p, *a, **k: p.conv(*a, **k) for n in (1, 2, 3)},
    **{f"conv_transpose{n}d": lambda p, *a, **k: p.conv_transpose(*a, **k) for n in (1, 2, 3)},
    **{
        f"{pool}{n}d": (lambda p, x, pool=pool, n=n, **k: getattr(p, pool)(x, n, **k))
        for pool in ("avg_pool", "adaptive_avg_pool", "max_pool")
        for n in (1, 2, 3)
    },
    **{
        op: (lambda p, *a, op=op, **k: getattr(p, op)(*a, **k))
        for op in (
            *("linear", "matmul", "einsum", "sum", "mean", "add", "sub", "mul", "div"),
            *("relu", "leaky_relu", "exp", "log", "sqrt", "rsqrt", "pow", "erf", "tanh"),
            *("sigmoid", "logsigmoid", "silu", "elu", "celu", "selu", "mish", "softplus"),
            *("hardsigmoid", "hardswish", "gelu", "softmax", "scaled_dot_product_attention"),
            *("layer_norm", "group_norm", "instance_norm", "rms_norm", "batch_norm"),
            *("embedding", "cat", "pad", "flatten", "upsample_nearest", "upsample_bilinear"),
        )
    },
    **{op: (lambda p, *a, f=f, **k: f(*a, **k)) for op, f in SELECTIONS.items()},
    **{op: (lambda p, *a, f=f, **k: f(*a, **k)) for op, f in SCATTERING.items()},
    **{op: (lambda p, x, f=f: f(x)) for op, f in FUNCTIONS.items()},
    "cumsum": lambda p, x, dim: p.running(x, dim),
    "clamp": lambda p, *a, **k: p.between(*a, **k),
    "neg": lambda p, x: -x,
    "relu6": lambda p, x: p.between(x, 0, 6),
    "hardtanh": lambda p, x, min_val=-1.0, max_val=1.0: p.between(x, min_val, max_val),
    "reshape": lambda p, x, shape: x.reshape(shape),
    "view": lambda p, x, shape: x.reshape(shape),
    "permute": lambda p, x, dims: x.transpose(dims),
    "transpose": lambda p, x, dim0, dim1: _turned(x, dim0, dim1),
    "dropout": lambda _, x, **__: x,
    "identity": lambda _, x, **__: x,
    "clone": lambda _, x, **__: x,
    "contiguous": lambda _, x, **__: x,
    "squeeze": lambda p, x, dim: x.squeeze(dim),
    "unsqueeze": lambda p, x, dim: np.expand_dims(x, dim),
    "expand": lambda p, x, size: np.broadcast_to(x, size),
    "select": lambda p, x, dim, index: np.take(x, index, axis=dim),
    "slice": lambda p, x, dim=0, start=None, end=None, step=1: x[
        (slice(None),) * (dim % x.ndim) + (slice(start, end, step),)
    ],
    "round_to": lambda p, x, dtype: x.astype(dtype),
}
"""Operation -> what the evaluation does for it."""
