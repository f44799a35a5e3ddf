"""The executable form of SPEC.md: formats, ranges, qparams and rounding in plain numpy."""

from quant_reference.blocks import spread
from quant_reference.encoding import decode, encode
from quant_reference.errors import (
    FormatError,
    GranularityError,
    InputError,
    QuantError,
    SpecError,
)
from quant_reference.formats import ALIASES, FORMATS, SPEC_FORMATS, Format, get_format
from quant_reference.gradient import fake_quantize_gradient
from quant_reference.granularity import (
    MODULE_KINDS,
    Granularity,
    PerBlock,
    PerChannel,
    PerTensor,
    block_shape,
    default_axis,
    granularity_from_dict,
    scale_shape,
)
from quant_reference.observers import Observer, make_observer, observe
from quant_reference.packing import CONTAINER_ORDER, pack, unpack
from quant_reference.qparams import QParams, compute_qparams
from quant_reference.quantize import dequantize, fake_quantize, quantize
from quant_reference.ranges import value_range
from quant_reference.spec import QuantizationSpec

__all__ = [
    "ALIASES",
    "CONTAINER_ORDER",
    "FORMATS",
    "MODULE_KINDS",
    "SPEC_FORMATS",
    "Format",
    "FormatError",
    "Granularity",
    "GranularityError",
    "InputError",
    "Observer",
    "PerBlock",
    "PerChannel",
    "PerTensor",
    "QParams",
    "QuantError",
    "QuantizationSpec",
    "SpecError",
    "block_shape",
    "compute_qparams",
    "decode",
    "default_axis",
    "dequantize",
    "encode",
    "fake_quantize",
    "fake_quantize_gradient",
    "get_format",
    "granularity_from_dict",
    "make_observer",
    "observe",
    "pack",
    "quantize",
    "scale_shape",
    "spread",
    "unpack",
    "value_range",
]
