"""Placements in writing: there and back, and what a wrong one is told."""

from __future__ import annotations

from typing import Any

import pytest

from quant_conformance.models import MODELS
from quant_conformance.placement import difference_of, read, stated_lines, written

INT8 = {"dtype": "int8", "granularity": {"type": "per_tensor"}}


def line(spec: dict[str, Any], target: str = "activation") -> str:
    (found,) = written([("x", spec, target, "x")])
    return found


@pytest.mark.parametrize("mode", ["graph", "eager"])
@pytest.mark.parametrize("model_id", MODELS)
def test_lists_are_written_as_they_are_read(model_id: str, mode: str) -> None:
    lines = stated_lines(model_id, mode)
    assert lines == tuple(sorted(lines))
    assert written(read(lines)) == lines


def test_a_line_says_what_differs_from_the_default() -> None:
    assert line(INT8) == "x: int8 symmetric per_tensor"
    assert line({**INT8, "qparam_calculator_cls": "moving_average"}) == line(INT8)
    assert line({**INT8, "qparam_calculator_cls": "static"}, "weight") == line(INT8)
    assert line({**INT8, "qparam_calculator_cls": "static"}) == line(INT8) + " static"
    blocks = {"type": "per_block", "axis": 1, "block_size": 32}
    more = {"dtype": "uint4", "qscheme": "asymmetric", "qformulation": "minval"}
    assert line({**more, "granularity": blocks}) == "x: uint4 asymmetric per_block(1, 32) minval"
    assert line({**INT8, "float_range": [-0.5, None]}) == line(INT8) + " [-0.5, ·]"


def test_sharing_tensors_refer_to_the_first() -> None:
    found = written([("a", INT8, "activation", "a"), ("b", INT8, "activation", "a")])
    assert found == ("a: int8 symmetric per_tensor", "b: = a")


@pytest.mark.parametrize(
    "placed",
    [3, [3], [("x", INT8, "activation")], [("x", INT8, "bias", "x")],
     [("x", {"dtype": "int3"}, "weight", "x")], [("x", 3, "weight", "x")]],
)  # fmt: skip
def test_what_is_no_placement_is_refused(placed: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        written(placed)


@pytest.mark.parametrize("text", ["x", "x: ", "x: int8", "x: int8 symmetric per_tensor [0]"])
def test_what_is_no_line_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="placement"):
        read([text])


def test_a_difference_names_lines() -> None:
    told = difference_of(("a: x", "b: x"), ("a: x", "c: x", "d: x", "e: x", "f: x"))
    assert told == "missing 'b: x'; found 'c: x', 'd: x', 'e: x' and 1 more"
    assert difference_of(("a: x",), ("a: x", "a: x")) == "2 lines instead of 1"
