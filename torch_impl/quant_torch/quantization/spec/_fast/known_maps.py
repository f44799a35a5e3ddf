"""Code maps that are kept while the qparams that they were made from do not change."""

from __future__ import annotations

from typing import NamedTuple

import torch

from quant_torch.quantization.spec._blocks import BlockLayout
from quant_torch.quantization.spec._code_map import Bound, CodeMap, new_code_map
from quant_torch.quantization.spec._fast.memory import same_bits
from quant_torch.quantization.spec._fast.switch import SWITCH
from quant_torch.quantization.spec._fast.value_cache import version_of
from quant_torch.quantization.spec._qparams import QuantRange

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


class KnownMaps:
    """The code maps of one fake-quantize module, by the layout of the tensor.

    A copy or a pickle is empty.
    """

    def __init__(self) -> None:
        self._known: dict[BlockLayout, _KnownMap] = {}

    def clear(self) -> None:
        """Forget all of them."""
        self._known.clear()

    def get(
        self,
        codes: QuantRange,
        layout: BlockLayout,
        scale: torch.Tensor,
        offset: torch.Tensor | None,
        by_minval: bool,
    ) -> CodeMap:
        """As :func:`new_code_map`, which is called where the qparams changed."""
        if not SWITCH.on:
            return new_code_map(codes, layout, scale, offset, by_minval)
        version = None if by_minval or offset is None else version_of(offset)
        known = self._known.get(layout)
        if (
            known is not None
            and known.scale is scale
            and known.offset is offset
            and known.version == version
            and (known.zero is None or same_bits(known.zero, offset))
            and _reads(known.code_map.scale, scale)
            and _reads(known.code_map.shift, offset)
        ):
            return known.code_map
        return self._anew(codes, layout, scale, offset, by_minval)

    def _anew(
        self,
        codes: QuantRange,
        layout: BlockLayout,
        scale: torch.Tensor,
        offset: torch.Tensor | None,
        by_minval: bool,
    ) -> CodeMap:
        code_map = new_code_map(codes, layout, scale, offset, by_minval)
        by_value = offset is not None and not by_minval
        if isinstance(code_map.zero, torch.Tensor):
            code_map = code_map.with_zero(_as_number(code_map.zero))
        version = version_of(offset) if by_value else None
        copied = not (_reads(code_map.scale, scale) and _reads(code_map.shift, offset))
        if copied or (by_value and version is None):
            self._known.pop(layout, None)
            return code_map
        if len(self._known) >= _MAPS_KEPT:
            self._known.clear()
        zero = offset.clone() if by_value and offset.device.type == "cpu" else None
        self._known[layout] = _KnownMap(scale, offset, version, zero, code_map)
        return code_map

    def __deepcopy__(self, memo: object) -> KnownMaps:
        return KnownMaps()

    def __reduce__(self) -> tuple[type[KnownMaps], tuple[()]]:
        return KnownMaps, ()


def _reads(view: torch.Tensor | None, tensor: torch.Tensor | None) -> bool:
    """Whether a part of a code map is in the memory of its tensor, which may have been swapped."""
    return view is None or view is tensor or view.data_ptr() == tensor.data_ptr()


def _as_number(zero: torch.Tensor) -> Bound:
    """The zero points as one number where all blocks agree: clamping to numbers is faster."""
    if zero.device.type != "cpu" or zero.numel() == 0:  # elsewhere, reading one waits for a device
        return zero
    low, high = zero.aminmax()
    return float(low) if zero.numel() == 1 or torch.equal(low, high) else zero
