"""Rules of block scaling as named policies, each with its source (BLK-3 to BLK-6, BLK-8)."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from types import MappingProxyType
from typing import Literal

from quant_reference.errors import SpecError


@dataclass(frozen=True)
class BlockRule:
    """One way to do a step.

    Attributes:
        name: Its name.
        source: Who computes so.
    """

    name: str
    source: str


@dataclass(frozen=True)
class UnsignedRule:
    """One way from a block's greatest magnitude to its E4M3 scale (BLK-4).

    Attributes:
        name: ``order``, then ``+up`` or ``+down``, then ``+least`` or ``+normal``.
        order: A key of :data:`ORDERS`.
        rounding: ``"nearest"``, ``"up"`` or ``"down"``.
        least: What a scale is at least: ``"zero"``, ``"least"`` (2^-9) or ``"normal"`` (2^-6).
    """

    name: str
    order: str
    rounding: Literal["nearest", "up", "down"]
    least: Literal["zero", "least", "normal"]


def _table(*rows: tuple[str, str]) -> Mapping[str, BlockRule]:
    return MappingProxyType({name: BlockRule(name, source) for name, source in rows})


MX_RULES = _table(
    ("floor", "OCP Microscaling v1.0, chapter 6.3; torchao FLOOR"),
    ("ceil", "torchao CEIL; AMD Quark ceil"),
    ("even", "torchao EVEN; AMD Quark even; microxcaling's round"),
    ("up_beyond", "NVIDIA's cvt.rp to ue8m0 (torchao RCEIL)"),
    ("up_rounding", "no scaled element rounds beyond the greatest value"),
    ("floor_log2_float32", "floor of a float32 logarithm, a known bug"),
)
"""Rules of an E8M0 scale, the reference's first (BLK-3)."""

ORDERS = _table(
    ("quotient", "torchao: (amax / 6) / g"),
    ("product_first", "NVIDIA modelopt: amax / (6·g)"),
    ("inverse", "compressed-tensors, vLLM: G·(amax / 6)"),
    ("inverse_reciprocal", "TensorRT-LLM's kernels: G·(amax·(1 / 6))"),
)
"""How an unrounded NVFP4 scale is evaluated, the reference's first (BLK-4)."""

QUOTIENT_RULES = _table(
    ("quotient", "torchao: x / (s·g)"),
    ("quotients", "(x / s) / g"),
    ("reciprocal", "x·(1 / (s·g))"),
    ("reciprocals", "torchao's compiled form: x·((1 / g) / s)"),
    ("inverse_quotient", "compressed-tensors: x / (s / G)"),
    ("inverse_product", "TensorRT-LLM's kernels: x·(G / s)"),
)
"""How an element of a format of two levels is divided by its scales (BLK-5)."""

PRODUCT_RULES = _table(
    ("scales_first", "torchao: q·(s·g)"),
    ("block_first", "(q·s)·g"),
    ("inverse_quotient", "compressed-tensors: q·(s / G)"),
    ("block_first_inverse", "(q·s) / G"),
)
"""How an element of a format of two levels is multiplied by its scales (BLK-6)."""

DOT_RULES = _table(
    ("exact", "OCP Microscaling v1.0, chapter 6.2, with one rounding at the end"),
    ("float32_blocks", "an exact sum of each block, scaled and added in float32"),
    ("float32_elements", "products and sums of dequantized elements in float32"),
)
"""How the products of two block-scaled tensors are summed (BLK-8)."""

RULE_ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "ocp": "floor",
        "rceil": "up_beyond",
        "quark_even": "even",
        "quark_ceil": "ceil",
        "torchao": "quotient",
        "modelopt": "product_first",
        "compressed_tensors": "inverse",
    }
)
"""Names of what is the same function."""


def unsigned_rules() -> dict[str, UnsignedRule]:
    """Every rule of an NVFP4 block scale by its name, the reference's first (BLK-4)."""
    found = {}
    for least, rounding, order in product(
        ("zero", "least", "normal"), ("nearest", "up", "down"), ORDERS
    ):
        parts = [order] + [part for part in (rounding, least) if part not in ("nearest", "zero")]
        name = "+".join(parts)
        found[name] = UnsignedRule(name, order, rounding, least)  # type: ignore[arg-type]
    return found


_UNSIGNED: Mapping[str, UnsignedRule] = MappingProxyType(unsigned_rules())


def rules_of(step: str, two_levels: bool) -> tuple[str, ...]:
    """Names of the rules of a step, the reference's first.

    Args:
        step: ``"scale"``, ``"quantize"``, ``"dequantize"`` or ``"dot"``.
        two_levels: Whether the format has a scale of the tensor.
    """
    if step == "dot":
        return tuple(DOT_RULES)
    if step == "scale":
        return tuple(_UNSIGNED) if two_levels else tuple(MX_RULES)
    if not two_levels:
        return ("power_of_two",)
    return tuple(QUOTIENT_RULES if step == "quantize" else PRODUCT_RULES)


def get_rule(name: str | None, step: str, two_levels: bool) -> str:
    """The canonical name of a rule; the reference's if None.

    Raises:
        SpecError: The step has no such rule (BLK-3 to BLK-6, BLK-8).
    """
    names = rules_of(step, two_levels)
    if name is None:
        return names[0]
    base, plus, rest = str(name).partition("+")
    found = RULE_ALIASES.get(base, base) + plus + rest
    if found in names:
        return found
    close = difflib.get_close_matches(found, names, n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    clause = {"scale": "BLK-4" if two_levels else "BLK-3", "quantize": "BLK-5"}
    raise SpecError(
        f"rule of a block's {step}{hint}",
        given=name,
        allowed=", ".join(names[:12]),
        clause=clause.get(step, "BLK-6" if step == "dequantize" else "BLK-8"),
    )


def unsigned_rule(name: str) -> UnsignedRule:
    """An NVFP4 scale rule by its canonical name (BLK-4)."""
    return _UNSIGNED[name]
