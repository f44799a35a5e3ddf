"""The tensors and granularities that the cases walk through, and every legal kind of spec.

Shapes are small and have no two equal extents where one can help it, so that a swapped axis
shows; ``square`` is the one where a swapped axis raises nothing and is merely wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from quant_conformance.generate.covering import Row
from quant_reference import (
    SPEC_FORMATS,
    Granularity,
    PerBlock,
    PerChannel,
    PerTensor,
    QuantizationSpec,
    scale_shape,
)

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Layout:
    """A tensor and the granularities that are tried on it.

    Attributes:
        target: ``"weight"`` or ``"activation"``.
        shape: Shape of the tensor.
        per_channel: Axes.
        per_block: (axis, block_size) pairs; axis None with one extent per axis.
    """

    target: str
    shape: Shape
    per_channel: tuple[int, ...]
    per_block: tuple[tuple[int | None, int | Shape], ...]

    def granularity(self, kind: str, variant: int) -> Granularity:
        """Return the variant (taken modulo their number) of a kind of granularity."""
        if kind == "per_tensor":
            return PerTensor()
        if kind == "per_channel":
            return PerChannel(self.per_channel[variant % len(self.per_channel)])
        axis, size = self.per_block[variant % len(self.per_block)]
        return PerBlock(axis, size)

    def blocks(self, granularity: Granularity) -> Shape:
        """Return the shape of the qparams."""
        return scale_shape(self.shape, granularity, self.target)  # type: ignore[arg-type]


LAYOUTS: Mapping[str, Layout] = MappingProxyType(
    {
        "linear": Layout(
            "weight",
            (4, 6),
            (0, 1, -1, -2),
            ((1, 2), (0, 2), (-1, 3), (None, (2, 3)), (None, (-1, 2)), (None, (4, 1)), (-2, 4)),
        ),
        "conv2d": Layout(
            "weight",
            (4, 6, 1, 2),
            (0, -4, 1, 3),
            ((1, 2), (0, 2), (-3, 3), (None, (2, 3, -1, -1)), (None, (1, 2, 1, 1))),
        ),
        "conv_transpose2d": Layout(
            "weight",
            (6, 4, 2, 1),
            (1, -3, 0),
            ((0, 2), (0, 3), (-4, 6), (1, 2), (None, (3, 1, -1, 1))),
        ),
        "act2d": Layout(
            "activation", (3, 8), (1, 0, -1), ((1, 4), (-1, 2), (0, 3), (None, (-1, 4)))
        ),
        "act3d": Layout(
            "activation", (2, 3, 8), (2, 1, -2), ((2, 4), (-1, 2), (1, 3), (None, (1, -1, 4)))
        ),
        "act4d": Layout(
            "activation", (2, 4, 3, 2), (1, -3, 3), ((1, 2), (-3, 4), (2, 3), (None, (1, 2, 3, -1)))
        ),
    }
)
"""The shape classes of the pairwise coverage."""

MORE_LAYOUTS: Mapping[str, Layout] = MappingProxyType(
    {
        "square": Layout(
            "weight", (4, 4), (0, 1), ((1, 2), (0, 2), (None, (2, 1)), (None, (1, 2)))
        ),
        "conv1d": Layout("weight", (4, 6, 3), (0, 2), ((1, 3), (0, 2))),
        "conv3d": Layout("weight", (2, 4, 1, 2, 3), (0, 4), ((1, 2), (None, (1, 4, 1, -1, 3)))),
        "embedding": Layout("weight", (5, 8), (0, 1), ((1, 4), (0, 5))),
        "act1d": Layout("activation", (12,), (0,), ((0, 4), (-1, 3), (None, (6,)))),
        "act5d": Layout("activation", (2, 3, 1, 2, 4), (1, 4), ((4, 2), (1, 3))),
        "weight1d": Layout("weight", (8,), (0,), ((0, 4), (None, (2,)))),
    }
)
"""Further shapes, each used where layouts themselves are the matter."""

ALL_LAYOUTS: Mapping[str, Layout] = MappingProxyType({**LAYOUTS, **MORE_LAYOUTS})

QUICK_TAILS = frozenset({1, 3, 5, 7, 9, 15, 17, 19, 23, 31, 33, 47, 63, 65, 67})
"""Lengths beside multiples of vector widths that the quick tier keeps."""

GRANULARITY_KINDS = ("per_tensor", "per_channel", "per_block")
SCHEMES = ("symmetric", "symmetric_with_clipping", "asymmetric")
FORMULATIONS = ("zp", "minval")


def integer_formats() -> list[str]:
    """Names of the integer formats of a spec."""
    return [f.name for f in SPEC_FORMATS.values() if f.is_integer]


def float_formats() -> list[str]:
    """Names of the formats of a spec that are floats."""
    return [f.name for f in SPEC_FORMATS.values() if f.kind == "float"]


def spec_kinds() -> dict[str, dict[str, Any]]:
    """Every legal dtype, scheme, formulation and scale dtype: short name -> members of a spec."""
    kinds: dict[str, dict[str, Any]] = {}
    for dtype in integer_formats():
        for scheme in SCHEMES:
            for formulation in FORMULATIONS:
                members = {"dtype": dtype, "qscheme": scheme, "qformulation": formulation}
                kinds[f"{dtype}-{SHORT[scheme]}-{formulation}"] = members
    for dtype in float_formats():
        kinds[f"{dtype}-e8m0"] = {"dtype": dtype, "scale_dtype": "float8_e8m0fnu"}
        if dtype != "float4_e2m1fn":  # its scales are always e8m0
            kinds[f"{dtype}-scale32"] = {"dtype": dtype}
    return kinds


def layout_variants() -> list[tuple[str, Granularity, str, tuple[str, ...]]]:
    """List every granularity of every layout: (name, granularity, clause, flags).

    The name starts with the layout's name and a hyphen.
    """
    variants: list[tuple[str, Granularity, str, tuple[str, ...]]] = []
    for name, layout in ALL_LAYOUTS.items():
        flags: tuple[str, ...]
        variants.append((f"{name}-tensor", PerTensor(), "GRAN-1", ("BlockShape",)))
        for channel in layout.per_channel:
            flags = ("BlockAxis", *_negative(channel))
            variants.append((f"{name}-channel{channel}", PerChannel(channel), "GRAN-2", flags))
        for axis, size in layout.per_block:
            tuple_sized = isinstance(size, tuple)
            text = "x".join(map(str, size)) if isinstance(size, tuple) else f"axis{axis}-{size}"
            clause = "GRAN-5" if tuple_sized else granularity_clause(layout.target)
            flags = ("InterleavedBlocks", "BlockShape", "BlockAxis", *_negative(axis))
            variants.append((f"{name}-block-{text}", PerBlock(axis, size), clause, flags))
    return variants


def _negative(axis: int | None) -> tuple[str, ...]:
    return ("NegativeAxis",) if axis is not None and axis < 0 else ()


def granularity_clause(target: str) -> str:
    """Return the clause that shapes int-sized blocks of a target."""
    return "GRAN-3" if target == "weight" else "GRAN-4"


SHORT = {"symmetric": "sym", "symmetric_with_clipping": "clip", "asymmetric": "asym"}


def spec_rows() -> list[Row]:
    """Every legal kind of spec with every kind of granularity."""
    return [{"spec": kind, "granularity": g} for kind in spec_kinds() for g in GRANULARITY_KINDS]


def make_spec(kind: str, granularity: Granularity | None = None, **more: Any) -> QuantizationSpec:
    """Build the spec of a short name of :func:`spec_kinds`."""
    return QuantizationSpec(
        **{**spec_kinds()[kind], "granularity": granularity or PerTensor(), **more}
    )
