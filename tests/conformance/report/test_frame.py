"""What both HTML reports share: one file, sound structure, readable by everybody."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from tests.conformance.report.report_pages import Node, gate_page, make_runs, parse, run_page

import quant_conformance.report.html as report


@pytest.fixture(scope="module", params=["run", "gate"])
def text(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    if request.param == "gate":
        return gate_page()
    return run_page(make_runs(tmp_path_factory.mktemp("runs")))


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
    folder = Path(report.__file__).parent
    style = (folder / "templates" / "style.css").read_text()
    colors = dict(re.findall(r"--(\w+): (#[0-9a-f]{6});", style.split(":root {")[theme + 1]))
    for name in ("text", "soft", "good", "known", "muted", "bad", "link", "given"):
        for ground in ("back", "raised"):
            lights = sorted((_luminance(colors[name]), _luminance(colors[ground])))
            ratio = (lights[1] + 0.05) / (lights[0] + 0.05)  # WCAG 2.2, relative luminance
            assert ratio >= 4.5, f"{name} on {ground}: {ratio:.2f}"
