"""MIL operations that write to places, or read at places, that a tensor names."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own name for it)
from torch import Tensor

from quant_conformance.runtimes.coreml.operands import Inputs, Result, Table

_COMBINED: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "div": torch.div,
    "max": torch.maximum,
    "min": torch.minimum,
    "update": lambda _, new: new,
}
"""Mode -> what becomes of an element and of what is written there."""


def _written(given: Inputs, data: Tensor, places: Tensor, updates: Tensor) -> Tensor:
    """Updates written one after the other to places of the data as a line."""
    mode = given.text("mode", "add")
    if mode not in _COMBINED:
        raise given.unsupported(f"mode {mode!r}")
    line, flat = data.reshape(-1).clone(), places.reshape(-1)
    new = updates.expand(places.shape).reshape(-1).to(line.dtype)
    if mode == "add":
        return line.index_add(0, flat, new).reshape(data.shape)
    if len(flat.unique()) == len(flat):
        line[flat] = _COMBINED[mode](line[flat], new)
        return line.reshape(data.shape)
    for place, value in zip(flat.tolist(), new, strict=True):
        line[place] = _COMBINED[mode](line[place], value)
    return line.reshape(data.shape)


def _numbered(data: Tensor) -> Tensor:
    return torch.arange(data.numel()).reshape(data.shape)


def _counted(indices: Tensor, size: int) -> Tensor:
    return torch.where(indices < 0, indices + size, indices)


def _scatter(given: Inputs) -> Result:
    data, axis = given.tensor("data"), given.integer("axis")
    axis %= data.dim()
    indices = _counted(given.tensor("indices").long(), data.shape[axis])
    places = _numbered(data).index_select(axis, indices.reshape(-1))
    shape = [*data.shape[:axis], *indices.shape, *data.shape[axis + 1 :]]
    return _written(given, data, places.reshape(shape), given.tensor("updates"))


def _scatter_along_axis(given: Inputs) -> Result:
    data, axis = given.tensor("data"), given.integer("axis")
    axis %= data.dim()
    indices = _counted(given.tensor("indices").long(), data.shape[axis])
    numbers = _numbered(data)
    for other, extent in enumerate(indices.shape):
        if other != axis:
            numbers = numbers.narrow(other, 0, extent)
    return _written(given, data, numbers.gather(axis, indices), given.tensor("updates"))


def _scatter_nd(given: Inputs) -> Result:
    data, indices = given.tensor("data"), given.tensor("indices").long()
    pairs = zip(indices.unbind(-1), data.shape, strict=False)
    places = _numbered(data)[tuple(_counted(part, extent) for part, extent in pairs)]
    return _written(given, data, places, given.tensor("updates"))


def _non_zero(given: Inputs) -> Result:
    return torch.nonzero(given.tensor("x"))


_BORDERS = {
    ("constant", False): "zeros",
    ("constant", True): "zeros",
    ("border", False): "border",
    ("border", True): "border",
    ("reflection", True): "reflection",
    ("symmetric", False): "reflection",
}
"""Padding and whether corners are aligned -> torch's: it reflects at elements or at edges."""


def _resample(given: Inputs) -> Result:
    x, places = given.tensor("x"), given.tensor("coordinates")
    corners = given.flag("align_corners")
    padding, mode = given.text("padding_mode"), given.text("sampling_mode")
    kind = given.text("coordinates_mode")
    if kind == "normalized_zero_to_one":
        places = places * 2 - 1
    elif kind != "normalized_minus_one_to_one":
        raise given.unsupported(f"coordinates_mode {kind!r}")
    border = _BORDERS.get((padding, corners))
    if border is None or (padding == "constant" and given.number("padding_value")):
        raise given.unsupported(f"padding_mode {padding!r}, align_corners {corners}")
    if mode not in ("bilinear", "nearest"):
        raise given.unsupported(f"sampling_mode {mode!r}")
    return F.grid_sample(x, places, mode, border, corners)


PLACES: Table = {
    "scatter": _scatter,
    "scatter_along_axis": _scatter_along_axis,
    "scatter_nd": _scatter_nd,
    "non_zero": _non_zero,
    "resample": _resample,
}
"""MIL operation -> its torch form."""
