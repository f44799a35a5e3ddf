"""Functions, activations, normalizations and attention in plain numpy (SPEC.md, ADM-5 to ADM-9)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from quant_conformance.plain_layers.sums import LayerSums, like
from quant_conformance.protocol import Array

_erf = np.frompyfunc(math.erf, 1, 1)


FUNCTIONS: Mapping[str, Callable[[Array], Array]] = {
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
    "tan": np.tan,
    "exp2": np.exp2,
    "expm1": np.expm1,
    "log1p": np.log1p,
    "log2": np.log2,
    "log10": np.log10,
    "sin": np.sin,
    "cos": np.cos,
}
"""Functions of ADM-5 that numpy has by itself."""


class LayerMath(LayerSums):
    """Every formula in the dtype of its operand."""

    def exp(self, x: Array) -> Array:
        """ADM-5."""
        return np.exp(x)

    def log(self, x: Array) -> Array:
        """ADM-5."""
        return np.log(x)

    def sqrt(self, x: Array) -> Array:
        """ADM-5."""
        return np.sqrt(x)

    def rsqrt(self, x: Array) -> Array:
        """ADM-5."""
        return np.asarray(np.divide(1, np.sqrt(x)))

    def pow(self, x: Array, exponent: float) -> Array:
        """ADM-5."""
        return x ** like(x, exponent)

    def erf(self, x: Array) -> Array:
        """ADM-5."""
        return np.asarray(_erf(x.astype(np.float64)), np.float64).astype(x.dtype)

    def tanh(self, x: Array) -> Array:
        """ADM-5."""
        return np.tanh(x)

    # activations (ADM-7)

    def sigmoid(self, x: Array) -> Array:
        """1/(1 + e^-x)."""
        return 1 / (1 + self.exp(-x))

    def silu(self, x: Array) -> Array:
        """x·σ(x)."""
        return x * self.sigmoid(x)

    def softplus(self, x: Array, beta: float = 1.0, threshold: float = 20.0) -> Array:
        """log(1 + e^(βx))/β."""
        b = like(x, beta)
        return np.where(b * x > threshold, x, np.logaddexp(like(x, 0), b * x) / b)

    def logsigmoid(self, x: Array) -> Array:
        """−log(1 + e^-x)."""
        return -np.logaddexp(like(x, 0), -x)

    def mish(self, x: Array) -> Array:
        """x·tanh(softplus(x))."""
        return x * self.tanh(self.softplus(x))

    def elu(self, x: Array, alpha: float = 1.0) -> Array:
        """x, or α(e^x − 1)."""
        return np.where(x > 0, x, like(x, alpha) * np.expm1(np.minimum(x, 0)))

    def celu(self, x: Array, alpha: float = 1.0) -> Array:
        """x, or α(e^(x/α) − 1)."""
        a = like(x, alpha)
        return np.where(x > 0, x, a * np.expm1(np.minimum(x, 0) / a))

    def selu(self, x: Array) -> Array:
        """λx, or λα(e^x − 1)."""
        scale = like(x, 1.0507009873554805)
        return scale * self.elu(x, 1.6732632423543772)

    def leaky_relu(self, x: Array, negative_slope: float = 0.01) -> Array:
        """x, or slope·x."""
        return np.where(x > 0, x, x * like(x, negative_slope))

    def hardsigmoid(self, x: Array) -> Array:
        """min(max(x + 3, 0), 6)/6."""
        return np.clip(x + 3, 0, 6) / like(x, 6)

    def hardswish(self, x: Array) -> Array:
        """x·hardsigmoid(x)."""
        return x * self.hardsigmoid(x)

    def gelu(self, x: Array, approximate: str = "none") -> Array:
        """Both forms."""
        half = like(x, 0.5)
        if approximate == "tanh":
            inner = x + like(x, 0.044715) * x * x * x
            part = self.tanh(like(x, math.sqrt(2 / math.pi)) * inner)
        else:
            part = self.erf(x * like(x, math.sqrt(0.5)))
        return np.asarray(np.multiply(half * x, 1 + part))

    # softmax and attention (ADM-9)

    def softmax(self, x: Array, dim: int = -1) -> Array:
        """With the greatest element subtracted."""
        weights = self.exp(x - x.max(axis=dim, keepdims=True))
        total = np.expand_dims(self.total(weights, (dim % x.ndim,)), dim)
        return np.asarray(np.divide(weights, total))

    def scaled_dot_product_attention(
        self,
        query: Array,
        key: Array,
        value: Array,
        attn_mask: Array | None = None,
        is_causal: bool = False,
        scale: float | None = None,
    ) -> Array:
        """Scores, mask, softmax, and the sum of values."""
        dtype = query.dtype
        factor = self.sums.type(self.attention_scale(query.shape[-1]) if scale is None else scale)
        scores = (self.contracted(query, key.swapaxes(-1, -2)) * factor).astype(dtype)
        if is_causal:
            out = np.arange(scores.shape[-1]) > np.arange(scores.shape[-2])[:, None]
            scores = np.where(out, like(query, -np.inf), scores)
        if attn_mask is not None:
            scores = self.masked_scores(scores, attn_mask)
        return self.contracted(self.softmax(scores, -1).astype(dtype), value)

    def attention_scale(self, depth: int) -> float:
        """What scores are multiplied by."""
        return 1 / math.sqrt(depth)

    def masked_scores(self, scores: Array, mask: Array) -> Array:
        """Scores with the mask added."""
        return scores + mask

    # normalizations (ADM-8)

    def normalized(
        self, x: Array, axes: tuple[int, ...], eps: float, centred: bool = True
    ) -> Array:
        """(x − μ)/√(σ² + ε), the variance in a second pass."""
        dtype = x.dtype
        count = self.sums.type(math.prod(x.shape[a] for a in axes))

        def mean(array: Array) -> Array:
            return np.asarray((np.expand_dims(self.total(array, axes), axes) / count).astype(dtype))

        apart = x - mean(x) if centred else x
        # Squares go beyond float16 sooner than sums do.
        wide = apart.astype(self.sums)
        variance = np.expand_dims(self.total(wide * wide, axes), axes) / self.freedom(count)
        return np.asarray(np.divide(apart, self.sqrt(self.with_eps(variance.astype(dtype), eps))))

    def freedom(self, count: Any) -> Any:
        """What a variance is divided by."""
        return count

    def with_eps(self, variance: Array, eps: float) -> Array:
        """The variance with its constant."""
        return variance + like(variance, eps)

    def layer_norm(
        self,
        x: Array,
        weight: Array | None = None,
        bias: Array | None = None,
        *,
        normalized_shape: Any,
        eps: float = 1e-5,
    ) -> Array:
        """Over the last axes."""
        rank = 1 if isinstance(normalized_shape, int) else len(normalized_shape)
        axes = tuple(range(x.ndim - rank, x.ndim))
        return affine(self.normalized(x, axes, eps), weight, bias)

    def rms_norm(
        self,
        x: Array,
        weight: Array | None = None,
        *,
        normalized_shape: Any,
        eps: float | None = None,
    ) -> Array:
        """Over the last axes, without the mean."""
        rank = 1 if isinstance(normalized_shape, int) else len(normalized_shape)
        axes = tuple(range(x.ndim - rank, x.ndim))
        least = float(np.finfo(x.dtype).eps) if eps is None else eps
        return affine(self.normalized(x, axes, least, centred=False), weight, None)

    def group_norm(
        self,
        x: Array,
        weight: Array | None = None,
        bias: Array | None = None,
        *,
        num_groups: int,
        eps: float = 1e-5,
    ) -> Array:
        """Over groups of channels."""
        groups = x.reshape(len(x), num_groups, -1)
        normal = self.normalized(groups, (2,), eps).reshape(x.shape)
        return affine(normal, *channels(x, weight, bias))

    def instance_norm(
        self,
        x: Array,
        mean: Array | None = None,
        variance: Array | None = None,
        weight: Array | None = None,
        bias: Array | None = None,
        eps: float = 1e-5,
    ) -> Array:
        """Over the positions of each channel."""
        normal = self.normalized(x, tuple(range(2, x.ndim)), eps)
        return affine(normal, *channels(x, weight, bias))

    def batch_norm(
        self,
        x: Array,
        mean: Array,
        variance: Array,
        weight: Array | None = None,
        bias: Array | None = None,
        training: bool = False,
        eps: float = 1e-5,
    ) -> Array:
        """With running statistics."""
        mu, var = channels(x, mean, variance)
        gain, shift = channels(x, weight, bias)
        normal = (x - mu) / self.sqrt(self.with_eps(np.asarray(var), eps))
        return affine(normal, gain, shift)


def affine(normal: Array, weight: Array | None, bias: Array | None) -> Array:
    """Times the weight, plus the bias."""
    made = normal if weight is None else normal * weight
    return made if bias is None else made + bias


def channels(
    x: Array, weight: Array | None, bias: Array | None
) -> tuple[Array | None, Array | None]:
    """One entry per channel, so that they broadcast."""
    shape = (-1, *(1,) * (x.ndim - 2))
    return (
        None if weight is None else weight.reshape(shape),
        None if bias is None else bias.reshape(shape),
    )
