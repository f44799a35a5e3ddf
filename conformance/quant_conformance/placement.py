"""Placements in writing: one line for each quantized tensor (PLACE-12)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Any

from quant_reference.spec import QuantizationSpec

Placed = tuple[str, Mapping[str, Any], str, str]
"""(tensor, spec, target, group): a quantized tensor, as backends give it."""

_LINE = re.compile(r"(?P<tensor>.+): (?:= (?P<group>.+)|(?P<spec>\S+ \S+ per_.*))")
_SPEC = re.compile(
    r"(?P<dtype>\S+) (?P<qscheme>\S+) (?P<kind>per_\w+)(?:\((?P<axis>-?\d+)(?:, (?P<size>\d+))?\))?"
    r"(?: (?P<calculator>[a-z_]+))?(?: \[(?P<low>\S+), (?P<high>\S+)\])?"
)

_DEFAULT_CALCULATORS = {"weight": "static", "activation": "moving_average"}


@lru_cache
def stated(model_id: str) -> Mapping[str, Any]:
    """The lists of a model that were made by hand: title, clauses, and tensors for each mode."""
    folder = files("quant_conformance.generate").joinpath("placement")
    lists: Mapping[str, Any] = json.loads(folder.joinpath(f"{model_id}.json").read_text("utf-8"))
    return lists


def stated_lines(model_id: str, mode: str) -> tuple[str, ...]:
    """The list of a model for one mode, as sorted lines."""
    return tuple(sorted(f"{name}: {spec}" for name, spec in stated(model_id)[mode].items()))


def read(lines: Iterable[str]) -> list[Placed]:
    """Read what :func:`written` writes, blocks of a tuple excepted.

    Raises:
        ValueError: A line that is none.
    """
    specs: dict[str, Mapping[str, Any]] = {}
    groups: dict[str, str] = {}
    for line in lines:
        match = _LINE.fullmatch(line)
        if match is None:
            raise ValueError(f"no line of a placement: {line!r}")
        groups[match["tensor"]] = match["group"] or match["tensor"]
        if match["spec"]:
            specs[match["tensor"]] = _mapping(match["spec"])
    return [(name, specs[group], "activation", group) for name, group in groups.items()]


def written(placed: Iterable[Placed]) -> tuple[str, ...]:
    """Write a placement.

    Args:
        placed: (tensor, spec, target, group) of each quantized tensor, the group being the first
            tensor with the same qparams.

    Returns:
        Sorted lines.

    Raises:
        TypeError: An entry is no such tuple.
        ValueError: A spec is not legal, or the target is neither weight nor activation.
    """
    lines = []
    for tensor, spec, target, group in placed:
        if target not in _DEFAULT_CALCULATORS:
            raise ValueError(f"target {target!r}: allowed are weight and activation")
        lines.append(f"{tensor}: {_words(spec, target) if group == tensor else f'= {group}'}")
    return tuple(sorted(lines))


def difference_of(expected: tuple[str, ...], given: tuple[str, ...]) -> str:
    """Say which lines are missing and which are too many, the first few of each."""
    missing = [line for line in expected if line not in given]
    extra = [line for line in given if line not in expected]
    parts = [f"{what} {_some(lines)}" for what, lines in (("missing", missing), ("found", extra))
             if lines]  # fmt: skip
    return "; ".join(parts) or f"{len(given)} lines instead of {len(expected)}"


def _mapping(words: str) -> dict[str, Any]:
    match = _SPEC.fullmatch(words)
    if match is None:
        raise ValueError(f"no spec of a placement: {words!r}")
    granularity: dict[str, Any] = {"type": match["kind"]}
    if match["axis"]:
        granularity["axis"] = int(match["axis"])
    if match["size"]:
        granularity["block_size"] = int(match["size"])
    bounds = [None if b in (None, "·") else float(b) for b in (match["low"], match["high"])]
    return {
        "dtype": match["dtype"],
        "qscheme": match["qscheme"],
        "granularity": granularity,
        "qparam_calculator_cls": match["calculator"] or "default",
        "float_range": bounds,
    }


def _words(mapping: Mapping[str, Any], target: str) -> str:
    spec = QuantizationSpec.from_dict(dict(mapping))
    granularity = spec.granularity.to_dict()
    words = [spec.dtype, spec.qscheme, _granularity(granularity)]
    if spec.qformulation != "zp":
        words.append(spec.qformulation)
    if spec.qparam_calculator_cls not in ("default", _DEFAULT_CALCULATORS[target]):
        words.append(spec.qparam_calculator_cls)
    if spec.float_range != (None, None):
        low, high = ("·" if bound is None else f"{bound:g}" for bound in spec.float_range)
        words.append(f"[{low}, {high}]")
    return " ".join(words)


def _granularity(granularity: Mapping[str, Any]) -> str:
    kind = str(granularity["type"])
    if kind == "per_tensor":
        return kind
    if kind == "per_channel":
        return f"{kind}({granularity['axis']})"
    return f"{kind}({granularity['axis']}, {granularity['block_size']})"


def _some(lines: list[str], count: int = 3) -> str:
    shown = ", ".join(repr(line) for line in lines[:count])
    return shown + (f" and {len(lines) - count} more" if len(lines) > count else "")
