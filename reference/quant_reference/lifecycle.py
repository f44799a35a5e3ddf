"""A linear layer from prepare to finalize: which quantizer does what, and when (LIFE-1 to LIFE-7).

One layer without batch norm, or with one that is folded (BN-3, BN-4), is enough to show each
clause: a product per output keeps every result independent of the order of summation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from quant_reference._arrays import Array
from quant_reference.batch_norm import (
    BatchNorm,
    fold_bias,
    fold_factor,
    fold_weight,
    train_batch_norm,
)
from quant_reference.errors import InputError
from quant_reference.observers import Observer, ObserverKind, make_observer
from quant_reference.qparams import QParams
from quant_reference.quantize import fake_quantize
from quant_reference.spec import QuantizationSpec

CalibrationWeights = Literal["float", "quantized"]
Schedule = tuple[int, int, int | None]
"""Steps at which the observer and fake-quantization come on, and the observer goes off again."""


@dataclass(frozen=True)
class Lifecycle:
    """What happens to a prepared layer.

    Attributes:
        weight: float32, (outputs, inputs).
        batches: What the model is called with, float32 (rows, inputs).
        specs: ``"weight"``, ``"input"``, ``"output"`` -> spec; what is left out is not quantized.
        events: In their order, each a name and perhaps a number: ``prepare`` and ``forward`` take
            a batch, ``weight`` the tensor that replaces the weight; ``calibration``, ``training``,
            ``leave``, ``fail`` (an exception), ``refused`` (a mode inside a mode), ``step``,
            ``freeze``, ``finalize`` and ``read`` nothing.
        weights: Replacements of the weight.
        bias: Bias of the layer, or None.
        norm: A batch norm behind the layer, or None.
        momentum: Of the batch norm.
        schedule: QAT schedule, or None.
    """

    weight: Array
    batches: Sequence[Array]
    specs: Mapping[str, QuantizationSpec]
    events: Sequence[Sequence[Any]]
    weights: Sequence[Array] = ()
    bias: Array | None = None
    norm: BatchNorm | None = None
    momentum: float = 0.1
    schedule: Schedule | None = None


@dataclass(frozen=True)
class Trace:
    """What can be seen of a life; ``read`` counts the events of that name, Q the quantizers.

    Attributes:
        outputs: float32 (forwards, rows, outputs).
        scales: float32 (reads, Q), per tensor; quantizers in the order weight, input, output.
        zero_points: int32 (reads, Q).
        switches: int8 (reads, Q, 2): whether it observes, whether it fake-quantizes.
        refusals: int8 (events ``refused``): 1 where entering was refused.
        statistics: float32 (reads, 2, outputs), running mean and variance; None without norm.
    """

    outputs: Array
    scales: Array
    zero_points: Array
    switches: Array
    refusals: Array
    statistics: Array | None = None


@dataclass
class State:
    """A prepared layer while it lives.

    Attributes:
        life: What happens to it.
        calibration_weights: Policy of LIFE-3.
        weight: Its weight at present.
        norm: Its batch norm at present, or None.
        observers: ``"weight"``, ``"input"``, ``"output"`` -> the observer of a quantized tensor.
        mode: ``"prepare"``, ``"calibration"`` or ``"training"``, or None outside of the modes.
        frozen: Whether the statistics of the batch norm are kept (BN-4).
        steps: How many steps were counted (LIFE-6).
        rows: Name in the trace -> its rows so far.
    """

    life: Lifecycle
    calibration_weights: CalibrationWeights
    weight: Array
    norm: BatchNorm | None
    observers: dict[str, Observer]
    mode: str | None = None
    frozen: bool = False
    steps: int = 0
    rows: dict[str, list[Array]] = field(default_factory=dict)

    def note(self, name: str, values: Any, dtype: type) -> None:
        """Keep one more row of the trace."""
        self.rows.setdefault(name, []).append(np.array(values, dtype))

    def stacked(self, name: str, dtype: type) -> Array:
        """The rows of a name as one array."""
        return np.stack(self.rows[name]) if name in self.rows else np.zeros((0,), dtype)


def run_lifecycle(life: Lifecycle, *, calibration_weights: CalibrationWeights = "float") -> Trace:
    """Live a life and tell what was seen.

    Clauses LIFE-1 (prepare), LIFE-2 (switches), LIFE-3 (calibration), LIFE-4 (training), LIFE-5
    (modes again, and inside each other), LIFE-6 (schedules), LIFE-7 (finalize); for the batch norm
    BN-3 (training) and BN-4 (frozen statistics).

    Args:
        life: The layer and what happens to it.
        calibration_weights: Policy of LIFE-3.

    Raises:
        InputError: An event that cannot happen there (LIFE-5).
    """
    names = [name for name in ("weight", "input", "output") if name in life.specs]
    observers = {name: new_observer(life.specs[name], name) for name in names}
    state = State(life, calibration_weights, life.weight, life.norm, observers)
    for name, *number in life.events:
        happen(state, str(name), *number)
    return Trace(
        state.stacked("outputs", np.float32),
        state.stacked("scales", np.float32),
        state.stacked("zero_points", np.int32),
        state.stacked("switches", np.int8),
        state.stacked("refusals", np.int8),
        None if life.norm is None else state.stacked("statistics", np.float32),
    )


def new_observer(spec: QuantizationSpec, name: str) -> Observer:
    """The observer of a quantizer that has seen nothing yet (LIFE-1)."""
    kind: ObserverKind | Literal["default"] = spec.qparam_calculator_cls
    target: Literal["weight", "activation"] = "weight" if name == "weight" else "activation"
    if kind == "default":
        kind = "static" if target == "weight" else "moving_average"
    return make_observer(kind, replace(spec, qparam_calculator_cls=kind), target)


def happen(state: State, event: str, number: int = 0) -> None:
    """One event of a life (LIFE-1 to LIFE-7)."""
    if event == "prepare":
        state.mode = "prepare"
        forward(state, state.life.batches[number])  # new quantizers observe and change nothing
        state.mode = None
    elif event == "forward":
        state.note("outputs", forward(state, state.life.batches[number]), np.float32)
    elif event == "weight":
        state.weight = state.life.weights[number]
    elif event in ("calibration", "training") and state.mode is None:
        enter(state, event)
    elif event == "leave":
        leave(state)
    elif event == "fail":
        fail(state)
    elif event == "refused":
        state.note("refusals", refuses(state), np.int8)
    elif event == "step" and state.mode == "training":
        state.steps += 1
    elif event == "freeze":
        state.frozen = True
    elif event == "finalize":
        finalize(state)
    elif event == "read":
        read(state)
    else:
        raise InputError(
            f"event in mode {state.mode}", given=event, allowed="see Lifecycle", clause="LIFE-5"
        )


def enter(state: State, mode: str) -> None:
    """Enter a mode; what was observed is kept (LIFE-5)."""
    state.mode = mode


def leave(state: State) -> None:
    """Leave the mode (LIFE-3, LIFE-4)."""
    state.mode = None


def fail(state: State) -> None:
    """Leave the mode by an exception (LIFE-3, LIFE-4)."""
    leave(state)


def refuses(state: State) -> bool:
    """Whether a mode inside a mode is refused (LIFE-5)."""
    return state.mode is not None


def finalize(state: State) -> None:
    """Nothing changes (LIFE-7)."""


def read(state: State) -> None:
    """Keep what is to be seen of the quantizers and of the batch norm."""
    qparams = [qparams_of(state, name) for name in state.observers]
    zeros = [0 if p.zero_point is None else p.zero_point.item() for p in qparams]
    state.note("scales", [p.scale.item() for p in qparams], np.float32)
    state.note("zero_points", zeros, np.int32)
    state.note("switches", [switches(state, name) for name in state.observers], np.int8)
    if state.norm is not None:
        state.note("statistics", (state.norm.mean, state.norm.variance), np.float32)


def switches(state: State, name: str) -> tuple[bool, bool]:
    """Whether a quantizer observes, and whether it fake-quantizes (LIFE-2)."""
    if state.mode == "prepare":
        return True, False  # LIFE-1
    if state.mode == "calibration":
        return in_calibration(state, name)
    if state.mode == "training":
        return in_training(state, name)
    return at_rest(state, name)


def at_rest(state: State, name: str) -> tuple[bool, bool]:
    """Outside of every mode (LIFE-1)."""
    return False, True


def in_calibration(state: State, name: str) -> tuple[bool, bool]:
    """In calibration (LIFE-3)."""
    return True, name == "weight" and state.calibration_weights == "quantized"


def in_training(state: State, name: str) -> tuple[bool, bool]:
    """In training, by the schedule if there is one (LIFE-4, LIFE-6)."""
    if state.life.schedule is None:
        return True, True
    on, quantize, off = state.life.schedule
    return scheduled(state.steps, on, off), quantize <= state.steps


def scheduled(steps: int, on: int, off: int | None) -> bool:
    """Whether a schedule's observer is on (LIFE-6)."""
    return on <= steps and (off is None or steps < off)


def quantized(state: State, name: str, x: Array) -> Array:
    """A tensor through its quantizer: observed, then fake-quantized (LIFE-2)."""
    if name not in state.observers:
        return x
    observes, quantizes = switches(state, name)
    if observes:
        state.observers[name] = state.observers[name].update(x)
    return fake_quantize(x, state.life.specs[name], qparams_of(state, name)) if quantizes else x


def qparams_of(state: State, name: str) -> QParams:
    """The qparams that a quantizer has at present (LIFE-2)."""
    return state.observers[name].qparams()


def forward(state: State, x: Array) -> Array:
    """The layer on one batch; a batch norm is folded, and undone in training (BN-3)."""
    weight, bias, norm = state.weight, state.life.bias, state.norm
    trains = norm is not None and batch_statistics(state)
    if norm is not None:
        factor = fold_factor(norm, training=trains)
        weight = fold_weight(weight, factor)
        bias = None if trains else fold_bias(bias, norm, factor, weight.dtype)
    weight = quantized(state, "weight", weight)
    y = (quantized(state, "input", x) @ weight.T).astype(np.float32)
    y = y if bias is None else y + bias
    if norm is not None and trains:
        y, state.norm = train_batch_norm(y, state.life.bias, norm, state.life.momentum)
    return quantized(state, "output", y)


def batch_statistics(state: State) -> bool:
    """Whether a batch norm normalizes by the statistics of the batch (BN-3, BN-4)."""
    return state.mode == "training" and not state.frozen
