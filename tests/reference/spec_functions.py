"""What the examples of SPEC.md call, through everything that implements it.

Each function makes the question of an example a case, as the vectors hold them; the oracle, the
numpy form and quant_torch answer it the way they answer a case. Policies that the numpy form does
not follow are answered by what the vectors say of other behaviours.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tests.reference.support import DTYPES, numbers
from tests.vectors.test_answers import RECOMPUTE

from quant_conformance.backends.numpy_reference import NumpyReference
from quant_conformance.backends.quant_torch import QuantTorch, QuantTorchEager
from quant_conformance.generate.policies import touched
from quant_conformance.operations import OPERATIONS
from quant_conformance.placement import stated_lines, written
from quant_reference import (
    Observer,
    QuantizationSpec,
    block_shape,
    default_axis,
    granularity_from_dict,
    make_observer,
    oracle,
    scale_shape,
)
from quant_reference.admissible import Arithmetic, Bounds, Step, evaluate
from quant_reference.batch_norm import BatchNorm, train_batch_norm
from quant_reference.oracle import Machine, balls, layers
from quant_reference.oracle import lifecycle as oracle_lifecycle
from quant_reference.oracle.arithmetic import clamp
from quant_reference.oracle.number import DTYPES as BINARIES
from quant_reference.oracle.number import Number, rint
from quant_vectors import Case

Array = NDArray[Any]
Functions = dict[str, Callable[..., Any]]
F32 = np.dtype(np.float32)
POLICIES = (
    "nan_payload", "nan_in_e2m1", "overflow", "nan_to_integer", "e8m0_nonfinite_range",
    "zero_gradient_sign", "calibration_weights",
)  # fmt: skip
ARGUMENTS = (
    "format", "order", "count", "kind", "averaging_constant", "eps", "transposed", "groups",
    "events", "specs", "schedule", "momentum",
)  # fmt: skip
"""What a case may have as arguments."""

ROUNDED_TO = 11
"""Bits of a bound of chapter 15 that an example shows: the rest is float64's own error."""


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
        dtype = np.int8 if format.startswith("int") else np.uint8
        found = self._ask("decode", {"codes": np.array(codes, dtype)}, format=format)
        return plain(found["values"])

    def pack(self, codes: Any, format: str, order: str) -> Any:
        dtype = np.int8 if format.startswith("int") else np.uint8
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
        given = {"x": values, **_params(scale, zero_point, minval, values.ndim, spec)}
        return plain(shaped(self._ask("quantize", given, spec)["codes"], values))

    def dequantize(
        self, codes: Any, scale: Any, zero_point: Any = 0, minval: Any = None, **spec: Any
    ) -> Any:
        fmt = QuantizationSpec.from_dict(spec).format
        array = np.array(codes, fmt.code_dtype)
        given = {"codes": array, **_params(scale, zero_point, minval, array.ndim, spec)}
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
        given = {"x": values, **_params(scale, zero_point, minval, values.ndim, spec)}
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
            **_params(scale, zero_point, minval, values.ndim, spec),
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


def _params(
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


def counted(shape: Any, extents: Any) -> Any:
    """Extents of a block, and how many blocks an axis has."""
    return [list(extents), [n // extent for n, extent in zip(shape, extents, strict=True)]]


def completed(kind: str, granularity: Mapping[str, Any], axis: int) -> str:
    """A granularity with its axis, as PLACE-12 writes it."""
    size = granularity.get("block_size")
    return f"{kind}: {granularity['type']}({axis}{'' if size is None else f', {size}'})"


def of_backend(backend: Any) -> Functions:
    """A backend's answers; of another policy, what the vectors say of it."""

    def answer(case: Case, tensors: dict[str, Array], policy: dict[str, str]) -> Mapping[str, Any]:
        operation = OPERATIONS[case.operation]
        method = getattr(backend, operation.method)
        if getattr(type(backend), operation.method) is getattr(
            type(backend).__mro__[-2], operation.method, None
        ):
            raise NotImplementedError(operation.method)
        if policy and not isinstance(backend, NumpyReference):
            raise NotImplementedError(policy)
        found = dict(operation.outputs(method(*operation.arguments(case, tensors))))
        for name, choice in policy.items():
            others = {a.policy: a for a in touched(case, tensors, found)}[name]
            if choice != others.choice:
                found |= others.answers[choice]
        return found

    return Asked(answer).functions()


def of_oracle() -> Functions:
    """The oracle's answers, as the tests of the vectors ask for them."""

    def answer(case: Case, tensors: dict[str, Array], policy: dict[str, str]) -> Mapping[str, Any]:
        return RECOMPUTE[case.operation](case, tensors, dict(policy))

    def running(
        batches: Any, kind: str, averaging_constant: float = 0.01, x_dtype: str = "float32",
        **spec: Any,
    ) -> Any:  # fmt: skip
        given = QuantizationSpec.from_dict(spec)
        seen = [oracle.value_range(numbers(held(b, x_dtype)), given, x_dtype) for b in batches]
        found = oracle.observe(kind, seen, given, averaging_constant)
        return plain([found.lo, found.hi])

    def bounds(
        op: str, *operands: Any, values: str = "float32", accumulate: str = "float32", **given: Any
    ) -> Any:
        named, step = _region(op, operands, given)
        exact = {name: _exact(array) for name, array in named.items()}
        found = layers.evaluate([step], exact, Machine.named(values, accumulate))["y"]
        columns = zip(*((b.value, b.rigorous, b.probable) for b in found.items), strict=True)
        shown = [[_shown(v) for v in column] for column in columns]
        return [column[0] if len(column) == 1 else column for column in shown]

    def train(x: Any, norm: Any, eps: float, momentum: float, bias: Any = None) -> Any:
        columns = [numbers(held(column)) for column in norm]
        channels = [
            oracle.ChannelStatistics(m, v, eps, g, b) for m, v, g, b in zip(*columns, strict=True)
        ]
        life = oracle_lifecycle.Life(
            [], [], {}, None if bias is None else numbers(held(bias)), channels, momentum
        )
        rows = oracle_lifecycle._trained(life, [numbers(held(row)) for row in x])
        after = life.norm or []
        return plain([rows, [c.mean for c in after], [c.variance for c in after]])

    return {
        **Asked(answer).functions(),
        "rounded": lambda v, dtype: [
            float(oracle.round_to(n, BINARIES[dtype])) for n in numbers(np.asarray(v, np.float64))
        ],
        "rint": lambda v: plain([rint(n) for n in numbers(held(v))]),
        "clamp": lambda v, a, b: plain(
            [clamp(n, oracle.number(float(a)), oracle.number(float(b))) for n in numbers(held(v))]
        ),
        "running": running,
        "bounds": bounds,
        "train_batch_norm": train,
        "blocks": lambda shape, target="activation", **g: counted(
            shape, oracle.block_extents(shape, granularity_from_dict(g), target)
        ),
        "default_axis": lambda kind, **g: completed(
            kind, g, oracle.default_axis(kind, granularity_from_dict(g))
        ),
    }


def _region(op: str, operands: Any, given: Mapping[str, Any]) -> tuple[dict[str, Array], Step]:
    named = {f"x{i}": np.asarray(v, np.float64) for i, v in enumerate(operands)
             if isinstance(v, list)}  # fmt: skip
    inputs = [f"x{i}" if isinstance(v, list) else v for i, v in enumerate(operands)]
    return named, Step(op, tuple(inputs), "y", dict(given))


def _exact(array: Array) -> balls.Tensor:
    flat = [balls.Ball(_fraction(v)) for v in array.ravel().tolist()]
    return balls.Tensor(array.shape, tuple(flat))


def _fraction(value: float) -> Fraction:
    if np.isinf(value):
        return balls.INFINITY if value > 0 else -balls.INFINITY
    return Fraction(value)


def _shown(value: Any) -> float:
    """A value or radius with the first bits that an example shows."""
    if isinstance(value, Fraction) and balls.infinite(value):
        return float("inf") if value > 0 else float("-inf")
    mantissa, exponent = np.frexp(float(value))
    return float(np.ldexp(np.rint(mantissa * 2**ROUNDED_TO), int(exponent) - ROUNDED_TO))


def held_in(values: Any, dtype: str) -> Array:
    """Numbers rounded to a dtype by numpy and ml_dtypes."""
    with np.errstate(over="ignore"):
        return np.asarray(values, np.float64).astype(DTYPES[dtype])


def of_numpy() -> Functions:
    """The numpy form."""

    def running(
        batches: Any, kind: Any, averaging_constant: float = 0.01, x_dtype: str = "float32",
        **spec: Any,
    ) -> Any:  # fmt: skip
        observer: Observer = make_observer(
            kind, QuantizationSpec.from_dict(spec), "activation", averaging_constant
        )
        for batch in batches:
            observer = observer.update(held(batch, x_dtype))
        if observer.lo is None or observer.hi is None:
            observer.qparams()
        return [single(observer.lo), single(observer.hi)]

    def bounds(
        op: str, *operands: Any, values: str = "float32", accumulate: str = "float32", **given: Any
    ) -> Any:
        named, step = _region(op, operands, given)
        exact: dict[str, Bounds | Array] = {**named}
        found = evaluate([step], exact, Arithmetic(values, accumulate))["y"]
        columns = (found.value, found.rigorous, found.probable)
        shown = [[_shown(v) for v in column.ravel().tolist()] for column in columns]
        return [column[0] if len(column) == 1 else column for column in shown]

    def train(x: Any, norm: Any, eps: float, momentum: float, bias: Any = None) -> Any:
        mean, variance, gamma, beta = (held(column) for column in norm)
        before = BatchNorm(mean, variance, eps, gamma, beta)
        added = None if bias is None else held(bias)
        y, after = train_batch_norm(held(x), added, before, momentum)
        return plain([y, after.mean, after.variance])

    def in_use(**spec: Any) -> Any:
        found = QuantizationSpec.from_dict(spec)
        return [found.quant_min, found.quant_max]

    def field(name: str, **spec: Any) -> Any:
        return plain(QuantizationSpec.from_dict(spec).to_dict()[name])

    return {
        **of_backend(NumpyReference()),
        "rounded": lambda v, dtype: plain(held_in(v, dtype)),
        "rint": lambda v: plain(np.rint(held(v))),
        "clamp": lambda v, a, b: plain(np.clip(held(v), np.float32(a), np.float32(b))),
        "running": running,
        "bounds": bounds,
        "train_batch_norm": train,
        "codes_in_use": in_use,
        "field": field,
        "blocks": lambda shape, target="activation", **g: [
            list(block_shape(shape, granularity_from_dict(g), target)),
            list(scale_shape(shape, granularity_from_dict(g), target)),
        ],
        "default_axis": lambda kind, **g: completed(
            kind, g, default_axis(kind, granularity_from_dict(g))
        ),
    }


def of_torch() -> Functions:
    """quant_torch, by the ways that the suite judges it."""
    from quant_torch.quantization import spec as parts

    backend, eager = QuantTorch(), QuantTorchEager()

    def made(spec: Mapping[str, Any]) -> Any:
        backend.validate_spec(spec)
        return parts.QuantizationSpec(**spec)

    def in_use(**spec: Any) -> Any:
        factory = parts.QuantizationComponentFactory
        codes = factory.create_qparams_calculator(made(spec), "activation").codes
        return [codes.quant_min, codes.quant_max]

    def field(name: str, **spec: Any) -> Any:
        value = getattr(made(spec), name)
        if isinstance(value, parts.QuantizationGranularity):
            return value.to_dict()
        if name.endswith("dtype") and value is not None:
            return str(value).removeprefix("torch.").removesuffix("_x2")
        return getattr(value, "value", plain(value))

    def extents(shape: Any, target: Any = "activation", **given: Any) -> Any:
        granularity = parts.QuantizationGranularity.maybe_build_from_dict(given)
        return counted(shape, granularity.get_block_size(tuple(shape), target))

    return {
        **of_backend(backend),
        "life": of_backend(eager)["life"],
        "codes_in_use": in_use,
        "field": field,
        "blocks": extents,
        "default_axis": lambda kind, **g: completed(
            kind, g, backend.default_axis(kind, granularity_from_dict(g))
        ),
        "rounded": _rounded_by_torch,
        "placement": _placed,
    }


def _rounded_by_torch(values: Any, dtype: str) -> Any:
    import torch

    return torch.tensor(values, dtype=torch.float64).to(getattr(torch, dtype)).double().tolist()


def _placed(mode: str, model: str) -> Any:
    from quant_conformance.backends.quant_torch_graph import QuantTorchGraph

    return list(written(QuantTorchGraph().placement(model, mode)))


def of_suite() -> Functions:
    """What the suite itself holds: placements made by hand."""
    return {"placement": lambda mode, model: list(stated_lines(model, mode))}


@functools.cache
def implementers() -> dict[str, Functions]:
    """Everybody by name, the numpy form first: it alone refuses whatever has to be refused."""
    return {
        "reference": of_numpy(),
        "oracle": of_oracle(),
        "quant_torch": of_torch(),
        "suite": of_suite(),
    }


__all__ = ["implementers"]
