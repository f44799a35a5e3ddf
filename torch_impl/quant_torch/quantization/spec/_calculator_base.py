"""What every qparams calculator shares: ranges, qparams, and the state that keeps them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import nn

from quant_reference.errors import SpecError
from quant_torch._registry import KeyedClasses
from quant_torch.quantization.spec import formulas
from quant_torch.quantization.spec._dtypes import format_of
from quant_torch.quantization.spec._fast.memory import same_bits
from quant_torch.quantization.spec._legal import check_bounds, check_elements, check_values
from quant_torch.quantization.spec._qparams import QParams, QuantRange
from quant_torch.quantization.spec.granularity import QuantizationGranularity, Target
from quant_torch.quantization.spec.qscheme import QuantizationScheme
from quant_torch.quantization.spec.range_calculator import RangeCalculatorBase

FloatRange = tuple[float | None, float | None]


class QParamsCalculatorBase(KeyedClasses, nn.Module, ABC):
    """Base of the qparams calculators; register a subclass under a key to name it in a spec.

    Derive from :class:`StatefulQParamsCalculatorBase` (qparams are kept between batches) or from
    :class:`StatelessQParamsCalculatorBase` (recomputed for every tensor), and override
    :meth:`compute_qparams`; a rule that only smooths the range over batches is a
    :class:`RunningRangeMixin` with ``update_running_range``.

    Args:
        dtype: Element format as a torch dtype.
        qscheme: Quantization scheme.
        granularity: Which elements share qparams.
        target_dtype: dtype of a tensor of codes.
        quant_min: Least code, or least value of a float format.
        quant_max: Greatest code or value.
        range_calculator: Gives the range of a tensor.
        float_range: Fixed bounds, each a float or None.
        scale_dtype: None or ``torch.float8_e8m0fnu``.
        **kwargs: Fields that a subclass of QuantizationSpec adds.
    """

    REGISTRY: ClassVar[dict[str, type]] = {}

    def __init__(
        self,
        dtype: torch.dtype,
        qscheme: QuantizationScheme,
        granularity: QuantizationGranularity,
        target_dtype: torch.dtype,
        quant_min: float,
        quant_max: float,
        range_calculator: RangeCalculatorBase,
        float_range: FloatRange,
        scale_dtype: torch.dtype | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        self.dtype = dtype
        self.qscheme = QuantizationScheme(qscheme)
        self.target_dtype = target_dtype
        self.quant_min = quant_min
        self.quant_max = quant_max
        self.range_calculator = range_calculator
        self.float_range = (float_range[0], float_range[1])
        self.scale_dtype = scale_dtype
        self.codes = QuantRange(format_of(dtype), self.qscheme, quant_min, quant_max, scale_dtype)

    @property
    def granularity(self) -> QuantizationGranularity:
        """Which elements share qparams."""
        return self.range_calculator.granularity

    @property
    def quantization_target(self) -> Target:
        """``"weight"`` or ``"activation"``."""
        return self.range_calculator.quantization_target

    def value_range(self, tensor: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Range per block: widened to zero, then the bounds of float_range (RANGE-1 to RANGE-3).

        Args:
            tensor: float16, bfloat16 or float32.

        Returns:
            (lo, hi) in the rank of the tensor with one entry per block, in its dtype; float32
            when float_range gives both bounds.

        Raises:
            InputError: Another dtype (RANGE-3), no elements (RANGE-5), or a dtype that cannot hold
                the one bound of float_range (RANGE-2).
        """
        check_values(tensor, "a tensor to observe", "RANGE-3")
        lo_bound, hi_bound = self.float_range
        if lo_bound is not None and hi_bound is not None:
            blocks = self.range_calculator.layout_of(tensor.shape).blocks
            check_elements(tensor)
            empty = torch.empty(blocks, dtype=torch.float32, device=tensor.device)
            return torch.full_like(empty, lo_bound) + 0.0, torch.full_like(empty, hi_bound) + 0.0
        check_bounds(self.float_range, tensor.dtype)
        lo, hi = formulas.widen_to_zero(*self.range_calculator(tensor))
        # A bound is rounded to float32 first, like any Python number (RANGE-2).
        if lo_bound is not None:
            lo = torch.full_like(lo, lo_bound, dtype=torch.float32).to(lo.dtype) + 0.0
        if hi_bound is not None:
            hi = torch.full_like(hi, hi_bound, dtype=torch.float32).to(hi.dtype) + 0.0
        return lo, hi

    def compute_qparams(
        self, tensor: torch.Tensor, min_val: torch.Tensor, max_val: torch.Tensor
    ) -> QParams:
        """Qparams of a range; override it for another rule (QP-1 to QP-9).

        Args:
            tensor: The tensor that was observed.
            min_val: Lower bound per block, <= 0 or NaN.
            max_val: Upper bound per block, >= 0 or NaN.

        Returns:
            (scale, zero_point, minval): float32, int32, float32; the latter two None for float
            formats.
        """
        return formulas.compute_qparams(min_val, max_val, self.codes)

    @abstractmethod
    def forward(self, tensor: torch.Tensor) -> QParams:
        """Observe a tensor and give (scale, zero_point, minval)."""

    def admit(self, tensor: torch.Tensor) -> torch.Tensor:
        """What a fake-quantize module hands to the calculator in place of a tensor."""
        return tensor

    def observe(self, tensor: torch.Tensor) -> QParams:
        """As calling the calculator, but the result may be its buffers: read it, keep none of it.

        What a fake-quantize module calls on every forward pass.
        """
        return QParams(*self(tensor))

    def get_qparams(self) -> QParams:
        """The present qparams, in tensors of the caller's own; nothing is observed.

        Raises:
            RuntimeError: There are none yet, or the calculator keeps none.
        """
        raise RuntimeError(f"{type(self).__name__} keeps no qparams between tensors")

    def set_export_mode(self, enabled: bool = True) -> None:
        """Keep the qparams as they are while enabled; nothing to do where none are kept."""

    def current_qparams(self) -> QParams:
        """As :meth:`get_qparams`, but the result may be the buffers: read it, keep none of it."""
        return QParams(*self.get_qparams())


class StatelessQParamsCalculatorBase(QParamsCalculatorBase):
    """Keeps nothing: qparams are recomputed for every tensor, so shapes may vary (OBS-4)."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if self.quantization_target == "weight":
            raise SpecError(
                f"{type(self).__name__} keeps no qparams",
                given="a weight",
                allowed="activations",
                clause="SPEC-5",
            )

    def forward(self, tensor: torch.Tensor) -> QParams:
        """Qparams of this tensor alone."""
        return self.compute_qparams(tensor, *self.value_range(tensor))


class StatefulQParamsCalculatorBase(QParamsCalculatorBase):
    """Keeps scale, zero_point and minval as buffers.

    The buffers do not exist before the first tensor; loading a state_dict creates them in the
    shapes it holds. A cast of the module leaves scale and minval in float32.

    Attributes:
        export_mode: Whether the qparams stay as they are, whatever is observed.
    """

    _QPARAMS: ClassVar[tuple[str, ...]] = ("scale", "zero_point", "minval")
    _STATE: ClassVar[tuple[str, ...]] = _QPARAMS

    scale: torch.Tensor | None
    zero_point: torch.Tensor | None
    minval: torch.Tensor | None

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name in self._STATE:
            self.register_buffer(name, None)
        self.export_mode = False
        self._has_own_rule = type(self).forward is not StatefulQParamsCalculatorBase.forward
        self._has_own_getter = (
            type(self).get_qparams is not StatefulQParamsCalculatorBase.get_qparams
        )

    def forward(self, tensor: torch.Tensor) -> QParams:
        """Observe a tensor, keep the new qparams and return copies of them."""
        self._update(tensor)
        return self.get_qparams()

    def observe(self, tensor: torch.Tensor) -> QParams:
        """Observe a tensor; see the base class."""
        if self._has_own_rule or self._forward_hooks or self._forward_pre_hooks:
            return super().observe(tensor)
        self._update(tensor)
        return self.current_qparams()

    def set_export_mode(self, enabled: bool = True) -> None:
        """Keep the qparams as they are while enabled, whatever is observed; see the base class."""
        self.export_mode = bool(enabled)

    def get_qparams(self) -> QParams:
        """Copies of the present qparams: what is observed later does not change them.

        A scale that is learned is given itself, for its gradient.

        Raises:
            RuntimeError: No tensor was observed and no state was loaded.
        """
        return QParams(*(_copied(q) for q in self._buffers_of_qparams()))

    def current_qparams(self) -> QParams:
        """The buffers; see the base class.

        Raises:
            RuntimeError: No tensor was observed and no state was loaded.
        """
        if self._has_own_getter:
            return super().current_qparams()
        return self._buffers_of_qparams()

    def _update(self, tensor: torch.Tensor) -> None:
        if (self.export_mode and self.scale is not None) or self._observe_as_numbers(tensor):
            return
        qparams = QParams(*self.compute_qparams(tensor, *self.value_range(tensor)))
        self._keep(**qparams._asdict())

    def _buffers_of_qparams(self) -> QParams:
        buffers = self._buffers
        scale = buffers["scale"]
        if scale is None:
            raise RuntimeError(
                "no qparams yet: observe a tensor (calibration_mode) or load a state_dict first"
            )
        return QParams(scale, buffers["zero_point"], buffers["minval"])

    def _observe_as_numbers(self, tensor: torch.Tensor) -> bool:
        """Take the short way of a per-tensor observer, if this is one; tell whether it was."""
        return False

    def _keep(self, **tensors: torch.Tensor | None) -> None:
        for name, new in tensors.items():
            old = self._buffers[name]
            if new is None or new is old or new.requires_grad:
                self._buffers[name] = new
            elif old is None or not _alike(old, new):
                # A copy: it will be written to, and a rule of a user's may keep what it returns.
                self._buffers[name] = new.clone()
            # Written in place, a buffer keeps what others have derived from it; so does a zero
            # point that stays as it was and is not written.
            elif new.dtype.is_floating_point or not same_bits(old, new):
                old.copy_(new)

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> nn.Module:
        before = {name: self._buffers[name] for name in self._QPARAMS}
        super()._apply(fn, recurse)
        for name, old in before.items():
            new = self._buffers[name]
            # model.half() converts every float buffer; qparams stay float32 (QP-9).
            if old is not None and new is not None and new.dtype != old.dtype:
                self._buffers[name] = old.to(new.device)
        return self

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        for name in self._STATE:
            incoming, current = state_dict.get(prefix + name), self._buffers[name]
            if incoming is not None and (current is None or current.shape != incoming.shape):
                device = incoming.device if current is None else current.device
                self._buffers[name] = torch.empty_like(incoming, device=device)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def extra_repr(self) -> str:
        """Short form of the qparams."""
        if self.scale is None:
            return "no qparams yet"
        return f"scale={_short(self.scale)}, zero_point={_short(self.zero_point)}"


def _alike(old: torch.Tensor, new: torch.Tensor) -> bool:
    """Whether a buffer can take new content and stay what it is."""
    same = old.shape == new.shape and old.dtype == new.dtype and old.device == new.device
    ours = not (old.is_inference() or old.requires_grad)
    return same and ours and type(old) is type(new)


def _copied(tensor: torch.Tensor | None) -> torch.Tensor | None:
    return tensor if tensor is None or tensor.requires_grad else tensor.clone()


def _short(tensor: torch.Tensor | None) -> str:
    if tensor is None:
        return "None"
    if tensor.numel() == 1:
        return f"{tensor.item():.6g}"
    return f"{tuple(tensor.shape)} from {tensor.min().item():.6g} to {tensor.max().item():.6g}"
