"""Element formats as torch dtypes; the formats themselves are declared by the reference."""

from __future__ import annotations

import torch

from quant_reference.formats import SPEC_FORMATS, Format, get_format
from quant_torch._suggest import closest

TORCH_DTYPES: dict[str, torch.dtype] = {
    "int2": torch.int2,
    "int4": torch.int4,
    "int8": torch.int8,
    "uint2": torch.uint2,
    "uint4": torch.uint4,
    "uint8": torch.uint8,
    "float8_e4m3fn": torch.float8_e4m3fn,
    "float8_e5m2": torch.float8_e5m2,
    "float4_e2m1fn": torch.float4_e2m1fn_x2,
    "float8_e8m0fnu": torch.float8_e8m0fnu,
}
"""torch dtype of every format of a spec, by canonical name (FMT-1 to FMT-3)."""

_FORMATS = {dtype: SPEC_FORMATS[name] for name, dtype in TORCH_DTYPES.items()}


def format_of(dtype: torch.dtype) -> Format:
    """The format that a torch dtype names.

    Raises:
        ValueError: The dtype is no element format.
    """
    found = _FORMATS.get(dtype)
    if found is None:
        raise ValueError(f"{dtype} is no quantized format; there are {', '.join(SPEC_FORMATS)}")
    return found


def torch_dtype(given: object) -> torch.dtype:
    """Read a dtype given as a torch dtype or as a string such as ``"int4"`` or ``"torch.int4"``.

    Raises:
        ValueError: Anything else, or a dtype that is no element format (FMT-4).
    """
    if isinstance(given, torch.dtype):
        return TORCH_DTYPES[format_of(given).name]
    if isinstance(given, str):
        name = get_format(given.removeprefix("torch.")).name
        if name in TORCH_DTYPES:
            return TORCH_DTYPES[name]
        raise ValueError(f"{given!r} is no format of a spec; there are {', '.join(SPEC_FORMATS)}")
    hint = closest(given, SPEC_FORMATS)
    raise ValueError(f"dtype must be a torch dtype or its name, given {given!r}{hint}")


def container_dtype(fmt: Format) -> torch.dtype:
    """Dtype of a tensor of codes: int8, uint8, or the float8 dtype itself (Q-3, Q-5).

    FP4 codes are held one per uint8, in the low nibble.
    """
    if fmt.kind == "float" and fmt.bits == 8:
        return TORCH_DTYPES[fmt.name]
    return torch.int8 if fmt.kind == "int" else torch.uint8
