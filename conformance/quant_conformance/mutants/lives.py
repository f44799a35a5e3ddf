"""Steps of a batch norm's folding and of a layer's life, for mutants to replace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from quant_conformance.protocol import Array
from quant_reference import QParams, QuantizationSpec
from quant_reference.batch_norm import BatchNorm
from quant_reference.lifecycle import Lifecycle, Trace

F32 = np.dtype(np.float32)


class Lives:
    """From a float layer to a finalized one (SPEC.md, BN and LIFE)."""

    # What the life asks of the rest of the pipeline.
    observe: Callable[..., QParams]
    fake_quantize: Callable[..., Array]

    # batch norm

    @np.errstate(all="ignore")
    def fold_batch_norm(
        self, weight: Array, bias: Array | None, norm: BatchNorm, transposed: bool, groups: int
    ) -> tuple[Array, Array]:
        """BN-1 and BN-2."""
        factor = self.bn_factor(norm, False)
        folded = self.bn_weight(weight, factor, transposed, groups)
        return folded, self.bn_bias(bias, norm, factor).astype(weight.dtype)

    def bn_factor(self, norm: BatchNorm, training: bool) -> Array:
        """The factor of each channel (BN-1); a gamma of 0 counts as 1 in training (BN-3)."""
        deviation = self.bn_deviation(norm)
        gamma = np.ones_like(deviation) if norm.gamma is None else norm.gamma
        return self.bn_rounded(np.divide, self.bn_gamma(gamma, training), deviation)

    def bn_gamma(self, gamma: Array, training: bool) -> Array:
        """Gamma as it is, but 1 for 0 where it will be divided out (BN-3)."""
        return np.where(gamma == 0, np.ones_like(gamma), gamma) if training else gamma

    def bn_deviation(self, norm: BatchNorm) -> Array:
        """The root of variance and eps (BN-1)."""
        eps = self.bn_eps(norm.eps, norm.variance.dtype)
        return self.bn_rounded(np.sqrt, self.bn_rounded(np.add, norm.variance, eps))

    def bn_eps(self, eps: float, dtype: np.dtype[Any]) -> Array:
        """Eps in the dtype of the variance (BN-1)."""
        return np.asarray(eps, np.float32).astype(dtype)

    def bn_rounded(self, function: Any, *operands: Array) -> Array:
        """One operation, rounded to the dtype of its operands, or to float32 (chapter 13)."""
        dtypes = {operand.dtype for operand in operands}
        dtype = dtypes.pop() if len(dtypes) == 1 else F32
        return np.asarray(function(*(o.astype(np.float32) for o in operands)).astype(dtype))

    def bn_weight(self, weight: Array, factor: Array, transposed: bool, groups: int) -> Array:
        """Each element times the factor of its output channel (BN-1)."""
        channels = self.bn_channels(weight, transposed, groups)
        return self.bn_rounded(np.multiply, weight, factor[channels]).astype(weight.dtype)

    def bn_channels(self, weight: Array, transposed: bool, groups: int) -> Array:
        """The output channel of each element (BN-1)."""
        place = np.indices(weight.shape)
        if not transposed:
            return np.asarray(place[0])
        return np.asarray(place[0] * groups // weight.shape[0] * weight.shape[1] + place[1])

    def bn_bias(self, bias: Array | None, norm: BatchNorm, factor: Array) -> Array:
        """A difference, a product, a sum (BN-2)."""
        given = np.zeros_like(norm.mean) if bias is None else bias
        beta = np.zeros_like(norm.mean) if norm.beta is None else norm.beta
        scaled = self.bn_rounded(
            np.multiply, self.bn_rounded(np.subtract, given, norm.mean), factor
        )
        return self.bn_rounded(np.add, scaled, beta)

    def bn_trains(self, mode: str | None, frozen: bool) -> bool:
        """Whether the statistics of the batch are used (BN-3, BN-4)."""
        return mode == "training" and not frozen

    def bn_undone(self, y: Array, factor: Array, bias: Array | None) -> Array:
        """The layer's result without the factor, with its bias (BN-3)."""
        return y / factor if bias is None else y / factor + bias

    def bn_updated(self, old: Array, new: Array, momentum: float) -> Array:
        """Running statistics after a batch (BN-3)."""
        return ((1 - momentum) * old + momentum * new).astype(np.float32)

    # the life

    @np.errstate(all="ignore")
    def lifecycle(self, life: Lifecycle) -> Trace:
        """LIFE-1 to LIFE-7."""
        names = [name for name in ("weight", "input", "output") if name in life.specs]
        state = _State(life, {name: [] for name in names})
        for event, *number in life.events:
            getattr(self, f"on_{event}")(state, *number)
        return state.trace()

    def life_forward(self, state: Any, x: Array) -> Array:
        """The layer on one batch."""
        weight, bias, norm = state.weight, state.life.bias, state.norm
        trains = norm is not None and self.bn_trains(state.mode, state.frozen)
        factor = None if norm is None else self.bn_factor(norm, trains)
        if norm is not None and factor is not None:
            weight = self.bn_weight(weight, factor, False, 1)
            bias = None if trains else self.bn_bias(bias, norm, factor)
        weight = self.life_tensor(state, "weight", weight)
        y = self.life_tensor(state, "input", x) @ weight.T
        y = y if bias is None else y + bias
        if trains:
            y = self.life_batch_norm(state, self.bn_undone(y, factor, state.life.bias))  # type: ignore[arg-type]
        return self.life_tensor(state, "output", y.astype(np.float32))

    def life_batch_norm(self, state: Any, y: Array) -> Array:
        """Batch norm with the statistics of the batch, which update the running ones (BN-3)."""
        norm, momentum = state.norm, state.life.momentum
        mean, variance = y.mean(axis=0), y.var(axis=0)
        beta = 0 if norm.beta is None else norm.beta
        gamma = 1 if norm.gamma is None else norm.gamma
        unbiased = variance * len(y) / (len(y) - 1)
        state.norm = BatchNorm(
            self.bn_updated(norm.mean, mean, momentum),
            self.bn_updated(norm.variance, unbiased, momentum),
            norm.eps,
            norm.gamma,
            norm.beta,
        )
        return np.asarray((y - mean) / np.sqrt(variance + norm.eps) * gamma + beta)

    def life_tensor(self, state: Any, name: str, x: Array) -> Array:
        """A tensor through its quantizer: observed, then fake-quantized (LIFE-2)."""
        if name not in state.seen:
            return x
        observes, quantizes = self.life_switches(state, name)
        if observes:
            state.seen[name].append(x)
        return (
            self.fake_quantize(x, state.spec(name), self.life_qparams(state, name))
            if quantizes
            else x
        )

    def life_switches(self, state: Any, name: str) -> tuple[bool, bool]:
        """Whether a quantizer observes, and whether it fake-quantizes."""
        if state.mode == "prepare":
            return True, False
        if state.mode == "calibration":
            return self.life_calibrates(state, name)
        if state.mode == "training":
            return self.life_trains(state, name)
        return self.life_at_rest(state, name)

    def life_at_rest(self, state: Any, name: str) -> tuple[bool, bool]:
        """Outside of every mode (LIFE-1)."""
        return False, True

    def life_calibrates(self, state: Any, name: str) -> tuple[bool, bool]:
        """In calibration (LIFE-3)."""
        return True, False

    def life_trains(self, state: Any, name: str) -> tuple[bool, bool]:
        """In training, by the schedule if there is one (LIFE-4, LIFE-6)."""
        if state.life.schedule is None:
            return True, True
        on, quantize, off = state.life.schedule
        return self.life_between(state.steps, on, off), quantize <= state.steps

    def life_between(self, steps: int, on: int, off: int | None) -> bool:
        """Whether a schedule's observer is on (LIFE-6)."""
        return on <= steps and (off is None or steps < off)

    def life_qparams(self, state: Any, name: str) -> QParams:
        """The qparams of all batches that a quantizer has seen."""
        spec, target = state.spec(name), "weight" if name == "weight" else "activation"
        kind = spec.qparam_calculator_cls
        if kind == "default":
            kind = "static" if target == "weight" else "moving_average"
        return self.observe(state.seen[name], spec, target, kind)

    # events

    def on_prepare(self, state: Any, number: int) -> None:
        """The first batch of every observer (LIFE-1)."""
        state.mode = "prepare"
        self.life_forward(state, state.life.batches[number])
        state.mode = None

    def on_forward(self, state: Any, number: int) -> None:
        """One call of the model."""
        state.note("outputs", self.life_forward(state, state.life.batches[number]), np.float32)

    def on_weight(self, state: Any, number: int) -> None:
        """Somebody changes the weight."""
        state.weight = state.life.weights[number]

    def on_calibration(self, state: Any) -> None:
        """Enter calibration."""
        self.life_enter(state, "calibration")

    def on_training(self, state: Any) -> None:
        """Enter training."""
        self.life_enter(state, "training")

    def life_enter(self, state: Any, mode: str) -> None:
        """Enter a mode; what was observed is kept (LIFE-5)."""
        state.mode = mode

    def on_leave(self, state: Any) -> None:
        """Leave the mode (LIFE-3, LIFE-4)."""
        state.mode = None

    def on_fail(self, state: Any) -> None:
        """Leave the mode by an exception (LIFE-3, LIFE-4)."""
        self.on_leave(state)

    def on_refused(self, state: Any) -> None:
        """Try to enter a mode inside a mode (LIFE-5)."""
        state.note("refusals", state.mode is not None, np.int8)

    def on_step(self, state: Any) -> None:
        """Count a step (LIFE-6)."""
        state.steps += 1

    def on_freeze(self, state: Any) -> None:
        """Keep the statistics from now on (BN-4)."""
        state.frozen = True

    def on_finalize(self, state: Any) -> None:
        """Nothing changes (LIFE-7)."""

    def on_read(self, state: Any) -> None:
        """Write down what is to be seen."""
        found = [(self.life_qparams(state, n), self.life_switches(state, n)) for n in state.seen]
        zeros = [0 if q.zero_point is None else q.zero_point.item() for q, _ in found]
        state.note("scales", [q.scale.item() for q, _ in found], np.float32)
        state.note("zero_points", zeros, np.int32)
        state.note("switches", [switches for _, switches in found], np.int8)
        if state.norm is not None:
            state.note("statistics", (state.norm.mean, state.norm.variance), np.float32)


class _State:
    """A layer while it lives."""

    def __init__(self, life: Lifecycle, seen: dict[str, list[Array]]) -> None:
        self.life = life
        self.seen = seen
        self.weight = life.weight
        self.norm = life.norm
        self.mode: str | None = None
        self.steps = 0
        self.frozen = False
        self._rows: dict[str, list[Array]] = {}

    def spec(self, name: str) -> QuantizationSpec:
        return self.life.specs[name]

    def note(self, name: str, values: Any, dtype: type) -> None:
        self._rows.setdefault(name, []).append(np.array(values, dtype))

    def trace(self) -> Trace:
        dtypes = {"outputs": F32, "scales": F32, "zero_points": np.int32, "switches": np.int8,
                  "refusals": np.int8, "statistics": F32}  # fmt: skip
        if self.norm is None:
            del dtypes["statistics"]
        return Trace(**{
            name: np.stack(self._rows[name]) if name in self._rows else np.zeros((0,), dtype)
            for name, dtype in dtypes.items()
        })  # fmt: skip
