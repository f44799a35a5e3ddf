"""The layer cases of ordinary size: what is computed, of what, in which arithmetic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Steps = tuple[tuple[str, str, Mapping[str, Any]], ...]


@dataclass(frozen=True)
class Row:
    """One case.

    Attributes:
        name: Id behind the family.
        steps: (operation, operands, attributes) each; the result of one goes by ``y`` and is read
            by the next one in the place of ``y``.
        operands: Name -> kind and shape, as for ``layer_tensors.operand``.
        output: Kind of the result's quantization.
        half: Whether values are float16.
        full: Whether the case is left to the full tier.
    """

    name: str
    steps: Steps
    operands: Mapping[str, tuple[str, tuple[int, ...]]]
    output: str = "a8"
    half: bool = False
    full: bool = field(default=False)


def _conv(activation: str = "relu", **attributes: Any) -> Steps:
    conv = ("conv2d", "x w b", attributes)
    return (conv, (activation, "y", {})) if activation else (conv,)


_X, _B = (1, 4, 5, 4), (4,)
_CONV = {"x": ("u8", _X), "w": ("w8", (4, 4, 3, 3)), "b": ("float32", _B)}
_LINEAR = {"x": ("a8", (3, 8)), "w": ("w8", (4, 8)), "b": ("float32", _B)}
_Q = (1, 2, 3, 4)
_HEADS = {"q": ("a8", _Q), "k": ("a8", (1, 2, 5, 4)), "v": ("a8", (1, 2, 5, 4))}

ROWS: tuple[Row, ...] = (
    Row("conv2d-relu", _conv(padding=1), _CONV, "u8"),
    Row("conv2d-strided-relu6", _conv("relu6", stride=[2, 1], padding=[0, 2], dilation=[1, 2]),
        _CONV, "u8"),
    Row("conv2d-grouped-silu", _conv("silu", groups=2),
        {**_CONV, "w": ("w4", (4, 2, 3, 3))}),
    Row("conv2d-depthwise-hardswish", _conv("hardswish", groups=4, padding=1),
        {**_CONV, "w": ("wu4", (4, 1, 3, 3))}),
    Row("conv2d-e4m3", _conv("", stride=2), {**_CONV, "x": ("ae4m3", _X),
        "w": ("we4m3", (4, 4, 3, 3))}, "ae4m3"),
    Row("conv2d-float16", _conv("leaky_relu", padding=1), _CONV, half=True),
    Row("conv1d-hardsigmoid", (("conv1d", "x w b", {"padding": 2}), ("hardsigmoid", "y", {})),
        {"x": ("a8", (1, 4, 9)), "w": ("wmin", (4, 4, 3)), "b": ("float32", _B)}, "u8"),
    Row("conv3d-mish", (("conv3d", "x w", {"padding": [1, 0, 1]}), ("mish", "y", {})),
        {"x": ("a8", (1, 2, 3, 4, 3)), "w": ("w8", (3, 2, 2, 3, 2))}),
    Row("conv_transpose2d-elu",
        (("conv_transpose2d", "x w b", {"stride": [2, 3], "padding": 1, "output_padding": [1, 0],
                                        "groups": 2}), ("elu", "y", {"alpha": 0.5})),
        {"x": ("u8", (1, 4, 3, 3)), "w": ("w8t", (4, 2, 3, 3)), "b": ("float32", _B)}),
    Row("conv_transpose1d-celu",
        (("conv_transpose1d", "x w", {"stride": 2, "dilation": 2}), ("celu", "y", {"alpha": 0.5})),
        {"x": ("a8", (1, 3, 5)), "w": ("w8t", (3, 4, 3))}),
    Row("linear-gelu", (("linear", "x w b", {}), ("gelu", "y", {})), _LINEAR),
    Row("linear-gelu-tanh", (("linear", "x w b", {}), ("gelu", "y", {"approximate": "tanh"})),
        {**_LINEAR, "w": ("w4b", (4, 8))}),
    Row("linear-selu", (("linear", "x w b", {}), ("selu", "y", {})),
        {**_LINEAR, "w": ("w2", (4, 8))}),
    Row("linear-sigmoid", (("linear", "x w b", {}), ("sigmoid", "y", {})),
        {**_LINEAR, "x": ("amin", (3, 8)), "w": ("wmin", (4, 8))}, "u8"),
    Row("linear-logsigmoid", (("linear", "x w b", {}), ("logsigmoid", "y", {})), _LINEAR, "u4"),
    Row("linear-tanh-mxfp4", (("linear", "x w b", {}), ("tanh", "y", {})),
        {"x": ("a8", (3, 64)), "w": ("wmx4", (4, 64)), "b": ("float32", _B)}),
    Row("linear-hardtanh-mxfp8", (("linear", "x w", {}), ("hardtanh", "y", {"max_val": 0.3})),
        {"x": ("ae5m2", (3, 64)), "w": ("wmx8", (4, 64))}, "ae5m2"),
    Row("linear-softplus-float16", (("linear", "x w b", {}), ("softplus", "y", {"beta": 2.0})),
        _LINEAR, "u8", half=True),
    Row("linear-minval-out", (("linear", "x w b", {}),), _LINEAR, "amin"),
    Row("matmul-scaled", (("matmul", "a b", {}), ("mul", "y 0.1", {})),
        {"a": ("a8", (2, 3, 6)), "b": ("u8", (2, 6, 4))}),
    Row("matmul-float16", (("matmul", "a b", {}),),
        {"a": ("a8", (2, 3, 6)), "b": ("a8", (6, 4))}, half=True),
    Row("einsum", (("einsum", "a b", {"equation": "bij,bkj->bik"}),),
        {"a": ("a8", (2, 3, 6)), "b": ("a8", (2, 4, 6))}),
    Row("add-relu", (("add", "a b", {}), ("relu", "y", {})),
        {"a": ("a8", (2, 3, 4)), "b": ("u8", (3, 1))}, "u8"),
    Row("add-alpha", (("add", "a b", {"alpha": 0.3}),),
        {"a": ("a8", (2, 3, 4)), "b": ("a8", (2, 3, 4))}),
    Row("sub-float16", (("sub", "a b", {}),),
        {"a": ("a8", (2, 3, 4)), "b": ("amin", (2, 3, 4))}, half=True),
    Row("mul-e4m3", (("mul", "a b", {}),),
        {"a": ("ae4m3", (2, 3, 4)), "b": ("ae4m3", (4,))}, "ae4m3"),
    Row("div", (("div", "a b", {}),), {"a": ("a8", (3, 4)), "b": ("positive", (3, 4))}),
    Row("mean", (("mean", "x", {"dim": [2, 3], "keepdim": True}),), {"x": ("u8", _X)}, "u8"),
    Row("sum", (("sum", "x", {"dim": [-1]}),), {"x": ("a8", _X)}),
    Row("avg_pool2d", (("avg_pool2d", "x", {"kernel_size": [3, 2], "stride": 2, "padding": 1}),),
        {"x": ("a8", _X)}),
    Row("avg_pool2d-without-padding",
        (("avg_pool2d", "x", {"kernel_size": 3, "stride": 2, "padding": 1,
                              "count_include_pad": False}),), {"x": ("u8", _X)}, "u8"),
    Row("adaptive_avg_pool2d", (("adaptive_avg_pool2d", "x", {"output_size": [3, 2]}),),
        {"x": ("a8", _X)}),
    Row("max_pool2d", (("neg", "x", {}), ("max_pool2d", "y", {"kernel_size": 3, "stride": 2,
                                                             "padding": 1})),
        {"x": ("u8", _X)}),
    Row("floor", (("mul", "x 10", {}), ("floor", "y", {})), {"x": ("a8", (3, 4))}),
    Row("ceil-abs", (("mul", "x 10", {}), ("ceil", "y", {}), ("abs", "y", {})),
        {"x": ("a8", (3, 4))}),
    Row("round-ties", (("round", "x", {}),), {"x": ("halves:7", (3, 4))}),
    Row("where-open", (("linear", "x w b", {}), ("gt", "y 0", {}), ("where", "y c d", {})),
        {**_LINEAR, "c": ("a8", (3, 4)), "d": ("u8", (4,))}),
    Row("where-equal", (("gt", "i 2", {}), ("where", "y c d", {})),
        {"i": ("table:5", (3, 4)), "c": ("a8", (3, 4)), "d": ("u8", (4,))}),
    Row("between", (("maximum", "a b", {}), ("minimum", "y c", {})),
        {"a": ("a8", (3, 4)), "b": ("u8", (3, 1)), "c": ("a8", (4,))}),
    Row("amax", (("abs", "x", {}), ("neg", "y", {}), ("amax", "y", {"dim": [1]})),
        {"x": ("a8", (3, 4))}),
    Row("amin", (("amin", "x", {"dim": [0], "keepdim": True}),), {"x": ("a8", (3, 4))}),
    Row("index", (("index", "x i j", {}),),
        {"x": ("a8", (4, 3, 2)), "i": ("table:4", (5,)), "j": ("table:3", (5,))}),
    Row("gather", (("gather", "x i", {"dim": 0}),),
        {"x": ("a8", (4, 3)), "i": ("table:3", (2, 3))}),
    Row("flip", (("flip", "x", {"dims": [0, 1]}),), {"x": ("a8", (4, 3))}),
    Row("sort", (("sort", "x", {"dim": 0, "descending": True}),), {"x": ("a8", (4, 3))}),
    Row("argmax", (("argmax", "x", {"dim": 1}),), {"x": ("halves:3", (4, 6))}, "u8"),
    Row("cumsum", (("cumsum", "x", {"dim": 1}),), {"x": ("a8", (2, 6))}),
    Row("sin", (("mul", "x 10", {}), ("sin", "y", {})), {"x": ("a8", (3, 4))}),
    Row("cos", (("mul", "x 10", {}), ("cos", "y", {})), {"x": ("a8", (3, 4))}),
    Row("softmax", (("softmax", "x", {"dim": 1}),), {"x": ("a8", (2, 5, 3))}, "u8"),
    Row("attention", (("scaled_dot_product_attention", "q k v", {}),), _HEADS),
    Row("attention-causal-float16",
        (("scaled_dot_product_attention", "q k v", {"is_causal": True}),),
        {"q": ("a8", (1, 1, 4, 4)), "k": ("a8", (1, 1, 4, 4)), "v": ("a8", (1, 1, 4, 3))},
        half=True),
    Row("layer_norm", (("layer_norm", "x w b", {"normalized_shape": [6]}),),
        {"x": ("u8", (2, 3, 6)), "w": ("float32", (6,)), "b": ("float32", (6,))}),
    Row("rms_norm", (("rms_norm", "x w", {"normalized_shape": [6], "eps": 0.01}),),
        {"x": ("a8", (2, 3, 6)), "w": ("float32", (6,))}),
    Row("group_norm", (("group_norm", "x w b", {"num_groups": 2}),),
        {"x": ("u8", _X), "w": ("float32", _B), "b": ("float32", _B)}),
    Row("instance_norm", (("instance_norm", "x", {}),), {"x": ("u8", _X)}),
    Row("batch_norm", (("batch_norm", "x m v w b", {}),),
        {"x": ("a8", _X), "m": ("float32", _B), "v": ("positive", _B), "w": ("float32", _B),
         "b": ("float32", _B)}),
    Row("embedding", (("embedding", "i w", {}),),
        {"i": ("table:5", (2, 3)), "w": ("w4b", (5, 8))}),
    Row("cat-flatten", (("cat", "a b", {"dim": 1}), ("flatten", "y", {"start_dim": 1})),
        {"a": ("a8", (2, 3, 2)), "b": ("u8", (2, 1, 2))}),
    Row("upsample_nearest", (("upsample_nearest", "x", {"size": [7, 3]}),), {"x": ("a8", _X)}),
    Row("upsample_bilinear", (("upsample_bilinear", "x", {"size": [6, 5]}),), {"x": ("u8", _X)},
        "u8"),
)  # fmt: skip
