"""Core AI: ``coreai::`` operators over low-bit buffers."""

from __future__ import annotations

import warnings

import torch
from torch import nn

from quant_torch.quantization._finalize.facts import Facts
from quant_torch.quantization._finalize.storage import Storage, codes_of
from quant_torch.quantization.spec._dtypes import TORCH_DTYPES
from quant_torch.quantization.spec.qscheme import QuantizationScheme

_LEAST_E8M0, _GREATEST_E8M0 = 2.0**-24, 2.0**15
"""Powers of two that float16 has; coreai-torch converts e8m0 constants by way of it."""


def load_operators() -> None:
    """Register the ``coreai::`` operators.

    Raises:
        ImportError: coreai-torch is not installed; the message names the extra.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns about every local build of torch
            # A private module, and the only one that registers the operators; see the error below.
            import coreai_torch._compression.custom_layers  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "finalizing for Core AI needs coreai-torch: pip install 'quant-conformance[coreai]' "
            f"({error})"
        ) from error


class CoreAIWeight(nn.Module):
    """A weight as codes and qparams; forward gives its values.

    Buffers: ``codes`` (int8 or uint8 for integers, whatever their width; FP8 in its own dtype;
    FP4 two per byte), ``scale`` (float32, or float8_e8m0fnu), and ``zero_point`` in the dtype of
    the codes or ``minval`` in float32, all in the rank of the weight. Where one of the e8m0 scales
    has no place in float16, as in a block of zeros, ``scale`` is None and ``scale_table`` has them.

    Args:
        facts: The fake-quantize module.
        tensor: The weight.
        storage: Where the codes are kept.
    """

    def __init__(self, facts: Facts, tensor: torch.Tensor, storage: Storage) -> None:
        super().__init__()
        fmt = facts.format
        codes = codes_of(facts, tensor)
        scale, zero_point, minval = facts.qparams
        self.dtype = tensor.dtype
        self.formats: tuple[torch.dtype | None, torch.dtype | None] = (None, None)
        if fmt.is_integer:
            self.formats = (TORCH_DTYPES[fmt.name], None)
        if minval is not None and facts.quantizer.quant_min != fmt.quant_min:
            # The operator counts levels from the least code of the format; with clipping the
            # least code in use is one above (SPEC-6). So the codes move, and the values do not.
            codes = codes + int(fmt.quant_min - facts.quantizer.quant_min)
        self.scale_table: ScaleTable | None = None
        if facts.quantizer.qparams_calculator.scale_dtype is not None:
            self.formats = (None, torch.float32)
            plain = bool(((scale >= _LEAST_E8M0) & (scale <= _GREATEST_E8M0) | scale.isnan()).all())
            scale = scale.to(torch.float8_e8m0fnu)
            self.scale_table = None if plain else ScaleTable(scale)
        self.register_buffer("codes", _stored(codes, facts, storage))
        self.register_buffer("scale", scale.clone() if self.scale_table is None else None)
        self.register_buffer("zero_point", _cast(zero_point, codes.dtype))
        self.register_buffer("minval", _cast(minval, torch.float32))

    def forward(self, _: object = None) -> torch.Tensor:
        """The values, in the dtype the weight had; DQ-1 to DQ-3 and FQ-3."""
        values = torch.ops.coreai.constexpr_blockwise_shift_scale(
            self.codes, self.scales(), self.zero_point, self.minval, *self.formats
        )
        return values if values.dtype is self.dtype else values.to(self.dtype)

    def scales(self) -> torch.Tensor:
        """The scales, whichever way they are kept: float32, or float8_e8m0fnu."""
        return self.scale if self.scale_table is None else self.scale_table()

    def right_inverse(self, tensor: torch.Tensor) -> torch.Tensor:
        """Refuse an assignment.

        Raises:
            RuntimeError: Always; codes are not computed anew.
        """
        raise RuntimeError("the weights of a finalized model are codes and cannot be assigned")


class ScaleTable(nn.Module):
    """e8m0 scales as places in a table of all values of the format.

    coreai-torch makes NaN of e8m0 constants that float16 lacks (``docs/findings.md``). It leaves
    bfloat16 alone, which has them all, and what is looked up is no constant until it runs. So a
    scale costs its one byte, and a weight the 512 bytes of the table.

    Buffers, by the names under which coreai-torch looks for them: ``indices`` (uint8, the codes of
    the scales) and ``lut`` (bfloat16, the value of each code).

    Args:
        scale: float8_e8m0fnu, in the rank of the weight.
    """

    def __init__(self, scale: torch.Tensor) -> None:
        super().__init__()
        codes = torch.arange(256, dtype=torch.uint8, device=scale.device)
        values = codes.view(torch.float8_e8m0fnu).to(torch.bfloat16)
        self.register_buffer("indices", scale.view(torch.uint8))
        self.register_buffer("lut", values.reshape(*(1 for _ in scale.shape), -1, 1))

    def forward(self) -> torch.Tensor:
        """The scales, in float8_e8m0fnu."""
        values = torch.ops.coreai.lut_to_dense(self.indices, self.lut, 0)
        return values.to(torch.float8_e8m0fnu)


class CoreAIActivation(nn.Module):
    """quantize, then dequantize, with fixed qparams.

    Buffers: ``scale`` in float32, and ``zero_point`` in the dtype of the codes or ``minval`` in
    float32; 0-D per tensor, 1-D per channel.

    Args:
        facts: The fake-quantize module.
    """

    def __init__(self, facts: Facts) -> None:
        super().__init__()
        fmt, quantizer = facts.format, facts.quantizer
        scale, zero_point, minval = facts.qparams
        self.axis = 0
        self.rank = scale.dim()
        if facts.granularity_key == "per_channel":
            self.axis = (facts.granularity.axis or 0) % self.rank
            scale, zero_point, minval = (_along(q, (-1,)) for q in (scale, zero_point, minval))
        else:
            scale, zero_point, minval = (_along(q, ()) for q in (scale, zero_point, minval))
        self.code_dtype = TORCH_DTYPES[fmt.name]
        self.input_dtype = self.code_dtype if fmt.is_integer else None
        self.register_buffer("scale", scale.clone())
        self.register_buffer("zero_point", _cast(zero_point, self.code_dtype))
        self.register_buffer("minval", _cast(minval, torch.float32))
        clips = quantizer.qscheme is QuantizationScheme.SYMMETRIC_WITH_CLIPPING
        self.clips = clips and quantizer.quant_min != fmt.quant_min
        self.levels = int(quantizer.quant_max - quantizer.quant_min) if fmt.is_integer else 0
        self.least = int(quantizer.quant_min) if fmt.is_integer else 0

    def forward(self, x: torch.Tensor, overwrite: bool = False) -> torch.Tensor:
        """Fake-quantized values in x's dtype; x is never overwritten."""
        if x.dim() == 0:  # the operators want an axis
            return self.forward(x.reshape(1)).reshape(())
        dtype = x.dtype
        if dtype is not torch.float32:
            x = x.to(torch.float32)
        if self.clips:
            x = self._clipped(x)
        codes = torch.ops.coreai.quantize(
            x, self.scale, self.code_dtype, self.zero_point, self.minval, self.axis
        )
        values = torch.ops.coreai.dequantize(
            codes, self.scale, self.zero_point, self.minval, self.axis, self.input_dtype,
            torch.float32,
        )  # fmt: skip
        return values if dtype is torch.float32 else values.to(dtype)

    def _clipped(self, x: torch.Tensor) -> torch.Tensor:
        """X where the operator, which knows all codes of the format, uses only those allowed.

        The bound divided by the scale is within an ulp of a whole number, so it rounds to it.
        """
        shape = [1] * x.dim()
        if self.scale.dim():
            shape[self.axis] = -1
        scale = self.scale.reshape(shape)
        if self.minval is None:
            return torch.maximum(x, scale * (self.least - self.zero_point.reshape(shape).float()))
        return torch.minimum(x, scale * self.levels + self.minval.reshape(shape))


def _stored(codes: torch.Tensor, facts: Facts, storage: Storage) -> torch.Tensor:
    fmt = facts.format
    if fmt.is_integer:
        return storage.keep(codes, facts.name)
    if fmt.bits == 8:
        return storage.keep(codes.view(TORCH_DTYPES[fmt.name]), facts.name)
    from coreai_torch._compression.custom_layers import Float4Tensor

    packed = codes[..., 0::2] | (codes[..., 1::2] << 4)  # low nibble first (PACK-1)
    return Float4Tensor(storage.keep(packed, facts.name))


def _cast(tensor: torch.Tensor | None, dtype: torch.dtype) -> torch.Tensor | None:
    return None if tensor is None else tensor.to(dtype, copy=True)


def _along(tensor: torch.Tensor | None, shape: tuple[int, ...]) -> torch.Tensor | None:
    return None if tensor is None else tensor.reshape(shape)
