"""Core AI programs authored from numpy: one graph, one input and one output per request.

The qparams are constants of the program, as in every exported model; only x is an input.
Imports Core AI: load this module in the worker process only.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import coreai.authoring as authoring
import numpy as np

from quant_conformance.runtimes.coreai.requests import Request
from quant_conformance.runtimes.coreai.types import (
    ELEMENT_TYPES,
    SUB_BYTE_INTEGERS,
    Array,
    to_system,
)


def build_program(requests: Sequence[Request]) -> Any:
    """Authors one program whose inputs ``x0, x1, …`` and outputs ``y0, y1, …`` are the requests.

    Raises:
        RuntimeError: the system refuses the program; its text says which operation.
    """
    module = authoring.Module.create()
    with module:
        authoring.graph(_function(requests))
    return authoring.AIProgram(module)


def _function(requests: Sequence[Request]) -> Callable[..., Any]:
    def main(*inputs: Any) -> tuple[Any, ...]:
        return tuple(
            _OPERATIONS[request.operation](x, request)
            for x, request in zip(inputs, requests, strict=True)
        )

    # Core AI reads the inputs from a signature, which has as many as there are requests.
    inputs = {f"x{i}": _declared(f"x{i}", r, r.x_type) for i, r in enumerate(requests)}
    outputs = tuple(_declared(f"y{i}", r, r.result_type) for i, r in enumerate(requests))
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    main.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter(name, kind, annotation=type_) for name, type_ in inputs.items()]
    )
    main.__annotations__ = {**inputs, "return": tuple[outputs]}  # type: ignore[valid-type]
    return main


def _declared(name: str, request: Request, element: str) -> Any:
    shape = request.x.shape if name.startswith("x") else request.result_shape
    tensor = authoring.TensorType(shape, getattr(authoring, element), name)
    return Annotated[authoring.Value, tensor]


def _constant(array: Array, element: str) -> Any:
    # Sub-byte constants authored from numpy are read back as other values (docs/findings.md),
    # so that these enter as bytes and are narrowed by the program.
    if element in SUB_BYTE_INTEGERS:
        return authoring.cast(array, getattr(authoring, element))
    return to_system(array, element)


def _quantize(x: Any, request: Request) -> Any:
    widened = _cast_from(x, request.x_type, request.offset_type)
    scale, zero_point, offset = _qparams(request, request.offset_type)
    if request.negative_zero:
        zero_point = _negative_zero(request.zero_point, request.code_type)
    return authoring.quantize(widened, scale, zero_point, offset, _axis(request))


def _dequantize(x: Any, request: Request) -> Any:
    return authoring.dequantize(x, *_dequantizing(request), _axis(request))


def _fake_quantize(x: Any, request: Request) -> Any:
    values = _dequantize(_quantize(x, request), request)
    return _cast_from(values, "float32", request.result_type)


def _shift_scale(x: Any, request: Request) -> Any:
    return authoring.blockwise_shift_scale(x, *_dequantizing(request))


def _cast(x: Any, request: Request) -> Any:
    return _cast_from(x, request.x_type, request.result_type)


def _symmetric_statistics(x: Any, request: Request) -> Any:
    return authoring.symmetric_quant_stats(x, request.scale, _axis(request))


def _asymmetric_scale(x: Any, request: Request) -> Any:
    return authoring.asymmetric_quant_stats(x, request.scale, _axis(request))[0]


def _asymmetric_zero_point(x: Any, request: Request) -> Any:
    return authoring.asymmetric_quant_stats(x, request.scale, _axis(request))[1]


def _cast_from(x: Any, element: str, target: str) -> Any:
    return x if element == target else authoring.cast(x, getattr(authoring, target))


def _qparams(request: Request, offset_type: str) -> tuple[Any, Any, Any]:
    return (
        _constant(request.scale, request.scale_type),
        _constant(request.zero_point, request.code_type),
        _constant(request.offset, offset_type),
    )


def _dequantizing(request: Request) -> tuple[Any, Any, Any]:
    scale, zero_point, offset = _qparams(request, "float32")
    if request.negative_zero:
        offset = _negative_zero(request.offset, "float32")
    return scale, zero_point, offset


def _negative_zero(like: Array, element: str) -> Any:
    zeros = np.full(like.shape, -0.0, np.float32)
    # As in _constant: nothing narrower than a byte may enter as a constant.
    if element == "float4_e2m1fn":
        return authoring.cast(zeros, authoring.float4_e2m1fn)
    return zeros.astype(ELEMENT_TYPES[element])


def _axis(request: Request) -> Array:
    return np.array(request.axis, np.int32)


_OPERATIONS: dict[str, Callable[[Any, Request], Any]] = {
    "quantize": _quantize,
    "dequantize": _dequantize,
    "fake_quantize": _fake_quantize,
    "shift_scale": _shift_scale,
    "cast": _cast,
    "symmetric_scale": _symmetric_statistics,
    "asymmetric_scale": _asymmetric_scale,
    "asymmetric_zero_point": _asymmetric_zero_point,
}
"""Operation of a request -> how it is authored."""
