"""ATen's distances, sampled places, bags of embeddings and views of storage, as steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from quant_conformance.gate.aten.calls import Call, Operand, Steps
from quant_conformance.gate.aten.composed import kept
from quant_conformance.gate.aten.moves import axes_of, part
from quant_reference.admissible import Step

LONGEST_TRIANGLE = 256
"""Rows whose distances from each other are read; each is a step of its own."""


def _lerp(call: Call) -> Steps:
    weight: Operand = str(call["weight"]) if call.is_tensor("weight") else float(call["weight"])
    return [call.step("lerp", call["self"], call["end"], weight)]


def _atan2(call: Call) -> Steps:
    return [call.step("atan2", call["self"], call["other"])]


def _distances(first: str, second: str, p: float, target: str) -> Steps:
    """Of the rows of one matrix from those of another, by the norm of order p."""
    if p == 2:
        return [Step("cdist", (first, second), target, {})]
    rows, columns, apart, size = (
        f"{target}/{name}" for name in ("rows", "columns", "apart", "size")
    )
    steps = [
        Step("unsqueeze", (first,), rows, {"dim": -2}),
        Step("unsqueeze", (second,), columns, {"dim": -3}),
        Step("sub", (rows, columns), apart, {}),
        Step("abs", (apart,), size, {}),
    ]
    last = {"dim": [-1], "keepdim": False}
    if p == 0:
        truth = Step("ne", (size, 0.0), f"{target}/other", {})
        return [*steps, truth, Step("sum", (truth.output,), target, last)]
    if math.isinf(p):
        return [*steps, Step("amax", (size,), target, last)]
    if p == 1:
        return [*steps, Step("sum", (size,), target, last)]
    power, total = f"{target}/power", f"{target}/total"
    return [
        *steps,
        Step("pow", (size,), power, {"exponent": p}),
        Step("sum", (power,), total, last),
        Step("pow", (total,), target, {"exponent": 1 / p}),
    ]


def _cdist(call: Call) -> Steps:
    call.read.add("compute_mode")  # by differences or by products: both are admitted (ADM-2)
    rank = max(len(call.shape("x1")), len(call.shape("x2")))
    if _lead(call, "x1", rank) != _lead(call, "x2", rank) and float(call["p"]) != 2:
        raise NotImplementedError("distances of batches that are broadcast")
    found = part(call, "distances")
    steps = _distances(call["x1"], call["x2"], float(call["p"]), found)
    return [*steps, call.step("reshape", found, shape=list(call.output_shape))]


def _euclidean(call: Call) -> Steps:
    return [call.step("cdist", call["x1"], call["x2"])]


def _lead(call: Call, name: str, rank: int) -> tuple[int, ...]:
    """Extents of the batch of an operand, filled up with ones."""
    lead = call.shape(name)[:-2]
    return (1,) * (rank - 2 - len(lead)) + lead


def _pdist(call: Call) -> Steps:
    """Distances of rows from those behind them, one row after the other."""
    count = call.shape("self")[0]
    if not 2 <= count <= LONGEST_TRIANGLE:
        raise NotImplementedError(f"distances of {count} rows from each other")
    found = part(call, "distances")
    steps = _distances(call["self"], call["self"], float(call["p"]), found)
    rows = []
    for row in range(count - 1):
        whole, rest = part(call, f"{row}/whole"), part(call, f"{row}/rest")
        given = {"dim": 0, "start": row + 1, "end": count, "step": 1}
        steps += [
            Step("select", (found,), whole, {"dim": 0, "index": row}),
            Step("slice", (whole,), rest, given),
        ]
        rows.append(rest)
    return [*steps, call.step("cat", *rows, dim=0)]


_SAMPLED = ("bilinear", "nearest", "bicubic")
_PADDED = ("zeros", "border", "reflection")


def _grid_sampler(call: Call) -> Steps:
    mode, padding = _SAMPLED[call["interpolation_mode"]], _PADDED[call["padding_mode"]]
    if mode == "bicubic":
        raise NotImplementedError("places of a grid interpolated by cubics")
    given = {"mode": mode, "padding_mode": padding, "align_corners": bool(call["align_corners"])}
    return [call.step("grid_sample", call["input"], call["grid"], **given)]


def _embedding_bag(call: Call) -> Steps:
    """Rows of a table, summed, averaged, or their greatest, for each bag."""
    call.read |= {"scale_grad_by_freq", "sparse"}  # of the gradient alone
    offsets = [int(n) for n in call.values[call["offsets"]]]
    count = call.shape("indices")[0]
    ends = offsets[1:] + ([] if call["include_last_offset"] else [count])
    mode, weighted = int(call["mode"]), call.get("per_sample_weights")
    padding = call["padding_idx"]
    if padding is not None and int(padding) >= 0:
        raise NotImplementedError("an index that counts for nothing")
    rows, steps = part(call, "rows"), list[Step]()
    steps.append(Step("embedding", (call["indices"], call["weight"]), rows, {}))
    if weighted is not None:
        column, scaled = part(call, "column"), part(call, "scaled")
        steps += [
            Step("reshape", (weighted,), column, {"shape": [count, 1]}),
            Step("mul", (rows, column), scaled, {}),
        ]
        rows = scaled
    bags, width = [], call.shape("weight")[1]
    for index, (start, end) in enumerate(zip(offsets, ends, strict=False)):
        bag, whole = part(call, f"{index}/bag"), part(call, f"{index}/whole")
        if start == end:
            steps.append(Step("expand", (0.0,), whole, {"size": [1, width]}))
        else:
            given = {"dim": 0, "start": start, "end": end, "step": 1}
            over = {"dim": [0], "keepdim": True}
            steps.append(Step("slice", (rows,), bag, given))
            steps.append(Step(("sum", "mean", "amax")[mode], (bag,), whole, over))
        bags.append(whole)
    return [*steps, call.step("cat", *bags, dim=0)]


def _variance(root: bool, mean: bool = False) -> Callable[[Call], Steps]:
    """In one pass or two (ADM-8), over n less the correction."""

    def make(call: Call) -> Steps:
        axes = axes_of(call, call.get("dim"))
        if "unbiased" in call:
            correction = float(call["unbiased"])
        else:
            given = call["correction"]
            correction = 1.0 if given is None else float(given)
        found, over = part(call, "var"), {"dim": axes, "keepdim": True}
        steps = [Step("var", (call["self"],), found, {**over, "correction": correction})]
        if root:
            steps.append(Step("sqrt", (found,), part(call, "std"), {}))
        steps += kept(call, steps[-1].output)
        if mean:
            average = part(call, "mean")
            steps.append(Step("mean", (call["self"],), average, over))
            steps.append(call.step("reshape", average, output=1, shape=list(call.output_shape)))
        return steps

    return make


def _as_strided(call: Call) -> Steps:
    """What the recorder did not write as elements of the operand."""
    call.read |= {"self", "size", "stride", "storage_offset"}
    raise NotImplementedError("it shows memory that its operand does not")


def _resize(call: Call) -> Steps:
    """The first elements in another shape."""
    count, before = math.prod(call.output_shape), math.prod(call.shape("self"))
    call.read.add("size")
    if count > before:
        raise NotImplementedError("it shows memory that nothing was written to")
    line, cut = part(call, "line"), part(call, "cut")
    given: dict[str, Any] = {"dim": 0, "start": 0, "end": count, "step": 1}
    return [
        Step("reshape", (call["self"],), line, {"shape": [before]}),
        Step("slice", (line,), cut, given),
        call.step("reshape", cut, shape=list(call.output_shape)),
    ]


SAMPLING: Mapping[str, Callable[[Call], Steps]] = {
    "lerp": _lerp,
    "atan2": _atan2,
    "cdist_forward": _cdist,
    "euclidean_dist": _euclidean,
    "pdist_forward": _pdist,
    "grid_sampler_2d": _grid_sampler,
    "embedding_bag": _embedding_bag,
    "embedding_bag_forward_only": _embedding_bag,
    "var": _variance(root=False),
    "std": _variance(root=True),
    "var_mean": _variance(root=False, mean=True),
    "std_mean": _variance(root=True, mean=True),
    "as_strided": _as_strided,
    "resize": _resize,
}
"""Name of the ATen operation, without underscores around it -> its steps."""
