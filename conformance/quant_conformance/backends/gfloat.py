"""gfloat: formats as data, in numpy and plain Python; scalars, and blocks with a common scale."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from quant_conformance.backends._layout import block_extents, blocks_of
from quant_conformance.protocol import Array, Backend
from quant_reference import QParams, QuantizationSpec
from quant_reference.formats import FORMATS, SPEC_FORMATS

_NAMES = {
    "float8_e4m3fn": "format_info_ocp_e4m3",
    "float8_e5m2": "format_info_ocp_e5m2",
    "float4_e2m1fn": "format_info_ocp_e2m1",
    "float8_e8m0fnu": "format_info_ocp_e8m0",
    "float6_e2m3fn": "format_info_ocp_e2m3",
    "float6_e3m2fn": "format_info_ocp_e3m2",
    "mxint8": "format_info_ocp_int8",
}


class Gfloat(Backend):
    """Rounding and coding of arrays, and ``quantize_block`` and ``decode_block`` for blocks.

    A value is rounded with ``sat=True``, as SPEC.md saturates. Integer formats are described to
    gfloat as what it calls two's-complement (or unsigned) formats without an exponent. gfloat
    codes a block whose values somebody else has divided by the scale, so that there is no
    quantize here, but its fake-quantize (``quantize_block``) takes a scale rule.
    """

    name = "gfloat"
    requires = ("gfloat",)
    checks_input = False
    policies: ClassVar[Mapping[str, str]] = {"overflow": "saturate"}

    def __init__(self) -> None:
        import gfloat
        import gfloat.formats

        self._gfloat = gfloat
        self._infos = {name: self._info(name) for name in {**SPEC_FORMATS, **_NAMES}}

    def encode(self, x: Array, fmt: str) -> Array:
        info = self._described(fmt)
        if not FORMATS[fmt].has_nan and np.isnan(x).any():
            raise NotImplementedError("gfloat refuses to round NaN to a format without NaN")
        rounded = self._gfloat.round_ndarray(info, x, sat=True)
        codes = np.asarray(self._gfloat.encode_ndarray(info, rounded)).astype(np.uint8)
        return _from_field(codes, fmt)

    def decode(self, codes: Array, fmt: str) -> Array:
        values = self._gfloat.decode_ndarray(self._described(fmt), _to_field(codes, fmt))
        return np.asarray(values).astype(np.float32)

    def qparams(self, x: Array, spec: QuantizationSpec, target: str) -> QParams:
        if spec.scale_dtype is None:
            raise NotImplementedError("gfloat computes power-of-two scales only")
        if spec.float_range != (None, None):
            raise NotImplementedError("compute_scale_amax takes no fixed range")
        if np.isinf(x).any():
            raise NotImplementedError("gfloat documents 2**127 as its greatest scale")
        values, emax = x.astype(np.float32), self._infos[spec.dtype].emax
        extents = block_extents(x.shape, spec.granularity, target)
        if any(n % extent for n, extent in zip(x.shape, extents, strict=True)):
            raise NotImplementedError("gfloat is given one block at a time")
        scale = np.empty([n // m for n, m in zip(x.shape, extents, strict=True)], np.float32)
        for index, part in blocks_of(x.shape, scale.shape):
            scale[index] = self._gfloat.compute_scale_amax(emax, values[part])
        if (scale < 2.0**-126).any():
            raise NotImplementedError("gfloat documents 2**-127 as its least scale")
        return QParams(scale)

    def dequantize(self, codes: Array, spec: QuantizationSpec, qparams: QParams) -> Array:
        self._check_formulation(spec, qparams)
        fields, out = _to_field(codes, spec.dtype), np.empty(codes.shape, np.float32)
        for index, part in blocks_of(codes.shape, qparams.scale.shape):
            block = fields[part]
            info = self._block_info(spec, block.size)
            scale_code = self._gfloat.encode_float(info.stype, float(qparams.scale[index]))
            values = self._gfloat.decode_block(info, [scale_code, *block.reshape(-1).tolist()])
            out[part] = np.fromiter(values, np.float64).reshape(block.shape)
        return out

    def fake_quantize(self, x: Array, spec: QuantizationSpec, qparams: QParams) -> Array:
        self._check_formulation(spec, qparams)
        if (spec.quant_min, spec.quant_max) != (spec.format.quant_min, spec.format.quant_max):
            raise NotImplementedError("gfloat saturates to the whole range of a format")
        if not spec.format.has_nan and (np.isnan(x).any() or np.isnan(qparams.scale).any()):
            raise NotImplementedError("gfloat refuses to round NaN to a format without NaN")
        if np.isinf(qparams.scale).any():
            raise NotImplementedError("gfloat refuses an infinite scale")
        values, out = x.astype(np.float32), np.empty(x.shape, np.float32)
        for index, part in blocks_of(x.shape, qparams.scale.shape):
            scale, block = qparams.scale[index], values[part]
            rounded = self._gfloat.quantize_block(
                self._block_info(spec, block.size), block.reshape(-1), lambda _, __, s=scale: s
            )
            out[part] = np.asarray(rounded).reshape(block.shape)
        return out.astype(x.dtype)

    def _described(self, fmt: str) -> Any:
        if fmt not in self._infos:
            raise NotImplementedError(f"gfloat has no {fmt}")
        return self._infos[fmt]

    def _check_formulation(self, spec: QuantizationSpec, qparams: QParams) -> None:
        if spec.qformulation == "minval":
            raise NotImplementedError("gfloat's blocks have a scale and no offset")
        if qparams.zero_point is not None and qparams.zero_point.any():
            raise NotImplementedError("gfloat's blocks have a scale and no zero point")

    def _block_info(self, spec: QuantizationSpec, size: int) -> Any:
        formats = self._gfloat.formats
        stype = formats.format_info_binary32
        if spec.scale_dtype is not None:
            stype = formats.format_info_ocp_e8m0
        return formats.BlockFormatInfo(spec.dtype, self._infos[spec.dtype], size, stype)

    def _info(self, name: str) -> Any:
        formats = self._gfloat.formats
        if name in _NAMES:
            return getattr(formats, _NAMES[name])
        bits, signed = FORMATS[name].bits, FORMATS[name].kind == "int"
        return formats.FormatInfo(
            name=name,
            k=bits,
            precision=bits,
            bias=2 - bits,  # the code 1 is then the value 1
            is_signed=signed,
            domain=formats.Domain.Finite,
            has_nz=False,
            num_high_nans=0,
            has_subnormals=True,
            is_twos_complement=signed,
        )


def _to_field(codes: Array, fmt: str) -> Array:
    """Returns the bit fields of codes: gfloat counts code points from 0."""
    return codes.view(np.uint8) & np.uint8(2 ** FORMATS[fmt].bits - 1)


def _from_field(fields: Array, fmt: str) -> Array:
    if FORMATS[fmt].code_dtype != "int8":
        return fields
    sign = np.uint8(2 ** (FORMATS[fmt].bits - 1))
    return ((fields ^ sign) - sign).view(np.int8)
