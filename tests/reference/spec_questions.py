"""The questions of SPEC.md's examples, made cases as the vectors hold them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tests.reference.support import DTYPES

from quant_reference import (
    QuantizationSpec,
)
from quant_reference.oracle.number import Number
from quant_vectors import Case

Array = NDArray[Any]
Functions = dict[str, Callable[..., Any]]
POLICIES = (
    "nan_payload", "nan_in_e2m1", "overflow", "nan_to_integer", "e8m0_nonfinite_range",
    "zero_gradient_sign", "calibration_weights", "nan_in_fp6", "mxint8_least",
)  # fmt: skip
ARGUMENTS = (
    "format", "order", "count", "kind", "averaging_constant", "eps", "transposed", "groups",
    "events", "specs", "schedule", "momentum",
)  # fmt: skip
"""What a case may have as arguments."""


def held(values: Any, dtype: str = "float32") -> Array:
    """Numbers as an array of a dtype that holds them."""
    wide = np.asarray(values, np.float64)
    with np.errstate(over="ignore"):
        array = wide.astype(np.float32).astype(DTYPES[dtype])
    if not np.array_equal(array.astype(np.float64), wide, equal_nan=True):
        raise AssertionError(f"{dtype} does not hold {values}")
    return array


def plain(value: Any) -> Any:
    """Python's numbers of arrays, of the oracle's numbers, and of lists of either."""
    if isinstance(value, Number):
        return float(value)
    if isinstance(value, np.ndarray | np.generic):
        wide = np.asarray(value)
        with np.errstate(invalid="ignore"):
            return (wide if wide.dtype.kind in "iub" else wide.astype(np.float64)).tolist()
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def qparams_of(scale: Any, zero_point: Any, minval: Any, rank: int) -> dict[str, Array]:
    """The tensors of qparams; a number has the rank of its tensor."""

    def shaped(value: Any, dtype: Any) -> Array:
        array = np.asarray(value, np.float64).astype(dtype)
        return array.reshape((1,) * rank) if array.ndim == 0 else array

    given = {"scale": shaped(scale, np.float32)}
    blocks = given["scale"].shape
    if minval is not None:
        given["minval"] = np.array(np.broadcast_to(shaped(minval, np.float32), blocks))
    elif zero_point is not None:
        given["zero_point"] = np.array(np.broadcast_to(shaped(zero_point, np.int32), blocks))
    return given


class Asked:
    """The functions whose questions are cases.

    Args:
        answer: Outputs by name, from a case, its tensors and a policy.
    """

    def __init__(
        self, answer: Callable[[Case, dict[str, Array], dict[str, str]], Mapping[str, Any]]
    ) -> None:
        self._answer = answer

    def functions(self) -> Functions:
        """By their names in examples."""
        names = (
            "encode", "decode", "pack", "unpack", "value_range", "qparams", "quantize",
            "dequantize", "fake_quantize", "gradient", "observe", "fold_batch_norm", "life",
        )  # fmt: skip
        return {name: getattr(self, name) for name in names}

    def _ask(
        self,
        operation: str,
        tensors: dict[str, Array],
        spec: Mapping[str, Any] | None = None,
        target: str | None = None,
        **arguments: Any,
    ) -> Mapping[str, Any]:
        unknown = set(arguments) - {*POLICIES, *ARGUMENTS}
        if unknown:
            raise TypeError(f"no argument {unknown}")
        policy = {k: arguments.pop(k) for k in POLICIES if k in arguments}
        given = dict(spec or {})
        policy |= {k: given.pop(k) for k in POLICIES if k in given}
        whole = QuantizationSpec.from_dict(given).to_dict() if spec is not None else None
        case = Case(
            "example", operation, operation, (), (), "", spec=whole, target=target,
            arguments=arguments,
        )  # fmt: skip
        return self._answer(case, tensors, policy)

    def encode(self, x: Any, format: str, x_dtype: str = "float32", **policy: str) -> Any:
        found = self._ask("encode", {"x": held(x, x_dtype)}, format=format, **policy)
        return plain(found["codes"])

    def decode(self, codes: Any, format: str) -> Any:
        dtype = np.int8 if format.startswith(("int", "mxint")) else np.uint8
        found = self._ask("decode", {"codes": np.array(codes, dtype)}, format=format)
        return plain(found["values"])

    def pack(self, codes: Any, format: str, order: str) -> Any:
        dtype = np.int8 if format.startswith(("int", "mxint")) else np.uint8
        given = {"codes": np.array(codes, dtype)}
        return plain(self._ask("pack", given, format=format, order=order)["packed"])

    def unpack(self, packed: Any, format: str, order: str, count: int) -> Any:
        given = {"packed": np.array(packed, np.uint8)}
        arguments = {"format": format, "order": order, "count": count}
        return plain(self._ask("unpack", given, **arguments)["codes"])

    def value_range(
        self, x: Any, x_dtype: str = "float32", target: str = "activation", **spec: Any
    ) -> Any:
        found = self._ask("value_range", {"x": held(x, x_dtype)}, spec, target)
        return [single(found["lo"]), single(found["hi"])]

    def qparams(self, lo: float, hi: float, range_dtype: str = "float32", **spec: Any) -> Any:
        # A tensor of the two has this range; a NaN is in both bounds (RANGE-4).
        found = self._ask("qparams", {"x": held([lo, hi], range_dtype)}, spec, "activation")
        return [single(found[name]) for name in ("scale", "zero_point", "minval") if name in found]

    def quantize(
        self,
        x: Any,
        scale: Any,
        zero_point: Any = 0,
        minval: Any = None,
        x_dtype: str = "float32",
        **spec: Any,
    ) -> Any:
        values = held(x, x_dtype)
        given = {"x": values, **params_for(scale, zero_point, minval, values.ndim, spec)}
        return plain(shaped(self._ask("quantize", given, spec)["codes"], values))

    def dequantize(
        self, codes: Any, scale: Any, zero_point: Any = 0, minval: Any = None, **spec: Any
    ) -> Any:
        fmt = QuantizationSpec.from_dict(spec).format
        array = np.array(codes, fmt.code_dtype)
        given = {"codes": array, **params_for(scale, zero_point, minval, array.ndim, spec)}
        return plain(shaped(self._ask("dequantize", given, spec)["values"], array))

    def fake_quantize(
        self,
        x: Any,
        scale: Any,
        zero_point: Any = 0,
        minval: Any = None,
        x_dtype: str = "float32",
        **spec: Any,
    ) -> Any:
        values = held(x, x_dtype)
        given = {"x": values, **params_for(scale, zero_point, minval, values.ndim, spec)}
        return plain(shaped(self._ask("fake_quantize", given, spec)["values"], values))

    def gradient(
        self,
        x: Any,
        grad: Any,
        scale: Any,
        zero_point: Any = 0,
        minval: Any = None,
        x_dtype: str = "float32",
        **spec: Any,
    ) -> Any:
        values = held(x, x_dtype)
        given = {
            "x": values,
            "grad": held(grad, x_dtype),
            **params_for(scale, zero_point, minval, values.ndim, spec),
        }
        return plain(shaped(self._ask("gradient", given, spec)["gradient"], values))

    def observe(
        self,
        batches: Any,
        kind: str,
        averaging_constant: float | None = None,
        x_dtype: str = "float32",
        target: str = "activation",
        **spec: Any,
    ) -> Any:
        given = {f"batch_{i}": held(batch, x_dtype) for i, batch in enumerate(batches)}
        arguments: dict[str, Any] = {"kind": kind}
        if averaging_constant is not None:
            arguments["averaging_constant"] = averaging_constant
        found = self._ask("observe", given, spec, target, **arguments)
        return [single(found[name]) for name in ("scale", "zero_point", "minval") if name in found]

    def fold_batch_norm(
        self,
        weight: Any,
        mean: Any,
        variance: Any,
        eps: float,
        bias: Any = None,
        gamma: Any = None,
        beta: Any = None,
        transposed: bool = False,
        groups: int = 1,
        weight_dtype: str = "float32",
        norm_dtype: str = "float32",
    ) -> Any:
        given = {"weight": held(weight, weight_dtype)}
        columns = {"mean": mean, "variance": variance, "gamma": gamma, "beta": beta}
        given |= {k: held(v, norm_dtype) for k, v in columns.items() if v is not None}
        if bias is not None:
            given["bias"] = held(bias, weight_dtype)
        arguments = {"eps": eps, "transposed": transposed, "groups": groups}
        found = self._ask("fold_batch_norm", given, **arguments)
        return [plain(shaped(found["weight"], given["weight"])), plain(found["bias"])]

    def life(
        self,
        what: str,
        events: str,
        batches: Any,
        weight: Any = (1.0,),
        weights: Any = (),
        schedule: Any = None,
        norm: Any = None,
        momentum: float = 0.1,
        eps: float = 0.0,
        bias: Any = None,
        specs: Any = ("input",),
        **policy: str,
    ) -> Any:
        """A linear layer with one input: what is seen of its life (chapter 16)."""
        steps = [[*event.split()[:1], *map(int, event.split()[1:])] for event in events.split(", ")]
        given = {"weight_0": held(weight).reshape(-1, 1)}
        given |= {f"weight_{i}": held(w).reshape(-1, 1) for i, w in enumerate(weights, start=1)}
        given |= {f"batch_{i}": held(batch).reshape(-1, 1) for i, batch in enumerate(batches)}
        arguments: dict[str, Any] = {"events": steps, "specs": {name: {} for name in specs}}
        arguments["specs"] = {k: QuantizationSpec().to_dict() for k in specs}
        if schedule is not None:
            arguments["schedule"] = schedule
        if bias is not None:
            given["bias"] = held(bias)
        if norm is not None:
            columns = ("mean", "variance", "gamma", "beta")
            given |= {name: held(column) for name, column in zip(columns, norm, strict=True)}
            arguments |= {"eps": eps, "momentum": momentum}
        found = self._ask("lifecycle", given, None, None, **arguments, **policy)[what]
        return plain(np.asarray(plain(found)).ravel() if len(found) else [])


def params_for(
    scale: Any, zero_point: Any, minval: Any, rank: int, spec: Mapping[str, Any]
) -> dict[str, Array]:
    kept = {k: v for k, v in spec.items() if k not in POLICIES}
    integer = QuantizationSpec.from_dict(kept).format.is_integer
    return qparams_of(scale, zero_point if integer else None, minval, rank)


def single(value: Any) -> Any:
    """A number for one entry, a flat list for several."""
    flat = plain(np.asarray(plain(value)).ravel())
    return flat[0] if len(flat) == 1 else flat


def shaped(value: Any, like: Array) -> Any:
    """An answer in the shape of its question; the oracle's are flat."""
    return np.array(plain(value)).reshape(like.shape)
