"""Interpolations that a converter lacks, or reads with other positions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from quant_torch._torch_internals import untraced
from quant_torch.export.rewriting._rule import Rule, Rules, aten, part

Kept = Callable[[Tensor, list[int], bool, list[Any]], bool]

MOST_SLICES = 512
"""Places along an axis up to which Core AI gets them one by one."""


def _nearest(rank: int, mode: str, kept: Kept, picked: Callable[..., Tensor]) -> Rule:
    """The elements that torch picks, one axis after the other.

    Args:
        rank: spatial axes.
        mode: ``"nearest"`` or ``"nearest-exact"``.
        kept: whether the converter is right for these sizes and factors.
        picked: picks elements along an axis.
    """

    def rule(x: Tensor, output_size: Sequence[int] | None, *scales: Any) -> Tensor:
        factors = _factors(rank, scales)
        wanted = _sizes(x, rank, output_size, factors)
        if kept(x, wanted, False, factors):
            return NotImplemented
        for axis, (size, count, factor) in enumerate(
            zip(x.shape[-rank:], wanted, factors, strict=True), start=x.dim() - rank
        ):
            if size != count or factor is not None:
                x = picked(x, axis, _places(size, count, factor, mode))
        return x

    return rule


def _by_index(x: Tensor, axis: int, places: list[int]) -> Tensor:
    return torch.index_select(x, axis, torch.tensor(places))


def _by_slices(x: Tensor, axis: int, places: list[int]) -> Tensor:
    if len(places) > MOST_SLICES:
        raise ValueError(
            f"Core AI picks other elements than torch in an interpolation to {len(places)} by a "
            "factor that is not whole; grow by a whole factor, or pick elements by index_select"
        )
    return torch.cat([part(x, axis, place, 1) for place in places], axis)


def _places(size: int, count: int, factor: float | None, mode: str) -> list[int]:
    """As torch counts, in float32 (``nearest``: floor(n * scale), ``exact``: from the middle)."""
    scale = np.float32(size) / np.float32(count)
    if factor is not None:
        scale = np.float32(1.0 / factor)
    begin = np.float32(0.5 if mode == "nearest-exact" else 0)
    positions = (np.arange(count, dtype=np.float32) + begin) * scale
    return [int(n) for n in np.minimum(np.floor(positions), size - 1)]


def _factors(rank: int, scales: Sequence[Any]) -> list[float | None]:
    if len(scales) == 1 and isinstance(scales[0], list | tuple):  # the overload "vec"
        return [None if n is None else float(n) for n in scales[0]]
    given = list(scales) + [None] * (rank - len(scales))
    return given[:rank] if any(scales) else [None] * rank


def _sizes(
    x: Tensor, rank: int, output_size: Sequence[int] | None, factors: list[float | None]
) -> list[int]:
    if output_size is not None:
        return [int(n) for n in output_size]
    return [int(n * (f or 1.0)) for n, f in zip(x.shape[-rank:], factors, strict=True)]


Along = Callable[[Tensor, list[int], bool | None, Any], Tensor]


def _weighted(rank: int, along: Along, kept: Callable[..., bool]) -> Rule:
    """A product with torch's own weights along each axis.

    Args:
        rank: spatial axes.
        along: interpolates an image of (1, 1, size, size) along its last axis but one.
        kept: whether the converter takes these sizes and arguments.
    """

    def rule(
        x: Tensor, output_size: Sequence[int] | None, align_corners: bool, *scales: Any
    ) -> Tensor:
        factors = _factors(rank, scales)
        wanted = _sizes(x, rank, output_size, factors)
        if kept(x, wanted, align_corners, factors):
            return NotImplemented
        for axis, (size, count, factor) in enumerate(
            zip(x.shape[-rank:], wanted, factors, strict=True), start=x.dim() - rank
        ):
            with untraced():
                eye = torch.eye(size)[None, None]
                weights = along(eye, [count, size], align_corners, factor)[0, 0].to(x.dtype)
                weights = weights.t().contiguous()
            moved = torch.transpose(x, axis, -1)
            x = torch.transpose(torch.matmul(moved, weights), axis, -1)
        return x

    return rule


def _bilinear(eye: Tensor, size: list[int], corners: bool | None, factor: Any) -> Tensor:
    return aten.upsample_bilinear2d.default(eye, size, corners, factor, None)


def _smooth(eye: Tensor, size: list[int], corners: bool | None, factor: Any) -> Tensor:
    return aten._upsample_bilinear2d_aa.default(eye, size, corners, factor, None)


def _bicubic(eye: Tensor, size: list[int], corners: bool | None, factor: Any) -> Tensor:
    return aten.upsample_bicubic2d.default(eye, size, corners, factor, None)


def _smooth_bicubic(eye: Tensor, size: list[int], corners: bool | None, factor: Any) -> Tensor:
    return aten._upsample_bicubic2d_aa.default(eye, size, corners, factor, None)


def _never(*_: Any) -> bool:
    return False


def _plain_scales(x: Tensor, wanted: list[int], corners: bool, factors: list[Any]) -> bool:
    return all(f is None or float(f).is_integer() for f in factors)


def _whole(x: Tensor, wanted: list[int], corners: bool, factors: list[Any]) -> bool:
    pairs = zip(wanted, x.shape[-len(wanted) :], strict=True)
    return _plain_scales(x, wanted, corners, factors) and all(n % m == 0 for n, m in pairs)


def _both(default: Rule, *packets: Any) -> Rules:
    return {
        getattr(p, name): default for p in packets for name in p.overloads() if "out" not in name
    }


RESIZING: Rules = {
    **_both(_nearest(1, "nearest", _whole, _by_index), aten.upsample_nearest1d),
    **_both(_nearest(2, "nearest", _whole, _by_index), aten.upsample_nearest2d),
    **_both(_nearest(3, "nearest", _never, _by_index), aten.upsample_nearest3d),
    **_both(_nearest(1, "nearest-exact", _never, _by_index), aten._upsample_nearest_exact1d),
    **_both(_nearest(2, "nearest-exact", _never, _by_index), aten._upsample_nearest_exact2d),
    **_both(_nearest(3, "nearest-exact", _never, _by_index), aten._upsample_nearest_exact3d),
    **_both(_weighted(1, _bilinear, _plain_scales), aten.upsample_linear1d),
    **_both(_weighted(2, _bilinear, _plain_scales), aten.upsample_bilinear2d),
    **_both(_weighted(3, _bilinear, _never), aten.upsample_trilinear3d),
    **_both(_weighted(2, _bicubic, _never), aten.upsample_bicubic2d),
    **_both(_weighted(2, _smooth, _never), aten._upsample_bilinear2d_aa),
    **_both(_weighted(2, _smooth_bicubic, _never), aten._upsample_bicubic2d_aa),
}
"""For Core ML."""

COREAI_RESIZING: Rules = {
    **_both(_nearest(1, "nearest", _whole, _by_slices), aten.upsample_nearest1d),
    **_both(_nearest(2, "nearest", _whole, _by_slices), aten.upsample_nearest2d),
}
"""For Core AI, which is right where sizes grow by whole factors."""
