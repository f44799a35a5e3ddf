"""numpy arrays to torch tensors and back, bfloat16 included, without changing a bit."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from quant_conformance.protocol import Array


def to_torch(array: Array) -> Any:
    """Returns a tensor of the same bits; numpy has no bfloat16 of its own that torch would take."""
    import torch

    if array.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def to_numpy(tensor: Any) -> Array:
    """Returns an array of the same bits; 8-bit floats come back as uint8 bit codes."""
    import torch

    tensor = tensor.detach().contiguous()
    if tensor.dtype == torch.bfloat16:
        bits: Array = tensor.view(torch.int16).numpy()
        return bits.view(ml_dtypes.bfloat16)
    if tensor.is_floating_point() and tensor.element_size() == 1:
        tensor = tensor.view(torch.uint8)
    array: Array = tensor.numpy()
    return array
