"""ATen's operations that put elements elsewhere, as steps: exact (ADM-5)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from quant_conformance.gate.aten.calls import Call, Steps
from quant_reference.admissible import Step


def part(call: Call, name: str) -> str:
    """Name of a value within an operation."""
    return f"{call.operation.outputs[0]}/{name}"


def _sliced(x: str, output: str, dim: int, start: int, end: int) -> Step:
    return Step("slice", (x,), output, {"dim": dim, "start": start, "end": end, "step": 1})


def _roll(call: Call) -> Steps:
    """Along each axis what falls out at the end stands before the rest; all as one without axes."""
    shape, shifts, dims = call.shape("self"), list(call["shifts"]), list(call["dims"])
    x, steps = str(call["self"]), list[Step]()
    if not dims:
        count = 1
        for extent in shape:
            count *= extent
        steps = [Step("reshape", (x,), part(call, "line"), {"shape": [count]})]
        x, shape, dims = steps[0].output, (count,), [0]
    for index, (shift, dim) in enumerate(zip(shifts, dims, strict=True)):
        extent = shape[dim]
        cut = -shift % extent
        if cut:
            ends = [part(call, f"{index}/{name}") for name in ("end", "start")]
            steps += [
                _sliced(x, ends[0], dim, cut, extent),
                _sliced(x, ends[1], dim, 0, cut),
                Step("cat", tuple(ends), part(call, f"{index}/rolled"), {"dim": dim}),
            ]
            x = steps[-1].output
    return [*steps, call.step("reshape", x, shape=list(call.output_shape))]


def _padded(mode: str) -> Callable[[Call], Steps]:
    return lambda call: [
        call.step("pad", call["self"], pad=[int(n) for n in call["padding"]], mode=mode)
    ]


def _select_scatter(call: Call) -> Steps:
    """One entry of an axis replaced."""
    dim = call["dim"] % len(call.shape("self"))
    start = call["index"] % call.shape("self")[dim]
    entry = Step("unsqueeze", (call["src"],), part(call, "entry"), {"dim": dim})
    return [entry, *_replaced(call, entry.output, dim, start, start + 1)]


def _slice_scatter(call: Call) -> Steps:
    """A range of an axis replaced."""
    dim = call["dim"] % len(call.shape("self"))
    extent = call.shape("self")[dim]
    start, end, step = slice(call["start"], call["end"], call["step"]).indices(extent)
    if step != 1:
        raise NotImplementedError(f"every {step}th entry replaced")
    return _replaced(call, call["src"], dim, start, max(start, end))


def _replaced(call: Call, source: str, dim: int, start: int, end: int) -> Steps:
    extent, x = call.shape("self")[dim], str(call["self"])
    before = _sliced(x, part(call, "before"), dim, 0, start)
    after = _sliced(x, part(call, "after"), dim, end, extent)
    return [before, after, call.step("cat", before.output, source, after.output, dim=dim)]


def _diagonal(call: Call) -> Steps:
    """The places of a diagonal are a row and an entry apart in the two axes written as one."""
    shape = call.shape("self")
    rank, offset = len(shape), int(call["offset"])
    first, second = call["dim1"] % rank, call["dim2"] % rank
    rest = [axis for axis in range(rank) if axis not in (first, second)]
    rows, columns = shape[first], shape[second]
    count = call.output_shape[-1]
    start = offset if offset >= 0 else -offset * columns
    turned, line = part(call, "turned"), part(call, "line")
    given = {"start": start, "end": start + count * (columns + 1), "step": columns + 1}
    return [
        Step("permute", (call["self"],), turned, {"dims": [*rest, first, second]}),
        Step("reshape", (turned,), line, {"shape": [*(shape[a] for a in rest), rows * columns]}),
        call.step("slice", line, dim=len(rest), **given),
    ]


def _filled(value: Callable[[Call], float]) -> Callable[[Call], Steps]:
    """A number in every place, whatever stood there."""

    def make(call: Call) -> Steps:
        call.read |= {"self", "size"}  # the shape alone, which the result has
        call.read |= {"dtype", "layout", "device", "pin_memory"}  # of the result
        number = float(call.output_dtype.type(value(call)))
        return [call.step("expand", number, size=list(call.output_shape))]

    return make


def _fill(call: Call) -> Steps:
    value = call["value"] if call.is_tensor("value") else float(call["value"])
    call.read.add("self")
    return [call.step("expand", value, size=list(call.output_shape))]


def _adaptive_max_pool(call: Call) -> Steps:
    """Along each axis the greatest of the elements from ⌊i·n/m⌋ to ⌈(i + 1)·n/m⌉ (ADM-5)."""
    sizes = [int(n) for n in call["output_size"]]
    shape = call.shape("self")
    x, steps = str(call["self"]), list[Step]()
    for dim, size in enumerate(sizes, start=len(shape) - len(sizes)):
        windows = []
        for index in range(size):
            start, end = index * shape[dim] // size, -(-(index + 1) * shape[dim] // size)
            window = part(call, f"{dim}/{index}")
            given = {"dim": [dim], "keepdim": True}
            steps += [
                _sliced(x, window, dim, start, end),
                Step("amax", (window,), f"{window}/max", given),
            ]
            windows.append(f"{window}/max")
        steps.append(Step("cat", tuple(windows), part(call, f"{dim}/pooled"), {"dim": dim}))
        x = steps[-1].output
    return [*steps, call.step("identity", x)]


def axes_of(call: Call, dims: int | Sequence[int] | None) -> list[int]:
    """Axes, all of them where none are given."""
    rank = len(call.shape("self"))
    given = [dims] if isinstance(dims, int) else list(dims or range(rank))
    return [axis % rank for axis in given] if rank else []


def _truths(over: str) -> Callable[[Call], Steps]:
    """Whether any, or every element along axes is not 0."""

    def make(call: Call) -> Steps:
        truth = Step("ne", (call["self"], 0.0), part(call, "truth"), {})
        given: dict[str, Any] = {"dim": axes_of(call, call.get("dim"))}
        return [truth, call.step(over, truth.output, **given, keepdim=bool(call.get("keepdim")))]

    return make


def _extreme(over: str, of_two: str) -> Callable[[Call], Steps]:
    """The greatest or the least, along an axis or of all; or of two tensors."""

    def make(call: Call) -> Steps:
        if "other" in call:
            return [call.step(of_two, call["self"], call["other"])]
        given: dict[str, Any] = {"dim": axes_of(call, call.get("dim"))}
        kept = bool(call.get("keepdim"))
        steps = [call.step(over, call["self"], **given, keepdim=kept)]
        if len(call.operation.outputs) > 1:  # and where it stands
            place = {"dim": call["dim"], "keepdim": kept}
            steps.append(call.step(f"arg{over[1:]}", call["self"], output=1, **place))
        return steps

    return make


def _index(call: Call) -> Steps:
    """By whole numbers; by truths how many there are depends on the data."""
    indices = call["indices"]
    named = [name for name in indices if name is not None]
    if any(call.values[name].dtype.kind == "b" for name in named):
        raise NotImplementedError("by truths, a shape that depends on the data")
    return [call.step("index", call["self"], *indices)]


def _index_select(call: Call) -> Steps:
    rank = len(call.shape("self"))
    return [call.step("index", call["self"], *[None] * (call["dim"] % rank), call["index"])]


def _gather(call: Call) -> Steps:
    return [call.step("gather", call["self"], call["index"], dim=call["dim"])]


def _flip(call: Call) -> Steps:
    return [call.step("flip", call["self"], dims=[int(n) for n in call["dims"]])]


def _place(op: str) -> Callable[[Call], Steps]:
    return lambda call: [
        call.step(op, call["self"], dim=call["dim"], keepdim=bool(call["keepdim"]))
    ]


def _cumsum(call: Call) -> Steps:
    call.read.add("dtype")
    if call.dtype("self") != call.output_dtype and call.dtype("self").kind == "f":
        raise NotImplementedError(f"{call.dtype('self')} summed in {call.output_dtype}")
    return [call.step("cumsum", call["self"], dim=call["dim"])]


def _sort(call: Call) -> Steps:
    """Values, and where they come from; stable or not, the places of equals are not known."""
    call.read.add("stable")
    given = {"dim": call["dim"], "descending": bool(call["descending"])}
    return [
        call.step("sort", call["self"], **given),
        call.step("argsort", call["self"], output=1, **given),
    ]


def _topk(call: Call) -> Steps:
    if not call["sorted"]:
        raise NotImplementedError("the greatest in no order")
    given = {"dim": call["dim"], "descending": bool(call["largest"])}
    first = {"dim": call["dim"], "start": 0, "end": int(call["k"]), "step": 1}
    names = [part(call, name) for name in ("values", "indices")]
    return [
        Step("sort", (call["self"],), names[0], given),
        Step("argsort", (call["self"],), names[1], given),
        call.step("slice", names[0], **first),
        call.step("slice", names[1], output=1, **first),
    ]


MOVES: Mapping[str, Callable[[Call], Steps]] = {
    "index": _index,
    "index_select": _index_select,
    "gather": _gather,
    "flip": _flip,
    "argmax": _place("argmax"),
    "argmin": _place("argmin"),
    "cumsum": _cumsum,
    "sort": _sort,
    "topk": _topk,
    "roll": _roll,
    **{f"reflection_pad{n}d": _padded("reflect") for n in (1, 2, 3)},
    **{f"replication_pad{n}d": _padded("replicate") for n in (1, 2, 3)},
    "select_scatter": _select_scatter,
    "slice_scatter": _slice_scatter,
    "diagonal": _diagonal,
    "fill": _fill,
    "full_like": _filled(lambda call: float(call["fill_value"])),
    "new_full": _filled(lambda call: float(call["fill_value"])),
    **{name: _filled(lambda _: 0.0) for name in ("zeros_like", "new_zeros", "zero")},
    **{name: _filled(lambda _: 1.0) for name in ("ones_like", "new_ones")},
    **{f"adaptive_max_pool{n}d": _adaptive_max_pool for n in (2, 3)},
    "any": _truths("amax"),
    "all": _truths("amin"),
    "max": _extreme("amax", "maximum"),
    "min": _extreme("amin", "minimum"),
}
"""Name of the ATen operation, without underscores around it -> its steps."""
