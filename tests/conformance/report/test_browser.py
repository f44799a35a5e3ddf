"""The HTML reports in a browser: tabs, widths, themes, no script, nothing on the console.

Needs Debian's chromium and chromium-driver. Where they are missing the tests are skipped, unless
QUANT_CONFORMANCE_NEEDS_CHROMIUM is 1: then they fail.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from tests.conformance.report.report_pages import gate_page, make_runs, run_page, wide_runs

PROGRAMS = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
NEEDED = os.environ.get("QUANT_CONFORMANCE_NEEDS_CHROMIUM") == "1"
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    missing = [name for name, path in PROGRAMS.items() if path is None]
    if missing:
        message = f"{' and '.join(missing)} not found: apt-get install chromium chromium-driver"
        pytest.fail(message) if NEEDED else pytest.skip(message)
    find = import_module if NEEDED else pytest.importorskip
    webdriver: Any = find("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = PROGRAMS["chromium"]
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(executable_path=PROGRAMS["chromedriver"])
    with webdriver.Chrome(options=options, service=service) as found:
        yield found


@pytest.fixture(scope="module", params=["run", "gate"])
def address(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("pages")
    text = run_page(make_runs(folder)) if request.param == "run" else gate_page()
    file = folder / "report.html"
    file.write_text(text, encoding="utf-8")
    return Path(file).as_uri()


RUN_ALONE = pytest.mark.parametrize("address", ["run"], indirect=True)
"""For what the gate's report has not."""


def show(driver: Any, address: str, size: str = "desktop", theme: str = "light") -> None:
    """Opens a page anew as a screen of this size and theme would."""
    width, height = SIZES[size]
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": size == "phone"}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    features = [{"name": "prefers-color-scheme", "value": theme}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    driver.get("about:blank")  # so that an address that differs in its anchor alone loads anew
    driver.get(address)


def console(driver: Any) -> list[str]:
    return [entry["message"] for entry in driver.get_log("browser")]


def tabs_of(driver: Any) -> list[Any]:
    return driver.find_elements("css selector", "[role=tab]")


def visible_panels(driver: Any) -> list[str]:
    panels = driver.find_elements("css selector", ".panel")
    return [panel.get_attribute("id") for panel in panels if panel.is_displayed()]


def overflow(driver: Any, width: int) -> int:
    """By how many pixels the page is wider than the screen."""
    return driver.execute_script("return document.documentElement.scrollWidth") - width


def open_everything(driver: Any) -> None:
    driver.execute_script("document.querySelectorAll('details').forEach(d => { d.open = true; })")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_each_tab_by_mouse(driver: Any, address: str, size: str, theme: str) -> None:
    from selenium.webdriver import ActionChains

    show(driver, address, size, theme)
    assert visible_panels(driver) == ["overview"]
    open_everything(driver)
    for tab in tabs_of(driver):
        ActionChains(driver).move_to_element(tab).click().perform()
        name = tab.get_attribute("aria-controls")
        assert visible_panels(driver) == [name]
        assert tab.get_attribute("aria-selected") == "true"
        assert tab.is_displayed()
        inside = driver.execute_script(
            "const box = e => e.getBoundingClientRect();"
            "const tab = box(arguments[0]), list = box(arguments[0].parentElement);"
            "return tab.left >= list.left - 1 && tab.right <= list.right + 1"
            " && tab.top >= list.top - 1 && tab.bottom <= list.bottom + 1",
            tab,
        )
        assert inside, f"the tab of {name} is out of sight"
        selected = driver.find_elements("css selector", "[role=tab][aria-selected=true]")
        assert len(selected) == 1
        assert driver.current_url.endswith(f"#{name}")
        assert overflow(driver, SIZES[size][0]) <= 0, name
    assert console(driver) == []
    assert driver.execute_script("return window.hacked") is None


@pytest.mark.parametrize("size", SIZES)
def test_each_tab_by_keyboard(driver: Any, address: str, size: str) -> None:
    from selenium.webdriver import ActionChains, Keys

    def press(*keys: str) -> None:
        ActionChains(driver).send_keys(*keys).perform()

    show(driver, address, size)
    names = [tab.get_attribute("aria-controls") for tab in tabs_of(driver)]
    press(Keys.TAB, Keys.TAB)  # over the link that skips to the report
    following, back = (
        (Keys.ARROW_DOWN, Keys.ARROW_UP)
        if size == "desktop"
        else (Keys.ARROW_RIGHT, Keys.ARROW_LEFT)
    )
    for name in [*names[1:], names[0]]:  # behind the last comes the first
        press(following)
        assert visible_panels(driver) == [name]
        focused = driver.switch_to.active_element
        assert focused.get_attribute("aria-controls") == name
        assert focused.get_attribute("tabindex") == "0"
        style = focused.value_of_css_property("outline-style")
        assert style == "solid"  # the focus can be seen
    press(back)
    assert visible_panels(driver) == [names[-1]]
    press(Keys.HOME)
    assert visible_panels(driver) == [names[0]]
    press(Keys.END)
    assert visible_panels(driver) == [names[-1]]
    # One stop for all tabs: the next one is in the report.
    press(Keys.TAB)
    inside = "return document.activeElement.closest('[role=tablist]') === null"
    assert driver.execute_script(inside)
    assert console(driver) == []


def test_the_orientation_of_the_tabs_is_told(driver: Any, address: str) -> None:
    for size, orientation in (("desktop", "vertical"), ("phone", "horizontal")):
        show(driver, address, size)
        (tablist,) = driver.find_elements("css selector", "[role=tablist]")
        assert tablist.get_attribute("aria-orientation") == orientation


def test_themes_differ(driver: Any, address: str) -> None:
    colors = []
    for theme in ("light", "dark"):
        show(driver, address, theme=theme)
        (body,) = driver.find_elements("css selector", "body")
        colors.append([body.value_of_css_property(n) for n in ("color", "background-color")])
    (light_text, light_back), (dark_text, dark_back) = colors
    assert light_back == "rgba(255, 255, 255, 1)"
    assert len({light_text, light_back, dark_text, dark_back}) == 4


def test_a_clause_opens_beside_what_breaks_it_and_closes_again(driver: Any, address: str) -> None:
    from selenium.webdriver import ActionChains, Keys

    show(driver, address)
    name = "backend-2" if "backend-2" in [
        tab.get_attribute("aria-controls") for tab in tabs_of(driver)
    ] else "layers"  # fmt: skip
    driver.find_element("id", f"tab-{name}").click()
    link = driver.find_element("css selector", f"#{name} details[open] a.clause")
    assert len(link.get_attribute("title")) > 40  # the text on hover
    link.click()
    dialog = driver.find_element("id", "clause-dialog")
    assert dialog.is_displayed()
    assert dialog.find_element("css selector", "h2").text.startswith(link.text)
    assert len(dialog.find_element("id", "clause-dialog-text").text) > 40
    ActionChains(driver).send_keys(Keys.ESCAPE).perform()
    assert not dialog.is_displayed()
    assert driver.switch_to.active_element == link
    assert visible_panels(driver) == [name]


def test_an_address_inside_a_part_opens_it(driver: Any, address: str) -> None:
    show(driver, f"{address}#clause-Q-2")
    assert visible_panels(driver) == ["clauses"]
    assert driver.find_element("id", "clause-Q-2").get_attribute("open") is not None
    show(driver, f"{address}#no-such-place")
    assert visible_panels(driver) == ["overview"]
    show(driver, f"{address}#%")  # no address that can be decoded
    assert visible_panels(driver) == ["overview"]
    assert console(driver) == []


def top_of(driver: Any, element: Any) -> float:
    return driver.execute_script("return arguments[0].getBoundingClientRect().top", element)


def is_in_view(driver: Any, element: Any) -> bool:
    height = driver.execute_script("return innerHeight")
    return -1 <= top_of(driver, element) < height


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scrolled", [0, 60, 100_000])
def test_headings_do_not_jump_between_tabs(
    driver: Any, address: str, size: str, scrolled: int
) -> None:
    show(driver, address, size)
    tops = set()
    for tab in tabs_of(driver):
        driver.execute_script(f"scrollTo(0, {scrolled})")
        # By script: the driver would first scroll the page to what it clicks.
        driver.execute_script("arguments[0].click()", tab)
        panel = driver.find_element("id", tab.get_attribute("aria-controls"))
        heading = panel.find_element("css selector", "h2")
        assert is_in_view(driver, heading)
        tops.add(round(top_of(driver, heading)))
        assert driver.execute_script("return scrollX") == 0
    assert len(tops) == 1, tops
    show(driver, f"{address}#facts", size)  # nor where an address names the part
    if not scrolled:
        heading = driver.find_element("css selector", "#facts h2")
        assert {round(top_of(driver, heading))} == tops


def test_tables_of_the_overview_are_whole_at_1280_pixels(
    driver: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("wide")
    file = folder / "report.html"
    file.write_text(run_page(wide_runs()), encoding="utf-8")
    show(driver, file.as_uri())
    for table in driver.find_elements("css selector", "#overview .scroll"):
        cut = driver.execute_script(
            "return arguments[0].scrollWidth - arguments[0].clientWidth", table
        )
        assert cut <= 0, table.text[:60]
    assert overflow(driver, SIZES["desktop"][0]) <= 0


def test_tables_on_a_phone_show_that_they_go_on(driver: Any, address: str) -> None:
    show(driver, address, "phone")
    (first, *_) = driver.find_elements("css selector", "#overview .scroll")
    cut = "return arguments[0].scrollWidth - arguments[0].clientWidth"
    assert driver.execute_script(cut, first) > 0
    # A shadow at the edge, which a cover hides at the end; and a bar that stays.
    assert first.value_of_css_property("background-image").count("linear-gradient") == 4
    assert first.value_of_css_property("background-attachment") == "local, local, scroll, scroll"
    bar = "return getComputedStyle(arguments[0], '::-webkit-scrollbar').height"
    assert driver.execute_script(bar, first) == "8px"


@RUN_ALONE
def test_sections_are_reached_without_scrolling(driver: Any, address: str) -> None:
    for size in SIZES:
        show(driver, f"{address}#backend-2", size)
        links = driver.find_elements("css selector", "#backend-2 .sections a")
        assert len(links) >= 5
        for link in links:
            driver.execute_script("scrollTo(0, 0)")
            assert is_in_view(driver, link)
            driver.execute_script("arguments[0].click()", link)
            target = driver.find_element("id", link.get_attribute("href").partition("#")[2])
            assert is_in_view(driver, target), link.text
    # Nor are the sections far: what is long is folded.
    show(driver, f"{address}#backend-2")
    for name in ("policies", "lines"):
        for found in driver.find_elements("id", f"backend-2-{name}"):
            assert top_of(driver, found) < 4000
    assert console(driver) == []


def test_failures_can_be_filtered(driver: Any, address: str) -> None:
    show(driver, address)
    found = [tab.get_attribute("aria-controls") for tab in tabs_of(driver)]
    part, root, word = (
        ("backend-2", "backend-2-kinds", "subnormal-tie")
        if "backend-2" in found
        else ("layers", "layer-list", "bound decides")
    )
    driver.find_element("id", f"tab-{part}").click()
    box = driver.find_element("css selector", f"[data-list='{root}']")
    field, told = (box.find_element("css selector", name) for name in ("input", "output"))
    assert field.is_displayed()
    items = driver.find_elements("css selector", f"#{root} [data-item]")
    before = [item.is_displayed() for item in items]

    field.send_keys(word)
    shown = [item for item in items if item.is_displayed()]
    assert len(shown) == 1
    assert word in shown[0].text
    assert told.text == f"1 of {len(items)}"
    field.send_keys(" no-such-word")  # every word must occur
    assert not any(item.is_displayed() for item in items)
    assert told.text == f"0 of {len(items)}"

    field.clear()
    field.send_keys(" ")
    assert [item.is_displayed() for item in items] == before  # what was folded is folded again
    assert told.text == ""
    assert console(driver) == []


@RUN_ALONE
def test_a_link_of_the_overview_opens_what_it_names(driver: Any, address: str) -> None:
    show(driver, address)
    links = driver.find_elements("css selector", "#overview .kinds a")
    assert links
    name = links[-1].get_attribute("href").partition("#")[2]
    driver.execute_script("arguments[0].click()", links[-1])
    target = driver.find_element("id", name)
    assert is_in_view(driver, target)
    assert target.tag_name != "details" or target.get_attribute("open") is not None


@pytest.mark.parametrize("size", SIZES)
def test_without_scripts_everything_is_there(driver: Any, address: str, size: str) -> None:
    try:
        driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
        show(driver, address, size)
        panels = driver.find_elements("css selector", ".panel")
        assert len(visible_panels(driver)) == len(panels) > 1
        assert not driver.find_element("css selector", "[role=tablist]").is_displayed()
        links = driver.find_elements("css selector", "noscript a")
        assert len(links) == len(panels)
        links[-1].click()
        assert driver.current_url.endswith("#facts")
        assert overflow(driver, SIZES[size][0]) <= 0
        # What could do nothing is not shown.
        assert not any(e.is_displayed() for e in driver.find_elements("css selector", ".filter"))
    finally:
        driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
