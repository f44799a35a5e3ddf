"""Chapter 17 of SPEC.md names what there is; its examples are tried with all others."""

from __future__ import annotations

import re
from pathlib import Path

import quant_reference
from quant_reference import integer

SPEC = (Path(quant_reference.__file__).parent / "SPEC.md").read_text(encoding="utf-8")
CHAPTER = SPEC.split("\n## 17 ")[1].split("\n## ")[0]


def test_every_clause_says_what_it_refuses_and_of_which_dtypes() -> None:
    for text in re.split(r"^### INT-", CHAPTER, flags=re.M)[1:]:
        for part in ("Rule", "Dtypes", "Refused", "Example"):
            assert f"**{part}.**" in text, text[:40]


def test_the_tables_name_every_rule_form_and_order() -> None:
    named = set(re.findall(r"^\| `(\w+)`", CHAPTER, re.M))
    assert named == {*integer.RULES, *integer.MULTIPLIER_ORDERS}
    assert all(
        f"`{rule}`" in CHAPTER
        for rule in (*integer.POOL_RULES, *integer.RULE_ALIASES)
        if not rule.startswith(("xnnpack", "fbgemm", "tosa_scale16", "tflite_int64"))
    )
    words = set(re.findall(r"`(\w+)`", CHAPTER))
    assert {*integer.FIXED_POINT_FORMS, *integer.BIAS_RULES} <= words
