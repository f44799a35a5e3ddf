"""Operations on tensors whose first axes stand joined, in steps of at most five axes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from quant_torch.export.rewriting._calls import call
from quant_torch.export.rewriting.inlining import Place

MOST = 5
"""Axes of a tensor of Core ML."""

Shape = tuple[int, ...]
Step = Callable[..., Any]


def shape_of(value: Any) -> Shape | None:
    """The shape of a value of a trace; None where it is no tensor, or has none."""
    kind = value.type()
    if kind.kind() != "TensorType" or kind.sizes() is None:
        return None
    return tuple(kind.sizes())


def result_of(node: Any) -> Shape:
    """The shape of a node's one result."""
    return shape_of(node.output()) or ()


def joined(shape: Shape) -> Shape:
    """The first axes as one, so that five are left."""
    cut = len(shape) - MOST + 1
    return shape if cut < 2 else (math.prod(shape[:cut]), *shape[cut:])


def of_two(overload: Any, args: list[Any], shapes: list[Shape]) -> Step | None:
    """Axes are joined where both operands have them, or where one lacks them all."""
    rank = max(map(len, shapes))
    full = [(1,) * (rank - len(shape)) + shape for shape in shapes]
    groups: list[list[int]] = []
    kinds: list[tuple[bool, ...]] = []
    for axis in range(rank):
        kind = tuple(shape[axis] == 1 for shape in full)
        extent = max(shape[axis] for shape in full)
        if groups and (kind == kinds[-1] or extent == 1):
            groups[-1].append(axis)
        else:
            groups.append([axis])
            kinds.append(kind)
    if len(groups) > MOST:
        return None
    low = [tuple(math.prod(s[a] for a in group) for group in groups) for s in full]
    whole = tuple(max(s[axis] for s in full) for axis in range(rank))

    def step(*tensors: Tensor) -> Tensor:
        given = [torch.reshape(t, shape) for t, shape in zip(tensors, low, strict=True)]
        made = call(overload, [given[a.index] if isinstance(a, Place) else a for a in args])
        return torch.reshape(made, joined(whole))

    return step


def _permuted(x: Tensor, shape: Shape, order: Sequence[int]) -> Tensor:
    """A permutation by steps of four axes at most: one block of axes brought before another."""
    axes = list(range(len(shape)))
    for place, axis in enumerate(order):
        at = axes.index(axis)
        if at == place:
            continue
        end = at + 1  # as many axes as stay together
        while end < len(axes) and order[place + end - at : place + end - at + 1] == [axes[end]]:
            end += 1
        parts = [axes[:place], axes[place:at], axes[at:end], axes[end:]]
        sizes = [math.prod(shape[a] for a in part) for part in parts]
        x = torch.permute(torch.reshape(x, sizes), [0, 2, 1, 3])
        axes = [*parts[0], *parts[2], *parts[1], *parts[3]]
    return torch.reshape(x, joined(tuple(shape[a] for a in order)))


def _permute(shape: Shape, args: list[Any], node: Any) -> Step:
    order = [axis % len(shape) for axis in args[1]]
    return lambda x: _permuted(x, shape, order)


def _transpose(shape: Shape, args: list[Any], node: Any) -> Step:
    order = list(range(len(shape)))
    first, second = args[1] % len(shape), args[2] % len(shape)
    order[first], order[second] = order[second], order[first]
    return lambda x: _permuted(x, shape, order)


def around(shape: Shape, dim: int) -> tuple[int, int, int]:
    """What stands before an axis, the axis, and what stands behind it."""
    return math.prod(shape[:dim]), shape[dim], math.prod(shape[dim + 1 :])


def _select(shape: Shape, args: list[Any], node: Any) -> Step:
    dim, index = args[1] % len(shape), args[2] % shape[args[1]]
    return cut_out(shape, dim, index, index + 1, 1, result_of(node))


def _slice(shape: Shape, args: list[Any], node: Any) -> Step:
    dim = args[1] % len(shape)
    start, end, step = slice(args[2], args[3], args[4]).indices(shape[dim])
    return cut_out(shape, dim, start, end, step, result_of(node))


def cut_out(shape: Shape, dim: int, start: int, end: int, step: int, found: Shape) -> Step:
    """A range of an axis, in the shape that it is found in."""
    sizes = around(shape, dim)

    def cut(x: Tensor) -> Tensor:
        taken = torch.ops.aten.slice.Tensor(torch.reshape(x, sizes), 1, start, end, step)
        return torch.reshape(taken, joined(found))

    return cut


def _reduced(over: Callable[..., Tensor]) -> Callable[[Shape, list[Any], Any], Step | None]:
    def made(shape: Shape, args: list[Any], node: Any) -> Step | None:
        given = args[1] if len(args) > 1 else None
        if given is None or isinstance(given, bool) or given == []:
            return None
        dims = sorted({d % len(shape) for d in ([given] if isinstance(given, int) else given)})
        if dims != list(range(dims[0], dims[-1] + 1)):
            return None
        before = math.prod(shape[: dims[0]])
        count = math.prod(shape[dims[0] : dims[-1] + 1])
        sizes, found = (before, count, math.prod(shape[dims[-1] + 1 :])), result_of(node)
        return lambda x: torch.reshape(over(torch.reshape(x, sizes), 1), joined(found))

    return made


def _softmax(shape: Shape, args: list[Any], node: Any) -> Step | None:
    if args[2] is not None:
        return None
    sizes = around(shape, args[1] % len(shape))
    return lambda x: torch.reshape(torch.softmax(torch.reshape(x, sizes), 1), joined(shape))


def _flip(shape: Shape, args: list[Any], node: Any) -> Step:
    def flip(x: Tensor) -> Tensor:
        for dim in args[1]:
            x = torch.flip(torch.reshape(x, around(shape, dim % len(shape))), [1])
        return torch.reshape(x, joined(shape))

    return flip


def _expand(shape: Shape, args: list[Any], node: Any) -> Step:
    wanted = result_of(node)
    start = (1,) * (len(wanted) - len(shape)) + shape

    def expand(x: Tensor) -> Tensor:
        current = list(start)
        for axis, extent in enumerate(wanted):
            if current[axis] != extent:
                before, _, behind = around(tuple(current), axis)
                wide = torch.reshape(x, (before, 1, behind))
                x = torch.cat([wide] * extent, 1)
                current[axis] = extent
        return torch.reshape(x, joined(wanted))

    return expand


MOVES: dict[str, Callable[[Shape, list[Any], Any], Step | None]] = {
    "permute": _permute,
    "transpose": _transpose,
    "select": _select,
    "slice": _slice,
    "sum": _reduced(lambda x, dim: torch.sum(x, dim)),
    "mean": _reduced(lambda x, dim: torch.mean(x, dim)),
    "amax": _reduced(lambda x, dim: torch.amax(x, dim)),
    "amin": _reduced(lambda x, dim: torch.amin(x, dim)),
    "softmax": _softmax,
    "flip": _flip,
    "expand": _expand,
}
"""Operation -> from the shape of its tensor, its arguments and its node to a step."""
