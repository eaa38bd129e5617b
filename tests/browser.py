"""VisualDL's own page, as a person sees it: in a Chromium without a window.

Debian's ``chromium`` is driven by the ``chromedriver`` of the same release, through Selenium. Nothing is downloaded.
"""

import base64
import contextlib
import io
import re
import shutil
import time
from dataclasses import dataclass, field

import numpy as np
import pytest
from PIL import Image
from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
RUN_LIST = 460  # its width
PATIENCE = 60  # seconds until a page must have drawn what it was asked for

# The page's charts, as ECharts holds them: the module that is imported here is the page's own. Each run has two lines
# of five columns: time, step, value, smoothed value, time since the start; 2 or 3 of them is what it draws.
_CHARTS = """
const [address, done] = arguments;
import(address).then(echarts => {
    const charts = [...document.querySelectorAll('.echarts')].map(dom => [dom, echarts.getInstanceByDom(dom)]);
    done(charts.map(([dom, chart]) => {
        const option = chart && chart.getOption();
        if (!option || !option.series || !option.series.length) return null;
        const at = (axis, value) => chart.convertToPixel({[axis]: 0}, value);
        return {
            title: option.title[0].text,
            picture: dom.querySelector('canvas').toDataURL(),
            width: dom.clientWidth,
            x: [at('xAxisIndex', 0), at('xAxisIndex', 1)],
            y: [at('yAxisIndex', 0), at('yAxisIndex', 1)],
            curves: option.series.filter(one => one.encode && one.encode.y[0] === 3).map(one => ({
                run: one.name,
                color: one.lineStyle.color,
                points: one.data.map(row => row.slice(1, 4)),
            })),
        };
    }));
}).catch(error => done(String(error)));
"""
_TEXTS = """
return [...document.querySelectorAll('h4')].map(title => ({
    title,
    tag: title.querySelector('.tag').textContent,
    run: title.querySelector('.run').textContent,
    count: Number(title.querySelector('.steps').textContent),
    opened: title.nextElementSibling !== null,
    texts: [...title.parentElement.querySelectorAll('.text')]
        .map(one => one.querySelector('svg') ? '' : one.textContent),  // a drawing stands in for what is on its way
}));
"""

_IS_LOADED = "return document.readyState === 'complete';"
_RUNS = "return [...document.querySelectorAll('.run-item')].map(one => one.textContent);"
_IS_OPEN = "return arguments[0].parentElement.nextElementSibling !== null;"


class NoBrowserError(Exception):
    """There is none here, or it does not start."""


def find_browser():
    """The paths of a browser and of its driver.

    Raises:
        NoBrowserError: with the reason.
    """
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    driver = shutil.which("chromedriver")
    if browser is None or driver is None:
        missing = "chromium" if browser is None else "chromedriver"
        raise NoBrowserError(f"no {missing} on the PATH; scripts/install-browser installs Debian's")
    return browser, driver


@contextlib.contextmanager
def chromium(width=1480, height=1100):
    """Starts a browser; gives Selenium's driver of it.

    Raises:
        NoBrowserError: with the reason.
    """
    browser, driver = find_browser()
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    # Without a sandbox: only pages of this machine are opened, and root, and many a container, can have none.
    for switch in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "no-first-run", "lang=en-US"):
        options.add_argument(f"--{switch}")
    for switch in ("disable-background-networking", "disable-component-update", "disable-sync", "no-proxy-server"):
        options.add_argument(f"--{switch}")
    # Two pixels for one: lines are wider than the blur of their edges.
    options.add_argument("--force-device-scale-factor=2")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    options.add_experimental_option("prefs", {"webkit.webprefs.fonts.standard.Zyyy": "Liberation Sans"})
    try:
        page = webdriver.Chrome(options=options, service=Service(executable_path=driver))
    except WebDriverException as error:
        raise NoBrowserError(f"{browser} does not start: {error.msg}") from error
    try:
        page.set_window_size(width, height)
        # As if its edge had been dragged: at its first width, the run list cuts off all but the beginning of a name.
        widened = {"source": f"localStorage.setItem('run_aside_width', '{RUN_LIST}');"}
        page.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", widened)
        page.set_script_timeout(PATIENCE)
        yield page
    finally:
        page.quit()


@dataclass(frozen=True)
class Curve:
    """A run's line in a chart."""

    run: str
    color: tuple[int, int, int]
    """Of the bold line, which is the smoothed one."""
    steps: np.ndarray
    values: np.ndarray
    smoothed: np.ndarray


@dataclass(frozen=True)
class Chart:
    """A chart, in numbers and in pixels."""

    title: str
    curves: dict[str, Curve]
    """By run, in the order of the page."""
    picture: np.ndarray = field(repr=False)
    """Rows x columns x RGB."""
    x: tuple[float, float]
    """The picture's column of step 0, and columns for each step."""
    y: tuple[float, float]
    """The picture's row of value 0, and rows for each unit of value."""

    def painted(self, curve, step, low, high):
        """The share of the picture's rows between two values that are of a curve's bold colour at a step."""
        rows = sorted(self.y[0] + self.y[1] * value for value in (low, high))
        column = round(self.x[0] + self.x[1] * step)
        part = self.picture[round(rows[0]) : round(rows[1]) + 1, column - 2 : column + 3]
        near = np.abs(part.astype(int) - curve.color).sum(axis=2) < 40
        return near.any(axis=1).mean()

    def pixels_of(self, curve):
        """How many of the picture's pixels are of a curve's bold colour."""
        return int((np.abs(self.picture.astype(int) - curve.color).sum(axis=2) < 40).sum())


@dataclass(frozen=True)
class Scalars:
    """What stands on the page of scalars."""

    charts: dict[str, Chart]
    """By tag."""
    runs: list[str]
    """The run list, from top to bottom."""
    smoothing: float
    """What the slider says."""


@dataclass(frozen=True)
class Document:
    """A page from disk, as it is laid out on a screen."""

    text: str
    width: int
    """Of all that there is to scroll over, in CSS pixels."""
    pictures: list[dict]
    """Of each: whether it is drawn, its natural width, its address, and where it ends on the right."""
    cut_off: list[str]
    """Texts that reach beyond their own box, or beyond the screen."""
    loaded: list[str]
    """Addresses of all that was fetched beside the page itself."""
    complaints: list[str]
    """What the browser's console says."""


_DOCUMENT = """
const seen = element => element.getClientRects().length > 0;
const leaves = [...document.querySelectorAll('main *')].filter(one => seen(one) && !one.children.length);
return {
    text: document.body.innerText,
    width: document.documentElement.scrollWidth,
    pictures: [...document.images].map(one => ({
        drawn: one.complete && one.naturalWidth > 0,
        natural: one.naturalWidth,
        address: one.currentSrc.slice(0, 30),
        digest: one.currentSrc.length,
        right: one.getBoundingClientRect().right,
    })),
    cutOff: leaves.filter(one => one.tagName !== 'PRE' && !one.closest('pre') &&
        one.getBoundingClientRect().right > window.innerWidth + 1).map(one => one.textContent),
    loaded: performance.getEntriesByType('resource').map(one => one.name).filter(name => !name.startsWith('data:')),
};
"""


def open_document(driver, path, width, height, screenshot=None, is_phone=False):
    """Opens a file as a screen of some size shows it.

    Args:
        driver: the browser's.
        path: of the file.
        width: of the screen, in CSS pixels.
        height: of the screen.
        screenshot: where to keep a picture of the whole page.
        is_phone: whether the page's own word on its width counts, as on a phone.
    """
    metrics = {"width": width, "height": height, "deviceScaleFactor": 2, "mobile": is_phone}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        driver.get_log("browser")  # what earlier pages said
        driver.get(path.resolve().as_uri())
        # On a busy machine the driver may be back while a large page is still being parsed.
        WebDriverWait(driver, PATIENCE).until(lambda page: page.execute_script(_IS_LOADED))
        found = driver.execute_script(_DOCUMENT)
        if screenshot is not None:
            screenshot.parent.mkdir(parents=True, exist_ok=True)
            taken = driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True})
            screenshot.write_bytes(base64.b64decode(taken["data"]))
        complaints = [one["message"] for one in driver.get_log("browser")]
    finally:
        driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    return Document(found["text"], found["width"], found["pictures"], found["cutOff"], found["loaded"], complaints)


class Page:
    """VisualDL's page over one server.

    Args:
        driver: the browser's.
        server: see :func:`servers.visualdl_server`.
    """

    def __init__(self, driver, server):
        self._driver = driver
        self._server = server

    def scalars(self, tags):
        """The charts of the tags that match a regular expression, and what stands beside them."""
        self._open("scalar")
        search = self._driver.find_element(By.CSS_SELECTOR, "input[placeholder*='RegExp']")
        search.send_keys(Keys.CONTROL, "a")
        search.send_keys(tags)
        charts = [_chart_from(one) for one in self._settled(lambda: self._read_charts(tags))]
        inputs = [one.get_attribute("value") for one in self._driver.find_elements(By.TAG_NAME, "input")]
        smoothing = next(float(value) for value in inputs if value and value.startswith("0."))
        return Scalars({chart.title: chart for chart in charts}, self._read_runs(), smoothing)

    def texts(self, group):
        """``{(run, tag): [text, ...]}`` of a group of tags, every card opened."""
        self._open("sample/text")
        for title in self._driver.find_elements(By.TAG_NAME, "h3"):
            if title.text == group and not self._driver.execute_script(_IS_OPEN, title):
                self._click(title)
        return self._settled(self._read_texts)

    def screenshot(self, path):
        """Keeps what is seen now."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._driver.save_screenshot(str(path))

    def _open(self, path):
        if self._driver.current_url != f"{self._server.url}/{path}":
            self._driver.get(f"{self._server.url}/{path}")
        self._settled(self._read_runs)

    def _settled(self, read):
        """What ``read`` gives once it is something, and twice the same: data arrive late, and charts are animated."""
        last, until = None, time.monotonic() + PATIENCE
        while time.monotonic() < until:
            time.sleep(0.5)
            found = read()
            if found and found == last:
                return found
            last = found
        raise AssertionError("the page does not come to rest")

    def _click(self, element):
        # Not with the mouse: the page's head lies over what is scrolled beneath it.
        self._driver.execute_script("arguments[0].click();", element)

    def _read_runs(self):
        return self._driver.execute_script(_RUNS)

    def _read_charts(self, tags):
        found = self._driver.execute_async_script(_CHARTS, f"{self._server.url}/__snowpack__/pkg/echarts.js")
        assert not isinstance(found, str), found
        # A chart without a line yet is none; neither are those of an earlier search.
        return found if all(chart and re.search(tags, chart["title"]) for chart in found) else None

    def _read_texts(self):
        cards = self._driver.execute_script(_TEXTS)
        for card in cards:
            if not card["opened"]:
                self._click(card["title"])
        if any(len(card["texts"]) < max(card["count"], 1) or "" in card["texts"] for card in cards):
            return None
        return {(card["run"], card["tag"]): card["texts"] for card in cards}


def _chart_from(found):
    drawn = Image.open(io.BytesIO(base64.b64decode(found["picture"].partition(",")[2])))
    picture = np.asarray(Image.alpha_composite(Image.new("RGBA", drawn.size, "white"), drawn).convert("RGB"))
    scale = picture.shape[1] / found["width"]
    curves = {}
    for one in found["curves"]:
        rows = np.array(one["points"], dtype=float).reshape(-1, 3)
        color = tuple(bytes.fromhex(one["color"].removeprefix("#")))
        curves[one["run"]] = Curve(one["run"], color, rows[:, 0], rows[:, 1], rows[:, 2])
    axes = [(scale * first, scale * (second - first)) for first, second in (found["x"], found["y"])]
    return Chart(found["title"], curves, picture, *axes)


def require_browser():
    """Skips the module that is being collected if there is no browser."""
    try:
        find_browser()
    except NoBrowserError as reason:
        pytest.skip(str(reason), allow_module_level=True)
