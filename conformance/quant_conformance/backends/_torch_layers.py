"""Quantized layers through torch.nn.functional, on dequantized operands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from quant_conformance.backends._torch_arrays import to_numpy, to_torch
from quant_conformance.protocol import Array, Backend
from quant_reference.admissible import FloatLayer, Layer, QuantizedTensor

_TENSOR = ("matmul", "sum", "mean", "add", "sub", "mul", "div", "neg", "clamp", "exp",
           "log", "sqrt", "rsqrt", "pow", "erf", "flatten", "permute", "transpose",
           "squeeze", "unsqueeze", "select", "clone", "cumsum", "flip", "argmax", "argmin",
           "sin", "cos", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh",
           "exp2", "expm1", "log1p", "log2", "log10", "tan", "atan2", "lerp", "cdist",
           "var")  # fmt: skip
_EXACT = ("floor", "ceil", "trunc", "round", "sign", "abs", "maximum", "minimum", "amax", "amin",
          "eq", "ne", "lt", "le", "gt", "ge", "logical_and", "logical_or", "logical_xor",
          "logical_not")  # fmt: skip
_SAME_SHAPE = ("dropout", "identity", "contiguous")


def computed(layer: Layer | FloatLayer, operands: Mapping[str, Array]) -> Array:
    """The result of the last step.

    Args:
        layer: The steps.
        operands: Dequantized, in the dtype that the layer computes in.

    Raises:
        NotImplementedError: An operation that torch has no function for, or sums in a dtype that
            torch does not promise.
    """
    if layer.arithmetic.accumulate != "float32":
        raise NotImplementedError("torch does not promise sums in float16")
    import torch

    known: dict[str, Any] = {name: to_torch(np.asarray(array)) for name, array in operands.items()}
    with torch.no_grad():
        for step in layer.steps:
            inputs = [known[name] if isinstance(name, str) else name for name in step.inputs]
            known[step.output] = _step(step.op, inputs, dict(step.attributes))
    return np.array(to_numpy(known[layer.output]), order="C")


class TorchLayers(Backend):
    """Layers of torch's functions between a backend's own dequantize and quantize."""

    def layer(self, layer: Layer) -> Array:
        return self.quantize(self._computed(layer), layer.output_spec, layer.output_qparams)

    def float_layer(self, layer: FloatLayer) -> Array:
        return self._computed(layer)

    def _computed(self, layer: Layer | FloatLayer) -> Array:
        values = np.dtype(layer.arithmetic.values)
        operands: dict[str, Array] = {}
        for name, operand in layer.operands.items():
            if isinstance(operand, QuantizedTensor):
                array = self.dequantize(operand.codes, operand.spec, operand.qparams)
            else:
                array = operand
            operands[name] = array if array.dtype == np.int32 else array.astype(values)
        return computed(layer, operands)


def _step(op: str, inputs: list[Any], attributes: dict[str, Any]) -> Any:
    import torch

    functional = torch.nn.functional
    if op in _SPECIAL:
        return _SPECIAL[op](torch, inputs, attributes)
    if op in _SAME_SHAPE:
        return inputs[0]
    if op in _EXACT:
        return _truths_as_numbers(torch, op, inputs, attributes)
    if op in _TENSOR:
        function = getattr(torch, op)
    elif hasattr(functional, op):
        function = getattr(functional, op)
    else:
        raise NotImplementedError(f"no torch function called {op}")
    found = function(*inputs, **attributes)
    return found if found.dtype.is_floating_point else found.to(inputs[0].dtype)


def _truths_as_numbers(torch: Any, op: str, inputs: list[Any], attributes: dict[str, Any]) -> Any:
    """An exact function; numbers become tensors, and a truth 1 or 0 in the operands' dtype."""
    dtype = next(x.dtype for x in inputs if isinstance(x, torch.Tensor))
    tensors = [x if isinstance(x, torch.Tensor) else torch.tensor(x, dtype=dtype) for x in inputs]
    named = dict(attributes)
    if named.get("dim", ()) is None:
        named["dim"] = ()
    return getattr(torch, op)(*tensors, **named).to(dtype)


def _where(torch: Any, inputs: list[Any], attributes: dict[str, Any]) -> Any:
    condition, *pair = inputs
    return torch.where(condition != 0, *pair)


def _einsum(torch: Any, inputs: list[Any], attributes: dict[str, Any]) -> Any:
    return torch.einsum(attributes["equation"], *inputs)


def _cat(torch: Any, inputs: list[Any], attributes: dict[str, Any]) -> Any:
    return torch.cat(inputs, **attributes)


def _interpolate(mode: str) -> Callable[[Any, list[Any], dict[str, Any]], Any]:
    def interpolate(torch: Any, inputs: list[Any], attributes: dict[str, Any]) -> Any:
        given = dict(attributes)
        factors = given.pop("scale_factor", None)
        if factors is None or "size" not in given:
            given |= {} if factors is None else {"scale_factor": factors}
            return torch.nn.functional.interpolate(inputs[0], mode=mode, **given)
        # The size says how many, the factor how far apart; only ATen's own form takes both.
        aten = torch.ops.aten
        if mode == "nearest":
            return aten.upsample_nearest2d(inputs[0], given["size"], *factors)
        corners = given.get("align_corners", False)
        return aten.upsample_bilinear2d(inputs[0], given["size"], corners, *factors)

    return interpolate


def _normalize(op: str) -> Callable[[Any, list[Any], dict[str, Any]], Any]:
    """Norms take their attributes before the weight and the bias."""

    def normalize(torch: Any, inputs: list[Any], attributes: dict[str, Any]) -> Any:
        x, *rest = inputs
        attributes = dict(attributes)
        first = attributes.pop("normalized_shape" if op != "group_norm" else "num_groups")
        shape = [first] if isinstance(first, int) and op != "group_norm" else first
        named = dict(zip(("weight", "bias"), rest, strict=False))
        return getattr(torch.nn.functional, op)(x, shape, **named, **attributes)

    return normalize


def _embedding(torch: Any, inputs: list[Any], attributes: dict[str, Any]) -> Any:
    return torch.nn.functional.embedding(inputs[0].long(), inputs[1])


def _index(torch: Any, inputs: list[Any], attributes: dict[str, Any]) -> Any:
    x, *indices = inputs
    return x[tuple(slice(None) if i is None else i.long() for i in indices)]


def _gather(torch: Any, inputs: list[Any], attributes: dict[str, Any]) -> Any:
    x, index = inputs
    return torch.gather(x, attributes["dim"], index.long())


def _scatter(torch: Any, inputs: list[Any], attributes: dict[str, Any]) -> Any:
    x, index, source = inputs
    given = dict(attributes)
    dim, reduce = given.pop("dim"), given.pop("reduce", "replace")
    index = index.long() % x.shape[dim]  # torch counts no index from the end here
    source = source if source.dim() else source.expand(index.shape)
    if reduce == "replace":
        return x.scatter(dim, index, source)
    return x.scatter_reduce(dim, index, source, reduce, **given)


def _index_put(torch: Any, inputs: list[Any], attributes: dict[str, Any]) -> Any:
    x, values, *indices = inputs
    places = [None if i is None else i.long() for i in indices]
    return torch.ops.aten.index_put(x, places, values, attributes.get("accumulate", False))


def _grid_sample(torch: Any, inputs: list[Any], attributes: dict[str, Any]) -> Any:
    return torch.nn.functional.grid_sample(*inputs, **{"align_corners": False, **attributes})


def _upsample_bicubic(torch: Any, inputs: list[Any], attributes: dict[str, Any]) -> Any:
    corners, factors = attributes.get("align_corners", False), attributes.get("scale_factor")
    return torch.ops.aten.upsample_bicubic2d(
        inputs[0], attributes["size"], corners, *(factors or (None, None))
    )


def _sorted(member: str) -> Callable[[Any, list[Any], dict[str, Any]], Any]:
    def sort(torch: Any, inputs: list[Any], attributes: dict[str, Any]) -> Any:
        return getattr(torch.sort(inputs[0], **attributes), member).to(inputs[0].dtype)

    return sort


def _view(torch: Any, inputs: list[Any], attributes: dict[str, Any]) -> Any:
    return inputs[0].reshape(attributes["shape"])


def _expand(torch: Any, inputs: list[Any], attributes: dict[str, Any]) -> Any:
    return inputs[0].expand(attributes["size"])


def _slice(torch: Any, inputs: list[Any], attributes: dict[str, Any]) -> Any:
    dim = attributes.get("dim", 0) % inputs[0].dim()
    bounds = slice(attributes.get("start"), attributes.get("end"), attributes.get("step", 1))
    return inputs[0][(slice(None),) * dim + (bounds,)]


def _round_to(torch: Any, inputs: list[Any], attributes: dict[str, Any]) -> Any:
    return inputs[0].to(getattr(torch, attributes["dtype"]))


_SPECIAL: Mapping[str, Callable[[Any, list[Any], dict[str, Any]], Any]] = {
    "einsum": _einsum,
    "where": _where,
    "cat": _cat,
    "upsample_nearest": _interpolate("nearest"),
    "upsample_bilinear": _interpolate("bilinear"),
    **{op: _normalize(op) for op in ("layer_norm", "rms_norm", "group_norm")},
    "embedding": _embedding,
    "index": _index,
    "gather": _gather,
    "scatter": _scatter,
    "index_put": _index_put,
    "grid_sample": _grid_sample,
    "upsample_bicubic": _upsample_bicubic,
    "sort": _sorted("values"),
    "argsort": _sorted("indices"),
    "view": _view,
    "reshape": _view,
    "expand": _expand,
    "slice": _slice,
    "round_to": _round_to,
}
