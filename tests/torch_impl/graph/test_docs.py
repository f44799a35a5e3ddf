"""The page about placement shows what the vectors say, and its code runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from quant_conformance.placement import stated_lines
from quant_torch.quantization.graph_patterns import patterns, unregister_pattern

PAGE = (Path(__file__).parents[3] / "docs" / "placement.md").read_text("utf-8")
LISTS = re.findall(r"```placement (\w+) (\w+)\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize(("mode", "model_id", "text"), LISTS, ids=lambda v: v.split("\n")[0])
def test_the_lists_are_those_of_the_vectors(mode: str, model_id: str, text: str) -> None:
    assert tuple(text.splitlines()) == stated_lines(model_id, mode)


def test_there_are_lists_and_the_code_runs() -> None:
    assert len(LISTS) >= 9
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(compile(code, "docs/placement.md", "exec"), {})
    assert {"div_act", "add_mul_sub"} <= {pattern.name for pattern in patterns()}
    for name in ("div_act", "add_mul_sub"):
        unregister_pattern(name)
