"""Requantization rules as named policies, each with its source (INT-5 to INT-7)."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

from quant_reference.errors import SpecError
from quant_reference.integer.multiplier import MULTIPLIER_ORDERS

Kind = Literal["division", "float", "single", "double"]


@dataclass(frozen=True)
class Rule:
    """One way from an accumulator to a code.

    Attributes:
        name: Its name, a key of :data:`RULES`; another order of the multiplier is written behind
            an ``@``.
        kind: ``"division"`` and ``"float"`` (INT-5), ``"single"`` (one rounding in fixed point,
            INT-6) or ``"double"`` (two steps of 32 bits, INT-7).
        order: How M is evaluated, a key of ``MULTIPLIER_ORDERS`` (INT-3); not used by a division.
        rounding: Name of the rounding.
        source: Who computes so.
        form: Fixed-point form of M (INT-4), or "" in floating point.
        dtype: ``"float32"`` or ``"float64"``, or "" in fixed point.
        zero_point_first: The zero point is added in floating point, before the rounding (INT-5).
        overflow: What happens to a number that leaves int32: ``"exact"``, ``"wrap"`` or
            ``"saturate"``.
    """

    name: str
    kind: Kind
    order: str
    rounding: str
    source: str
    form: str = ""
    dtype: str = ""
    zero_point_first: bool = False
    overflow: Literal["exact", "wrap", "saturate"] = "exact"


_F32, _F64 = "float32_product_division", "float64"

_ALL = (
    Rule("float32_division", "division", "", "even", "SPEC chapter 8; ONNX's own reference",
         dtype="float32"),
    Rule("float32_even", "float", _F32, "even",
         "FBGEMM, QNNPACK and XNNPACK (fp32 kernels), onnxruntime's MLAS", dtype="float32"),
    Rule("float32_away", "float", _F32, "away", "roundf of C99; ncnn", dtype="float32"),
    Rule("float32_even_zero_point_first", "float", _F32, "even",
         "FBGEMM's legacy quantization", dtype="float32", zero_point_first=True),
    Rule("float64_even", "float", _F64, "even", "rint of C99 on doubles", dtype="float64"),
    Rule("float64_away", "float", _F64, "away", "round of C99 on doubles", dtype="float64"),
    Rule("fixed_up", "single", _F64, "up",
         "TFLite with TFLITE_SINGLE_ROUNDING, ruy, TOSA RESCALE SINGLE_ROUND", "q31"),
    Rule("fixed_up_wrapped", "single", _F64, "up",
         "MLIR's lowering of tosa.apply_scale, which truncates to 32 bits", "q31",
         overflow="wrap"),
    Rule("fixed_away", "single", _F64, "away", "XNNPACK (rndna kernels)", "q31"),
    Rule("fixed_even", "single", _F64, "even", "RISC-V V, vxrm = rne", "q31"),
    Rule("fixed_odd", "single", _F64, "odd", "RISC-V V, vxrm = rod", "q31"),
    Rule("fixed_floor", "single", _F64, "floor", "an arithmetic shift; RISC-V V, vxrm = rdn",
         "q31"),
    Rule("fixed_toward_zero", "single", _F64, "toward_zero", "integer division of C", "q31"),
    Rule("double", "double", _F64, "nearest_away",
         "gemmlowp, TFLite's default, CMSIS-NN, TOSA RESCALE DOUBLE_ROUND", "q31",
         overflow="wrap"),
    Rule("double_saturating", "double", _F64, "nearest_away",
         "gemmlowp's order on NEON, where the left shift saturates (SQSHL, SQRDMULH, SRSHL)",
         "q31", overflow="saturate"),
    Rule("truncating_high", "double", _F64, "floor_up",
         "NEON SQDMULH, then SRSHL, without a left shift of its own in front", "q31",
         overflow="saturate"),
    Rule("fixed16_up", "single", _F64, "up", "TOSA RESCALE with scale32 = false", "q15"),
    Rule("fixed16_up_reduced", "single", _F64, "up",
         "TFLite and CMSIS-NN on int64 accumulators", "q15_reduced"),
    Rule("shift_up", "single", _F64, "up", "shifts alone, with a rounding constant",
         "power_of_two"),
    Rule("shift_floor", "single", _F64, "floor", "shifts alone", "power_of_two"),
    Rule("shift_away", "single", _F64, "away",
         "gemmlowp's rounding division by a power of two alone", "power_of_two"),
)  # fmt: skip

RULES: Mapping[str, Rule] = MappingProxyType({rule.name: rule for rule in _ALL})
"""Every rule by its name; no two are one function."""

RULE_ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "gemmlowp": "double",
        "tflite_double": "double",
        "cmsis_nn": "double",
        "tosa_double": "double",
        "tflite_single": "fixed_up",
        "cmsis_nn_single": "fixed_up",
        "ruy": "fixed_up",
        "tosa_single": "fixed_up",
        "tosa_scale16": "fixed16_up",
        "tflite_int64": "fixed16_up_reduced",
        "fbgemm": "float32_even",
        "xnnpack_fp32": "float32_even",
        "xnnpack_rndna": "fixed_away@float32_product_division",
        "xnnpack_rndnu": "fixed_up@float32_product_division",
    }
)
"""Names of what is the same function, wherever both are defined (INT-6, INT-7)."""


def get_rule(name: str | Rule) -> Rule:
    """Look a rule up (INT-5 to INT-7).

    Args:
        name: A key of :data:`RULES` or :data:`RULE_ALIASES`, perhaps with ``@`` and a key of
            ``MULTIPLIER_ORDERS`` behind it, or a rule (returned as it is).

    Raises:
        SpecError: No such rule or order, or an order for a division, which has none.
    """
    if isinstance(name, Rule):
        return name
    base, at, order = RULE_ALIASES.get(name, name).partition("@")
    rule = RULES.get(RULE_ALIASES.get(base, base))
    if rule is None:
        close = difflib.get_close_matches(base, [*RULES, *RULE_ALIASES], n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise SpecError(
            f"requantization rule{hint}", given=name, allowed=", ".join(RULES), clause="INT-5"
        )
    if not at or order == rule.order:
        return rule
    if rule.kind == "division" or order not in MULTIPLIER_ORDERS:
        allowed = "none" if rule.kind == "division" else ", ".join(MULTIPLIER_ORDERS)
        raise SpecError(
            f"order of the multiplier for {rule.name}", given=order, allowed=allowed, clause="INT-3"
        )
    return replace(rule, name=f"{rule.name}@{order}", order=order)


def rule_names(rule: Rule) -> tuple[str, ...]:
    """Names of a rule under every order of its multiplier, its own order first (INT-5)."""
    if rule.kind == "division":
        return (rule.name,)
    others = (order for order in MULTIPLIER_ORDERS if order != rule.order)
    return (rule.name, *(f"{rule.name}@{order}" for order in others))
