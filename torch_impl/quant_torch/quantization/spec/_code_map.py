"""The map between values and codes of a tensor, made from its qparams."""

from __future__ import annotations

from math import prod
from typing import NamedTuple

import torch

from quant_reference.errors import InputError
from quant_torch.quantization.spec._blocks import BlockLayout
from quant_torch.quantization.spec._legal import check_scale, check_zero_point
from quant_torch.quantization.spec._qparams import QuantRange

Bound = float | torch.Tensor


class CodeMap(NamedTuple):
    """The map between values and codes of one tensor layout.

    Attributes:
        codes: Format and range of the codes.
        view: Shape of the view in which every block is a rectangle.
        scale: float32, shaped to broadcast against the view.
        shift: minval to subtract before the division, or None.
        zero: Code of zero as a number, or a float32 tensor shaped like scale.
        lower: Least relative code, likewise.
        upper: Greatest relative code.
    """

    codes: QuantRange
    view: tuple[int, ...]
    scale: torch.Tensor
    shift: torch.Tensor | None
    zero: Bound
    lower: Bound
    upper: Bound

    def with_zero(self, zero: Bound) -> CodeMap:
        """The map with another code of zero."""
        codes = self.codes
        return self._replace(zero=zero, lower=codes.quant_min - zero, upper=codes.quant_max - zero)


def new_code_map(
    codes: QuantRange,
    layout: BlockLayout,
    scale: torch.Tensor,
    offset: torch.Tensor | None,
    by_minval: bool,
) -> CodeMap:
    """The map of legal qparams.

    Args:
        codes: Format and range of the codes.
        layout: Of the tensor.
        scale: One entry per block.
        offset: minval or zero point of an integer format.
        by_minval: Which of the two it is.

    Raises:
        InputError: The qparams are not legal, or not one per block (Q-8).
    """
    spread = _spread(scale, layout, "scale")
    check_scale(spread, codes)
    zero: Bound = 0.0
    shift = None
    if codes.fmt.is_integer and by_minval:
        shift, zero = _spread(offset, layout, "minval"), codes.quant_min
    elif codes.fmt.is_integer:
        zero_point = _spread(offset, layout, "zero_point")
        check_zero_point(zero_point, codes)
        zero = zero_point.float()
    return CodeMap(codes, layout.view, spread, shift, 0.0, 0.0, 0.0).with_zero(zero)


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
