"""What each operation of the vectors asks of a backend, as one literal table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from quant_conformance.layers import float_layer_of, layer_of
from quant_conformance.placement import written
from quant_conformance.protocol import QUANTIZERS, Array
from quant_conformance.rule_questions.blocks import arguments_of as block_arguments_of
from quant_conformance.rule_questions.integers import layer_of as integer_layer_of
from quant_conformance.rule_questions.integers import requantization_of
from quant_reference.batch_norm import BatchNorm
from quant_reference.granularity import granularity_from_dict
from quant_reference.lifecycle import Lifecycle
from quant_reference.qparams import QParams
from quant_reference.spec import QuantizationSpec

if TYPE_CHECKING:
    from quant_vectors import Case

Tensors = Mapping[str, Array]
Arguments = tuple[Any, ...]

MAX_BYTES = 1 << 28
"""An answer above this size is refused before it is copied; no vector comes near it."""


class MalformedAnswer(Exception):  # noqa: N818 (it is a verdict on an answer, not a failure of ours)
    """The method returned something that is no answer; the text says what."""


@dataclass(frozen=True)
class Operation:
    """How to ask one operation.

    Attributes:
        method: the backend's method.
        arguments: builds the positional arguments from a case and its input tensors.
        outputs: names what the method returned, as the vectors name it; raises MalformedAnswer.
        judge: where the answer is a file, "module:function" of what judges it, given the case and
            the outputs: it is imported when it is needed, since it needs a framework.
    """

    method: str
    arguments: Callable[[Case, Tensors], Arguments]
    outputs: Callable[[Any], dict[str, Any]]
    judge: str | None = None


def _spec(case: Case) -> QuantizationSpec:
    return QuantizationSpec.from_dict(dict(case.spec or {}))


def _qparams(tensors: Tensors) -> QParams:
    return QParams(tensors["scale"], tensors.get("zero_point"), tensors.get("minval"))


def _with_qparams(name: str) -> Callable[[Case, Tensors], Arguments]:
    return lambda case, tensors: (tensors[name], _spec(case), _qparams(tensors))


def _observed(case: Case, tensors: Tensors) -> Arguments:
    constant = case.arguments.get("averaging_constant", 0.01)
    return _numbered(tensors, "batch_"), _spec(case), case.target, case.arguments["kind"], constant


def _whole_model(case: Case, tensors: Tensors) -> Arguments:
    dtypes = case.arguments["dtypes"]
    inputs = [tensors[f"input_{i}"].astype(dtype) for i, dtype in enumerate(dtypes)]
    return inputs, case.arguments["output"]


def _array(name: str) -> Callable[[Any], dict[str, Any]]:
    return lambda answer: {name: _checked(name, answer)}


def _checked(name: str, value: Any) -> Array:
    """Copies an answer into a plain array, or says what is there instead of one."""
    if not isinstance(value, np.ndarray | np.generic):
        raise MalformedAnswer(f"{name} is {_kind(value)}, not a numpy array")
    array = np.asarray(value)
    if array.dtype.hasobject:
        raise MalformedAnswer(f"{name} is an array of Python objects")
    if array.nbytes > MAX_BYTES:
        raise MalformedAnswer(f"{name} has shape {array.shape}: {array.nbytes} bytes")
    native = array.dtype.newbyteorder("=")
    return np.array(array, dtype=native, order="C", copy=True, subok=False)


def _kind(value: Any) -> str:
    return "None" if value is None else f"of type {type(value).__name__}"


def _is_pair(answer: Any) -> bool:
    return isinstance(answer, tuple | list) and len(answer) == 2


def _range_pair(answer: Any) -> dict[str, Any]:
    if not _is_pair(answer):
        raise MalformedAnswer(f"the answer is {_kind(answer)}, not a pair (lo, hi)")
    return {"lo": _checked("lo", answer[0]), "hi": _checked("hi", answer[1])}


def _qparams_fields(answer: Any) -> dict[str, Any]:
    if not hasattr(answer, "scale"):
        raise MalformedAnswer(f"the answer is {_kind(answer)}, not QParams")
    fields = {"scale": _checked("scale", answer.scale)}
    for name in ("zero_point", "minval"):
        value = getattr(answer, name, None)
        if value is not None:
            fields[name] = _checked(name, value)
    return fields


def _stored_weight(answer: Any) -> dict[str, Any]:
    if not _is_pair(answer):
        raise MalformedAnswer(f"the answer is {_kind(answer)}, not a pair (codes, QParams)")
    return {"codes": _checked("codes", answer[0]), **_qparams_fields(answer[1])}


def _batch_norm(case: Case, tensors: Tensors) -> Arguments:
    a, t = case.arguments, tensors
    norm = BatchNorm(t["mean"], t["variance"], a["eps"], t.get("gamma"), t.get("beta"))
    return t["weight"], t.get("bias"), norm, a["transposed"], a["groups"]


def _folded(answer: Any) -> dict[str, Any]:
    if not _is_pair(answer):
        raise MalformedAnswer(f"the answer is {_kind(answer)}, not a pair (weight, bias)")
    return {"weight": _checked("weight", answer[0]), "bias": _checked("bias", answer[1])}


def _trace(answer: Any) -> dict[str, Any]:
    names = ("outputs", "scales", "zero_points", "switches", "refusals", "statistics")
    if not all(hasattr(answer, name) for name in names):
        raise MalformedAnswer(f"the answer is {_kind(answer)}, not a Trace")
    found = {name: getattr(answer, name) for name in names}
    return {name: _checked(name, value) for name, value in found.items() if value is not None}


def lifecycle_of(case: Case, tensors: Tensors) -> Lifecycle:
    """Builds the life that a case asks about."""
    a, t = case.arguments, tensors
    norm = None
    if "mean" in t:
        norm = BatchNorm(t["mean"], t["variance"], a["eps"], t.get("gamma"), t.get("beta"))
    return Lifecycle(
        t["weight_0"],
        _numbered(t, "batch_"),
        {name: QuantizationSpec.from_dict(spec) for name, spec in a["specs"].items()},
        a["events"],
        _numbered(t, "weight_"),
        t.get("bias"),
        norm,
        a.get("momentum", 0.1),
        None if a.get("schedule") is None else tuple(a["schedule"]),
    )


def _numbered(tensors: Tensors, prefix: str) -> list[Array]:
    names = sorted(
        (n for n in tensors if n.startswith(prefix)), key=lambda n: int(n[len(prefix) :])
    )
    return [tensors[name] for name in names]


def _axis(answer: Any) -> dict[str, Any]:
    if isinstance(answer, bool) or not isinstance(answer, int | np.integer):
        raise MalformedAnswer(f"the axis is {_kind(answer)}, not an int")
    return {"result": int(answer)}


def _placement(answer: Any) -> dict[str, Any]:
    try:
        return {"result": written(answer)}
    except (TypeError, ValueError) as error:
        raise MalformedAnswer(f"the answer is no placement: {error}") from error


def _path(answer: Any) -> dict[str, Any]:
    path, package = answer if _is_pair(answer) else (answer, QUANTIZERS[0])
    if not isinstance(path, str):
        raise MalformedAnswer(f"the answer is {_kind(path)}, not a path")
    if not isinstance(package, str) or package not in QUANTIZERS:
        allowed = " or ".join(QUANTIZERS)
        raise MalformedAnswer(f"the model was prepared by {package!r}, not by {allowed}")
    return {"result": path, "package": package}


def _accepted(answer: Any) -> dict[str, Any]:
    return {"result": "accepted"}


OPERATIONS: Mapping[str, Operation] = {
    "encode": Operation(
        "encode", lambda case, t: (t["x"], case.arguments["format"]), _array("codes")
    ),
    "decode": Operation(
        "decode", lambda case, t: (t["codes"], case.arguments["format"]), _array("values")
    ),
    "pack": Operation(
        "pack",
        lambda case, t: (t["codes"], case.arguments["format"], case.arguments["order"]),
        _array("packed"),
    ),
    "unpack": Operation(
        "unpack",
        lambda case, t: (
            t["packed"],
            case.arguments["format"],
            case.arguments["order"],
            case.arguments["count"],
        ),
        _array("codes"),
    ),
    "value_range": Operation(
        "value_range", lambda case, t: (t["x"], _spec(case), case.target), _range_pair
    ),
    "qparams": Operation(
        "qparams", lambda case, t: (t["x"], _spec(case), case.target), _qparams_fields
    ),
    "quantize": Operation("quantize", _with_qparams("x"), _array("codes")),
    "dequantize": Operation("dequantize", _with_qparams("codes"), _array("values")),
    "fake_quantize": Operation("fake_quantize", _with_qparams("x"), _array("values")),
    "gradient": Operation(
        "gradient",
        lambda case, t: (t["x"], t["grad"], _spec(case), _qparams(t)),
        _array("gradient"),
    ),
    "observe": Operation("observe", _observed, _qparams_fields),
    "default_axis": Operation(
        "default_axis",
        lambda case, t: (
            case.arguments["module_kind"],
            granularity_from_dict(case.arguments["granularity"]),
        ),
        _axis,
    ),
    "fold_batch_norm": Operation("fold_batch_norm", _batch_norm, _folded),
    "lifecycle": Operation("lifecycle", lambda case, t: (lifecycle_of(case, t),), _trace),
    "placement": Operation(
        "placement",
        lambda case, t: (case.arguments["model_id"], case.arguments["mode"]),
        _placement,
    ),
    "model": Operation(
        "export_model",
        lambda case, t: tuple(
            case.arguments[name] for name in ("model", "config", "mode", "cast_16bit")
        ),
        _path,
        judge="quant_conformance.gate.family:judge_model",
    ),
    "export_weights": Operation(
        "export_weights",
        lambda case, t: (t["x"], _spec(case), case.arguments["module_kind"]),
        _stored_weight,
    ),
    "layer": Operation("layer", lambda case, t: (layer_of(case, t),), _array("codes")),
    "float_layer": Operation(
        "float_layer", lambda case, t: (float_layer_of(case, t),), _array("values")
    ),
    "model_output": Operation("model_output", _whole_model, _array("values")),
    "requantize": Operation(
        "requantize", lambda case, t: (t["acc"], requantization_of(case, t)), _array("codes")
    ),
    "integer_layer": Operation(
        "integer_layer", lambda case, t: (integer_layer_of(case, t),), _array("codes")
    ),
    "block_scale": Operation("block_scale", block_arguments_of, _array("codes")),
    "block_quantize": Operation("block_quantize", block_arguments_of, _array("codes")),
    "block_dequantize": Operation("block_dequantize", block_arguments_of, _array("values")),
    "block_dot": Operation("block_dot", block_arguments_of, _array("values")),
    "scale_layout": Operation("scale_layout", lambda case, t: (t["scales"],), _array("packed")),
    "validate_spec": Operation(
        "validate_spec", lambda case, t: (deepcopy(case.arguments["mapping"]),), _accepted
    ),
}
"""Operation of the vectors -> how it is asked."""
