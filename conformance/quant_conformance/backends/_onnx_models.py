"""The one-operator ONNX models that onnxruntime and ONNX's own evaluator are asked with.

Sub-byte integers have no numpy type, so they enter and leave a model as int8 or uint8 through a
Cast, which is exact. Every shape is left open: one model serves all tensors of a layout.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from quant_conformance.backends._layout import Layout
from quant_reference.formats import FORMATS, Format

Op = Literal[
    "quantize", "dequantize", "fake_quantize", "cast_to", "cast_from", "pack", "unpack", "dynamic"
]

OPSET = 25
"""First with 2-bit integers, last of which onnxruntime 1.32 implements every operator used."""

IR_VERSION = 13

ELEMENT_TYPES = {
    "float32": "FLOAT",
    "float16": "FLOAT16",
    "bfloat16": "BFLOAT16",
    "int2": "INT2",
    "int4": "INT4",
    "int8": "INT8",
    "uint2": "UINT2",
    "uint4": "UINT4",
    "uint8": "UINT8",
    "float8_e4m3fn": "FLOAT8E4M3FN",
    "float8_e5m2": "FLOAT8E5M2",
    "float4_e2m1fn": "FLOAT4E2M1",
    "float8_e4m3fnuz": "FLOAT8E4M3FNUZ",
    "float8_e5m2fnuz": "FLOAT8E5M2FNUZ",
    "float8_e8m0fnu": "FLOAT8E8M0",
}
"""dtype or format name to the name of ONNX's element type."""


@dataclass(frozen=True)
class ModelKey:
    """What tells one model from another.

    Attributes:
        op: "quantize", "dequantize", "fake_quantize" (the two in a row), "cast_to" and
            "cast_from" a format, "pack" and "unpack" (casts with the sub-byte type at the model's
            border), or "dynamic" (DynamicQuantizeLinear).
        fmt: format of the codes.
        dtype: dtype of the real tensor; of the unpacked codes for "pack" and "unpack".
        layout: of the scales; only for the first three.
        widen: cast the input to float32 first, for runtimes without kernels for its dtype.
        saturate: the attribute of QuantizeLinear and Cast for 8-bit floats.
    """

    op: Op
    fmt: str
    dtype: str = "float32"
    layout: Layout | None = None
    widen: bool = False
    saturate: bool = True


def element_type(name: str) -> int:
    """Returns the TensorProto type of a dtype or format."""
    import onnx

    return int(getattr(onnx.TensorProto, ELEMENT_TYPES[name]))


def code_type(fmt: Format) -> int:
    """Returns the element type that codes have at a model's border."""
    return element_type(fmt.code_dtype if fmt.is_integer else fmt.name)


def border_types(key: ModelKey) -> dict[str, int]:
    """Returns the element type of every name that can be at the border of a key's model."""
    real, inner, code = element_type(key.dtype), element_type(key.fmt), code_type(FORMATS[key.fmt])
    return {
        "x": real,
        "values": real,
        "codes": inner if key.op == "unpack" else code,
        "codes_out": inner if key.op == "pack" else code,
        "scale": element_type("float32"),
        "zero_point": code,
        "scale_out": element_type("float32"),
        "zero_point_out": element_type("uint8"),
    }


@cache
def build(key: ModelKey) -> Any:
    """Returns the ModelProto of a key.

    Inputs are ``x`` or ``codes``, ``scale`` (float32), and ``zero_point`` (int8 or uint8) for
    integer formats; the output is ``codes_out``, ``values`` or, for "dynamic", ``scale_out`` and
    ``zero_point_out``.
    """
    from onnx import helper

    fmt, nodes, kinds = FORMATS[key.fmt], _Nodes(helper), border_types(key)
    real, inner, border = kinds["x"], element_type(key.fmt), code_type(fmt)
    inputs, outputs = ["x"], ["codes_out"]
    if key.op in ("cast_to", "pack"):
        nodes.add("Cast", ["x"], outputs, to=inner, **_saturation(key, fmt))
    elif key.op in ("cast_from", "unpack"):
        inputs, outputs = ["codes"], ["values"]
        code = nodes.cast("codes", kinds["codes"], inner)
        nodes.add("Cast", [code], outputs, to=real)
    elif key.op == "dynamic":
        outputs = ["scale_out", "zero_point_out"]
        nodes.add("DynamicQuantizeLinear", ["x"], ["codes_all", *outputs])
    else:
        inputs = ["codes" if key.op == "dequantize" else "x", "scale"]
        inputs += ["zero_point"] if fmt.is_integer else []
        outputs = ["codes_out" if key.op == "quantize" else "values"]
        _linear(key, nodes, inner, border, real)
    graph = helper.make_graph(
        nodes.all,
        key.op,
        [helper.make_tensor_value_info(name, kinds[name], None) for name in inputs],
        [helper.make_tensor_value_info(name, kinds[name], None) for name in outputs],
    )
    opsets = [helper.make_opsetid("", OPSET)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)


def _linear(key: ModelKey, nodes: _Nodes, inner: int, border: int, real: int) -> None:
    fmt, wide = FORMATS[key.fmt], element_type("float32")
    zero_point = [nodes.cast("zero_point", border, inner)] if fmt.is_integer else []
    placement: dict[str, int] = {}
    if key.layout is not None and key.layout.kind != "tensor":
        placement["axis"] = key.layout.axis
    if key.layout is not None and key.layout.kind == "block":
        placement["block_size"] = key.layout.size
    code = "codes" if key.op == "dequantize" else "codes_inner"
    if key.op == "dequantize":
        code = nodes.cast("codes", border, inner)
    else:
        x = nodes.cast("x", real, wide) if key.widen else "x"
        options = placement | _saturation(key, fmt) | {"precision": wide}
        if not zero_point:
            options["output_dtype"] = inner
        target = "codes_out" if key.op == "quantize" and inner == border else code
        nodes.add("QuantizeLinear", [x, "scale", *zero_point], [target], **options)
        if key.op == "quantize":
            if inner != border:
                nodes.add("Cast", [code], ["codes_out"], to=border)
            return
    target = "values" if real == wide else "values_wide"
    nodes.add("DequantizeLinear", [code, "scale", *zero_point], [target], **placement)
    if real != wide:
        nodes.add("Cast", [target], ["values"], to=real)


def _saturation(key: ModelKey, fmt: Format) -> dict[str, int]:
    return {"saturate": int(key.saturate)} if fmt.kind == "float" and fmt.bits == 8 else {}


class _Nodes:
    """Collects the nodes of a graph."""

    def __init__(self, helper: Any) -> None:
        self._helper = helper
        self.all: list[Any] = []

    def add(self, op: str, inputs: list[str], outputs: list[str], **attributes: int) -> None:
        self.all.append(self._helper.make_node(op, inputs, outputs, **attributes))

    def cast(self, name: str, have: int, want: int) -> str:
        """Returns the name under which ``name`` is available as type ``want``."""
        if have == want:
            return name
        self.add("Cast", [name], [f"{name}_cast"], to=want)
        return f"{name}_cast"
