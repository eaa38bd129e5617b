"""The report page as a reader has it: on screens of five widths, on paper, under a pointer, and without scripts."""

import base64
import json
import re
from pathlib import Path

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from browser import open_document, require_browser
from compared_runs import Made
from paddle_epoch_guard import language
from paddle_epoch_guard.comparison.compare import compare
from paddle_epoch_guard.order import Reorder
from paddle_epoch_guard.report.page import write_page
from paddle_epoch_guard.report.reading import read_run
from synthetic_runs import Plan, Run

pytestmark = pytest.mark.browser

SCREENSHOTS = Path(__file__).parent.parent / "demo-output" / "screenshots"
WIDTHS = (390, 660, 768, 1040, 1280)
PAPER = 690  # CSS pixels between the margins of A4
LONGEST = 24  # letters; a digest may be broken, and so may a path

# Words that are broken over two lines, because their column is narrower than they are.
_BROKEN = """
const broken = [], walker = document.createTreeWalker(document.querySelector('main'), NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
    const node = walker.currentNode, parent = node.parentElement;
    if (parent.closest('pre, script, style') || !parent.checkVisibility()) continue;
    for (const match of node.data.matchAll(/[^\\s\\-\u2013\u00d7\u2e80-\uffef]+/g)) {
        if (match[0].length > arguments[0] || match[0].includes('/')) continue;
        const range = document.createRange();
        range.setStart(node, match.index);
        range.setEnd(node, match.index + match[0].length);
        const rows = new Set([...range.getClientRects()].map(one => Math.round(one.top)));
        if (rows.size > 1) broken.push(match[0]);
    }
}
return broken;
"""
_SHOWN = "return [...document.querySelectorAll(arguments[0])].map(one => one.checkVisibility()).filter(Boolean);"
_DETAILS = "return [...document.querySelectorAll('details p')].map(one => one.checkVisibility());"

require_browser()


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A report with all that a page can hold, and a comparison; both in Chinese too."""
    folder = tmp_path_factory.mktemp("pages")
    names = ("a_long_corpus_name_without_a_break", "code")
    run = Run(folder / "logs", Plan((60, 90), names))
    run.train(1, 100, arguments="\"{'max_steps': 400, 'epoch_guard': 'track'}\"", note="one\ntwo")
    table = "\nresuming at step 100, what differs\n" + "\n".join("\u2501" * 100 for _ in range(3))
    run.train(101, 250, began=2, note=table, reorder=Reorder(400, 1600, "ramp", (7, 1, 0), 800))
    runs = [Made(folder / name, seed=seed).write() for seed, name in enumerate(("baseline_of_march", "candidate"))]
    for spoken, end in (("zh", "-zh"), ("en", "")):
        language.use(spoken)
        write_page(folder / f"report{end}.html", read_run(folder / "logs", state=run.sidecar(250)))
        compare(*runs).write_page(folder / f"comparison{end}.html")
    return folder


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["report", "comparison", "report-zh", "comparison-zh"])
def test_nothing_scrolls_sideways_and_no_column_is_narrower_than_its_words(browser, pages, name, width):
    shot = SCREENSHOTS / f"{name}-{width}.png"
    document = open_document(browser, pages / f"{name}.html", width, 900, shot, is_phone=width < 500)
    assert document.width <= width
    assert document.cut_off == []
    assert document.complaints == []
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        assert browser.execute_script(_BROKEN, LONGEST) == []
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.parametrize("name", ["report", "comparison"])
def test_on_paper_collapsed_details_are_open_and_no_word_is_broken(browser, pages, name):
    browser.get((pages / f"{name}.html").resolve().as_uri())
    closed = browser.execute_script(_DETAILS)
    assert not any(closed)
    metrics = {"width": PAPER, "height": 970, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        opened = browser.execute_script(_DETAILS)
        assert len(opened) == len(closed)
        assert all(opened)
        assert browser.execute_script(_BROKEN, LONGEST) == []
        assert browser.execute_script("return document.documentElement.scrollWidth;") <= PAPER
        assert browser.execute_script(_SHOWN, ".chart") == []
        assert all(browser.execute_script(_SHOWN, "figure img"))
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    printed = browser.execute_cdp_cmd("Page.printToPDF", {"paperWidth": 8.27, "paperHeight": 11.69})
    content = base64.b64decode(printed["data"])
    (SCREENSHOTS / f"{name}.pdf").write_bytes(content)
    assert 2 <= len(re.findall(rb"/Type /Page\b", content)) <= 14


@pytest.fixture
def report(browser, pages):
    """The report on a wide screen."""
    browser.get((pages / "report.html").resolve().as_uri())
    yield browser
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def legend(driver, panel=0):
    """What the legend of a panel says, by label."""
    rows = driver.find_elements(By.CSS_SELECTOR, ".chart .u-legend")[panel].find_elements(By.TAG_NAME, "tr")
    return {row.find_element(By.TAG_NAME, "th").text: row.find_element(By.TAG_NAME, "td").text for row in rows}


def canvas(driver, panel=0):
    return driver.find_elements(By.CSS_SELECTOR, ".chart .u-over")[panel]


def ticks_until(driver, condition):
    return WebDriverWait(driver, 20).until(condition)


def pointed(driver, share, panel=0):
    """Moves the pointer over a panel, to this share of its width."""
    over = canvas(driver, panel)
    driver.execute_script("arguments[0].scrollIntoView({block: 'center'});", over)
    width = over.size["width"]
    ActionChains(driver).move_to_element_with_offset(over, round((share - 0.5) * width), 0).perform()


def test_the_values_under_the_pointer_are_those_of_the_run(report, pages):
    values = json.loads(report.find_element(By.ID, "curves").get_attribute("textContent"))
    losses, exposure = values["charts"]["loss"]["panels"]
    pointed(report, 0.4)
    said = ticks_until(report, lambda driver: legend(driver) if legend(driver)["step"] not in ("", "\u2013") else None)
    step = int(said["step"])
    assert 90 <= step <= 115
    at = losses["columns"][0].index(step)
    assert float(said["each log window"]) == pytest.approx(losses["columns"][1][at], abs=1e-4)
    evaluated = [value for value in losses["columns"][3][: at + 1] if value is not None]
    assert float(said["evaluation"]) == pytest.approx(evaluated[-1], abs=1e-4)
    assert float(said["trend"]) == pytest.approx(losses["columns"][2][at], abs=1e-4)
    below = legend(report, 1)  # the pointers of both panels move together
    assert int(below["step"]) == step
    assert float(below["exposure"]) == pytest.approx(exposure["columns"][1][at], abs=1e-4)


def test_dragging_zooms_both_panels_and_a_button_shows_all_again(report):
    def most(driver):
        pointed(driver, 0.999)
        return int(legend(driver)["step"]), int(legend(driver, 1)["step"])

    assert most(report) == (250, 250)
    over = canvas(report)
    pointed(report, 0.2)
    ActionChains(report).click_and_hold().move_by_offset(round(over.size["width"] * 0.3), 0).release().perform()
    zoomed = most(report)
    assert 110 <= zoomed[0] <= 140
    assert zoomed[0] == zoomed[1]
    buttons = {button.text: button for button in report.find_elements(By.CSS_SELECTOR, ".tools button")[:3]}
    buttons["Zoom in"].click()
    assert most(report)[0] < zoomed[0]
    buttons["Zoom out"].click()
    buttons["Show all"].click()
    assert most(report) == (250, 250)


def test_a_curve_is_toggled_by_pointer_and_by_keyboard(report):
    head = report.find_elements(By.CSS_SELECTOR, ".chart .u-legend th")[1]
    report.execute_script("arguments[0].scrollIntoView({block: 'center'});", head)
    assert head.get_attribute("aria-pressed") == "true"
    head.click()
    ticks_until(report, lambda _: head.get_attribute("aria-pressed") == "false")
    head.send_keys(Keys.ENTER)
    ticks_until(report, lambda _: head.get_attribute("aria-pressed") == "true")


def test_where_scripts_are_off_the_static_figures_stand(browser, pages, report):
    assert report.execute_script(_SHOWN, "figure img") == []
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    browser.get((pages / "report.html").resolve().as_uri())
    images = browser.find_elements(By.CSS_SELECTOR, "figure img")
    assert len(images) == 3
    assert all(image.is_displayed() for image in images)
    assert browser.find_elements(By.CLASS_NAME, "chart") == []
