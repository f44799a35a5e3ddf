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
from quant_reference.batch_norm import BatchNorm, fold_batch_norm, fold_weight, train_batch_norm
from quant_reference.errors import InputError
from quant_reference.observers import Observer, make_observer
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
class _Quantizer:
    """One tensor's quantizer: an observer, its qparams, and two switches (LIFE-2)."""

    observer: Observer
    observing: bool = True
    quantizing: bool = False

    def __call__(self, x: Array) -> Array:
        if self.observing:
            self.observer = self.observer.update(x)
        if not self.quantizing:
            return x
        return fake_quantize(x, self.observer.spec, self.observer.qparams())


@dataclass
class _Layer:
    """The prepared layer while it lives."""

    life: Lifecycle
    calibration_weights: CalibrationWeights
    weight: Array
    norm: BatchNorm | None
    quantizers: dict[str, _Quantizer]
    mode: str | None = None
    frozen: bool = False
    steps: int = 0
    seen: dict[str, list[Array]] = field(default_factory=dict)

    def forward(self, x: Array) -> Array:
        """The layer on one batch; a batch norm is folded, and undone in training (BN-3)."""
        trains = self.norm is not None and self.mode == "training" and not self.frozen
        weight, bias = self.weight, self.life.bias
        if self.norm is not None and trains:
            weight, bias = fold_weight(weight, self.norm, training=True), None
        elif self.norm is not None:
            n = self.norm
            weight, bias = fold_batch_norm(weight, bias, n.gamma, n.beta, n.mean, n.variance, n.eps)
        weight = self._quantized("weight", weight)
        y = (self._quantized("input", x) @ weight.T).astype(np.float32)
        y = y if bias is None else y + bias
        if self.norm is not None and trains:
            y, self.norm = train_batch_norm(y, self.life.bias, self.norm, self.life.momentum)
        return self._quantized("output", y)

    def _quantized(self, name: str, x: Array) -> Array:
        quantizer = self.quantizers.get(name)
        return x if quantizer is None else quantizer(x)

    def switch(self) -> None:
        """Set both switches of every quantizer by the mode (LIFE-1, LIFE-3, LIFE-4, LIFE-6)."""
        for name, quantizer in self.quantizers.items():
            quantizer.observing = self.mode is not None
            quantizer.quantizing = self.mode != "calibration" or (
                name == "weight" and self.calibration_weights == "quantized"
            )
            if self.mode == "training" and self.life.schedule is not None:
                on, quantize, off = self.life.schedule
                quantizer.observing = on <= self.steps and (off is None or self.steps < off)
                quantizer.quantizing = quantize <= self.steps

    def note(self, name: str, values: Any, dtype: type) -> None:
        """Keep one more row of the trace."""
        self.seen.setdefault(name, []).append(np.array(values, dtype))

    def read(self) -> None:
        """Keep what is to be seen of the quantizers and of the batch norm."""
        found = list(self.quantizers.values())
        qparams = [q.observer.qparams() for q in found]
        zeros = [0 if p.zero_point is None else p.zero_point.item() for p in qparams]
        self.note("scales", [p.scale.item() for p in qparams], np.float32)
        self.note("zero_points", zeros, np.int32)
        self.note("switches", [(q.observing, q.quantizing) for q in found], np.int8)
        if self.norm is not None:
            self.note("statistics", (self.norm.mean, self.norm.variance), np.float32)


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
    quantizers = {
        name: _Quantizer(_observer(life.specs[name], name))
        for name in ("weight", "input", "output")
        if name in life.specs
    }
    layer = _Layer(life, calibration_weights, life.weight, life.norm, quantizers)
    for name, *number in life.events:
        _happen(layer, str(name), *number)
    return Trace(
        _stacked(layer.seen, "outputs", np.float32),
        _stacked(layer.seen, "scales", np.float32),
        _stacked(layer.seen, "zero_points", np.int32),
        _stacked(layer.seen, "switches", np.int8),
        _stacked(layer.seen, "refusals", np.int8),
        None if life.norm is None else _stacked(layer.seen, "statistics", np.float32),
    )


def _happen(layer: _Layer, name: str, number: int = 0) -> None:
    if name == "prepare":
        layer.forward(layer.life.batches[number])  # new quantizers observe and change nothing
        layer.switch()
    elif name == "forward":
        layer.note("outputs", layer.forward(layer.life.batches[number]), np.float32)
    elif name == "weight":
        layer.weight = layer.life.weights[number]
    elif name in ("calibration", "training") and layer.mode is None:
        layer.mode = name
        layer.switch()
    elif name in ("leave", "fail"):
        layer.mode = None
        layer.switch()
    elif name == "refused":
        layer.note("refusals", layer.mode is not None, np.int8)
    elif name == "step" and layer.mode == "training":
        layer.steps += 1
        layer.switch()
    elif name == "freeze":
        layer.frozen = True
    elif name == "read":
        layer.read()
    elif name != "finalize":
        raise InputError(
            f"event in mode {layer.mode}", given=name, allowed="see Lifecycle", clause="LIFE-5"
        )


def _observer(spec: QuantizationSpec, name: str) -> Observer:
    kind = spec.qparam_calculator_cls
    target: Literal["weight", "activation"] = "weight" if name == "weight" else "activation"
    if kind == "default":
        kind = "static" if target == "weight" else "moving_average"
    return make_observer(kind, replace(spec, qparam_calculator_cls=kind), target)


def _stacked(seen: Mapping[str, list[Array]], name: str, dtype: type) -> Array:
    return np.stack(seen[name]) if name in seen else np.zeros((0,), dtype)
