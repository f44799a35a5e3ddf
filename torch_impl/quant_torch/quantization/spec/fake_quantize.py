"""The fake-quantize module: observe a tensor, and quantize and dequantize it in one step."""

from __future__ import annotations

from typing import Any

import torch

from quant_torch.quantization.spec._autograd import StraightThrough
from quant_torch.quantization.spec._blocks import BlockLayout
from quant_torch.quantization.spec._code_map import CodeMap
from quant_torch.quantization.spec._fake_quantize_base import FakeQuantizeImplBase
from quant_torch.quantization.spec._fast import kernels
from quant_torch.quantization.spec._fast.known_maps import KnownMaps
from quant_torch.quantization.spec._fast.value_cache import ValueCache
from quant_torch.quantization.spec._float_codes import fp4_forward
from quant_torch.quantization.spec._legal import check_codes, check_values
from quant_torch.quantization.spec.qformulation import QuantizationFormulation

__all__ = ["DefaultFakeQuantize", "FakeQuantizeImplBase", "fp4_forward"]


@FakeQuantizeImplBase.register("default")
class DefaultFakeQuantize(FakeQuantizeImplBase):
    """The formulas of SPEC.md for every integer and float format (Q, DQ, FQ and GRAD clauses).

    A weight that has not changed since the last forward pass is not quantized again, in
    evaluation mode and where no gradient is recorded.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._is_weight = self.quantization_target == "weight"
        own = type(self).fake_quantize is DefaultFakeQuantize.fake_quantize
        self._hands_out_copies = not own
        self._known = KnownMaps()
        self._cache = ValueCache()

    def fake_quantize(
        self,
        tensor: torch.Tensor,
        scale: torch.Tensor,
        zero_point: torch.Tensor | None,
        minval: torch.Tensor | None,
    ) -> torch.Tensor:
        """Quantize and dequantize; the gradient passes where nothing was clamped (GRAD-1).

        Args:
            tensor: float16, bfloat16 or float32.
            scale: float32, one entry per block.
            zero_point: int32, or None for float formats.
            minval: float32, or None for float formats.

        Returns:
            Values in the shape and dtype of the tensor.
        """
        to = self._code_map(self._layout_of(tensor.shape), scale, zero_point, minval)
        if tensor.requires_grad and torch.is_grad_enabled():
            self._cache.clear()
            return StraightThrough.apply(tensor, to, False)
        if self.training or not self._is_weight:
            return kernels.fake_quantize(tensor, to)
        sources = (tensor, to.scale) if to.shift is None else (tensor, to.scale, to.shift)
        values = self._cache.get(sources, to)
        if values is None:
            values = kernels.fake_quantize(tensor, to)
            self._cache.put(sources, values, to)
        return values

    def fake_quantize_(
        self,
        tensor: torch.Tensor,
        scale: torch.Tensor,
        zero_point: torch.Tensor | None,
        minval: torch.Tensor | None,
    ) -> torch.Tensor:
        """As :meth:`fake_quantize`, written into the tensor: memory is what costs most."""
        to = self._code_map(self._layout_of(tensor.shape), scale, zero_point, minval)
        if tensor.requires_grad and torch.is_grad_enabled():
            return StraightThrough.apply(tensor, to, not tensor._is_view())
        return kernels.fake_quantize(tensor, to, out=tensor)

    def quantize(
        self,
        tensor: torch.Tensor,
        scale: torch.Tensor,
        zero_point: torch.Tensor | None,
        minval: torch.Tensor | None,
    ) -> torch.Tensor:
        """Codes of the values (Q-1 to Q-7).

        Returns:
            int8 for signed formats, uint8 for unsigned ones, bit codes in uint8 for float formats
            with FP4 in the low nibble.

        Raises:
            InputError: Another dtype (Q-1), or qparams that are not legal (Q-8).
        """
        check_values(tensor, self.tensor_name or "a tensor to quantize", "Q-1")
        to = self._code_map(self._layout_of(tensor.shape), scale, zero_point, minval)
        return kernels.quantize(tensor.detach(), to)

    def dequantize(
        self,
        tensor: torch.Tensor,
        scale: torch.Tensor,
        zero_point: torch.Tensor | None,
        minval: torch.Tensor | None,
        output_dtype: torch.dtype = torch.float32,
    ) -> torch.Tensor:
        """Values of codes as :meth:`quantize` gives them (DQ-1 to DQ-3).

        Raises:
            InputError: Codes of another dtype or width (DQ-4), or qparams that are not legal (Q-8).
        """
        check_codes(tensor, self.qparams_calculator.codes.fmt)
        to = self._code_map(self._layout_of(tensor.shape), scale, zero_point, minval)
        return kernels.dequantize(tensor, to).to(output_dtype)

    def _layout_of(self, shape: torch.Size) -> BlockLayout:
        # Not by attributes: nn.Module looks its children up slowly, and this is every forward.
        calculator = self._modules["qparams_calculator"]
        return calculator._modules["range_calculator"].layout_of(shape)

    def _code_map(
        self,
        layout: BlockLayout,
        scale: torch.Tensor,
        zero_point: torch.Tensor | None,
        minval: torch.Tensor | None,
    ) -> CodeMap:
        by_minval = self.qformulation is QuantizationFormulation.MINVAL
        codes = self._modules["qparams_calculator"].codes
        offset = minval if by_minval else zero_point
        return self._known.get(codes, layout, scale, offset, by_minval)

    def _load_from_state_dict(self, *args: Any) -> None:
        self._known.clear()  # what is loaded is written in place, and not known to be legal
        super()._load_from_state_dict(*args)
