"""ATen's writes to places that indices or masks name, as steps (ADM-2, ADM-5)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from quant_conformance.gate.aten.calls import Call, Operand, Steps
from quant_conformance.gate.aten.moves import part
from quant_reference.admissible import Step

_REDUCTIONS = {
    None: "replace",
    "add": "sum",
    "sum": "sum",
    "multiply": "prod",
    "prod": "prod",
    "mean": "mean",
    "amax": "amax",
    "amin": "amin",
}
"""ATen's word -> the step's."""


def _whole_or_float(call: Call, reduce: str) -> None:
    if call.output_dtype.kind != "f" and reduce in ("mean", "prod"):
        raise NotImplementedError(f"a {reduce} of {call.output_dtype}")


def _scatter(call: Call) -> Steps:
    reduce = _REDUCTIONS[call.get("reduce")]
    _whole_or_float(call, reduce)
    source: Operand
    if "src" in call:
        source = str(call["src"])
    else:
        source = str(call["value"]) if call.is_tensor("value") else float(call["value"])
    return _scattered(call, source, reduce, bool(call.get("include_self", True)))


def _scatter_add(call: Call) -> Steps:
    return _scattered(call, call["src"], "sum", True)


def _scattered(call: Call, source: Operand, reduce: str, include_self: bool) -> Steps:
    given: dict[str, Any] = {"dim": int(call["dim"]), "reduce": reduce}
    if not include_self:
        given["include_self"] = False
    operands = (call["self"], call["index"], source)
    if call.output_dtype.kind == "f" or reduce not in ("sum", "mean", "prod"):
        return [call.step("scatter", *operands, **given)]
    summed = Step("scatter", operands, part(call, "summed"), given)
    return [summed, call.step("round", summed.output)]  # sums of whole numbers


def _index_put(call: Call) -> Steps:
    """By whole numbers, or one value by truths."""
    call.read.add("unsafe")  # whether indices are checked
    indices, accumulate = list(call["indices"]), bool(call["accumulate"])
    kinds = [None if name is None else call.values[name].dtype.kind for name in indices]
    if "b" in kinds:
        return _masked_put(call, indices, accumulate)
    return _put(call, call["values"], indices, accumulate)


def _put(call: Call, values: Operand, indices: list[Any], accumulate: bool) -> Steps:
    given = {"accumulate": True} if accumulate else {}
    operands = (call["self"], values, *indices)
    if call.output_dtype.kind == "f" or not accumulate:
        return [call.step("index_put", *operands, **given)]
    summed = Step("index_put", operands, part(call, "summed"), given)
    return [summed, call.step("round", summed.output)]


def _masked_put(call: Call, indices: list[Any], accumulate: bool) -> Steps:
    shape = call.shape("self")
    if len(indices) != 1 or math.prod(call.shape("values")) != 1:
        raise NotImplementedError("several values by truths, whose number depends on the data")
    mask = call.values[indices[0]]
    wide, value = part(call, "mask"), part(call, "value")
    steps = [
        Step(
            "reshape",
            (indices[0],),
            wide,
            {"shape": [*mask.shape, *[1] * (len(shape) - mask.ndim)]},
        ),
        Step("reshape", (call["values"],), value, {"shape": []}),
    ]
    if not accumulate:
        return [*steps, call.step("where", wide, value, call["self"])]
    added = part(call, "added")
    return [
        *steps,
        Step("where", (wide, value, 0.0), added, {}),
        call.step("add", call["self"], added),
    ]


def _along(call: Call) -> list[Any]:
    dim, rank = int(call["dim"]), len(call.shape("self"))
    return [None] * (dim % max(rank, 1)) + [call["index"]]


def _index_add(call: Call) -> Steps:
    alpha = float(call["alpha"])
    if alpha == 1:
        return _put(call, call["source"], _along(call), True)
    scaled = Step("mul", (call["source"], alpha), part(call, "scaled"), {})
    return [scaled, *_put(call, scaled.output, _along(call), True)]


def _index_copy(call: Call) -> Steps:
    return _put(call, call["source"], _along(call), False)


def _index_fill(call: Call) -> Steps:
    value = str(call["value"]) if call.is_tensor("value") else float(call["value"])
    return _put(call, value, _along(call), False)


def _masked_scatter(call: Call) -> Steps:
    """The k-th place of the mask that is true gets the k-th element of the source."""
    shape = call.shape("self")
    count, size = math.prod(shape), math.prod(call.shape("source"))
    names = ("wide", "line", "counted", "whole", "place", "last", "source", "taken", "shaped")
    wide, line, counted, whole, place, last, source, taken, shaped = (part(call, n) for n in names)
    return [
        Step("expand", (call["mask"],), wide, {"size": list(shape)}),
        Step("reshape", (wide,), line, {"shape": [count]}),
        Step("cumsum", (line,), counted, {"dim": 0}),
        Step("round", (counted,), whole, {}),
        Step("clamp", (whole,), place, {"min": 1.0, "max": float(max(size, 1))}),
        Step("sub", (place, 1.0), f"{last}/near", {}),
        Step("round", (f"{last}/near",), last, {}),
        Step("reshape", (call["source"],), source, {"shape": [size]}),
        Step("gather", (source, last), taken, {"dim": 0}),
        Step("reshape", (taken,), shaped, {"shape": list(shape)}),
        call.step("where", wide, shaped, call["self"]),
    ]


def _fold(call: Call) -> Steps:
    """Windows summed where they overlap; without a batch as one of a batch."""
    names = ("output_size", "kernel_size", "dilation", "padding", "stride")
    given = {name: [int(n) for n in call[name]] for name in names}
    shape = call.shape("self")
    if len(shape) == 3:
        return [call.step("fold", call["self"], **given)]
    one, found = part(call, "one"), part(call, "folded")
    return [
        Step("reshape", (call["self"],), one, {"shape": [1, *shape]}),
        Step("fold", (one,), found, given),
        call.step("reshape", found, shape=list(call.output_shape)),
    ]


def _max_pool_backward(call: Call) -> Steps:
    """Every gradient to the place that its window's greatest element had."""
    shape = call.shape("self")
    call.read |= {"self", "kernel_size", "stride", "padding", "dilation", "ceil_mode"}
    *lead, height, width = shape
    pooled = [*lead, math.prod(call.shape("grad_output")[-2:])]
    names = [part(call, name) for name in ("zeros", "gradient", "places", "summed")]
    zeros, gradient, places, summed = names
    given = {"dim": -1, "reduce": "sum", "include_self": False}
    return [
        Step("expand", (0.0,), zeros, {"size": [*lead, height * width]}),
        Step("reshape", (call["grad_output"],), gradient, {"shape": pooled}),
        Step("reshape", (call["indices"],), places, {"shape": pooled}),
        Step("scatter", (zeros, places, gradient), summed, given),
        call.step("reshape", summed, shape=list(shape)),
    ]


def _avg_pool_backward(call: Call) -> Steps:
    """Every gradient, over the number that was averaged, to all places of its window."""
    kernel = _twice(call["kernel_size"])
    stride, pads = _twice(call["stride"]) or kernel, _twice(call["padding"])
    *lead, height, width = call.shape("self")
    call.read.add("self")
    pooled = call.shape("grad_output")
    sizes = [
        (n + 2 * p - k) // s + 1
        for n, p, k, s in zip((height, width), pads, kernel, stride, strict=True)
    ]
    if bool(call["ceil_mode"]) and list(pooled[-2:]) != sizes:
        raise NotImplementedError("windows that hang over")
    names = ("ones", "sum", "count", "share", "line", "wide", "columns", "folded")
    ones, total, count, share, line, wide, columns, folded = (part(call, n) for n in names)
    divisor: Operand = float(call["divisor_override"] or math.prod(kernel))
    steps: Steps = []
    if not call["count_include_pad"] and not call["divisor_override"]:
        given = {"kernel_size": kernel, "stride": stride, "padding": pads, "divisor_override": 1}
        steps = [
            Step("expand", (1.0,), ones, {"size": [1, 1, height, width]}),
            Step("avg_pool2d", (ones,), total, given),
            Step("round", (total,), count, {}),
        ]
        divisor = count
    taps, images, windows = math.prod(kernel), math.prod(lead), math.prod(sizes)
    placed = {"output_size": [height, width], "kernel_size": kernel, "padding": pads}
    return [
        *steps,
        Step("div", (call["grad_output"], divisor), share, {}),
        Step("reshape", (share,), line, {"shape": [images, 1, windows]}),
        Step("expand", (line,), wide, {"size": [images, taps, windows]}),
        Step("reshape", (wide,), columns, {"shape": [images, taps, windows]}),
        Step("fold", (columns,), folded, {**placed, "stride": stride}),
        call.step("reshape", folded, shape=[*lead, height, width]),
    ]


def _adaptive_backward(call: Call) -> Steps:
    """Along each axis every gradient over its window's length, to all places of the window."""
    shape, x = call.shape("self"), str(call["grad_output"])
    call.read.add("self")
    steps: Steps = []
    for dim in (len(shape) - 2, len(shape) - 1):
        n, m = shape[dim], call.shape("grad_output")[dim]
        ends = [(i * n // m, -(-(i + 1) * n // m)) for i in range(m)]
        shares, sums = [], []
        for i, (start, end) in enumerate(ends):
            own, share = part(call, f"{dim}/{i}"), part(call, f"{dim}/{i}/share")
            steps.append(Step("slice", (x,), own, {"dim": dim, "start": i, "end": i + 1}))
            steps.append(Step("div", (own, float(end - start)), share, {}))
            shares.append(share)
        shared = part(call, f"{dim}/shared")
        steps.append(Step("cat", tuple(shares), shared, {"dim": dim}))
        for place in range(n):
            held = [i for i, (start, end) in enumerate(ends) if start <= place < end]
            given = {"dim": dim, "start": held[0], "end": held[-1] + 1}
            some, total = part(call, f"{dim}/at {place}"), part(call, f"{dim}/sum {place}")
            steps.append(Step("slice", (shared,), some, given))
            steps.append(Step("sum", (some,), total, {"dim": [dim], "keepdim": True}))
            sums.append(total)
        x = part(call, f"{dim}/whole")
        steps.append(Step("cat", tuple(sums), x, {"dim": dim}))
    return [*steps, call.step("identity", x)]


def _twice(given: Any) -> list[int]:
    numbers = [int(n) for n in given]
    return numbers * 2 if len(numbers) == 1 else numbers


def _embedding_backward(call: Call) -> Steps:
    """Gradients summed for each row of the table; none for the row of the padding."""
    if call["scale_grad_by_freq"]:
        raise NotImplementedError("gradients by the frequency of an index")
    rows, columns = int(call["num_weights"]), call.output_shape[1]
    zeros, summed = part(call, "zeros"), part(call, "summed")
    operands = (zeros, call["grad_output"], call["indices"])
    steps = [
        Step("expand", (0.0,), zeros, {"size": [rows, columns]}),
        Step("index_put", operands, summed, {"accumulate": True}),
    ]
    padding = int(call["padding_idx"])
    if padding < 0:
        return [*steps, call.step("identity", summed)]
    before, row, after = (part(call, name) for name in ("before", "row", "after"))
    return [
        *steps,
        Step("slice", (summed,), before, {"dim": 0, "start": 0, "end": padding, "step": 1}),
        Step("expand", (0.0,), row, {"size": [1, columns]}),
        Step("slice", (summed,), after, {"dim": 0, "start": padding + 1, "end": rows, "step": 1}),
        call.step("cat", before, row, after, dim=0),
    ]


SCATTERING: Mapping[str, Callable[[Call], Steps]] = {
    "scatter": _scatter,
    "scatter_add": _scatter_add,
    "scatter_reduce": _scatter,
    "index_put": _index_put,
    "index_put_impl": _index_put,
    "index_add": _index_add,
    "index_copy": _index_copy,
    "index_fill": _index_fill,
    "masked_scatter": _masked_scatter,
    "col2im": _fold,
    "max_pool2d_with_indices_backward": _max_pool_backward,
    "avg_pool2d_backward": _avg_pool_backward,
    "adaptive_avg_pool2d_backward": _adaptive_backward,
    "embedding_dense_backward": _embedding_backward,
}
"""Name of the ATen operation, without underscores around it -> its steps."""
