"""Mutants that accept an illegal spec (SPEC.md, FMT-4, SPEC-1 to SPEC-3, SPEC-7)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from quant_conformance.mutants.exchanged import Step
from quant_conformance.mutants.model import known
from quant_conformance.mutants.tables.families import INVALID
from quant_conformance.mutants.tables.steps import Plain, reading
from quant_reference import ALIASES, SPEC_FORMATS, QuantizationSpec, SpecError
from quant_reference.granularity import granularity_from_dict

FIELDS = frozenset(QuantizationSpec().to_dict())


CHOICES = {
    "qscheme": ("symmetric", "symmetric_with_clipping", "asymmetric"),
    "qformulation": ("zp", "minval"),
    "qparam_calculator_cls": ("default", "static", "moving_average", "global_minmax", "dynamic"),
    "range_calculator_cls": ("minmax",),
    "fake_quantize_cls": ("default",),
}


def _is_float(mapping: Plain) -> bool:
    name = mapping.get("dtype", "int8")
    return isinstance(name, str) and name.startswith("float")


def _choice(field: str) -> Step:
    """Take the default for an unknown value."""

    def tolerated(p: Any, mapping: Plain) -> Plain:
        known_value = mapping.get(field) in CHOICES[field]
        return mapping if known_value else {k: v for k, v in mapping.items() if k != field}

    return tolerated


def _dtype(name: Any) -> Any:
    """The format with the closest name."""
    if not isinstance(name, str):
        return "int8"
    plain = name.lower().removeprefix("torch.").replace("-", "_")
    fits = [f for f in (*SPEC_FORMATS, *ALIASES) if plain.startswith(f) or f.startswith(plain)]
    return fits[0] if fits else "int8"


def _granularity(change: Callable[[Plain], Any]) -> Step:
    """Read the granularity as another one if it is refused."""

    def tolerated(p: Any, mapping: Plain) -> Plain:
        given = mapping.get("granularity")
        if not isinstance(given, dict):
            return mapping
        try:
            granularity_from_dict(given)
        except (SpecError, TypeError, ValueError):
            return mapping | {"granularity": change(given)}
        return mapping

    return tolerated


def _block_sizes(change: Callable[[Any], Any]) -> Callable[[Plain], Plain]:
    return lambda given: given | {"block_size": change(given.get("block_size"))}


def _float_scheme(scheme: str) -> Step:
    """Reads one scheme of a float format as symmetric."""
    return reading(
        lambda m: m | {"qscheme": "symmetric"} if _is_float(m) and m.get("qscheme") == scheme else m
    )


ILLEGAL_SPECS = (
    known(
        "unknown-key-accepted",
        "ignores unknown keys",
        "SPEC-1",
        INVALID,
        tolerated=reading(lambda m: {k: v for k, v in m.items() if k in FIELDS}),
    ),
    *(
        known(
            f"unknown-{field.replace('_', '-')}-accepted",
            f"takes the default for an unknown {field}",
            "SPEC-1",
            INVALID,
            tolerated=_choice(field),
        )
        for field in CHOICES
    ),
    known(
        "close-format-name-accepted",
        "takes the format with the closest name for an unknown one",
        "FMT-4 SPEC-1",
        INVALID,
        tolerated=reading(
            lambda m: (
                m | {"dtype": _dtype(m.get("dtype", "int8"))}
                if m.get("dtype") not in (*SPEC_FORMATS, *ALIASES)
                else m
            )
        ),
    ),
    known(
        "scale-format-accepted-as-dtype",
        "accepts float8_e8m0fnu for elements",
        "SPEC-1 FMT-3",
        INVALID,
        tolerated=reading(
            lambda m: m | {"dtype": "float8_e4m3fn"} if "e8m0" in str(m.get("dtype")) else m
        ),
    ),
    *(
        known(
            f"{scheme.replace('_', '-')}-float-accepted",
            f"accepts {scheme} for float formats",
            "SPEC-2",
            INVALID,
            tolerated=_float_scheme(scheme),
        )
        for scheme in ("asymmetric", "symmetric_with_clipping")
    ),
    known(
        "minval-float-accepted",
        "accepts minval for float formats",
        "SPEC-2",
        INVALID,
        tolerated=reading(
            lambda m: (
                m | {"qformulation": "zp"}
                if _is_float(m) and m.get("qformulation") in CHOICES["qformulation"]
                else m
            )
        ),
    ),
    known(
        "e8m0-for-integers-accepted",
        "accepts e8m0 scales for integer formats",
        "SPEC-3",
        INVALID,
        tolerated=reading(
            lambda m: (
                m | {"scale_dtype": None}
                if not _is_float(m) and m.get("scale_dtype") in ("float8_e8m0fnu", "float8_e8m0")
                else m
            )
        ),
    ),
    known(
        "other-scale-dtype-accepted",
        "accepts scale dtypes other than float8_e8m0fnu for float formats",
        "SPEC-3",
        INVALID,
        tolerated=reading(
            lambda m: (
                m | {"scale_dtype": None}
                if _is_float(m) and m.get("scale_dtype") not in ("float8_e8m0fnu", "float8_e8m0")
                else m
            )
        ),
    ),
    known(
        "unknown-granularity-accepted",
        "takes per_tensor for an unknown granularity",
        "SPEC-7",
        INVALID,
        tolerated=_granularity(
            lambda g: (
                g
                if g.get("type") in ("per_tensor", "per_channel", "per_block")
                else {"type": "per_tensor"}
            )
        ),
    ),
    known(
        "unknown-granularity-key-accepted",
        "ignores unknown keys of a granularity",
        "SPEC-7",
        INVALID,
        tolerated=_granularity(
            lambda g: {
                k: v
                for k, v in g.items()
                if k
                in {"per_channel": ("type", "axis"), "per_tensor": ("type",)}.get(
                    str(g.get("type")), ("type", "axis", "block_size")
                )
            }
        ),
    ),
    known(
        "block-size-missing-accepted",
        "takes 32 where block_size is missing",
        "SPEC-7",
        INVALID,
        tolerated=_granularity(
            lambda g: (
                g | {"block_size": 32}
                if g.get("type") == "per_block" and "block_size" not in g
                else g
            )
        ),
    ),
    known(
        "block-size-zero-accepted",
        "accepts block sizes below 1",
        "SPEC-7",
        INVALID,
        tolerated=_granularity(
            _block_sizes(lambda size: max(1, size) if isinstance(size, int) else size)
        ),
    ),
    known(
        "block-extent-zero-accepted",
        "accepts extents of 0 and below -1 in a list",
        "SPEC-7",
        INVALID,
        tolerated=_granularity(
            _block_sizes(
                lambda size: (
                    [n if n == -1 else max(1, n) for n in size] or [1]
                    if isinstance(size, list) and all(isinstance(n, int) for n in size)
                    else size
                )
            )
        ),
    ),
    known(
        "block-size-fraction-accepted",
        "accepts block sizes that are no integers",
        "SPEC-7",
        INVALID,
        tolerated=_granularity(
            _block_sizes(lambda size: int(size) if isinstance(size, float | str | bool) else size)
        ),
    ),
    known(
        "axis-with-extents-accepted",
        "accepts an axis beside one extent per axis",
        "SPEC-7 GRAN-5",
        INVALID,
        tolerated=_granularity(
            lambda g: g | {"axis": None} if isinstance(g.get("block_size"), list) else g
        ),
    ),
    known(
        "axis-fraction-accepted",
        "accepts an axis that is no integer",
        "SPEC-7",
        INVALID,
        tolerated=_granularity(
            lambda g: g if g.get("axis") is None or type(g.get("axis")) is int else g | {"axis": 0}
        ),
    ),
    known(
        "everything-accepted",
        "accepts every spec",
        "SPEC-1",
        INVALID,
        tolerated=reading(lambda m: {}),
    ),
)
