"""A region evaluated on balls, and the codes that its result may have (ADM-1, ADM-11, ADM-13)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any, Protocol

from quant_reference.oracle import indexing, norms, sampling, scattering, selections, sums, windows
from quant_reference.oracle.activations import BINARY, UNARY, binary
from quant_reference.oracle.balls import INFINITY, Ball, Machine, Real, Tensor, infinite, tensor
from quant_reference.oracle.elementwise import quantize
from quant_reference.oracle.functions import constant
from quant_reference.oracle.number import Binary, Number, floor_log2, power
from quant_reference.oracle.qparams import BlockQParams
from quant_reference.spec import QuantizationSpec

Operation = Callable[..., Tensor]


class Step(Protocol):
    """What a step is known by: the attributes of ``quant_reference.admissible.Step``."""

    @property
    def op(self) -> str:
        """Name of the operation."""

    @property
    def inputs(self) -> tuple[str | float | None, ...]:
        """Names, numbers, or None."""

    @property
    def output(self) -> str:
        """Name of the result."""

    @property
    def attributes(self) -> Mapping[str, Any]:
        """Keyword arguments."""


def _unary(op: str) -> Operation:
    return lambda m, x, **given: tensor(x.shape, lambda p: UNARY[op](m, x.at(p), **given))


def _binary(op: str) -> Operation:
    return lambda m, a, b, **given: binary(m, op, a, b, given)


def _pooled(pool: Operation, axes: int, name: str) -> Operation:
    return lambda m, x, **given: pool(m, x, given.pop(name), axes, **given)


def _cat(m: Machine, *parts: Tensor, dim: int = 0) -> Tensor:
    axis = dim % len(parts[0].shape)
    shape = list(parts[0].shape)
    shape[axis] = sum(part.shape[axis] for part in parts)

    def item(place: tuple[int, ...]) -> Ball:
        at = list(place)
        for part in parts:
            if at[axis] < part.shape[axis]:
                return part.at(at)
            at[axis] -= part.shape[axis]
        raise ArithmeticError("a place outside")

    return tensor(shape, item)


def _permute(m: Machine, x: Tensor, dims: Sequence[int]) -> Tensor:
    axes = [d % len(x.shape) for d in dims]
    shape = [x.shape[a] for a in axes]
    return tensor(shape, lambda p: x.at([p[axes.index(a)] for a in range(len(axes))]))


def _transpose(m: Machine, x: Tensor, dim0: int, dim1: int) -> Tensor:
    axes = list(range(len(x.shape)))
    first, second = dim0 % len(axes), dim1 % len(axes)
    axes[first], axes[second] = second, first
    return _permute(m, x, axes)


def _flatten(m: Machine, x: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    start, end = start_dim % len(x.shape), end_dim % len(x.shape)
    middle = math.prod(x.shape[start : end + 1])
    return x.reshaped((*x.shape[:start], middle, *x.shape[end + 1 :]))


def _pad(m: Machine, x: Tensor, pad: Sequence[int], value: float = 0.0) -> Tensor:
    rank = len(x.shape)
    before, after = [0] * rank, [0] * rank
    for i in range(len(pad) // 2):
        before[rank - 1 - i], after[rank - 1 - i] = pad[2 * i], pad[2 * i + 1]
    shape = [n + a + b for n, a, b in zip(x.shape, before, after, strict=True)]
    fill = constant(m, value)

    def item(place: tuple[int, ...]) -> Ball:
        at = [i - a for i, a in zip(place, before, strict=True)]
        return x.at(at) if all(0 <= i < n for i, n in zip(at, x.shape, strict=True)) else fill

    return tensor(shape, item)


def _embedding(m: Machine, indices: Tensor, weight: Tensor) -> Tensor:
    shape = (*indices.shape, *weight.shape[1:])
    rank = len(indices.shape)

    def item(place: tuple[int, ...]) -> Ball:
        told = indices.at(place[:rank])
        if told.rigorous:
            return Ball(weight.at((0, *place[rank:])).value, INFINITY, INFINITY)
        return weight.at((int(told.value), *place[rank:]))

    return tensor(shape, item)


OPERATIONS: Mapping[str, Operation] = {
    **{op: _unary(op) for op in UNARY},
    **{op: _binary(op) for op in BINARY},
    "amax": selections.along(selections.greatest),
    "amin": selections.along(selections.least),
    "where": selections.where,
    **indexing.OPERATIONS,
    **scattering.OPERATIONS,
    "lerp": sampling.lerp,
    "cdist": sampling.cdist,
    "var": norms.var,
    "linear": sums.linear,
    "matmul": sums.matmul,
    "einsum": sums.einsum,
    "sum": lambda m, x, dim=None, keepdim=False: sums.reduced(m, x, dim, keepdim, False),
    "cumsum": sums.running,
    "mean": lambda m, x, dim=None, keepdim=False: sums.reduced(m, x, dim, keepdim, True),
    **{f"conv{n}d": windows.conv for n in (1, 2, 3)},
    **{f"conv_transpose{n}d": windows.conv_transpose for n in (1, 2, 3)},
    **{f"avg_pool{n}d": _pooled(windows.avg_pool, n, "kernel_size") for n in (1, 2, 3)},
    **{f"max_pool{n}d": _pooled(windows.max_pool, n, "kernel_size") for n in (1, 2, 3)},
    **{
        f"adaptive_avg_pool{n}d": _pooled(windows.adaptive_avg_pool, n, "output_size")
        for n in (1, 2, 3)
    },
    "softmax": norms.softmax,
    "scaled_dot_product_attention": norms.attention,
    "layer_norm": norms.layer_norm,
    "rms_norm": lambda m, x, weight=None, **given: norms.layer_norm(
        m, x, weight=weight, centred=False, **{"eps": None, **given}
    ),
    "group_norm": norms.group_norm,
    "instance_norm": lambda m, x, mean=None, var=None, weight=None, bias=None, eps=1e-5: (
        norms.group_norm(m, x, weight, bias, num_groups=x.shape[1], eps=eps)
    ),
    "batch_norm": norms.batch_norm,
    "upsample_nearest": lambda m, x, size, **given: norms.upsample(m, x, size, False, **given),
    "upsample_bilinear": lambda m, x, size, **given: norms.upsample(m, x, size, True, **given),
    "upsample_bicubic": sampling.upsample_bicubic,
    "grid_sample": sampling.grid_sample,
    "cat": _cat,
    "pad": _pad,
    "embedding": _embedding,
    "reshape": lambda m, x, shape: x.reshaped(shape),
    "flatten": _flatten,
    "permute": _permute,
    "transpose": _transpose,
    "dropout": lambda m, x, **_: x,
}
"""Operation -> its tensor from machine, operands and attributes."""


def evaluate(
    steps: Iterable[Step], operands: Mapping[str, Tensor], machine: Machine
) -> dict[str, Tensor]:
    """Every tensor of a region by name (ADM-1)."""
    known = dict(operands)
    for step in steps:
        inputs = [_operand(machine, known, given) for given in step.inputs]
        known[step.output] = OPERATIONS[step.op](machine, *inputs, **step.attributes)
    return known


def _operand(
    machine: Machine, known: Mapping[str, Tensor], given: str | float | None
) -> Tensor | None:
    if given is None or isinstance(given, str):
        return None if given is None else known[given]
    return Tensor((), (constant(machine, given),))


def code_set(
    ball: Ball, spec: QuantizationSpec, qparams: BlockQParams, machine: Machine
) -> tuple[int, int, int, int]:
    """Codes low, high, likely_low, likely_high of one element (ADM-11)."""
    codes = []
    for radius in ball.radii:
        for sign in (-1, 1):
            end = _outward(ball.value, sign * radius, sign, machine.values)
            codes.append(quantize(end, spec, qparams))
    return codes[0], codes[1], codes[2], codes[3]


def _outward(value: Real, radius: Real, sign: int, binary: Binary) -> Number:
    """The end of an interval on the grid of a format, away from the middle; −0 is below +0."""
    end = value + radius
    if infinite(radius) or infinite(end):
        return Number((radius or end) < 0, Fraction(0), "infinity")
    if end == 0:
        return Number(sign < 0, Fraction(0))
    step = power(max(floor_log2(abs(end)), binary.emin) - binary.precision + 1)
    count = math.ceil(end / step) if sign > 0 else math.floor(end / step)
    found = abs(count * step)
    if found >= power(binary.emax + 1):
        return Number(end < 0, Fraction(0), "infinity")
    return Number(end < 0 if found else sign < 0, found)
