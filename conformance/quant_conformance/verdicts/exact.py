"""Compares an answer with a legal one, bit for bit (CONV-4, CONV-5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant_conformance.protocol import Array
from quant_conformance.verdicts.bits import CODE_DTYPES, bits_of, code_values, is_float, show

ZERO_SIGN_UNSEEN = frozenset({"lo", "hi", "minval"})
"""Outputs whose sign of zero no later result can show, so it is not compared."""

OPTIONAL = frozenset({"zero_point", "minval"})
"""QParams fields that are judged only if given, unless the formulation needs them."""


_ORDER = ("lo", "hi", "scale", "zero_point", "minval")


@dataclass(frozen=True)
class Difference:
    """How an answer differs from a legal one.

    Attributes:
        output: name of the output that differs.
        what: a sentence for people.
        index: position of the element that shows it best, or None if shape or dtype differ.
        count: number of differing elements of the output.
    """

    output: str
    what: str
    index: tuple[int, ...] | None = None
    count: int = 0


@dataclass(frozen=True)
class Rules:
    """What the comparison needs to know of a case.

    Attributes:
        code_format: the float format whose codes the output ``codes`` holds, or None.
        required: outputs without which there is no answer.
        nan_codes_equal: compare NaN codes by class; so it is against policy alternatives.
    """

    code_format: str | None = None
    required: frozenset[str] = frozenset()
    nan_codes_equal: bool = False


def compare(
    expected: Mapping[str, Array],
    actual: Mapping[str, Array],
    rules: Rules,
    inputs: Mapping[str, Array] | None = None,
) -> Difference | None:
    """Returns the first difference, or None; a scale comes before what follows from it.

    Args:
        expected: a legal answer, output name to array.
        actual: the backend's answer; outputs that ``expected`` lacks are not judged.
        rules: how to compare.
        inputs: the case's inputs. If the answer is elementwise in ``x`` (or ``codes``), the
            element with the smallest input is shown.
    """
    for name, want in in_order(expected):
        got = actual.get(name)
        if got is None:
            if name in OPTIONAL and name not in rules.required:
                continue
            return Difference(name, f"no {name} was given")
        difference = _compare_output(name, want, got, rules, inputs or {})
        if difference is not None:
            return difference
    return None


def in_order(outputs: Mapping[str, Array]) -> list[tuple[str, Array]]:
    """Returns the outputs by name, causes before consequences."""
    return sorted(outputs.items(), key=lambda o: _ORDER.index(o[0]) if o[0] in _ORDER else 0)


def _compare_output(
    name: str, want: Array, got: Array, rules: Rules, inputs: Mapping[str, Array]
) -> Difference | None:
    if got.shape != want.shape:
        return Difference(name, f"{name} has shape {got.shape}, expected {want.shape}")
    if got.dtype != want.dtype:
        return Difference(name, f"{name} has dtype {got.dtype}, expected {want.dtype}")
    fmt = rules.code_format if name == "codes" else None
    differs = differing(name, want, got, fmt if rules.nan_codes_equal else None)
    count = int(np.count_nonzero(differs))
    if count == 0:
        return None
    driver = driver_of(inputs, want.shape)
    (index,) = smallest_first(differs, None if driver is None else inputs[driver], 1)
    sentence = f"{_place(name, index)}: expected {show(want, index, fmt)}"
    sentence += f", got {show(got, index, fmt)}"
    if driver is not None:
        sentence += f", for {driver} = {show(inputs[driver], index)}"
    sentence += f"; {count} of {want.size} {'element' if want.size == 1 else 'elements'} differ"
    return Difference(name, sentence, index, count)


def differing(name: str, want: Array, got: Array, nan_code_format: str | None) -> NDArray[np.bool_]:
    """Marks the elements that differ (CONV-4, CONV-5); shapes and dtypes agree already.

    Args:
        name: the output's name, which says whether a zero's sign counts.
        want: the legal answer.
        got: the answer.
        nan_code_format: float format of the codes if any NaN code equals any other, else None.
    """
    differs: NDArray[np.bool_] = np.asarray(bits_of(want) != bits_of(got))
    if is_float(want):
        differs &= ~(np.isnan(want) & np.isnan(got))
        if name in ZERO_SIGN_UNSEEN:
            differs &= ~((want == 0) & (got == 0))
    if nan_code_format is not None:
        differs &= ~(
            np.isnan(code_values(want, nan_code_format))
            & np.isnan(code_values(got, nan_code_format))
        )
    return differs


def rules_for(operation: str, arguments: Mapping[str, Any], spec: Mapping[str, Any]) -> Rules:
    """Derives the rules of a case from its operation, arguments and spec."""
    fmt = str(arguments.get("format") or spec.get("dtype"))
    holds_codes = operation in ("encode", "quantize", "export_weights") and fmt in CODE_DTYPES
    formulation = {"zp": "zero_point", "minval": "minval"}.get(str(spec.get("qformulation")))
    return Rules(
        code_format=fmt if holds_codes else None,
        required=frozenset() if formulation is None else frozenset({formulation}),
    )


def driver_of(inputs: Mapping[str, Array], shape: tuple[int, ...]) -> str | None:
    """Names the input that an elementwise answer follows: x, or codes for dequantize."""
    for name in ("x", "codes"):
        if name in inputs and inputs[name].shape == shape:
            return name
    return None


def smallest_first(
    differs: NDArray[np.bool_], driver: Array | None, limit: int
) -> list[tuple[int, ...]]:
    """Picks the differing elements with the least finite |input|, or else the first ones.

    Args:
        differs: marks the elements that differ.
        driver: the input that the elements follow, of the same shape, or None.
        limit: how many to pick at most.
    """
    positions = np.argwhere(differs)
    if driver is not None:
        with np.errstate(invalid="ignore"):  # a NaN of bfloat16 warns on its way to float64
            size = np.abs(driver[differs].astype(np.float64))
        # inf after everything finite, NaN last; the first of equals stays first.
        rank = np.where(np.isnan(size), np.inf, np.minimum(size, np.finfo(np.float64).max))
        positions = positions[np.argsort(rank, kind="stable")]
    return [tuple(int(i) for i in position) for position in positions[:limit]]


def _place(name: str, index: tuple[int, ...]) -> str:
    return f"{name}[{', '.join(map(str, index))}]" if index else name
