"""MIL operations that move, cut, repeat or look up values and compute none."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own name for it)
from torch import Tensor

from quant_conformance.runtimes.coreml.operands import Inputs, Result, Table


def _reshape(given: Inputs) -> Result:
    x = given.tensor("x")
    shape = given.ints("shape")
    return x.reshape([x.shape[i] if n == 0 else n for i, n in enumerate(shape)])


def _expand_dims(given: Inputs) -> Result:
    x = given.tensor("x")
    axes = given.ints("axes")
    rank = x.dim() + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        x = x.unsqueeze(axis)
    return x


def _squeeze(given: Inputs) -> Result:
    x = given.tensor("x")
    axes = given.ints("axes", [i for i, n in enumerate(x.shape) if n == 1])
    return x.squeeze([axis % x.dim() for axis in axes])


def _concat(given: Inputs) -> Result:
    values, axis = (
        [torch.atleast_1d(value) for value in given.tensors("values")],
        given.integer("axis"),
    )
    if given.flag("interleave"):
        axis %= values[0].dim()
        return torch.stack(values, axis + 1).flatten(axis, axis + 1)
    return torch.cat(values, axis)


def _split(given: Inputs) -> Result:
    x, axis = given.tensor("x"), given.integer("axis")
    if given.has("split_sizes"):
        return tuple(torch.split(x, given.ints("split_sizes"), axis))
    count = given.integer("num_splits")
    return tuple(torch.split(x, x.shape[axis] // count, axis))


def _slice_by_index(given: Inputs) -> Result:
    x = given.tensor("x")
    positions, squeezed = _indexed(given, x.shape)
    for axis, picked in enumerate(positions):
        x = x.index_select(axis, picked)
    return x.squeeze(squeezed)


def _slice_update(given: Inputs) -> Result:
    x = given.tensor("x").clone()
    positions, _ = _indexed(given, x.shape)
    grid = torch.meshgrid(*positions, indexing="ij")
    x[grid] = given.tensor("update").reshape(grid[0].shape)
    return x


def _indexed(given: Inputs, shape: torch.Size) -> tuple[list[torch.Tensor], list[int]]:
    """The positions along each axis that a slice picks, and the axes that it drops."""
    rank = len(shape)
    begin, end = given.ints("begin"), given.ints("end")
    stride = given.ints("stride", [1] * rank)
    no_begin, no_end = given.flags("begin_mask", rank), given.flags("end_mask", rank)
    squeezed = given.flags("squeeze_mask", rank)
    positions = []
    for axis, size in enumerate(shape):
        if squeezed[axis]:
            picked = [begin[axis] % size]
        else:
            low = None if no_begin[axis] else begin[axis]
            high = None if no_end[axis] else end[axis]
            picked = _positions(size, low, high, stride[axis])
        positions.append(torch.tensor(picked, dtype=torch.int64))
    return positions, [axis for axis in range(rank) if squeezed[axis]]


def _positions(size: int, begin: int | None, end: int | None, stride: int) -> list[int]:
    return list(range(*slice(begin, end, stride).indices(size)))


def _slice_by_size(given: Inputs) -> Result:
    x = given.tensor("x")
    sizes = given.ints("size")
    for axis, (begin, size) in enumerate(zip(given.ints("begin"), sizes, strict=True)):
        x = x.narrow(axis, begin, x.shape[axis] - begin if size == -1 else size)
    return x


def _pad(given: Inputs) -> Result:
    x, mode = given.tensor("x"), given.text("mode", "constant")
    pad = given.ints("pad")
    pairs = list(zip(pad[::2], pad[1::2], strict=True))
    if mode == "constant":
        flat = [n for pair in reversed(pairs) for n in pair]
        return F.pad(x, flat, value=given.number("constant_val", 0.0))
    for axis, (before, after) in enumerate(pairs, start=x.dim() - len(pairs)):
        places = torch.arange(-before, x.shape[axis] + after)
        x = x.index_select(axis, _mirrored(given, places, x.shape[axis], mode))
    return x


def _mirrored(given: Inputs, places: Tensor, size: int, mode: str) -> Tensor:
    if mode == "replicate":
        return places.clamp(0, size - 1)
    if mode == "reflect":
        last = size - 1
        return last - (last - places.abs()).abs()
    raise given.unsupported(f"mode {mode!r}")


def _crop(given: Inputs) -> Result:
    x = given.tensor("x")
    for axis, name in ((-2, "crop_height"), (-1, "crop_width")):
        before, after = given.ints(name)
        x = x.narrow(axis, before, x.shape[axis] - before - after)
    return x


def _gather(given: Inputs) -> Result:
    x, indices, axis = given.tensor("x"), given.tensor("indices").long(), given.integer("axis")
    if given.integer("batch_dims"):
        raise given.unsupported("batch_dims")
    axis %= x.dim()
    picked = x.index_select(axis, _counted(indices, x.shape[axis]).reshape(-1))
    return picked.reshape([*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]])


def _gather_along_axis(given: Inputs) -> Result:
    x, axis = given.tensor("x"), given.integer("axis")
    indices = _counted(given.tensor("indices").long(), x.shape[axis])
    return torch.take_along_dim(x, indices, axis)


def _gather_nd(given: Inputs) -> Result:
    if given.integer("batch_dims"):
        raise given.unsupported("batch_dims")
    return given.tensor("x")[tuple(given.tensor("indices").long().unbind(-1))]


def _counted(indices: Tensor, size: int) -> Tensor:
    return torch.where(indices < 0, indices + size, indices)


def _one_hot(given: Inputs) -> Result:
    indices = given.tensor("indices").long()
    size, axis = given.integer("one_hot_vector_size"), given.integer("axis", -1)
    hot = F.one_hot(indices, size).bool().movedim(-1, axis)
    on, off = given.number("on_value", 1.0), given.number("off_value", 0.0)
    return torch.where(hot, torch.tensor(on), torch.tensor(off))


def _band_part(given: Inputs) -> Result:
    x, lower, upper = given.tensor("x"), given.integer("lower", -1), given.integer("upper", -1)
    x = x if upper < 0 else torch.tril(x, upper)
    return x if lower < 0 else torch.triu(x, -lower)


def _range(given: Inputs) -> Result:
    start, end, step = (given.tensor(name) for name in ("start", "end", "step"))
    return torch.arange(start.item(), end.item(), step.item(), dtype=start.dtype)


def _upsample_nearest(given: Inputs) -> Result:
    return _interpolated(given.tensor("x"), _scaled_size(given), "nearest", None, _factors(given))


def _upsample_bilinear(given: Inputs) -> Result:
    corners = given.flag("align_corners", True)
    if given.flag("half_pixel_centers", not corners) == corners:
        raise given.unsupported("half_pixel_centers equal to align_corners")
    return _interpolated(
        given.tensor("x"), _scaled_size(given), "bilinear", corners, _factors(given)
    )


def _resize_nearest(given: Inputs) -> Result:
    return _interpolated(given.tensor("x"), _target_size(given), "nearest", None)


def _resize_bilinear(given: Inputs) -> Result:
    mode = given.text("sampling_mode", "DEFAULT")
    if mode not in ("ALIGN_CORNERS", "STRICT_ALIGN_CORNERS", "UNALIGN_CORNERS"):
        raise given.unsupported(f"sampling_mode {mode}")
    corners = mode != "UNALIGN_CORNERS"
    return _interpolated(given.tensor("x"), _target_size(given), "bilinear", corners)


def _factors(given: Inputs) -> list[float]:
    return [given.number(f"scale_factor_{axis}", 1.0) for axis in ("height", "width")]


def _scaled_size(given: Inputs) -> list[int]:
    sizes = given.tensor("x").shape[-2:]
    # A ratio of two sizes was rounded to float32 when it was written.
    return [math.floor(n * f + 1e-3) for n, f in zip(sizes, _factors(given), strict=True)]


def _target_size(given: Inputs) -> list[int]:
    return [given.integer("target_size_height", 1), given.integer("target_size_width", 1)]


def _interpolated(
    x: Tensor,
    size: list[int],
    mode: str,
    corners: bool | None,
    factors: Sequence[float | None] = (None, None),
) -> Tensor:
    """Places are 1/factor apart where a factor was given, else the ratio of the sizes."""
    flat = x.reshape(-1, 1, *x.shape[-2:])
    if mode == "nearest":
        resized = torch.ops.aten.upsample_nearest2d(flat, size, *factors)
    else:
        resized = torch.ops.aten.upsample_bilinear2d(flat, size, bool(corners), *factors)
    return resized.reshape([*x.shape[:-2], *size])


def _depth_to_space(given: Inputs) -> Result:
    x, block = given.tensor("x"), given.integer("block_size")
    n, channels, height, width = x.shape
    split = x.reshape(n, block, block, channels // block**2, height, width)
    return split.permute(0, 3, 4, 1, 5, 2).reshape(n, -1, height * block, width * block)


def _space_to_depth(given: Inputs) -> Result:
    x, block = given.tensor("x"), given.integer("block_size")
    n, channels, height, width = x.shape
    split = x.reshape(n, channels, height // block, block, width // block, block)
    return split.permute(0, 3, 5, 1, 2, 4).reshape(n, -1, height // block, width // block)


SHAPES: Table = {
    "reshape": _reshape,
    "expand_dims": _expand_dims,
    "squeeze": _squeeze,
    "transpose": lambda given: given.tensor("x").permute(given.ints("perm")),
    "flatten2d": lambda given: given.tensor("x").flatten(given.integer("axis", 1)),
    "concat": _concat,
    "stack": lambda given: torch.stack(given.tensors("values"), given.integer("axis")),
    "split": _split,
    "slice_by_index": _slice_by_index,
    "slice_by_size": _slice_by_size,
    "slice_update": _slice_update,
    "tile": lambda given: given.tensor("x").tile(given.ints("reps")),
    "reverse": lambda given: given.tensor("x").flip(given.ints("axes")),
    "pad": _pad,
    "crop": _crop,
    "gather": _gather,
    "gather_along_axis": _gather_along_axis,
    "gather_nd": _gather_nd,
    "one_hot": _one_hot,
    "band_part": _band_part,
    "range_1d": _range,
    "fill": lambda given: torch.full(given.ints("shape"), given.number("value")),
    "shape": lambda given: torch.tensor(given.tensor("x").shape),
    "pixel_shuffle": lambda given: F.pixel_shuffle(
        given.tensor("x"), given.integer("upscale_factor")
    ),
    "pixel_unshuffle": lambda given: F.pixel_unshuffle(
        given.tensor("x"), given.integer("downscale_factor")
    ),
    "depth_to_space": _depth_to_space,
    "space_to_depth": _space_to_depth,
    "upsample_nearest_neighbor": _upsample_nearest,
    "upsample_bilinear": _upsample_bilinear,
    "resize_nearest_neighbor": _resize_nearest,
    "resize_bilinear": _resize_bilinear,
}
"""MIL operation -> its torch form."""
