"""A layer from prepare to finalize, one number at a time (LIFE-1 to LIFE-7, BN-3, BN-4).

What a quantizer has seen is a list of batches, and what it does is read off the clauses for the
mode and the number of steps; nothing is switched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from quant_reference.oracle.arithmetic import add, divide, multiply
from quant_reference.oracle.batch_norm import (
    ChannelStatistics,
    batch_statistics,
    fold_bias,
    fold_factor,
    fold_weight,
)
from quant_reference.oracle.elementwise import fake_quantize
from quant_reference.oracle.number import FLOAT32, Number, number, round_to
from quant_reference.oracle.qparams import (
    BlockQParams,
    compute_qparams,
    observe,
    value_range,
)
from quant_reference.spec import QuantizationSpec

Rows = list[list[Number]]


@dataclass
class Life:
    """A linear layer with one input, and what happens to it; the last members change.

    Attributes:
        weights: The weight (one number per output), and those that replace it.
        batches: Numbers that the model is called with, one per row.
        specs: ``"weight"``, ``"input"``, ``"output"`` -> spec.
        bias: One per output, or None.
        norm: One per output, or None.
        momentum: Of the batch norm.
        schedule: QAT schedule, or None.
        quantized_weights: Policy `calibration_weights` of LIFE-3.
    """

    weights: Sequence[Sequence[Number]]
    batches: Sequence[Sequence[Number]]
    specs: Mapping[str, QuantizationSpec]
    bias: Sequence[Number] | None = None
    norm: list[ChannelStatistics] | None = None
    momentum: float = 0.1
    schedule: Sequence[int | None] | None = None
    quantized_weights: bool = False
    mode: str = "rest"
    weight: int = 0
    steps: int = 0
    frozen: bool = False
    seen: dict[str, list[list[Number]]] = field(default_factory=dict)


def live(life: Life, events: Sequence[Sequence[Any]]) -> dict[str, list[Any]]:
    """Everything that is to be seen, flat and in the order of a case's answer."""
    answer: dict[str, list[Any]] = {
        name: [] for name in ("outputs", "scales", "zero_points", "switches", "refusals")
    }
    if life.norm is not None:
        answer["statistics"] = []
    for event, *number_of in events:
        if event == "prepare":
            life.mode = "prepare"
            _forward(life, life.batches[number_of[0]])
            life.mode = "rest"
        elif event == "forward":
            rows = _forward(life, life.batches[number_of[0]])
            answer["outputs"] += [x for row in rows for x in row]
        elif event == "read":
            _read(life, answer)
        elif event == "refused":
            answer["refusals"].append(int(life.mode != "rest"))
        elif event == "weight":
            life.weight = number_of[0]
        elif event in ("calibration", "training"):
            life.mode = event
        elif event in ("leave", "fail"):
            life.mode = "rest"
        life.steps += event == "step"
        life.frozen |= event == "freeze"
    return answer


def _read(life: Life, answer: dict[str, list[Any]]) -> None:
    for name in _names(life):
        params = _qparams(life, name)
        answer["scales"].append(params.scale)
        answer["zero_points"].append(params.zero_point or 0)
        answer["switches"] += [int(_observes(life)), int(_quantizes(life, name))]
    if life.norm is not None:
        answer["statistics"] += [c.mean for c in life.norm] + [c.variance for c in life.norm]


def _names(life: Life) -> list[str]:
    return [name for name in ("weight", "input", "output") if name in life.specs]


def _observes(life: Life) -> bool:
    """LIFE-1, LIFE-3, LIFE-4, LIFE-6."""
    if life.mode == "training" and life.schedule is not None:
        on, _, off = life.schedule
        return (on or 0) <= life.steps and (off is None or life.steps < off)
    return life.mode != "rest"


def _quantizes(life: Life, name: str) -> bool:
    """LIFE-1, LIFE-3, LIFE-4, LIFE-6."""
    if life.mode == "training" and life.schedule is not None:
        return (life.schedule[1] or 0) <= life.steps
    if life.mode == "calibration":
        return name == "weight" and life.quantized_weights
    return life.mode != "prepare"


def _qparams(life: Life, name: str) -> BlockQParams:
    spec = life.specs[name]
    ranges = [value_range(batch, spec, "float32") for batch in life.seen[name]]
    kind = str(spec.qparam_calculator_cls)
    if kind == "default":
        kind = "static" if name == "weight" else "moving_average"
    return compute_qparams(observe(kind, ranges, spec), spec)


def _through(life: Life, name: str, rows: Rows) -> Rows:
    """A tensor through its quantizer, if it has one (LIFE-2)."""
    if name not in life.specs:
        return rows
    if _observes(life):
        life.seen.setdefault(name, []).append([x for row in rows for x in row])
    if not _quantizes(life, name):
        return rows
    params, spec = _qparams(life, name), life.specs[name]
    return [[fake_quantize(x, spec, params, "float32") for x in row] for row in rows]


def _forward(life: Life, batch: Sequence[Number]) -> Rows:
    weight, bias, norm = list(life.weights[life.weight]), life.bias, life.norm
    trains = norm is not None and life.mode == "training" and not life.frozen
    if norm is not None:
        pairs = zip(weight, norm, strict=True)
        weight = [fold_weight(w, c, "float32", training=trains) for w, c in pairs]
    if trains:
        bias = None
    elif norm is not None:
        given = [None] * len(norm) if bias is None else bias
        bias = [fold_bias(b, c, "float32") for b, c in zip(given, norm, strict=True)]
    (kernel,) = _through(life, "weight", [weight])
    inputs = [row[0] for row in _through(life, "input", [[x] for x in batch])]
    rows = [[multiply(x, w, FLOAT32) for w in kernel] for x in inputs]
    if bias is not None:
        rows = [[add(y, b, FLOAT32) for y, b in zip(row, bias, strict=True)] for row in rows]
    return _through(life, "output", _trained(life, rows) if trains else rows)


def _trained(life: Life, rows: Rows) -> Rows:
    """The factor divided out, the bias, and batch norm on the statistics of the batch (BN-3)."""
    columns, after = [], []
    for index, channel in enumerate(life.norm or []):
        factor = fold_factor(channel, training=True)
        column = [divide(row[index], factor, FLOAT32) for row in rows]
        if life.bias is not None:
            column = [add(y, life.bias[index], FLOAT32) for y in column]
        mean, variance = batch_statistics(column)
        # The cases take numbers whose root is exact, or a gamma of 0.
        root = (variance + number(channel.eps).exact) ** 0.5
        gamma, beta = channel.gamma.exact, channel.beta.exact
        columns.append(
            [
                round_to(number(float((y.exact - mean) * gamma) / root + float(beta)), FLOAT32)
                for y in column
            ]
        )
        share = number(life.momentum).exact
        unbiased = variance * len(column) / (len(column) - 1)
        after.append(
            replace(
                channel,
                mean=round_to(number((1 - share) * channel.mean.exact + share * mean), FLOAT32),
                variance=round_to(
                    number((1 - share) * channel.variance.exact + share * unbiased), FLOAT32
                ),
            )
        )
    life.norm = after
    return [list(row) for row in zip(*columns, strict=True)]
