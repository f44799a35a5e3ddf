"""What the tests of the reports render, and how they read it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
from tests.conformance.backends_for_tests import reference
from tests.conformance.sets import Draft, encodes, f32, make_set, one_of_each

import quant_vectors
from quant_conformance import Verdict
from quant_conformance.backends.numpy_reference import NumpyReference
from quant_conformance.report.html import Facts, gate_html_text, html_text
from quant_conformance.runner.run import Run
from quant_conformance.runner.runs import Plan, Runner
from quant_conformance.verdicts.expectations import load_expectations
from quant_conformance.verdicts.verdict import CaseResult

HOSTILE = '</title><script>window.hacked = 1</script>"\'><img src=x onerror="window.hacked = 1">'
FACTS = Facts(
    "quant-conformance run --html r.html", "2026-01-02", "A CPU", "c0ffee", {"numpy": "2"}
)
LONG = "a-name-without-a-gap-" * 6

VECTORS = make_set(
    [
        Draft(
            "encode/subnormal-tie",
            "encode",
            {"x": f32(2**-10, np.nan)},
            {"codes": np.array([0x00, 0x7F], np.uint8)},
            more={"arguments": {"format": "float8_e4m3fn"}, "clauses": ("ENC-2", "MINE-1")},
        ),
        *encodes(50),
        *one_of_each(),
        Draft(
            f"encode/{HOSTILE}",
            "encode",
            {"x": f32(1)},
            {"codes": np.array([0x38], np.uint8)},
            more={"arguments": {"format": "float8_e4m3fn"}, "flags": (HOSTILE,)},
        ),
    ]
)


class NextCode(NumpyReference):
    """Gives the code above the right one."""

    name = "next-code"

    def encode(self, x: Any, fmt: str) -> Any:
        return super().encode(x, fmt) + np.uint8(1)


class Hostile(NumpyReference):
    """Says nothing that a page may take at its word."""

    name = HOSTILE

    def versions(self) -> dict[str, str]:
        return {HOSTILE: HOSTILE}

    def encode(self, x: Any, fmt: str) -> Any:
        raise RuntimeError(f"\x00\x1b[31m\ud800{HOSTILE}")


class LongWinded(NextCode):
    """Calls itself by a long word."""

    name = LONG


def own(name: str) -> str:
    """The ``path/file.py:Class`` of a class in this file."""
    return f"{Path(__file__).resolve()}:{name}"


def make_runs(folder: Path) -> list[Run]:
    """Runs backends of every kind: right, known, wrong, hostile, missing."""
    known = folder / "known.toml"
    known.write_text(
        f"[[expect]]\ncases = 'encode/power-*'\nreason = '''{HOSTILE}'''\n"
        "link = 'javascript:window.hacked=1'\n"
        "[[expect]]\ncases = 'encode/tie'\nreason = 'ties go up'\n"
        "link = 'https://example.org/why'\n"
        f"[[expect]]\ncases = 'decode/*'\nreason = '''fixed {HOSTILE}'''\n"
    )
    plain, expecting = (
        Plan(isolate=False, expectations=e) for e in (None, load_expectations(known))
    )
    return [
        Runner(VECTORS, VECTORS.cases, plan).run(name)
        for name, plan in [
            ("numpy-reference", plain),
            (own("NextCode"), plain),
            (own("Hostile"), plain),
            (own("LongWinded"), expecting),
            (reference("LacksPackage"), plain),
        ]
    ]


def wide_runs() -> list[Run]:
    """Fifteen backends with long names, numbers of four digits in every family, every verdict."""
    families = tuple(dict.fromkeys(case.family for case in quant_vectors.load().cases))
    results = tuple(
        CaseResult(f"{family}/{number}", family, ("Q-1",), (), verdict, "it")
        for family in families
        for verdict, cases in ((Verdict.WRONG, 250), (Verdict.EXACT, 900))
        for number in range(cases)
    )
    results += tuple(
        CaseResult(f"encode/{verdict}", "encode", ("ENC-1",), (), verdict, "it")
        for verdict in Verdict
    )
    vectors = {"version": "v1", "digest": "0" * 64}
    names = ["onnxruntime-nonsaturating", *(f"backend-{number}" for number in range(14))]
    return [Run(name, name, {}, vectors, results) for name in names]


def run_page(runs: list[Run]) -> str:
    return html_text(runs, FACTS)


def layer(**changes: Any) -> dict[str, Any]:
    entry = {
        "name": "conv2d",
        "operation": "conv2d",
        "clauses": ["Q-1"],
        "verdict": "admissible",
        "dtype": "int8",
        "elements": 1000,
        "single": 0.98,
        "flipped": 0.004,
        "sqnr": 40.0,
        "wrong": 0,
        "unlikely": 0,
        "undecided": 0,
        "code_errors": {"-1": 3, "0": 996, "1": 1},
        "ulp_errors": None,
        "worst": None,
        "detail": "",
        "repro": None,
    }
    return {**entry, **changes}


def gate_document(**changes: Any) -> dict[str, Any]:
    """A document of the gate with one layer of each kind."""
    worst = {
        "index": [0, 3],
        "value": 1.25,
        "got": 4,
        "low": 1,
        "high": 2,
        "likely_low": 1,
        "likely_high": 1,
        "prepared": 1,
    }
    wrong = {"verdict": "wrong", "wrong": 2, "worst": worst, "repro": "repro/linear"}
    entry = {
        "schema": "quant-conformance/gate/1",
        "model": "resnet",
        "config": "w8a8",
        "mode": "graph",
        "backend": "coreai",
        "cast_16bit": True,
        "versions": {"torch": "2.13.0", "coreai-core": "1.0.0"},
        "facts": {"cpu": "A CPU", "commit": None, "command": "quant-conformance check-export"},
        "verdict": "wrong",
        "layers": [
            layer(),
            layer(name="linear", sqnr=None, flipped=0.5, code_errors={"3": 500, "0": 500}, **wrong),
            layer(
                name="out", dtype="float32", single=None, code_errors={}, ulp_errors={"70000": 1}
            ),
            layer(
                name=LONG, verdict="undecided", undecided=7, sqnr=20.0, detail="no bound decides"
            ),
        ],
        "weights": [
            {
                "name": "conv2d.weight",
                "verdict": "exact",
                "dtype": "int8",
                "granularity": "per_channel(0)",
                "clauses": ["QP-2"],
                "detail": "",
            }
        ],
        "end_to_end": {"sqnr": 33.3, "flipped": 0.01, "top1": 1.0, "outputs": 10, "detail": ""},
    }
    return {**entry, **changes}


def gate_page(**changes: Any) -> str:
    return gate_html_text(gate_document(**changes), date="2026-01-02")


@dataclass
class Node:
    """An element of a page."""

    tag: str
    attributes: dict[str, str | None]
    children: list[Node | str] = field(default_factory=list)

    def walk(self) -> Iterator[Node]:
        yield self
        for child in self.children:
            if isinstance(child, Node):
                yield from child.walk()

    def find(self, tag: str | None = None, **attributes: str) -> list[Node]:
        """The elements of a tag that have these attributes."""
        wanted = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
        return [
            node
            for node in self.walk()
            if tag in (None, node.tag) and wanted.items() <= node.attributes.items()
        ]

    @property
    def text(self) -> str:
        return "".join(c if isinstance(c, str) else c.text for c in self.children)

    @property
    def seen(self) -> str:
        """The text, without what is said to screen readers alone."""
        parts = [
            child if isinstance(child, str) else child.seen
            for child in self.children
            if isinstance(child, str) or child.attributes.get("class") != "hidden"
        ]
        return " ".join("".join(parts).split())

    def cells(self) -> list[list[str]]:
        """What is seen in the cells of the rows of a table."""
        return [
            [cell.seen for cell in row.children if isinstance(cell, Node)]
            for row in self.find("tr")
        ]


class _Reader(HTMLParser):
    VOID = frozenset({"meta", "br", "img", "link", "input"})
    SELF_CLOSING = frozenset({"rect", "line", "circle", "path"})

    def __init__(self) -> None:
        super().__init__()
        self.root = Node("#root", {})
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        node = Node(tag, dict(attrs))
        assert len(node.attributes) == len(attrs), f"an attribute of <{tag}> stands twice"
        self.open[-1].children.append(node)
        if tag not in self.VOID:
            self.open.append(node)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        assert tag in self.VOID | self.SELF_CLOSING, f"<{tag}/> is no void element"
        self.open[-1].children.append(Node(tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].tag == tag, f"</{tag}> closes <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


def parse(html: str) -> Node:
    """Reads a page; a tag that is not closed, or closed by another, is an error."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == [reader.root], f"<{reader.open[-1].tag}> is never closed"
    return reader.root
