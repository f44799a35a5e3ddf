"""The HTML report of a run: what it says, and that it says nothing else."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from tests.conformance.report_pages import (
    FACTS,
    HOSTILE,
    VECTORS,
    Node,
    gate_page,
    make_runs,
    parse,
    run_page,
)

import quant_conformance.report.runs as report_runs
from quant_conformance import Verdict
from quant_conformance.cli import main
from quant_conformance.report import html_text
from quant_conformance.runner import Plan, Run, Runner


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    return make_runs(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def page(runs: list[Run]) -> Node:
    return parse(run_page(runs))


@pytest.fixture(scope="module", params=["run", "gate"])
def text(request: pytest.FixtureRequest, runs: list[Run]) -> str:
    return run_page(runs) if request.param == "run" else gate_page()


def panel(page: Node, number: int) -> Node:
    """The part of the backend that stands in this place, counted from 0."""
    (found,) = page.find("section", id=f"backend-{number + 1}")
    return found


def table(node: Node, css: str) -> list[list[str]]:
    """The cells of the first table of a class."""
    return node.find("table", class_=css)[0].cells()


# The frame, of both reports.


def test_ids_are_unique_and_whatever_is_pointed_at_exists(text: str) -> None:
    page = parse(text)
    ids = Counter(node.attributes["id"] for node in page.walk() if "id" in node.attributes)
    assert [name for name, number in ids.items() if number > 1] == []
    for attribute in ("aria-controls", "aria-labelledby"):
        for node in page.walk():
            for name in (node.attributes.get(attribute) or "").split():
                assert name in ids, f"{attribute}={name}"
    for link in page.find("a"):
        href = link.attributes["href"] or ""
        assert not href.startswith("#") or href[1:] in ids


def test_each_tab_has_its_panel_with_a_heading(text: str) -> None:
    page = parse(text)
    (tabs,) = page.find(role="tablist")
    assert tabs.attributes["aria-label"]
    assert "hidden" in tabs.attributes  # a script shows it: without one it could do nothing
    controlled = [tab.attributes["aria-controls"] for tab in tabs.find("button", role="tab")]
    panels = page.find("section", class_="panel")
    assert controlled == [panel.attributes["id"] for panel in panels]
    assert all(len(panel.find("h2")) == 1 for panel in panels)
    assert [t.attributes["aria-selected"] for t in tabs.find("button")].count("true") == 1
    # Without scripts every panel is visible and there are plain links to them.
    assert not any("hidden" in panel.attributes for panel in panels)
    (contents,) = page.find("noscript")
    assert [a.attributes["href"] for a in contents.find("a")] == [f"#{name}" for name in controlled]


def test_nothing_is_loaded(text: str) -> None:
    page = parse(text)
    assert not page.find("link") + page.find("img") + page.find("iframe") + page.find("object")
    assert not any("src" in node.attributes or "srcset" in node.attributes for node in page.walk())
    (style,) = page.find("style")
    assert not re.search(r"url\(|@import|https?:", style.text)
    (script,) = page.find("script")
    assert not re.search(r"https?:|fetch|XMLHttp|import\(", script.text)
    (policy,) = [m for m in page.find("meta") if "http-equiv" in m.attributes]
    assert (policy.attributes["content"] or "").startswith("default-src 'none'")
    assert "unsafe" not in (policy.attributes["content"] or "")


def test_no_style_or_handler_hides_in_an_attribute(text: str) -> None:
    names = {name for node in parse(text).walk() for name in node.attributes}
    assert not {name for name in names if name == "style" or name.startswith("on")}


def test_tables_images_and_buttons_say_what_they_are(text: str) -> None:
    page = parse(text)
    for found in page.find("table"):
        if found.find("th") and not _is_of_a_clause(page, found):
            assert found.find("caption"), found.text[:80]
            assert all("scope" in cell.attributes for cell in found.find("th")), found.text[:80]
    for svg in page.find("svg"):
        if svg.attributes.get("aria-hidden") != "true":
            assert svg.attributes["role"] == "img"
            assert svg.find("title")[0].text
            assert svg.find("desc")[0].text
    assert all("type" in button.attributes for button in page.find("button"))
    assert page.find("html", lang="en")
    assert all(
        s.attributes.get("aria-label") or s.attributes.get("aria-labelledby")
        for s in page.find(role="region")
    )


def _is_of_a_clause(page: Node, table: Node) -> bool:
    """Tables of SPEC.md come from Markdown, which knows no captions."""
    return any(table in text.walk() for text in page.find("div", class_="text"))


def test_headings_leave_out_no_level(text: str) -> None:
    levels = [int(n.tag[1]) for n in parse(text).walk() if re.fullmatch("h[1-6]", n.tag)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def _luminance(color: str) -> float:
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_text_has_enough_contrast(theme: int) -> None:
    folder = Path(report_runs.__file__).parent
    style = (folder / "templates" / "style.css").read_text()
    colors = dict(re.findall(r"--(\w+): (#[0-9a-f]{6});", style.split(":root {")[theme + 1]))
    for name in ("text", "soft", "good", "known", "muted", "bad", "link", "given"):
        for ground in ("back", "raised"):
            lights = sorted((_luminance(colors[name]), _luminance(colors[ground])))
            ratio = (lights[1] + 0.05) / (lights[0] + 0.05)  # WCAG 2.2, relative luminance
            assert ratio >= 4.5, f"{name} on {ground}: {ratio:.2f}"


# What is untrusted stays text.


def test_hostile_text_is_text(runs: list[Run], page: Node) -> None:
    assert len(page.find("script")) == 1
    assert page.find("img") == []
    text = page.text
    # Name, versions, case id, flag, detail, reason, stale expectation.
    assert text.count(HOSTILE) >= 7
    assert page.find("title")[0].text == "quant-conformance: run"
    crash = panel(page, 2).text
    assert "RuntimeError: ��[31m" in crash
    assert not re.search("[\0-\x08\x0b-\x1f\ud800-\udfff]", text)
    run_page(runs).encode()  # no half of a surrogate pair


def test_only_web_addresses_become_links(page: Node) -> None:
    outward = [a for a in page.find("a") if not (a.attributes["href"] or "").startswith("#")]
    assert {a.attributes["href"] for a in outward} == {"https://example.org/why"}
    assert all(a.attributes["rel"] == "noreferrer" for a in outward)
    assert "javascript:window.hacked=1" in page.text


# What is said.


def test_the_scoreboard_has_every_verdict_that_occurs(runs: list[Run], page: Node) -> None:
    head, *rows = table(page.find("section", id="overview")[0], "board")
    occurring = {result.verdict for run in runs for result in run.results}
    titles = [v.value.replace("_", " ") for v in Verdict if v in occurring]
    assert head == ["backend", "", *titles, "cases"]
    for row, run in zip(rows, runs, strict=True):
        assert row[0].endswith(run.backend)
        assert row[-1] == str(len(run.results))
        counts = [int(cell.replace("·", "0")) for cell in row[2:-1]]
        assert dict(zip(titles, counts, strict=True)) == {
            v.value.replace("_", " "): sum(r.verdict is v for r in run.results)
            for v in Verdict
            if v in occurring
        }


def test_families_by_backend(page: Node) -> None:
    head, *rows = table(page.find("section", id="overview")[0], "matrix")
    encode = head.index("encode")
    # 50 powers of two, a tie, a subnormal tie and the hostile case.
    assert [row[encode] for row in rows] == ["✓53", "✗0/53", "✗0/53", "✗0/53", "–"]


def test_clauses_of_a_family(page: Node) -> None:
    (encode,) = [
        d
        for d in panel(page, 1).find("details", class_="by-clause")
        if "encode" in d.find("summary")[0].text
    ]
    rows = {row[0]: row[1:] for row in table(encode, "board")[1:]}
    assert rows["✗MINE-1"][-1] == "1"
    assert rows["✗ENC-1"][-1] == "51"
    # A clause that SPEC.md lacks has nowhere to lead.
    assert page.find("a", href="#clause-ENC-1")
    assert not page.find("a", href="#clause-MINE-1")


def test_failures_are_shown_in_bits(page: Node) -> None:
    (failure,) = [
        d
        for d in panel(page, 1).find("details", class_="failure")
        if "encode/subnormal-tie" in d.find("summary")[0].text
    ]
    # 2^-10 is midway between 0 and the least code. NaN + 1 is -0.
    assert table(failure, "bits") == [
        ["", "decimal", "hex float", "bits or code"],
        ["codes[0]"],
        ["x", "0.0009765625", "0x1p-10", "0x3a800000"],
        ["expected", "0", "0x0p+0", "0x00"],
        ["actual", "0.00195312", "0x1p-9", "0x01"],
        ["codes[1]"],
        ["x", "nan", "nan", "0x7fc00000"],
        ["expected", "nan", "nan", "0x7f"],
        ["actual", "-0", "-0x0p+0", "0x80"],
    ]
    assert "quant-conformance explain encode/subnormal-tie --backend " in failure.text


def test_failures_are_capped_and_the_rest_is_counted(runs: list[Run], page: Node) -> None:
    shown = panel(page, 1).find("details", class_="failure")
    assert len(shown) == report_runs.FAILURES_SHOWN
    rest = len(runs[1].failures) - report_runs.FAILURES_SHOWN
    assert rest > 0
    assert f"… and {rest} more failures." in panel(page, 1).text


def test_known_failures_are_gathered_by_reason(page: Node) -> None:
    groups = [d.find("summary")[0].text for d in panel(page, 3).find("details", class_="known")]
    assert len(groups) == 2
    assert re.search(r"50 cases\s*$", groups[0])
    assert re.search(r"ties go up\s+1 case\s*$", groups[1])


def test_stale_expectations_and_problems_are_told(page: Node) -> None:
    assert "mended " in panel(page, 3).find("ul")[0].text
    assert "no-such-package-anywhere not installed" in panel(page, 4).text


def test_diagnosis_and_policies(page: Node) -> None:
    assert "encode: " in panel(page, 1).find("ul", class_="diagnosis")[0].text
    policies = panel(page, 0).find("table", class_="policies")[0].text
    assert "nan_payload" in policies
    assert "canonical (1)" in policies


def test_number_lines_mark_what_is_wrong(page: Node) -> None:
    wrong = panel(page, 1)
    (overview,) = wrong.find("svg", class_="line-overview")
    # 253 finite codes; 45 different wrong elements of 104, one of which is NaN: see the sets.
    assert len([n for n in overview.find("line") if n.attributes["class"] == "tick"]) == 253
    assert len(overview.find("circle")) == len(overview.find("path", class_="actual"))
    assert len(wrong.find("svg", class_="line-card")) == 6
    assert "1 with a NaN" in wrong.text
    assert not panel(page, 0).find("svg", class_="line-overview")


def test_distances(page: Node) -> None:
    found = [h.text for h in panel(page, 1).find("div", class_="histogram")]
    (encode,) = [text for text in found if "encode: codes" in text]
    # All 104 elements are one code up: 53 positive ones, and a −0; 50 negative ones go down; …
    assert "0 of 105 elements right" in encode


def test_facts(page: Node) -> None:
    (facts,) = page.find("section", id="facts")
    for words in (FACTS.command, FACTS.date, FACTS.cpu, "c0ffee", "0" * 64, "numpy"):
        assert words in facts.text


def test_the_same_run_gives_the_same_bytes(runs: list[Run], tmp_path: Path) -> None:
    assert run_page(runs) == run_page(make_runs(tmp_path))


def test_an_empty_run_has_a_report() -> None:
    run = Runner(VECTORS, [], Plan(isolate=False)).run("numpy-reference")
    for runs in ([], [run]):
        page = parse(html_text(runs, FACTS))
        assert len(page.find("section", id="overview")) == 1


def test_the_command_writes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    file = tmp_path / "report.html"
    case = "encode/float8_e4m3fn/every-value"
    options = ["--backend", "numpy-reference", "--case", case, "--html", str(file)]
    assert main(["run", *options]) == 0
    assert "1970-01-02 00:00 UTC" in parse(file.read_text()).text
    assert main(["run", *options[:-1], str(tmp_path / "none" / "r.html")]) == 2
