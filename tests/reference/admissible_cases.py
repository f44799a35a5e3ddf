"""Operations of chapter 15 with small operands, for every test that goes through all of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant_reference.admissible import Step
from quant_reference.oracle import Ball, Tensor, balls

Array = NDArray[Any]
F32 = np.float32

RENAMED = {"view", "clone", "contiguous", "identity"}
"""Other names of operations that are here under their own."""


@dataclass(frozen=True)
class Asked:
    """One operation with its attributes, and its operands by name.

    Attributes:
        name: For a test's id.
        op: The operation.
        operands: float32.
        attributes: Keyword arguments.
        inputs: The step's, where they are others than the operands in their order.
    """

    name: str
    op: str
    operands: dict[str, Array]
    attributes: dict[str, Any]
    inputs: tuple[str | None, ...] | None = None

    @property
    def step(self) -> Step:
        """The operation on its operands, in the order in which they stand."""
        return Step(self.op, self.inputs or tuple(self.operands), "result", self.attributes)


def normal(seed: int, *shape: int, scale: float = 1.0) -> Array:
    """Normally distributed float32."""
    draws = np.random.default_rng(seed).standard_normal(shape) * scale
    return np.asarray(draws, np.float32)


def exact(array: NDArray[Any]) -> Tensor:
    """An array as the oracle's tensor."""

    def ball(value: float) -> Ball:
        infinite = balls.INFINITY if value > 0 else -balls.INFINITY
        return Ball(infinite if np.isinf(value) else Fraction(value))

    return Tensor(array.shape, tuple(ball(v) for v in np.asarray(array, float).ravel().tolist()))


X = normal(1, 2, 4, 5, 6)
LINE, VOLUME = normal(2, 1, 4, 9), normal(3, 1, 2, 3, 4, 3)
BIAS, CHANNELS = normal(4, 6), normal(5, 4)
QUERY, KEY, VALUE = normal(6, 1, 2, 5, 4), normal(7, 1, 2, 7, 4), normal(8, 1, 2, 7, 3)
MASK = np.where(np.arange(35).reshape(5, 7) % 3 == 1, np.float32(-np.inf), np.float32(0.25))
NEAR = np.where(np.arange(X.size).reshape(X.shape) % 3 == 0, np.float32(0), X)
STRIDED = {"stride": [2, 1], "padding": [1, 2], "dilation": [1, 2], "groups": 2}
TURNED = {"stride": [2, 3], "padding": 1, "output_padding": 1, "groups": 2, "dilation": [1, 2]}

INSIDE = {
    **dict.fromkeys(("log", "sqrt", "rsqrt", "log2", "log10", "log1p"), np.abs(X) + F32(2.0**-10)),
    **dict.fromkeys(("asin", "acos", "atanh"), np.tanh(X)),
    "acosh": np.abs(X) + F32(1.001),
}
"""Operands of functions that are not defined for all numbers."""
ACTIVATIONS: tuple[tuple[str, dict[str, Any]], ...] = (
    *((op, {}) for op in ("neg", "relu", "relu6", "hardtanh", "leaky_relu", "exp", "log", "sqrt")),
    *((op, {}) for op in ("rsqrt", "erf", "tanh", "sigmoid", "logsigmoid", "silu", "elu", "celu")),
    *((op, {}) for op in ("selu", "mish", "softplus", "hardsigmoid", "hardswish", "gelu")),
    ("clamp", {"min": -0.1, "max": 0.3}),
    ("clamp", {"max": 0.5}),
    ("hardtanh", {"min_val": -2.0, "max_val": 0.7}),
    ("leaky_relu", {"negative_slope": 0.2}),
    ("gelu", {"approximate": "tanh"}),
    ("softplus", {"beta": 2.0}),
    ("elu", {"alpha": 0.7}),
    ("celu", {"alpha": 0.3}),
    ("pow", {"exponent": 3}),
    ("pow", {"exponent": 2}),
    ("pow", {"exponent": -2}),
    ("round_to", {"dtype": "float16"}),
    ("dropout", {"p": 0.5}),
    *((op, {}) for op in ("sin", "cos", "atan", "sinh", "cosh", "asinh", "exp2", "expm1")),
    ("tan", {}),
    *((op, {}) for op in ("log2", "log10", "log1p", "asin", "acos", "atanh", "acosh")),
    *((op, {}) for op in ("floor", "ceil", "trunc", "round", "sign", "abs", "logical_not")),
)

ON_X: tuple[tuple[str, dict[str, Any]], ...] = (
    ("sum", {"dim": [1, -1]}),
    ("sum", {"dim": None}),
    ("mean", {"dim": 2, "keepdim": True}),
    ("avg_pool2d", {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True}),
    ("avg_pool2d", {"kernel_size": [2, 3], "padding": 1, "count_include_pad": False}),
    ("avg_pool2d", {"kernel_size": 2, "divisor_override": 3}),
    ("adaptive_avg_pool2d", {"output_size": [3, 4]}),
    ("max_pool2d", {"kernel_size": 2, "stride": 2, "padding": 1, "ceil_mode": True}),
    ("max_pool2d", {"kernel_size": 2, "dilation": 2, "stride": 1}),
    ("upsample_nearest", {"size": [7, 9]}),
    ("upsample_nearest", {"size": [15, 18]}),
    ("upsample_nearest", {"size": [8, 10], "scale_factor": [1.7, 1.7]}),
    ("upsample_nearest", {"size": [15, 9], "scale_factor": [3.0, None]}),
    ("upsample_bilinear", {"size": [8, 10], "scale_factor": [1.7, 1.7]}),
    ("upsample_bilinear", {"size": [7, 9]}),
    ("upsample_bilinear", {"size": [7, 9], "align_corners": True}),
    *((op, {"dim": [1, -1]}) for op in ("amax", "amin")),
    *((op, {"dim": None, "keepdim": True}) for op in ("amax", "amin")),
    ("upsample_bicubic", {"size": [6, 3]}),
    ("upsample_bicubic", {"size": [3, 4], "align_corners": True}),
    ("upsample_bicubic", {"size": [8, 10], "scale_factor": [1.7, 1.7]}),
    ("var", {"dim": [1, -1]}),
    ("var", {"dim": 2, "correction": 0, "keepdim": True}),
    ("cumsum", {"dim": 1}),
    ("flip", {"dims": [1, -1]}),
    ("sort", {"dim": 2}),
    ("sort", {"descending": True}),
    ("argsort", {"dim": 2}),
    ("argsort", {"descending": True}),
    *((op, {"dim": 1}) for op in ("argmax", "argmin")),
    *((op, {"keepdim": True}) for op in ("argmax", "argmin")),
    ("softmax", {"dim": 1}),
    ("softmax", {"dim": -1}),
    ("layer_norm", {"normalized_shape": [5, 6]}),
    ("rms_norm", {"normalized_shape": [6], "eps": 1e-6}),
    ("group_norm", {"num_groups": 2}),
    ("instance_norm", {}),
    ("flatten", {"start_dim": 1}),
    ("reshape", {"shape": [2, -1, 3]}),
    ("permute", {"dims": [0, 2, 3, 1]}),
    ("transpose", {"dim0": 1, "dim1": -1}),
    ("pad", {"pad": [1, 2, 0, 1], "value": 0.1}),
)


def written() -> Iterator[Asked]:
    """Elements written to places, some of them more than once."""
    order = np.float32(np.arange(36).reshape(2, 3, 2, 3) * 7 % 4)
    source = normal(26, 2, 4, 3, 3)
    for reduce in ("replace", "sum", "mean", "prod", "amax", "amin"):
        given = {"dim": 1, "reduce": reduce}
        yield Asked(f"scatter-{reduce}", "scatter", {"x": X, "i": order, "s": source}, given)
    for reduce in ("replace", "mean"):
        given = {"dim": -2, "reduce": reduce, "include_self": False}
        operands = {"y": source, "i": order - 3, "x": X}
        yield Asked(f"scatter-{reduce}-2", "scatter", operands, given)
    yield Asked("scatter-number", "scatter", {"x": X, "i": order, "s": F32(0.5)}, {"dim": 1})
    chosen = np.float32([[2, 0, -1], [2, 3, -4]])
    values = normal(27, 2, 3, 5, 6)
    put = {"x": X, "v": values, "i": chosen}
    for accumulate in (False, True):
        given = {"accumulate": accumulate}
        yield Asked(f"index_put-{accumulate}", "index_put", put, given, ("x", "v", None, "i"))
        both = {"y": X, "x": X[:1, :1], "i": chosen % 2, "j": chosen}
        yield Asked(f"index_put-{accumulate}-2", "index_put", both, given)
    windows = {"output_size": [5, 4], "kernel_size": [2, 3], "padding": [1, 0], "stride": [2, 1]}
    yield Asked("fold", "fold", {"x": X.reshape(2, 12, 10)[:, :, :6]}, windows)
    wide = {"output_size": [4, 6], "kernel_size": [2, 2], "dilation": [2, 1], "padding": [0, 0]}
    yield Asked("fold-2", "fold", {"x": X.reshape(2, 12, 10)}, wide)


def asked() -> Iterator[Asked]:
    """Every operation that the oracle knows too."""
    for index, (op, attributes) in enumerate((*ACTIVATIONS, *ON_X)):
        yield Asked(f"{op}-{index}", op, {"x": INSIDE.get(op, X)}, attributes)
    for op, attributes in (("add", {}), ("add", {"alpha": 0.3}), ("sub", {}), ("mul", {}),
                           ("div", {})):  # fmt: skip
        yield Asked(f"{op}{len(attributes)}", op, {"x": X, "y": normal(9, 4, 1, 6)}, attributes)
    for op in ("maximum", "minimum", "eq", "ne", "lt", "le", "gt", "ge", "logical_and",
               "logical_or", "logical_xor"):  # fmt: skip
        yield Asked(op, op, {"x": X, "y": NEAR}, {})
    yield Asked("where", "where", {"x": NEAR, "a": X, "b": BIAS}, {})
    yield Asked("where-2", "where", {"c": NEAR, "x": X, "b": BIAS}, {})
    yield Asked("linear", "linear", {"x": X, "w": normal(10, 6, 6), "b": BIAS}, {})
    yield Asked("matmul", "matmul", {"x": X, "y": normal(11, 4, 6, 3)}, {})
    equation = {"equation": "abcd,ed->aec"}
    yield Asked("einsum", "einsum", {"x": X, "y": normal(12, 4, 6)}, equation)
    yield Asked("conv2d", "conv2d", {"x": X, "w": normal(13, 6, 2, 3, 2), "b": BIAS}, STRIDED)
    depthwise = {"padding": 2, "dilation": 2, "groups": 4}
    yield Asked("conv1d", "conv1d", {"x": LINE, "w": normal(14, 4, 1, 3)}, depthwise)
    yield Asked("conv3d", "conv3d", {"x": VOLUME, "w": normal(15, 3, 2, 2, 3, 2)}, {"padding": 1})
    weight = {"x": X, "w": normal(16, 4, 3, 3, 2), "b": BIAS}
    yield Asked("conv_transpose2d", "conv_transpose2d", weight, TURNED)
    turned = {"stride": 2, "groups": 4}
    yield Asked("conv_transpose1d", "conv_transpose1d", {"x": LINE, "w": normal(17, 4, 1, 3)},
                turned)  # fmt: skip
    turned = {"stride": 2, "padding": 1}
    yield Asked("conv_transpose3d", "conv_transpose3d",
                {"x": VOLUME, "w": normal(18, 2, 2, 2, 3, 2)}, turned)  # fmt: skip
    for n, x in ((1, LINE), (3, VOLUME)):
        for pool in ("avg_pool", "max_pool"):
            yield Asked(f"{pool}{n}d", f"{pool}{n}d", {"x": x}, {"kernel_size": 2, "padding": 1})
        yield Asked(f"adaptive{n}d", f"adaptive_avg_pool{n}d", {"x": x}, {"output_size": 2})
    heads = {"q": QUERY, "k": KEY, "v": VALUE}
    yield Asked("attention", "scaled_dot_product_attention", heads, {})
    causal = {"is_causal": True, "scale": 0.3}
    yield Asked("attention-causal", "scaled_dot_product_attention", heads, causal)
    yield Asked("attention-mask", "scaled_dot_product_attention", {**heads, "m": MASK}, {})
    statistics = {"mean": CHANNELS, "var": np.abs(CHANNELS) + 1, "w": BIAS[:4], "b": BIAS[2:]}
    yield Asked("batch_norm", "batch_norm", {"x": X, **statistics}, {})
    yield Asked("cat", "cat", {"x": X, "y": X[:, :2]}, {"dim": 1})
    yield Asked("embedding", "embedding", {"i": np.float32([[2, 0], [3, 3]]), "w": X[0, 0]}, {})
    chosen = np.float32([[2, 0, -1], [3, 3, -4]])
    yield Asked("index", "index", {"x": X, "i": chosen}, {}, ("x", None, "i"))
    yield Asked("index-2", "index", {"x": X, "i": chosen % 2, "j": chosen}, {})
    order = np.float32(np.arange(60).reshape(2, 1, 5, 6) % 4)
    yield Asked("gather", "gather", {"x": X, "i": order}, {"dim": 1})
    yield from written()
    yield Asked("atan2", "atan2", {"x": X, "y": normal(9, 4, 1, 6)}, {})
    yield Asked("atan2-2", "atan2", {"y": normal(9, 4, 1, 6), "x": X}, {})
    yield Asked("lerp", "lerp", {"x": X, "y": X[::-1].copy(), "w": normal(23, 2, 4, 5, 6)}, {})
    yield Asked("lerp-3", "lerp", {"s": X[::-1].copy(), "e": X - 1, "x": X}, {})
    yield Asked("cdist", "cdist", {"x": X, "y": normal(24, 2, 4, 3, 6)}, {})
    where = normal(25, 2, 3, 4, 2)
    for mode, padding in (("bilinear", "border"), ("nearest", "zeros"), ("bilinear", "zeros")):
        given = {"mode": mode, "padding_mode": padding, "align_corners": padding != "zeros"}
        sampled = {"x": X, "g": where}
        yield Asked(f"grid_sample-{mode}-{padding}", "grid_sample", sampled, given)
    given = {"padding_mode": "reflection"}
    yield Asked("grid_sample-turned", "grid_sample", {"x": X, "g": 3 * where}, given)
    yield Asked("grid_sample-grid", "grid_sample", {"a": X[:, :3] * 3, "x": X[..., :2] / 2}, {})
    yield Asked("layer_norm-affine", "layer_norm", {"x": X, "w": BIAS, "b": BIAS[::-1].copy()},
                {"normalized_shape": 6})  # fmt: skip


CASES = tuple(asked())

JUMPS = {
    *("floor", "ceil", "trunc", "round", "sign", "eq", "ne", "lt", "le", "gt", "ge"),
    *("logical_and", "logical_or", "logical_xor", "logical_not", "argmax", "argmin", "argsort"),
}
"""Operations whose results are whole numbers, exact but where their operands reach a jump."""

SHAPES = {"expand", "select", "slice", "squeeze", "unsqueeze"}
"""Operations that only move elements and have tests of their own."""
