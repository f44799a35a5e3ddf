"""The report of the gate: an exported model against its prepared one, layer by layer."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from quant_conformance.errors import ResultsError
from quant_conformance.gate.document import FAILING
from quant_conformance.report.html.clause_excerpts import clause_texts
from quant_conformance.report.html.frame import Tab, render
from quant_conformance.report.html.histogram import Histogram, histogram
from quant_conformance.report.html.words import Tone, count, label, worst

Document = Mapping[str, Any]

OPEN = 5
"""Layers that are shown open, of those that are not right."""


@dataclass(frozen=True)
class LayerPart:
    """All that the report says of one layer; the attributes are what the template shows.

    Attributes:
        anchor: its anchor, unique in the page.
        data: its entry in the document.
        tone: how it is judged.
        open: whether it is shown open.
        sqnr_share: its SQNR as a share of the highest finite one; 1 for an infinite one.
        flipped_share: its share of differing codes, as a share of the greatest.
        worst: names and values of its worst element.
        histograms: its errors, where there are any.
    """

    anchor: str
    data: Document
    tone: Tone
    open: bool
    sqnr_share: float
    flipped_share: float
    worst: tuple[tuple[str, str], ...]
    histograms: tuple[Histogram, ...]


def gate_schema() -> dict[str, Any]:
    """Returns the JSON Schema that every document of the gate follows."""
    path = files("quant_conformance").joinpath("schemas", "gate.schema.json")
    schema: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return schema


def check_gate(document: Document) -> None:
    """Holds a document of the gate to its schema.

    Raises:
        ResultsError: it does not follow the schema; the text says where and how.
    """
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    problem = best_match(Draft202012Validator(gate_schema()).iter_errors(document))
    if problem is not None:
        where, what = problem.json_path, problem.message[:300]
        raise ResultsError(f"this is no document of the gate: {where}: {what}")


def gate_html_text(document: Document, *, date: str = "") -> str:
    """Returns the report of the gate as one HTML file that needs nothing beside it.

    The text depends on its arguments alone. Names and details are untrusted and escaped.

    Args:
        document: what the gate found, after ``schemas/gate.schema.json``.
        date: when it was found, as text.

    Raises:
        ResultsError: the document does not follow its schema.
    """
    check_gate(document)
    highest_sqnr = max([0.0, *(x["sqnr"] for x in document["layers"] if _finite(x["sqnr"]))])
    highest_flipped = max([0.0, *(x["flipped"] for x in document["layers"])])
    layers = _layers(document["layers"], highest_sqnr, highest_flipped)
    broken_by = [
        (entry["name"], entry["clauses"])
        for entry in [*document["layers"], *document["weights"]]
        if _tone(entry["verdict"]) == "bad"
    ]
    return render(
        "gate.html.j2",
        f"quant-conformance: {document['model']} on {document['backend']}",
        [
            Tab(
                "overview", "Overview", _tone(document["verdict"]), label(document["verdict"]), None
            ),
            _tab("layers", "Layers", "layer", document["layers"]),
            _tab("weights", "Weights", "weight", document["weights"]),
            Tab("clauses", "Clauses", None, "", None),
            Tab("facts", "Facts", None, "", None),
        ],
        _tone,
        gate=document,
        layers=layers,
        highest_sqnr=highest_sqnr,
        highest_flipped=highest_flipped,
        codes=_sum("all layers", "codes", [x["code_errors"] for x in document["layers"]]),
        ulps=_sum("all layers", "ulps", [x["ulp_errors"] or {} for x in document["layers"]]),
        clauses=clause_texts(broken_by),
        versions=dict(sorted(document["versions"].items(), key=lambda item: item[0].lower())),
        date=date,
    )


def _tone(verdict: str) -> Tone:
    return "bad" if verdict in FAILING else "good"


def _finite(sqnr: float | None) -> bool:
    return sqnr is not None and math.isfinite(sqnr)


def _tab(anchor: str, title: str, what: str, entries: Sequence[Document]) -> Tab:
    bad = sum(_tone(entry["verdict"]) == "bad" for entry in entries)
    note = f"{bad} of {count(len(entries), what)} failed" if bad else count(len(entries), what)
    state = worst(_tone(entry["verdict"]) for entry in entries) if entries else None
    return Tab(anchor, title, state, note, None)


def _layers(
    entries: Sequence[Document], highest_sqnr: float, highest_flipped: float
) -> list[LayerPart]:
    parts = []
    opened = 0
    for number, entry in enumerate(entries, 1):
        state = _tone(entry["verdict"])
        open_ = state == "bad" and opened < OPEN
        opened += open_
        sqnr = entry["sqnr"]
        parts.append(
            LayerPart(
                f"layer-{number}",
                entry,
                state,
                open_,
                (sqnr / highest_sqnr if highest_sqnr else 0.0) if _finite(sqnr) else 1.0,
                entry["flipped"] / highest_flipped if highest_flipped else 0.0,
                tuple(_worst(entry["worst"])),
                tuple(_histograms(entry)),
            )
        )
    return parts


def _worst(element: Document | None) -> list[tuple[str, str]]:
    if element is None:
        return []
    legal = f"{element['low']} … {element['high']}"
    likely = f"{element['likely_low']} … {element['likely_high']}"
    return [
        ("got", str(element["got"])),
        ("legal for any order of summation", legal),
        ("likely", likely),
        ("prepared model", str(element["prepared"])),
    ]


def _histograms(entry: Document) -> list[Histogram]:
    found = [
        _sum(entry["name"], "codes", [entry["code_errors"]]),
        _sum(entry["name"], "ulps", [entry["ulp_errors"] or {}]),
    ]
    return [data for data in found if data.differing]


def _sum(name: str, unit: str, errors: Sequence[Mapping[str, int]]) -> Histogram:
    total: Counter[int] = Counter()
    for counts in errors:
        total.update({int(distance): number for distance, number in counts.items()})
    return histogram(name, unit, total)
