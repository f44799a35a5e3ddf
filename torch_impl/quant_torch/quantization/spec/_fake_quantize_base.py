"""What every fake-quantize module shares: the observer, the switches, the forward pass."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, Self

import torch
from torch import nn

from quant_reference.errors import GranularityError, QuantError
from quant_torch._registry import KeyedClasses
from quant_torch.quantization.spec._autograd import PassThrough
from quant_torch.quantization.spec._calculator_base import (
    QParamsCalculatorBase,
    StatelessQParamsCalculatorBase,
)
from quant_torch.quantization.spec._legal import check_values
from quant_torch.quantization.spec._qparams import QParams
from quant_torch.quantization.spec._torchao import register_with_torchao
from quant_torch.quantization.spec.granularity import (
    BlockSizeMismatchError,
    QuantizationGranularity,
    Target,
)
from quant_torch.quantization.spec.qformulation import QuantizationFormulation
from quant_torch.quantization.spec.qscheme import QuantizationScheme

# Switches that other implementations keep as buffers; here they are not part of the state.
_FOREIGN_STATE = ("fake_quant_enabled", "observer_enabled", "_disabled")


class FakeQuantizeImplBase(KeyedClasses, nn.Module, ABC):
    """Base of the fake-quantize modules; register a subclass under a key to name it in a spec.

    A subclass implements :meth:`quantize` and :meth:`dequantize`. Its gradient then passes
    unchanged, unless it overrides :meth:`fake_quantize` too.

    Args:
        dtype: Element format as a torch dtype.
        qformulation: Formula between values and codes.
        granularity: Which elements share qparams.
        target_dtype: dtype of a tensor of codes.
        quant_min: Least code, or least value of a float format.
        quant_max: Greatest code or value.
        qparams_calculator: The observer.
        n_bits: Width of a code.
        **kwargs: Fields that a subclass of QuantizationSpec adds.

    Attributes:
        observer_enabled: Whether a forward pass updates the qparams.
        fake_quant_enabled: Whether a forward pass returns fake-quantized values.
        disabled: True once the tensor turned out not to fit the blocks: it passes unchanged.
        tensor_name: What the module quantizes, for messages.
        is_calibrated: Whether it observed a tensor since ``Quantizer.prepare``, or was loaded.
        is_stateless: Whether qparams are recomputed for every tensor; the observer never rests.
        spec: The spec that the module was made from, or None.
        qat_schedule: The schedule that governs the switches in training, or None.
        derivation: How a weight that no parameter holds is computed from the model, or None.
    """

    REGISTRY: ClassVar[dict[str, type]] = {}

    def __init__(
        self,
        dtype: torch.dtype,
        qformulation: QuantizationFormulation,
        granularity: QuantizationGranularity,
        target_dtype: torch.dtype,
        quant_min: float,
        quant_max: float,
        qparams_calculator: QParamsCalculatorBase,
        n_bits: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        self.dtype = dtype
        self.qformulation = QuantizationFormulation(qformulation)
        self.target_dtype = target_dtype
        self.quant_min = quant_min
        self.quant_max = quant_max
        self.n_bits = n_bits
        self.qparams_calculator = qparams_calculator
        self.observer_enabled = True
        self.fake_quant_enabled = True
        self.disabled = False
        self.is_calibrated = False
        self.tensor_name = ""
        self.spec: Any = None
        self.qat_schedule: Any = None
        self.derivation: Any = None
        # Formulas of users may save qparams for a backward of their own, and observing another
        # tensor overwrites those.
        self._hands_out_copies = True
        register_with_torchao(FakeQuantizeImplBase)
        # Asked on every forward pass, and an isinstance of an abstract class is slow.
        self.is_stateless = isinstance(qparams_calculator, StatelessQParamsCalculatorBase)

    @property
    def granularity(self) -> QuantizationGranularity:
        """Which elements share qparams."""
        return self.qparams_calculator.granularity

    @property
    def qscheme(self) -> QuantizationScheme:
        """The quantization scheme."""
        return self.qparams_calculator.qscheme

    @property
    def quantization_target(self) -> Target:
        """``"weight"`` or ``"activation"``."""
        return self.qparams_calculator.quantization_target

    @property
    def tensor_fqn(self) -> str:
        """``tensor_name``, as scripts for coreai_opt call it."""
        return self.tensor_name

    @classmethod
    def with_args(cls, **kwargs: Any) -> partial[Self]:
        """A callable that makes modules of this class with these arguments."""
        return partial(cls, **kwargs)

    @property
    def is_fresh(self) -> bool:
        """Whether there are no qparams yet."""
        return not self.is_stateless and getattr(self.qparams_calculator, "scale", None) is None

    def enable_observer(self, enabled: bool = True) -> None:
        """Switch the observer on or off."""
        self.observer_enabled = bool(enabled)

    def disable_observer(self) -> None:
        """Switch the observer off."""
        self.enable_observer(False)

    def enable_fake_quant(self, enabled: bool = True) -> None:
        """Switch fake-quantization on or off."""
        self.fake_quant_enabled = bool(enabled)

    def disable_fake_quant(self) -> None:
        """Switch fake-quantization off."""
        self.enable_fake_quant(False)

    def get_block_size(self, tensor_shape: torch.Size) -> tuple[int, ...]:
        """Extents of one block in a tensor of this shape."""
        return self.granularity.get_block_size(tensor_shape, self.quantization_target)

    def check_shape(self, shape: torch.Size) -> None:
        """Refuse a tensor shape that the granularity does not fit.

        Raises:
            BlockSizeMismatchError: A block does not divide its axis (GRAN-6).
            GranularityError: Another misfit; the message names the tensor.
        """
        try:
            self.get_block_size(shape)
        except BlockSizeMismatchError:
            raise
        except GranularityError as error:
            raise self._named(error) from None

    def is_disabled(self) -> bool:
        """Whether the tensor turned out not to fit the blocks and passes unchanged."""
        return self.disabled

    def set_export_mode(self, enabled: bool = True) -> None:
        """Keep the qparams as they are while enabled, whatever is observed."""
        self.qparams_calculator.set_export_mode(enabled)

    def apply(self, fn: Callable[[nn.Module], None]) -> Self:
        """As ``nn.Module.apply``; functions of torchao's PT2E see its kind of module here.

        ``model.apply(torchao.quantization.pt2e.disable_fake_quant)`` acts on instances of
        torchao's base class only, and would otherwise do nothing, silently.
        """
        register_with_torchao(FakeQuantizeImplBase)
        return super().apply(fn)

    def calculate_qparams(self) -> QParams:
        """Copies of scale, zero_point and minval; the latter two None for float formats."""
        return self.qparams_calculator.get_qparams()

    def forward(self, tensor: torch.Tensor, overwrite: bool = False) -> torch.Tensor:
        """Observe and fake-quantize, as the switches say.

        Args:
            tensor: float16, bfloat16 or float32 of any rank.
            overwrite: Whether the tensor may be overwritten by the result: it is new, the caller
                alone has it, and no gradient needs it.

        Returns:
            Values in the shape and dtype of the tensor; the tensor itself where nothing is done.

        Raises:
            InputError: Another dtype (FQ-1), qparams that are not legal (Q-8), no elements while
                observing (RANGE-5), or another number of blocks than before (OBS-6).
            GranularityError: The granularity does not fit the tensor's rank (GRAN-6).
        """
        if self.disabled or not (self.fake_quant_enabled or self.observer_enabled):
            return tensor
        check_values(tensor, self.tensor_name or "a tensor to quantize", "FQ-1")
        # Inside a __torch_function__ mode the formulas must not be taken for the model's own ops.
        with torch.DisableTorchFunction():
            try:
                if self.observer_enabled or self.is_stateless:
                    qparams = self._observe(tensor)
                    self.__dict__["is_calibrated"] = True  # nn.Module's own way is slow
                else:
                    qparams = self._modules["qparams_calculator"].current_qparams()
                if not self.fake_quant_enabled:
                    return tensor
                if self._hands_out_copies and torch.is_grad_enabled():
                    qparams = tuple(q if q is None else q.clone() for q in qparams)
                if overwrite:
                    return self.fake_quantize_(tensor, *qparams)
                return self.fake_quantize(tensor, *qparams)
            except BlockSizeMismatchError as error:
                return self._leave_unquantized(tensor, error)
            except QuantError as error:
                raise self._named(error) from error

    def _observe(self, tensor: torch.Tensor) -> QParams:
        calculator = self._modules["qparams_calculator"]
        # Qparams get no gradient, and must stay usable after a calibration in inference mode.
        if torch.is_inference_mode_enabled():
            with torch.inference_mode(False), torch.no_grad():
                return calculator.observe(calculator.admit(tensor))
        with torch.no_grad():
            return calculator.observe(calculator.admit(tensor.detach()))

    def fake_quantize(
        self,
        tensor: torch.Tensor,
        scale: torch.Tensor,
        zero_point: torch.Tensor | None,
        minval: torch.Tensor | None,
    ) -> torch.Tensor:
        """Quantize and dequantize in one step, with a straight-through gradient.

        Args:
            tensor: The values.
            scale: float32, one entry per block.
            zero_point: int32, or None for float formats.
            minval: float32, or None for float formats.

        Returns:
            Values in the shape and dtype of the tensor.
        """
        return PassThrough.apply(tensor, self, (scale, zero_point, minval))

    def fake_quantize_(
        self,
        tensor: torch.Tensor,
        scale: torch.Tensor,
        zero_point: torch.Tensor | None,
        minval: torch.Tensor | None,
    ) -> torch.Tensor:
        """As :meth:`fake_quantize` for a tensor that may be overwritten; it need not be."""
        return self.fake_quantize(tensor, scale, zero_point, minval)

    @abstractmethod
    def quantize(
        self,
        tensor: torch.Tensor,
        scale: torch.Tensor,
        zero_point: torch.Tensor | None,
        minval: torch.Tensor | None,
    ) -> torch.Tensor:
        """Codes of the values; arguments as for :meth:`fake_quantize`."""

    @abstractmethod
    def dequantize(
        self,
        tensor: torch.Tensor,
        scale: torch.Tensor,
        zero_point: torch.Tensor | None,
        minval: torch.Tensor | None,
        output_dtype: torch.dtype = torch.float32,
    ) -> torch.Tensor:
        """Values of codes; arguments as for :meth:`fake_quantize`."""

    def right_inverse(self, tensor: torch.Tensor) -> torch.Tensor:
        """What to store when a parametrized weight is assigned: the value itself."""
        return tensor

    def _leave_unquantized(self, tensor: torch.Tensor, error: GranularityError) -> torch.Tensor:
        warnings.warn(
            f"{self.tensor_name or 'a tensor'} of shape {tuple(tensor.shape)} is left "
            f"unquantized: {error}",
            stacklevel=2,
        )
        self.disabled = True
        return tensor

    def _named(self, error: QuantError) -> QuantError:
        where = f"{self.tensor_name}: " if self.tensor_name else ""
        return type(error)(
            where + error.what, given=error.given, allowed=error.allowed, clause=error.clause
        )

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        for name in _FOREIGN_STATE:
            state_dict.pop(prefix + name, None)
        self.is_calibrated = self.is_calibrated or f"{prefix}qparams_calculator.scale" in state_dict
        super()._load_from_state_dict(state_dict, prefix, *args)

    def extra_repr(self) -> str:
        """dtype, target and switches."""
        state = [str(self.dtype).removeprefix("torch."), self.quantization_target]
        state.append(f"observer={'on' if self.observer_enabled else 'off'}")
        state.append(f"fake_quant={'on' if self.fake_quant_enabled else 'off'}")
        return ", ".join(state + ["left unquantized"] * self.disabled)
