"""Range calculators: the interval that the codes of a block must cover."""

from __future__ import annotations

from abc import ABC, abstractmethod
from math import prod
from typing import Any, ClassVar

import torch
from torch import nn

from quant_reference.errors import InputError
from quant_torch._registry import KeyedClasses
from quant_torch.quantization.spec._blocks import BlockLayout, block_extremes, block_layout
from quant_torch.quantization.spec._legal import check_elements
from quant_torch.quantization.spec.granularity import QuantizationGranularity, Target

_LAYOUTS_KEPT = 16


class RangeCalculatorBase(KeyedClasses, nn.Module, ABC):
    """Base of the range calculators; register a subclass under a key to name it in a spec.

    A subclass implements :meth:`_generate_min_max`. The result needs not contain zero: the
    qparams calculator widens it (RANGE-1).

    Attributes:
        granularity: Which elements share a range.
        quantization_target: ``"weight"`` or ``"activation"``.
    """

    REGISTRY: ClassVar[dict[str, type]] = {}

    def __init__(
        self,
        granularity: QuantizationGranularity,
        quantization_target: Target = "weight",
        **kwargs: Any,
    ) -> None:
        super().__init__()
        self.granularity = granularity
        self.quantization_target = quantization_target
        self._layouts: dict[torch.Size, BlockLayout] = {}

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Least and greatest value per block.

        Args:
            x: Tensor of any rank, float16, bfloat16 or float32.

        Returns:
            Two tensors in x's dtype with one entry per block, in the rank of x.

        Raises:
            InputError: x has no elements (RANGE-5), or the subclass returned another number of
                entries than there are blocks.
        """
        check_elements(x)
        low, high = self._generate_min_max(x)
        return self._reshape_min_max(low, x.shape), self._reshape_min_max(high, x.shape)

    @abstractmethod
    def _generate_min_max(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute the range of every block, in any shape with one entry per block."""

    def _reshape_min_max(self, values: torch.Tensor, input_shape: torch.Size) -> torch.Tensor:
        blocks = self.layout_of(input_shape).blocks
        if values.shape == blocks:
            return values
        if values.numel() != prod(blocks):
            raise InputError(
                f"range from {type(self).__name__}",
                given=f"shape {tuple(values.shape)}",
                allowed=f"one entry for each of {blocks} blocks",
                clause="GRAN-1",
            )
        return values.reshape(blocks)

    def layout_of(self, shape: torch.Size) -> BlockLayout:
        """How a tensor of this shape splits into blocks; the last answers are kept.

        Raises:
            GranularityError: The granularity does not fit the shape (GRAN-6).
        """
        known = self._layouts.get(shape)
        if known is None:
            block = self.granularity.get_block_size(shape, self.quantization_target)
            if len(self._layouts) >= _LAYOUTS_KEPT:
                self._layouts.clear()
            known = self._layouts[shape] = block_layout(shape, block)
        return known


@RangeCalculatorBase.register("minmax")
class MinMaxRangeCalculator(RangeCalculatorBase):
    """The least and greatest element themselves; a NaN in a block makes its range NaN (RANGE-4)."""

    def _generate_min_max(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return block_extremes(x, self.layout_of(x.shape))
