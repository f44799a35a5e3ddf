"""The document: which verdict is the whole's, what is printed, what is let pass."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from rich.console import Console

from quant_conformance.commands.check_export import allow
from quant_conformance.errors import UsageError
from quant_conformance.gate.document import (
    FAILING,
    ORDER,
    EndToEnd,
    GateDocument,
    Layer,
    Weight,
    Worst,
)
from quant_conformance.report.gate_table import print_document
from quant_conformance.report.html import check_gate


def layer(verdict: str, name: str = "linear", **given: Any) -> Layer:
    return Layer(name, "linear → relu", ["ADM-2", "Q-1"], verdict, "int8", 40, **given)


def document(*verdicts: str, weights: tuple[str, ...] = (), **given: Any) -> GateDocument:
    layers = [layer(verdict, f"t{index}") for index, verdict in enumerate(verdicts)]
    made = [Weight(f"w{i}", v, "int8", "per_channel", ["Q-1"]) for i, v in enumerate(weights)]
    facts = {"cpu": "c", "commit": None, "command": "quant-conformance check-export"}
    return GateDocument("m", "default", "graph", "coreai", False, {}, facts, layers, made, **given)


@pytest.mark.parametrize(
    ("verdicts", "weights", "whole"),
    [
        ((), (), "unsupported"),  # nothing was judged
        (("exact", "exact"), ("exact",), "exact"),
        (("exact", "admissible"), ("exact",), "admissible"),
        (("admissible", "undecided"), (), "undecided"),
        (("unlikely", "undecided"), (), "unlikely"),
        (("unlikely", "wrong", "exact"), (), "wrong"),
        (("exact",), ("exact", "wrong"), "wrong"),
        (("unsupported", "unlikely"), (), "unsupported"),
        (("unsupported", "wrong"), (), "wrong"),
        (("unsupported",), ("wrong",), "wrong"),
    ],
)
def test_the_worst_verdict_is_the_whole_s(
    verdicts: tuple[str, ...], weights: tuple[str, ...], whole: str
) -> None:
    for order in (verdicts, verdicts[::-1]):
        found = document(*order, weights=weights)
        assert found.verdict == whole
        assert found.failed == (whole not in ("exact", "admissible"))


@pytest.mark.parametrize("failure", ["crashed", "timed_out", "unsupported"])
def test_a_failure_is_the_verdict_whatever_was_found(failure: str) -> None:
    found = document("exact", failure=failure, detail="why")
    assert found.verdict == failure
    assert found.failed
    check_gate(found.to_dict())


def test_every_verdict_passes_or_fails() -> None:
    assert set(ORDER) - set(FAILING) == {"exact", "admissible"}


def test_every_document_follows_the_schema_as_json_without_nan() -> None:
    worst = Worst([0, 3], 0.2, 5.0, 3.0, 4.0, 4.0, 4.0, 4.0)
    for verdict in (*ORDER, "unsupported"):
        found = document(verdict, weights=("exact", "wrong"))
        found.layers.append(
            layer(verdict, "u", worst=worst, single=0.5, sqnr=40.0, code_errors={"-1": 2, "0": 38})
        )
        found.layers.append(layer(verdict, "v", ulp_errors={"0": 1}, repro="repro/v"))
        found.end_to_end = EndToEnd(30.0, 0.1, 0.9, 1)
        plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
        check_gate(plain)
        assert plain["verdict"] == found.verdict


def printed(found: GateDocument) -> str:
    out = io.StringIO()
    print_document(found, Console(file=out, width=110))
    return out.getvalue()


def test_what_is_printed() -> None:
    found = document("exact", weights=("exact", "wrong"))
    worst = Worst([0, 3], 0.2, 5.0, 3.0, 4.0, 4.0, 4.0, 4.0)
    wrong = layer("wrong", "relu", worst=worst, detail="1 of 40 elements wrong", repro="r/relu")
    wrong.flipped, wrong.single, wrong.sqnr = 0.025, 0.975, 41.26
    found.layers.append(wrong)
    found.weights[1] = Weight("w", "wrong", "int8", "per_channel", [], "scale [2] is 1.0")
    found.end_to_end = EndToEnd(None, 0.001, 0.5, 1)
    assert [line.rstrip() for line in printed(found).splitlines()] == [
        "tensor  computed by    verdict  one code  flipped     SQNR",
        "t0      linear → relu  exact                    ·    exact",
        "relu    linear → relu  wrong       97.5%    2.50%  41.3 dB",
        "weights: 1 of 2 exact",
        "  wrong w (int8): scale [2] is 1.0",
        "end to end: exact, 0.100% of codes flipped, same greatest output in 50.0% of rows",
        "wrong relu [ADM-2, Q-1]: 1 of 40 elements wrong",
        "  at [0, 3]: got 5, admissible 3 to 4 (likely 4 to 4), exact value 0.2",
        "  reproduce with: python r/relu/reproduce.py",
        "verdict: wrong",
    ]


def test_many_failures_are_counted() -> None:
    text = printed(document(*["wrong"] * 14, weights=("wrong",) * 12))
    assert "… and 4 more tensors" in text
    assert "… and 2 more weights" in text


def test_markup_in_names_is_text() -> None:
    found = document()
    found.layers.append(layer("wrong", "[bold]x[/bold]", detail="[red]no"))
    assert "[bold]x[/bold]" in printed(found)
    assert "[red]no" in printed(found)


def test_what_is_unlikely_can_be_allowed_by_name_or_glob() -> None:
    found = document("unlikely", "unlikely", "exact")
    found.layers[0].detail = "2 of 40 elements unlikely"
    allow(found, ["t0"])
    assert [x.verdict for x in found.layers] == ["admissible", "unlikely", "exact"]
    assert found.layers[0].detail == "2 of 40 elements unlikely (allowed)"
    assert found.failed
    allow(found, ["t*"])
    assert found.verdict == "admissible"


@pytest.mark.parametrize("name", ["t2", "nothing", "t1"])
def test_an_allowance_that_allows_nothing_is_a_mistake(name: str) -> None:
    found = document("unlikely", "wrong", "exact")
    with pytest.raises(UsageError, match=f"--allow-unlikely '{name}': no tensor of that name"):
        allow(found, [name])
    assert found.layers[0].verdict == "unlikely"


def test_wrong_is_never_allowed() -> None:
    found = document("unlikely", "wrong")
    allow(found, ["*"])
    assert [x.verdict for x in found.layers] == ["admissible", "wrong"]
