"""Which families of vectors must catch a mutant, by the part of the backend that it changes."""

from __future__ import annotations

PACK = ("pack",)
INVALID = ("invalid_spec",)
DEFAULT_AXIS = ("default_axis",)
RANGE = ("range",)
QPARAMS = ("qparams",)
OBSERVE = ("observe",)
FAKE = ("fake_quantize",)
GRADIENT = ("gradient",)

CODES = ("quantize", "fake_quantize")
CODES_AND_GRADIENT = (*CODES, "gradient")
CAST = ("encode", *CODES)
INTEGERS = ("encode", *CODES_AND_GRADIENT)
FLOATS = ("encode", *CODES)
DECODED = ("decode", "dequantize")
VALUES = ("dequantize", "fake_quantize")
FORMATS = ("encode", "decode", "quantize", *VALUES)
APPLIED = ("quantize", *VALUES, "gradient")
SCALES = (*QPARAMS, *OBSERVE)
RANGES = (*RANGE, *SCALES)
RANGE_AND_QPARAMS = (*RANGE, *QPARAMS)
