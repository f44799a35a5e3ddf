"""Codes and values of weights: computed in pieces, kept in memory or in files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from quant_torch.quantization._finalize.facts import Facts
from quant_torch.quantization.spec._qparams import QParams
from quant_torch.quantization.spec.factory import QuantizationComponentFactory
from quant_torch.quantization.spec.fake_quantize import DefaultFakeQuantize, FakeQuantizeImplBase
from quant_torch.quantization.spec.granularity import PerBlockGranularity

_PIECE = 1 << 22
"""Elements of a weight that are quantized at a time."""

_IN_FILES = 1 << 16
"""Bytes from which on a buffer goes to a file, where a directory is given."""


class Storage:
    """Where finalized buffers are kept.

    Args:
        directory: For the large ones; None keeps everything in memory.

    Raises:
        OSError: The directory cannot be made.
    """

    def __init__(self, directory: str | os.PathLike[str] | None) -> None:
        self._directory = None if directory is None else Path(directory)
        self._count = 0
        if self._directory is not None:
            self._directory.mkdir(parents=True, exist_ok=True)

    def keep(self, tensor: torch.Tensor, name: str) -> torch.Tensor:
        """The tensor, or a mapping of the file that now holds it.

        Args:
            tensor: Of a dtype with whole bytes.
            name: Becomes part of the file's name.
        """
        if self._directory is None or tensor.nbytes < _IN_FILES:
            return tensor
        safe = re.sub(r"[^\w.-]+", "_", name)
        path = self._directory / f"{self._count:04d}_{safe}.bin"
        self._count += 1
        raw = tensor.contiguous().view(torch.uint8).flatten()
        partial = path.with_suffix(".partial")
        raw.numpy().tofile(partial)
        partial.replace(path)
        # Copy-on-write: pages are read from the file and can be dropped under memory pressure.
        mapped = torch.from_numpy(np.memmap(path, np.uint8, mode="c"))
        return mapped.view(tensor.dtype).reshape(tensor.shape)


def codes_of(facts: Facts, tensor: torch.Tensor) -> torch.Tensor:
    """Codes of a weight, as the fake-quantize module gives them (Q-1 to Q-7).

    Returns:
        int8 or uint8; bit codes in uint8 for float formats, FP4 in the low nibble.
    """
    dtype = torch.int8 if facts.format.kind == "int" else torch.uint8
    codes = torch.empty(tensor.shape, dtype=dtype, device=tensor.device)
    for rows, quantizer, qparams in _pieces(facts, tensor):
        codes[rows] = quantizer.quantize(tensor[rows], *qparams)
    return codes


def values_of(facts: Facts, tensor: torch.Tensor) -> torch.Tensor:
    """Fake-quantized values of a weight, in its dtype (FQ-1 to FQ-4)."""
    values = torch.empty(tensor.shape, dtype=tensor.dtype, device=tensor.device)
    for rows, quantizer, qparams in _pieces(facts, tensor):
        codes = quantizer.quantize(tensor[rows], *qparams)
        values[rows] = quantizer.dequantize(codes, *qparams, output_dtype=tensor.dtype)
    return values


def _pieces(
    facts: Facts, tensor: torch.Tensor
) -> Iterator[tuple[Any, FakeQuantizeImplBase, QParams]]:
    """Ranges of rows with their quantizer and qparams, so that temporaries stay small."""
    whole, qparams = facts.quantizer, QParams(*facts.quantizer.calculate_qparams())
    splits = type(whole) is DefaultFakeQuantize and whole.spec is not None
    if not splits or tensor.numel() <= _PIECE:
        yield ..., whole, qparams
        return
    length, (extent, *others) = tensor.shape[0], facts.block
    one_block = extent == length
    step = max(1, _PIECE * length // tensor.numel())
    if not one_block:
        step = max(extent, step // extent * extent)
    for start in range(0, length, step):
        stop = min(start + step, length)
        block = PerBlockGranularity(block_size=(stop - start if one_block else extent, *others))
        spec = whole.spec.model_copy(update={"granularity": block})
        part = slice(None) if one_block else slice(start // extent, stop // extent)
        yield (
            slice(start, stop),
            QuantizationComponentFactory.create_fake_quantizer(spec, "weight"),
            QParams(*(None if q is None else q[part] for q in qparams)),
        )
