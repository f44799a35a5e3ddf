"""Scales in memory: tiles of 128 by 4 as block-scaled matrix units read them (BLK-7)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant_reference.errors import InputError

ROWS, COLUMNS = 128, 4


def swizzle(scales: NDArray[Any]) -> NDArray[np.uint8]:
    """One row of bytes: tile by tile, in each tile row *r* at (r mod 32)·16 + (r div 32)·4 (BLK-7).

    Args:
        scales: uint8 codes, rows by blocks along the axis of sums.

    Raises:
        InputError: Not uint8 of two axes.
    """
    codes = matrix_of_scales(scales)
    tiles = tiled(codes)
    # (tile row, tile column, r mod 32, r div 32, column)
    return np.ascontiguousarray(tiles.transpose(0, 3, 2, 1, 4)).reshape(-1)


def matrix_of_scales(scales: NDArray[Any]) -> NDArray[np.uint8]:
    """The scales, if they are a matrix of codes (BLK-7)."""
    codes = np.asarray(scales)
    if codes.dtype != np.uint8 or codes.ndim != 2:
        raise InputError(
            "scales", given=f"{codes.dtype}{codes.shape}", allowed="uint8, 2-D", clause="BLK-7"
        )
    return codes


def tiled(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Padded with zeros to whole tiles: (tile row, r div 32, r mod 32, tile column, column)."""
    rows, columns = codes.shape
    full = np.pad(codes, ((0, -rows % ROWS), (0, -columns % COLUMNS)))
    return full.reshape(-1, 4, 32, full.shape[1] // COLUMNS, COLUMNS)


def unswizzle(packed: NDArray[Any], rows: int, columns: int) -> NDArray[np.uint8]:
    """The scales of a row of bytes, inverse of :func:`swizzle` (BLK-7).

    Raises:
        InputError: Another number of bytes than the tiles have.
    """
    data = np.asarray(packed)
    across, down = -(-columns // COLUMNS), -(-rows // ROWS)
    size = down * across * ROWS * COLUMNS
    if data.dtype != np.uint8 or data.shape != (size,):
        raise InputError(
            "swizzled scales",
            given=f"{data.dtype}{data.shape}",
            allowed=f"uint8, ({size},)",
            clause="BLK-7",
        )
    tiles = data.reshape(down, across, 32, 4, COLUMNS).transpose(0, 3, 2, 1, 4)
    return np.ascontiguousarray(tiles.reshape(down * ROWS, across * COLUMNS)[:rows, :columns])
