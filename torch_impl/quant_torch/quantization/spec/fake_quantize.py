"""The fake-quantize module: observe a tensor, and quantize and dequantize it in one step."""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

import torch

from quant_reference.errors import InputError
from quant_torch.quantization.spec import _kernels
from quant_torch.quantization.spec._autograd import StraightThrough
from quant_torch.quantization.spec._blocks import BlockLayout
from quant_torch.quantization.spec._fake_quantize_base import FakeQuantizeImplBase
from quant_torch.quantization.spec._float_codes import fp4_forward
from quant_torch.quantization.spec._kernels import Bound, CodeMap
from quant_torch.quantization.spec._legal import (
    check_codes,
    check_scale,
    check_values,
    check_zero_point,
)
from quant_torch.quantization.spec._memory import same_bits
from quant_torch.quantization.spec._value_cache import ValueCache, version_of
from quant_torch.quantization.spec.qformulation import QuantizationFormulation

__all__ = ["DefaultFakeQuantize", "FakeQuantizeImplBase", "fp4_forward"]

_MAPS_KEPT = 16
"""Several tensors may share one module, such as those before and after a pooling."""


class _KnownMap(NamedTuple):
    """A code map and what it was made from; while nothing of it changed, it serves again.

    Attributes:
        scale: The scale that the map reads, also after it is written in place.
        offset: The zero point or minval.
        version: How often the zero point had been written, which the map holds by value; None
            where the map reads all it needs.
        zero: A copy of that zero point, because writes through ``.data`` are not counted; None
            where it is not held by value, or where reading it would wait for a device.
        code_map: The map.
    """

    scale: torch.Tensor
    offset: torch.Tensor | None
    version: int | None
    zero: torch.Tensor | None
    code_map: CodeMap


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
        self._known: dict[BlockLayout, _KnownMap] = {}
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
            return _kernels.fake_quantize(tensor, to)
        sources = (tensor, to.scale) if to.shift is None else (tensor, to.scale, to.shift)
        values = self._cache.get(sources, to)
        if values is None:
            values = _kernels.fake_quantize(tensor, to)
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
        return _kernels.fake_quantize(tensor, to, out=tensor)

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
        return _kernels.quantize(tensor.detach(), to)

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
        return _kernels.dequantize(tensor, to).to(output_dtype)

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
        offset = minval if by_minval else zero_point
        version = None if by_minval or offset is None else version_of(offset)
        known = self._known.get(layout)
        if (
            known is not None
            and known.scale is scale
            and known.offset is offset
            and known.version == version
            and (known.zero is None or same_bits(known.zero, zero_point))
            and _reads(known.code_map.scale, scale)
            and _reads(known.code_map.shift, minval)
        ):
            return known.code_map
        code_map = self._new_code_map(layout, scale, zero_point, minval)
        copied = not (_reads(code_map.scale, scale) and _reads(code_map.shift, minval))
        by_value = offset is not None and not by_minval
        if copied or (by_value and version is None):
            self._known.pop(layout, None)
            return code_map
        if len(self._known) >= _MAPS_KEPT:
            self._known.clear()
        zero = zero_point.clone() if by_value and zero_point.device.type == "cpu" else None
        self._known[layout] = _KnownMap(scale, offset, version, zero, code_map)
        return code_map

    def _new_code_map(
        self,
        layout: BlockLayout,
        scale: torch.Tensor,
        zero_point: torch.Tensor | None,
        minval: torch.Tensor | None,
    ) -> CodeMap:
        codes = self.qparams_calculator.codes
        spread = _spread(scale, layout, "scale")
        check_scale(spread, codes)
        if not codes.fmt.is_integer:
            return CodeMap(codes, layout.view, spread)
        if self.qformulation is QuantizationFormulation.MINVAL:
            shift = _spread(minval, layout, "minval")
            return CodeMap(codes, layout.view, spread, shift, codes.quant_min)
        zero_point = _spread(zero_point, layout, "zero_point")
        check_zero_point(zero_point, codes)
        return CodeMap(codes, layout.view, spread, None, _zero(zero_point))

    def _load_from_state_dict(self, *args: Any) -> None:
        self._known.clear()  # what is loaded is written in place, and not known to be legal
        super()._load_from_state_dict(*args)

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        return {**state, "_known": {}}


def _reads(view: torch.Tensor | None, tensor: torch.Tensor | None) -> bool:
    """Whether a part of a code map is in the memory of its tensor, which may have been swapped."""
    return view is None or view is tensor or view.data_ptr() == tensor.data_ptr()


def _spread(tensor: torch.Tensor | None, layout: BlockLayout, name: str) -> torch.Tensor:
    """Shape qparams so that they broadcast against the view of the tensor."""
    if tensor is None or tensor.numel() != prod(layout.params):
        raise InputError(
            f"{name} for a tensor in {layout.blocks} blocks",
            given="None" if tensor is None else f"shape {tuple(tensor.shape)}",
            allowed="one entry per block",
            clause="Q-8",
        )
    return tensor if tensor.shape == layout.params else tensor.reshape(layout.params)


def _zero(zero_point: torch.Tensor) -> Bound:
    """The zero point as one number where all blocks agree: clamping to numbers is faster."""
    if zero_point.device.type == "cpu":  # elsewhere, reading a value waits for the device
        if zero_point.numel() == 1:
            return float(zero_point)
        if zero_point.numel() == 0:  # of a tensor with an empty axis
            return zero_point.float()
        low, high = zero_point.aminmax()
        if torch.equal(low, high):
            return float(low)
    return zero_point.float()
