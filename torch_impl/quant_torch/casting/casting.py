"""Every function of :mod:`quant_torch.casting`, where ``coreai_opt`` defines them."""

from quant_torch.casting import (
    cast_fp32_to_fp16,
    cast_int32_to_int16,
    cast_to_16_bit_precision,
)

__all__ = ["cast_fp32_to_fp16", "cast_int32_to_int16", "cast_to_16_bit_precision"]
