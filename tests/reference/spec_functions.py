"""What the examples of SPEC.md call, through everything that implements it.

Each function makes the question of an example a case, as the vectors hold them; the oracle, the
numpy form and quant_torch answer it the way they answer a case. Policies that the numpy form does
not follow are answered by what the vectors say of other behaviours.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tests.reference.spec_block_scaling import numpy_blocks, oracle_blocks
from tests.reference.spec_integers import numpy_integers, oracle_integers
from tests.reference.spec_questions import Asked, Functions, held, plain, single
from tests.reference.spec_regions import (
    numpy_bounds,
    numpy_codes,
    numpy_layer,
    numpy_verdicts,
    oracle_bounds,
    oracle_codes,
    oracle_layer,
    suite_verdicts,
)
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
from quant_reference.batch_norm import BatchNorm, train_batch_norm
from quant_reference.oracle import lifecycle as oracle_lifecycle
from quant_reference.oracle.arithmetic import clamp
from quant_reference.oracle.number import DTYPES as BINARIES
from quant_reference.oracle.number import rint
from quant_vectors import Case

Array = NDArray[Any]
F32 = np.dtype(np.float32)


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
        **oracle_integers(),
        **oracle_blocks(),
        "rounded": lambda v, dtype: [
            float(oracle.round_to(n, BINARIES[dtype])) for n in numbers(np.asarray(v, np.float64))
        ],
        "rint": lambda v: plain([rint(n) for n in numbers(held(v))]),
        "clamp": lambda v, a, b: plain(
            [clamp(n, oracle.number(float(a)), oracle.number(float(b))) for n in numbers(held(v))]
        ),
        "running": running,
        "bounds": oracle_bounds,
        "codes": oracle_codes,
        "layer_codes": oracle_layer,
        "train_batch_norm": train,
        "blocks": lambda shape, target="activation", **g: counted(
            shape, oracle.block_extents(shape, granularity_from_dict(g), target)
        ),
        "default_axis": lambda kind, **g: completed(
            kind, g, oracle.default_axis(kind, granularity_from_dict(g))
        ),
    }


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
        **numpy_integers(),
        **numpy_blocks(),
        "rounded": lambda v, dtype: plain(held_in(v, dtype)),
        "rint": lambda v: plain(np.rint(held(v))),
        "clamp": lambda v, a, b: plain(np.clip(held(v), np.float32(a), np.float32(b))),
        "running": running,
        "bounds": numpy_bounds,
        "codes": numpy_codes,
        "layer_codes": numpy_layer,
        "verdicts": numpy_verdicts,
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

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a conflict is warned about, as PLACE-9 says
        return list(written(QuantTorchGraph().placement(model, mode)))


def of_suite() -> Functions:
    """What the suite itself holds: placements made by hand."""
    return {
        "placement": lambda mode, model: list(stated_lines(model, mode)),
        "verdicts": suite_verdicts,
    }


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
