"""The report page as it is laid out: on screens of four widths, and on paper."""

import base64
import re
from pathlib import Path

import pytest

from browser import NoBrowserError, chromium, find_browser, open_document
from compared_runs import Made
from paddle_epoch_guard.comparison.compare import compare
from paddle_epoch_guard.order import Reorder
from paddle_epoch_guard.report.page import write_page
from paddle_epoch_guard.report.reading import read_run
from synthetic_runs import Plan, Run

pytestmark = pytest.mark.browser

SCREENSHOTS = Path(__file__).parent.parent / "demo-output" / "screenshots"
WIDTHS = (390, 660, 768, 1280)
PAPER = 690  # CSS pixels between the margins of A4
LONGEST = 24  # letters; a digest may be broken, and so may a path

# Words that are broken over two lines, because their column is narrower than they are.
_BROKEN = """
const broken = [], walker = document.createTreeWalker(document.querySelector('main'), NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
    const node = walker.currentNode, parent = node.parentElement;
    if (parent.closest('pre, script, style') || !parent.checkVisibility()) continue;
    for (const match of node.data.matchAll(/[^\\s\\-\u2013\u00d7]+/g)) {
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
_DETAILS = "return [...document.querySelectorAll('details p')].map(one => one.checkVisibility());"

try:
    find_browser()
except NoBrowserError as reason:
    pytest.skip(str(reason), allow_module_level=True)


@pytest.fixture(scope="module")
def browser():
    try:
        with chromium() as driver:
            yield driver
    except NoBrowserError as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A report with all that a page can hold, and a comparison."""
    folder = tmp_path_factory.mktemp("pages")
    names = ("a_long_corpus_name_without_a_break", "code")
    run = Run(folder / "logs", Plan((60, 90), names))
    run.train(1, 100, arguments="\"{'max_steps': 400, 'epoch_guard': 'track'}\"", note="one\ntwo")
    table = "\nresuming at step 100, what differs\n" + "\n".join("\u2501" * 100 for _ in range(3))
    run.train(101, 250, began=2, note=table, reorder=Reorder(400, 1600, "ramp", (7, 1, 0), 800))
    write_page(folder / "report.html", read_run(folder / "logs", state=run.sidecar(250)))
    runs = [Made(folder / name, seed=seed).write() for seed, name in enumerate(("baseline_of_march", "candidate"))]
    compare(*runs).write_page(folder / "comparison.html")
    return folder


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["report", "comparison"])
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
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    printed = browser.execute_cdp_cmd("Page.printToPDF", {"paperWidth": 8.27, "paperHeight": 11.69})
    content = base64.b64decode(printed["data"])
    (SCREENSHOTS / f"{name}.pdf").write_bytes(content)
    assert 2 <= len(re.findall(rb"/Type /Page\b", content)) <= 14
