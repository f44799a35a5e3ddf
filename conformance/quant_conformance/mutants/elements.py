"""Steps of encode, decode, pack and unpack, written from the definition of a format.

Floating-point codes are built from exponent and fraction by integer arithmetic and not by a cast,
so that each decision (which power of two, which way a tie goes, what happens to a sign) is a step
of its own that a mutant can replace.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from quant_conformance.protocol import Array, Backend
from quant_reference import Format, FormatError, InputError, get_format
from quant_reference.encoding import code_array

FLOATS = ("float16", "bfloat16", "float32")


class Elements(Backend):
    """Formats, element by element (SPEC.md, FMT, ENC, DEC and PACK)."""

    def format_of(self, name: str) -> Format:
        """The format as data (FMT-1 to FMT-4)."""
        return get_format(name)

    def check_float(self, x: Array, clause: str) -> None:
        """Refuse what is not float16, bfloat16 or float32 (ENC-1, RANGE-3)."""
        if x.dtype.name not in FLOATS:
            raise InputError("dtype", given=x.dtype, allowed=", ".join(FLOATS), clause=clause)

    def widen(self, x: Array) -> Array:
        """To float32, which is exact."""
        return x.astype(np.float32)

    # encode

    @np.errstate(all="ignore")
    def encode(self, x: Array, fmt: str) -> Array:
        """ENC-1 to ENC-7."""
        form = self.format_of(fmt)
        self.check_float(x, "ENC-1")
        values = self.widen(x)
        if form.kind == "scale":
            self.check_scale_values(values)
            return self.encode_scale(values, form)
        if form.is_integer:
            self.check_not_nan(values)
            rounded = self.clamp(self.round_code(values), form.quant_min, form.quant_max)
            return self.cast_code(rounded, form)
        return self.encode_element(self.saturate(values, form), form)

    def check_not_nan(self, values: Array) -> None:
        """Refuse NaN for an integer format (ENC-7)."""
        if np.isnan(values).any():
            raise InputError("value", given="NaN", allowed="numbers, infinities", clause="ENC-7")

    def check_scale_values(self, values: Array) -> None:
        """Refuse what is no power of two in range (ENC-6)."""
        mantissa, exponent = np.frexp(values)
        fits = (mantissa == 0.5) & (exponent >= -126) & (exponent <= 128)
        if not (fits | np.isnan(values)).all():
            raise FormatError("scale", given=values, allowed="powers of two", clause="ENC-6")

    def encode_scale(self, values: Array, form: Format) -> Array:
        """The exponent field (ENC-6)."""
        code = np.frexp(values)[1].astype(np.int32) - 1 + form.bias
        return np.where(np.isnan(values), 255, code).astype(np.uint8)

    def saturate(self, values: Array, form: Format) -> Array:
        """What becomes of values beyond ±max in a raw encode (ENC-5)."""
        return np.clip(values, form.quant_min, form.quant_max)

    def encode_element(self, values: Array, form: Format) -> Array:
        """Codes of values within ±max, or NaN (ENC-1 to ENC-4)."""
        sign = self.sign_bit(values) << (form.bits - 1)
        magnitude = np.abs(values)
        # Of a subnormal the step is that of the least normal number.
        least = self.least_exponent(form)
        exponent = np.maximum(np.where(magnitude > 0, np.frexp(magnitude)[1] - 1, least), least)
        exact = np.ldexp(magnitude, form.mantissa_bits - exponent)
        steps = np.where(np.isnan(exact), 0, self.round_element(exact, form)).astype(np.int32)
        # The leading one of a normal number carries into the exponent field, as rounding up does.
        code = ((exponent + form.bias - 1) << form.mantissa_bits) + steps
        code = sign | self.magnitude_code(code, form)
        nan = np.isnan(values)
        return np.where(nan, self.nan_code(sign, form), code).astype(np.uint8)

    def sign_bit(self, values: Array) -> Array:
        """1 for negative numbers, negative zeros and negative NaN (ENC-3, ENC-4)."""
        return np.signbit(values).astype(np.int32)

    def least_exponent(self, form: Format) -> int:
        """Exponent of the least normal number, and of the subnormals (FMT-2)."""
        return 1 - form.bias

    def round_element(self, steps: Array, form: Format) -> Array:
        """Round a magnitude counted in units in the last place, ties to even (ENC-1)."""
        return np.rint(steps)

    def magnitude_code(self, code: Array, form: Format) -> Array:
        """The code without its sign."""
        return code

    def nan_code(self, sign: Array, form: Format) -> Array:
        """What is stored for NaN (ENC-4)."""
        return sign * 0 if form.nan_code is None else sign | form.nan_code

    def round_code(self, values: Array) -> Array:
        """Round to an integer, ties to even (Q-2, ENC-7)."""
        return np.rint(values)

    def clamp(self, values: Array, least: float, greatest: float) -> Array:
        """Clamp in floating point; NaN stays (Q-3 to Q-5)."""
        return np.clip(values, np.float32(least), np.float32(greatest))

    def cast_code(self, values: Array, form: Format) -> Array:
        """From whole float32 numbers in range to codes (FMT-1, Q-7)."""
        return values.astype(form.code_dtype)

    # decode

    @np.errstate(all="ignore")
    def decode(self, codes: Array, fmt: str) -> Array:
        """DEC-1."""
        form = self.format_of(fmt)
        self.check_codes(codes, form, "DEC-1")
        return self.decode_codes(codes, form)

    def check_codes(self, codes: Array, form: Format, clause: str) -> None:
        """Refuse a wrong dtype and codes too wide (DEC-1, DQ-4)."""
        code_array(codes, form, clause)

    def decode_codes(self, codes: Array, form: Format) -> Array:
        """Values of checked codes."""
        if form.is_integer:
            return codes.astype(np.float32)
        bits = codes.astype(np.int32)
        if form.kind == "scale":
            return self.decode_scale(bits, form)
        field = (bits >> form.mantissa_bits) & (2**form.exponent_bits - 1)
        fraction = bits & (2**form.mantissa_bits - 1)
        value = np.where(
            field > 0,
            self.normal_value(field, fraction, form),
            self.subnormal_value(fraction, form),
        )
        value = self.special_value(value, field, fraction, form)
        return self.signed(value, (bits >> (form.bits - 1)) & 1)

    def decode_scale(self, bits: Array, form: Format) -> Array:
        """A power of two, or NaN (FMT-3)."""
        value = np.ldexp(np.float32(1), bits - form.bias)
        return np.where(bits == 255, np.float32(np.nan), value)

    def normal_value(self, field: Array, fraction: Array, form: Format) -> Array:
        """Magnitude with an exponent field above zero (FMT-2)."""
        significand = (fraction + (1 << form.mantissa_bits)).astype(np.float32)
        return np.asarray(np.ldexp(significand, field - form.bias - form.mantissa_bits))

    def subnormal_value(self, fraction: Array, form: Format) -> Array:
        """Magnitude with an exponent field of zero (FMT-2, ENC-2)."""
        least = 1 - form.bias - form.mantissa_bits
        return np.asarray(np.ldexp(fraction.astype(np.float32), least))

    def special_value(self, value: Array, field: Array, fraction: Array, form: Format) -> Array:
        """NaN and infinity codes (FMT-2)."""
        top = field == 2**form.exponent_bits - 1
        if form.has_inf:
            special = np.where(fraction == 0, np.float32(np.inf), np.float32(np.nan))
            return np.where(top, special, value)
        if form.nan_code is None:
            return value
        all_ones = top & (fraction == 2**form.mantissa_bits - 1)
        return np.where(all_ones, np.float32(np.nan), value)

    def signed(self, magnitude: Array, sign: Array) -> Array:
        """Apply the sign, to zeros too."""
        return np.where(sign == 1, -magnitude, magnitude)

    # pack

    def pack(self, codes: Array, fmt: str, order: str) -> Array:
        """PACK-1 and PACK-3."""
        form = self.format_of(fmt)
        self.check_codes(codes, form, "PACK-1")
        fields = self.field_of(self.flattened(codes, form), form)
        shifts = self.shifts(form, order)
        padded = self.padded(fields, -fields.size % len(shifts), form)
        packed: Array = np.bitwise_or.reduce(padded.reshape(-1, len(shifts)) << shifts, axis=1)
        return packed

    def flattened(self, codes: Array, form: Format) -> Array:
        """Codes in the order in which they are packed (PACK-1)."""
        return codes.reshape(-1)

    def field_of(self, codes: Array, form: Format) -> Array:
        """The low bits of each code (PACK-2)."""
        return codes.view(np.uint8) & np.uint8(2**form.bits - 1)

    def shifts(self, form: Format, order: str) -> Array:
        """Left shift of each code within its byte (PACK-1)."""
        if order not in ("low_first", "high_first"):
            raise InputError("order", given=order, allowed="low_first, high_first", clause="PACK-1")
        ascending = np.arange(0, 8, form.bits, dtype=np.uint8)
        return ascending if order == "low_first" else ascending[::-1]

    def padded(self, fields: Array, count: int, form: Format) -> Array:
        """Fill the last byte (PACK-3)."""
        return np.concatenate([fields, np.zeros(count, np.uint8)])

    def unpack(self, packed: Array, fmt: str, order: str, count: int) -> Array:
        """PACK-1 to PACK-3."""
        form = self.format_of(fmt)
        shifts = self.shifts(form, order)
        self.check_packed(packed, count, len(shifts))
        fields = ((packed[:, None] >> shifts) & np.uint8(2**form.bits - 1)).reshape(-1)
        return self.extend_sign(self.taken(fields, count), form)

    def check_packed(self, packed: Array, count: Any, per_byte: int) -> None:
        """Refuse more codes than the bytes hold (PACK-3)."""
        if packed.dtype != np.uint8 or packed.ndim != 1:
            raise InputError("packed", given=packed, allowed="uint8, 1-D", clause="PACK-1")
        if isinstance(count, bool) or not 0 <= count <= packed.size * per_byte:
            raise InputError("count", given=count, allowed="what the bytes hold", clause="PACK-3")

    def taken(self, fields: Array, count: int) -> Array:
        """The codes asked for (PACK-3)."""
        return fields[:count]

    def extend_sign(self, fields: Array, form: Format) -> Array:
        """Two's complement for signed formats (PACK-2)."""
        if form.kind != "int":
            return fields
        wide = fields.astype(np.int16)
        negative = wide >= 1 << (form.bits - 1)
        return np.where(negative, wide - (1 << form.bits), wide).astype(np.int8)
