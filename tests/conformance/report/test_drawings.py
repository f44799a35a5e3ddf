"""Number lines, bars, histograms and words, against figures worked out by hand."""

from __future__ import annotations

import subprocess
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest

from quant_conformance.report.distances import Distances
from quant_conformance.report.html import Facts, gather_facts, now
from quant_conformance.report.html.facts import commit_of, cpu_model
from quant_conformance.report.html.histogram import histogram, of_distances
from quant_conformance.report.html.number_line import grid, number_lines, position
from quant_conformance.report.html.svg import Drawing, bar, stacked
from quant_conformance.report.html.words import count, percent, web_address
from quant_conformance.report.samples import Point

FP4 = (-6, -4, -3, -2, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2, 3, 4, 6)
NAN = float("nan")
INF = float("inf")


def test_grids() -> None:
    assert grid("float4_e2m1fn") == FP4
    e4m3, e5m2, e8m0 = (grid(f"float8_{name}") for name in ("e4m3fn", "e5m2", "e8m0fnu"))
    # 256 codes less two NaN and one zero; less two infinities and six NaN too; less one NaN.
    assert (len(e4m3), len(e5m2), len(e8m0)) == (253, 247, 255)
    assert (e4m3[-1], e5m2[-1], e8m0[0]) == (448, 57344, 2.0**-127)


@pytest.mark.parametrize(
    ("value", "place"),
    [
        (-6, 0),
        (0, 7),
        (0.25, 7.5),  # a tie is in the middle, wherever it is
        (5, 13.5),
        (3.25, 12.25),
        (6, 14),
        (7, 14.5),
        (9, 15.5),
        (INF, 15.5),
        (-INF, -1.5),
        (-7, -0.5),
    ],
)
def test_places_on_the_line(value: float, place: float) -> None:
    assert position(value, FP4) == place


def test_a_line_counts_what_it_shows_and_what_it_cannot() -> None:
    up = Point("float4_e2m1fn", "encode", 0.25, 0.0, 0.5)
    others = [Point("float4_e2m1fn", "encode", 5.0 + i / 100, 6.0, 4.0) for i in range(8)]
    nan = Point("float4_e2m1fn", "encode", NAN, 0.0, 6.0)
    read = Point("float4_e2m1fn", "decode", None, 0.5, 1.0)
    (line,) = number_lines([*others, up, up, nan, read], "x")
    assert (line.points, line.off, len(line.cards), line.more) == (12, 1, 6, 4)
    # The most frequent first, then the other operation.
    assert line.cards[0].text == "x = 0.25 (0x1p-2): expected 0, got 0.5"
    assert [card.count for card in line.cards[:2]] == [2, 1]
    assert line.cards[1].text == "a code of 0.5 was read as 1"


def test_the_marks_stand_where_the_values_do() -> None:
    (line,) = number_lines([Point("float4_e2m1fn", "quantize", 0.25, 0.0, 0.5)], "x")
    card = Xml.fromstring(line.cards[0].drawing)
    expected = float(card.find("circle").get("cx"))  # type: ignore[union-attr, arg-type]
    places = {p.get("class"): float(p.get("d").split()[0][1:]) for p in card.findall("path")}  # type: ignore[union-attr]
    # A cross of half-width 4 begins 4 left of its middle; a triangle begins at its upper corner.
    actual, given = places["actual"] + 4, places["given"]
    assert given == pytest.approx((expected + actual) / 2, abs=0.02)  # written with two decimals
    assert "x / scale = 0.25" in line.cards[0].text
    labels = [t.text for t in card.findall("text")]
    assert {"got 0.5", "expected 0", "0.25"} <= set(labels)


@pytest.mark.parametrize("x", [448.0, 464.0, 1e9, INF, -INF, -0.0, 2.0**-10])
@pytest.mark.parametrize("fmt", ["float8_e4m3fn", "float8_e5m2", "float4_e2m1fn"])
def test_nothing_leaves_the_drawing(fmt: str, x: float) -> None:
    top = grid(fmt)[-1]
    (line,) = number_lines(
        [Point(fmt, "encode", x, top, -top), Point(fmt, "encode", x, 0, INF)], "x"
    )
    for drawing in (line.overview, *(card.drawing for card in line.cards)):
        root = Xml.fromstring(drawing)
        width = float(root.get("viewBox").split()[2])  # type: ignore[union-attr]
        for name in ("x", "x1", "x2", "cx"):
            found = [float(e.get(name)) for e in root.iter() if e.get(name)]  # type: ignore[arg-type]
            assert all(0 <= place <= width for place in found)


def test_drawings_escape_and_describe() -> None:
    drawing = Drawing(10, 10, "x", title="<a> & b", description='"c"', name="n")
    drawing.text(1, 2, "<script>", "label")
    markup = drawing.markup()
    assert "&lt;script&gt;" in markup
    root = Xml.fromstring(markup)
    assert root.get("aria-labelledby") == "n-title n-desc"
    assert [e.text for e in root][:2] == ["<a> & b", '"c"']
    assert Xml.fromstring(Drawing(1, 1, "x").markup()).get("aria-hidden") == "true"


@pytest.mark.parametrize(
    ("share", "width"), [(0, None), (0.5, "50"), (1, "100"), (2, "100"), (1e-9, "1"), (-1, None)]
)
def test_bars(share: float, width: str | None) -> None:
    rects = Xml.fromstring(bar(share, "bad")).findall("rect")
    assert [rect.get("width") for rect in rects[1:]] == ([] if width is None else [width])


def test_stacked_bars_fill_the_whole() -> None:
    rects = Xml.fromstring(stacked([(1, "good"), (0, "known"), (3, "bad")])).findall("rect")[1:]
    assert [(r.get("x"), r.get("width")) for r in rects] == [("0", "25"), ("25", "75")]
    assert len(Xml.fromstring(stacked([])).findall("rect")) == 1


def test_histograms() -> None:
    data = histogram("x", "codes", {0: 90, -1: 4, 3: 2}, {"NaN on one side": 4, "none": 0})
    assert (data.total, data.differing) == (100, 10)
    bins = [(b.text, b.count, b.share) for b in data.bins]
    assert bins == [
        ("−1", 4, 1),
        ("+1", 0, 0),
        ("+2", 0, 0),
        ("+3 … +4", 2, 0.5),
        ("NaN on one side", 4, 1),
    ]
    # Far apart: empty classes are left out.
    far = histogram("x", "ulps", {2**20 + 1: 1, -(2**20): 1})
    assert [b.text for b in far.bins] == ["−2¹⁹ … −2²⁰", "+2²⁰ … +2²¹"]
    assert histogram("x", "codes", {}).bins == ()


def test_distances_become_a_histogram() -> None:
    distances = Distances("encode", "codes", "codes", zero_signs=1, nans=2)
    distances.counts.update({0: 5, 1: 1})
    data = of_distances(distances)
    assert (data.name, data.total, data.differing) == ("encode: codes", 9, 4)


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [
        (0, 5, "0 %"),
        (5, 5, "100 %"),
        (1, 3, "33.3 %"),
        (99_999, 100_000, "99.99 %"),
        (9_995, 10_000, "99.95 %"),
        (1, 100_000, "< 0.01 %"),
        (0, 0, "0 %"),
    ],
)
def test_percent_never_rounds_to_all_or_nothing(part: int, whole: int, text: str) -> None:
    assert percent(part, whole).replace("\u00a0", " ") == text


def test_words() -> None:
    assert [count(1, "case"), count(1234, "case"), count(2, "is", "are")] == (
        ["1 case", "1,234 cases", "2 are"]
    )
    assert web_address("https://example.org/a") == "https://example.org/a"
    for link in (
        None,
        "docs/a.md",
        "javascript:alert(1)",
        "data:,x",
        "https:",
        "http://[",
        "//a.b",
    ):
        assert web_address(link) is None


def test_facts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    facts = gather_facts(["quant-conformance", "run", "a b"], "today")
    assert isinstance(facts, Facts)
    assert (facts.command, facts.date, facts.commit) == (
        "quant-conformance run 'a b'",
        "today",
        None,
    )
    assert "numpy" in facts.versions
    assert "python" in facts.versions
    assert facts.cpu == cpu_model()
    assert facts.cpu.endswith("CPUs")


def test_the_commit_of_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "a")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "a@b")

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=tmp_path, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    git("init", "-q")
    assert commit_of(tmp_path) is None  # nothing is committed yet
    git("commit", "-q", "--allow-empty", "-m", "x")
    assert commit_of(tmp_path) == git("rev-parse", "HEAD")
    (tmp_path / "new").touch()
    assert commit_of(tmp_path) == git("rev-parse", "HEAD") + " with changes"
    monkeypatch.setenv("PATH", str(tmp_path))  # no git at all
    assert commit_of(tmp_path) is None


def test_the_date_of_a_reproducible_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    assert now() == "1970-01-01 00:00 UTC"
    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    assert now() > "2025"
