"""The fake-quantize module: observe a tensor, and quantize and dequantize it in one step."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from quant_reference.errors import InputError
from quant_torch.quantization.spec import _kernels
from quant_torch.quantization.spec._autograd import StraightThrough
from quant_torch.quantization.spec._blocks import BlockLayout
from quant_torch.quantization.spec._fake_quantize_base import FakeQuantizeImplBase
from quant_torch.quantization.spec._kernels import Bound, CodeMap
from quant_torch.quantization.spec._value_cache import ValueCache, version_of
from quant_torch.quantization.spec.qformulation import QuantizationFormulation

__all__ = ["DefaultFakeQuantize", "FakeQuantizeImplBase"]


class _KnownMap(NamedTuple):
    """A code map and what it was made from; while nothing of it changed, it serves again."""

    made_from: tuple[Any, ...]
    versions: tuple[int | None, ...]
    code_map: CodeMap


@FakeQuantizeImplBase.register("default")
class DefaultFakeQuantize(FakeQuantizeImplBase):
    """The formulas of SPEC.md for every integer and float format (Q, DQ, FQ and GRAD clauses).

    A weight that has not changed since the last forward pass is not quantized again, in
    evaluation mode and where no gradient is recorded.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._known: _KnownMap | None = None
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
        to = self._code_map(self.layout_of(tensor.shape), scale, zero_point, minval)
        if tensor.requires_grad and torch.is_grad_enabled():
            self._cache.clear()
            return StraightThrough.apply(tensor, to)
        if self.training or self.quantization_target != "weight":
            return _kernels.fake_quantize(tensor, to)
        values = self._cache.get(tensor, to)
        if values is None:
            values = _kernels.fake_quantize(tensor, to)
            self._cache.put(tensor, to, values)
        return values

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
        """
        to = self._code_map(self.layout_of(tensor.shape), scale, zero_point, minval)
        return _kernels.quantize(tensor.detach(), to)

    def dequantize(
        self,
        tensor: torch.Tensor,
        scale: torch.Tensor,
        zero_point: torch.Tensor | None,
        minval: torch.Tensor | None,
        output_dtype: torch.dtype = torch.float32,
    ) -> torch.Tensor:
        """Values of codes as :meth:`quantize` gives them (DQ-1 to DQ-3)."""
        to = self._code_map(self.layout_of(tensor.shape), scale, zero_point, minval)
        return _kernels.dequantize(tensor, to).to(output_dtype)

    def _code_map(
        self,
        layout: BlockLayout,
        scale: torch.Tensor,
        zero_point: torch.Tensor | None,
        minval: torch.Tensor | None,
    ) -> CodeMap:
        offset = minval if self.qformulation is QuantizationFormulation.MINVAL else zero_point
        made_from = (scale, offset, layout)
        versions = tuple(version_of(t) for t in (scale, offset) if t is not None)
        known = self._known
        if (
            known is not None
            and known.versions == versions
            and None not in versions
            and all(old is new for old, new in zip(known.made_from, made_from, strict=True))
        ):
            return known.code_map
        code_map = self._new_code_map(layout, scale, zero_point, minval)
        self._known = _KnownMap(made_from, versions, code_map)
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
        if not codes.fmt.is_integer:
            return CodeMap(codes, layout.view, spread)
        if self.qformulation is QuantizationFormulation.MINVAL:
            shift = _spread(minval, layout, "minval")
            return CodeMap(codes, layout.view, spread, shift, codes.quant_min)
        zero = _zero(_spread(zero_point, layout, "zero_point"))
        return CodeMap(codes, layout.view, spread, None, zero)

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        return {**state, "_known": None}


def _spread(tensor: torch.Tensor | None, layout: BlockLayout, name: str) -> torch.Tensor:
    """Shape qparams so that they broadcast against the view of the tensor."""
    if tensor is None or tensor.numel() != torch.Size(layout.params).numel():
        raise InputError(
            f"{name} for a tensor in {layout.blocks} blocks",
            given="None" if tensor is None else f"shape {tuple(tensor.shape)}",
            allowed="one entry per block",
            clause="Q-8",
        )
    return tensor.reshape(layout.params)


def _zero(zero_point: torch.Tensor) -> Bound:
    """The zero point as one number where all blocks agree: clamping to numbers is faster."""
    if zero_point.device.type == "cpu":  # elsewhere, reading a value waits for the device
        low, high = (int(z) for z in zero_point.aminmax())
        if low == high:
            return float(low)
    return zero_point.float()
