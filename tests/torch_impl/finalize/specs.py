"""Legal specs, and what the reference makes of a tensor under them."""

from __future__ import annotations

from itertools import product
from typing import Any

import ml_dtypes
import numpy as np
import torch

import quant_reference as reference
from quant_torch.quantization import QuantizationSpec
from quant_torch.quantization.spec import QuantizationComponentFactory

INTEGERS = ("int2", "int4", "int8", "uint2", "uint4", "uint8")
SCHEMES = ("symmetric", "symmetric_with_clipping", "asymmetric")
FORMULATIONS = ("zp", "minval")
E8M0 = "float8_e8m0fnu"

PER_TENSOR = {"type": "per_tensor"}


def per_channel(axis: int = 0) -> dict[str, Any]:
    return {"type": "per_channel", "axis": axis}


def per_block(size: Any, axis: int | None = 1) -> dict[str, Any]:
    return {"type": "per_block", "axis": axis, "block_size": size}


def integer_specs(granularities: tuple[dict[str, Any], ...]) -> list[dict[str, Any]]:
    return [
        {"dtype": dtype, "qscheme": scheme, "qformulation": formulation, "granularity": granularity}
        for dtype, scheme, formulation, granularity in product(
            INTEGERS, SCHEMES, FORMULATIONS, granularities
        )
    ]


def fp8_specs(granularities: tuple[dict[str, Any], ...]) -> list[dict[str, Any]]:
    return [
        {"dtype": dtype, "scale_dtype": scale, "granularity": granularity}
        for dtype, scale, granularity in product(
            ("float8_e4m3fn", "float8_e5m2"), (None, E8M0), granularities
        )
    ]


def named(spec: dict[str, Any]) -> str:
    granularity = spec.get("granularity", PER_TENSOR)
    words = [v for k, v in spec.items() if isinstance(v, str)]
    words += [str(v) for v in granularity.values() if v is not None]
    return "-".join(words).replace(" ", "")


def weight(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> torch.Tensor:
    """Values with ties, a zero block and both signs of zero among them."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(shape, generator=generator)
    flat = values.view(-1)
    flat[: flat.numel() // 4] = (flat[: flat.numel() // 4] * 8).round() / 8
    flat[1], flat[2] = 0.0, -0.0
    return values.to(dtype)


def quantizer(spec: dict[str, Any], tensor: torch.Tensor, target: str = "weight", name: str = "w"):
    """A fake-quantize module that has observed a tensor."""
    module = QuantizationComponentFactory.create_fake_quantizer(
        QuantizationSpec(**spec), target, name
    )
    module(tensor)
    module.disable_observer()
    return module


def as_numpy(tensor: torch.Tensor) -> np.ndarray:
    tensor = tensor.detach()
    if tensor.dtype is torch.bfloat16:
        return tensor.view(torch.uint16).numpy().view(ml_dtypes.bfloat16)
    return tensor.numpy()


def expected(
    spec: dict[str, Any], tensor: torch.Tensor, target: str = "weight"
) -> tuple[np.ndarray, reference.QParams, np.ndarray]:
    """Codes, qparams and fake-quantized values by the reference."""
    x = as_numpy(tensor)
    rules = reference.QuantizationSpec.from_dict(spec)
    qparams = reference.compute_qparams(*reference.value_range(x, rules, target), rules)
    codes = reference.quantize(x, rules, qparams)
    return codes, qparams, reference.fake_quantize(x, rules, qparams)


def assert_same_bits(given: np.ndarray | torch.Tensor, wanted: np.ndarray) -> None:
    given = as_numpy(given) if isinstance(given, torch.Tensor) else given
    assert given.dtype == wanted.dtype
    assert given.shape == wanted.shape
    raw = f"u{given.dtype.itemsize}"
    np.testing.assert_array_equal(
        np.ascontiguousarray(given).view(raw), np.ascontiguousarray(wanted).view(raw)
    )
