"""Qparams calculators: observers that turn tensors into scale, zero point and minval."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from quant_reference.errors import InputError, SpecError
from quant_torch.quantization.spec._calculator_base import (
    QParamsCalculatorBase,
    StatefulQParamsCalculatorBase,
    StatelessQParamsCalculatorBase,
)
from quant_torch.quantization.spec._fast.scalar_qparams import (
    average,
    compute_qparams,
    greatest,
    least,
    round_float32,
)
from quant_torch.quantization.spec._fast.switch import SWITCH
from quant_torch.quantization.spec._qparams import QParams
from quant_torch.quantization.spec.granularity import PerTensorGranularity
from quant_torch.quantization.spec.range_calculator import MinMaxRangeCalculator

__all__ = [
    "DefaultQParamsCalculator",
    "DynamicQParamsCalculator",
    "GlobalMinMaxQParamsCalculator",
    "MovingAverageQParamsCalculator",
    "QParamsCalculatorBase",
    "RunningRangeMixin",
    "StatefulQParamsCalculatorBase",
    "StatelessQParamsCalculatorBase",
    "StaticQParamsCalculator",
]


class RunningRangeMixin:
    """Adds a range that runs over the batches, in buffers running_min and running_max.

    Put it before :class:`StatefulQParamsCalculatorBase` among the bases and implement
    :meth:`update_running_range`.
    """

    _STATE: ClassVar[tuple[str, ...]] = (
        *StatefulQParamsCalculatorBase._QPARAMS,
        "running_min",
        "running_max",
    )

    running_min: torch.Tensor | None
    running_max: torch.Tensor | None

    def compute_qparams(
        self, tensor: torch.Tensor, min_val: torch.Tensor, max_val: torch.Tensor
    ) -> QParams:
        """Update the running range with a new one, then give its qparams (OBS-2, OBS-3, OBS-5).

        Raises:
            InputError: The new range has another shape or dtype than those before (OBS-6).
        """
        running_min, running_max = self.running_min, self.running_max
        if running_min is not None and running_max is not None:
            if None not in self.float_range:  # nothing ever changes (RANGE-2)
                min_val, max_val = running_min, running_max
            elif (min_val.shape, min_val.dtype) != (running_min.shape, running_min.dtype):
                raise InputError(
                    "range of this batch",
                    given=f"{min_val.dtype}{tuple(min_val.shape)}",
                    allowed=f"{running_min.dtype}{tuple(running_min.shape)}, as in the batches "
                    "before",
                    clause="OBS-6",
                )
            else:
                min_val, max_val = self.update_running_range(min_val, max_val)
        self._keep(running_min=min_val, running_max=max_val)
        return super().compute_qparams(tensor, min_val, max_val)

    def admit(self, tensor: torch.Tensor) -> torch.Tensor:
        """Bring a tensor to the dtype and, per tensor, the rank of those before.

        A module of a model may be called with inputs of several ranks, and in other dtypes under
        autocast; the state then goes on in the wider dtype.
        """
        running = self.running_min
        if running is None or None not in self.float_range:
            return tensor
        if tensor.dtype != running.dtype:
            wide = torch.promote_types(tensor.dtype, running.dtype)
            tensor = tensor.to(wide)
            self._keep(running_min=running.to(wide), running_max=self.running_max.to(wide))
        per_tensor = isinstance(self.granularity, PerTensorGranularity)
        if per_tensor and tensor.dim() != running.dim() > 0:
            tensor = tensor.reshape(*(1,) * (running.dim() - 1), -1)
        return tensor

    def update_running_range(
        self, min_val: torch.Tensor, max_val: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Combine ``self.running_min`` and ``self.running_max`` with the range of a new batch.

        Args:
            min_val: Lower bound per block of the new batch.
            max_val: Upper bound per block.

        Returns:
            The running range after this batch.
        """
        raise NotImplementedError(f"{type(self).__name__} must define update_running_range")


class _OnNumbers(StatefulQParamsCalculatorBase):
    """A calculator of this module that may observe one float32 range as two Python numbers.

    Subclasses that users write go the general way.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._is_plain = (
            type(self) in _PLAIN
            and type(self.range_calculator) is MinMaxRangeCalculator
            and isinstance(self.granularity, PerTensorGranularity)
            and self.scale_dtype is None
            and None in self.float_range
        )

    def _new_bounds(self, low: float, high: float) -> tuple[float, float]:
        """The range after a batch with the given one."""
        return low, high

    def _observe_as_numbers(self, tensor: torch.Tensor) -> bool:
        scale = self._buffers["scale"]
        if (
            not (self._is_plain and SWITCH.on)
            or scale is None
            or tensor.dtype != torch.float32
            or tensor.device.type != "cpu"
            or tensor.dim() != scale.dim()
            or tensor.numel() == 0
            or scale.is_inference()
        ):
            return False
        low, high = (bound.item() for bound in torch.aminmax(tensor))
        lo_bound, hi_bound = self.float_range
        low = least(low, 0.0) if lo_bound is None else round_float32(lo_bound)
        high = greatest(high, 0.0) if hi_bound is None else round_float32(hi_bound)
        low, high = self._new_bounds(low, high)
        values = compute_qparams(low, high, self.codes)
        for name, value in zip(self._QPARAMS, values, strict=True):
            buffer = self._buffers[name]
            # A symmetric zero point never changes, and an unwritten one keeps what hangs on it.
            if buffer is not None and (name != "zero_point" or buffer.item() != value):
                buffer.fill_(value)
        return True


@QParamsCalculatorBase.register("default")
class DefaultQParamsCalculator(_OnNumbers):
    """Stands for static in a weight's spec and for moving_average in an activation's (SPEC-5)."""


@QParamsCalculatorBase.register("static")
class StaticQParamsCalculator(_OnNumbers):
    """Qparams of the last tensor seen (OBS-1)."""


@QParamsCalculatorBase.register("moving_average")
class MovingAverageQParamsCalculator(RunningRangeMixin, _OnNumbers):
    """Exponential moving average of the range (OBS-2).

    Args:
        averaging_constant: Weight of a new batch, in (0, 1].
        **kwargs: As for the base class.
    """

    def __init__(self, averaging_constant: float = 0.01, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 0 < averaging_constant <= 1:
            raise SpecError(
                "averaging_constant",
                given=averaging_constant,
                allowed="0 < c <= 1",
                clause="OBS-2",
            )
        self.averaging_constant = float(averaging_constant)

    def update_running_range(
        self, min_val: torch.Tensor, max_val: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """``c * new + (1 - c) * running``, each operation rounded to the dtype of the range."""
        take, keep = self.averaging_constant, 1.0 - self.averaging_constant
        return (
            min_val * take + self.running_min * keep,
            max_val * take + self.running_max * keep,
        )

    def _new_bounds(self, low: float, high: float) -> tuple[float, float]:
        take = self.averaging_constant
        low = average(low, self.running_min.item(), take)
        high = average(high, self.running_max.item(), take)
        return _kept(self, low, high)


@QParamsCalculatorBase.register("global_minmax")
class GlobalMinMaxQParamsCalculator(RunningRangeMixin, _OnNumbers):
    """Least and greatest value ever seen (OBS-3); NaN stays once it was seen (OBS-5)."""

    def update_running_range(
        self, min_val: torch.Tensor, max_val: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Elementwise minimum and maximum with the running range."""
        return (
            torch.minimum(min_val, self.running_min),
            torch.maximum(max_val, self.running_max),
        )

    def _new_bounds(self, low: float, high: float) -> tuple[float, float]:
        low = least(low, self.running_min.item())
        return _kept(self, low, greatest(high, self.running_max.item()))


@QParamsCalculatorBase.register("dynamic")
class DynamicQParamsCalculator(StatelessQParamsCalculatorBase):
    """Qparams of the current tensor, every time (OBS-4); activations only, never exported."""


def _kept(calculator: RunningRangeMixin, low: float, high: float) -> tuple[float, float]:
    calculator.running_min.fill_(low)
    calculator.running_max.fill_(high)
    return low, high


_PLAIN = frozenset(
    {
        DefaultQParamsCalculator,
        StaticQParamsCalculator,
        MovingAverageQParamsCalculator,
        GlobalMinMaxQParamsCalculator,
    }
)
