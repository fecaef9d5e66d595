"""The pictures docs/images/page-*.png: the local web page with the rendered example, as a browser shows it.

    python docs/make_screenshots.py [--out docs/images] [--chromium /usr/bin/chromium] [--driver /usr/bin/chromedriver]

It needs the extra ``app``, Selenium, Chromium and its driver. Nothing of it leaves the machine.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import io
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from microexpr import api, app

COLORS = (256, 192, 128, 96, 64)  # of a picture: as many as leave it small
LARGEST = 200_000  # bytes of a picture
DESKTOP, PHONE = (1240, 900, 1.0), (390, 844, 2.0)
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


class Browser:
    """Chromium without a window; a context manager."""

    def __init__(self, chromium: str, driver: str, profile: str) -> None:
        options = webdriver.ChromeOptions()
        options.binary_location = chromium
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        self.driver = webdriver.Chrome(options, webdriver.ChromeService(driver))

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *error: object) -> None:
        self.driver.quit()

    def shape(self, size: tuple[int, int, float], scheme: str) -> None:
        """Size of the window, pixels a CSS pixel, and "light" or "dark"."""
        self._size = size
        self._resize(size[1])
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})

    def _resize(self, height: int) -> None:
        width, _, scale = self._size
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": scale > 1},
        )
        time.sleep(1.5)  # pictures and films are decoded when they come into view

    def open(self, address: str) -> None:
        self.driver.get(address)
        self.wait(".me-drop[data-token]:not([data-token=''])")

    def wait(self, selector: str, seconds: float = 120) -> None:
        """Until something of the page can be seen."""

        def seen(driver: webdriver.Chrome) -> bool:
            return any(one.is_displayed() for one in driver.find_elements(By.CSS_SELECTOR, selector))

        WebDriverWait(self.driver, seconds).until(seen)

    def click(self, selector: str) -> None:
        self.driver.execute_script("document.querySelector(arguments[0]).click()", selector)

    def tab(self, name: str) -> None:
        for button in self.driver.find_elements(By.CSS_SELECTOR, "button[role=tab]"):
            if button.text == name:
                button.click()

    def picture(self, file: Path, most: int = 10_000, width: int | None = None) -> None:
        """The whole page, or its upper `most` CSS pixels, in few colors."""
        size = self.driver.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
        self._resize(min(round(size["height"]), most))  # what lies beyond the window is not always painted
        shot = self.driver.execute_cdp_cmd("Page.captureScreenshot", {})
        picture = Image.open(io.BytesIO(base64.b64decode(shot["data"]))).convert("RGB")
        if width:
            picture = picture.resize((width, round(picture.height * width / picture.width)), Image.Resampling.LANCZOS)
        for colors in COLORS:
            few = picture.quantize(colors, Image.Quantize.MEDIANCUT, kmeans=2, dither=Image.Dither.NONE)
            few.save(file, optimize=True)
            if file.stat().st_size <= LARGEST:
                break
        print(f"{file}: {picture.width}x{picture.height}, {file.stat().st_size / 1000:.0f} kB")  # noqa: T201


def at_peak(browser: Browser) -> None:
    """Stops the flicker at the peak, and the pointer on the timeline."""
    browser.driver.execute_script(
        "for (const one of document.querySelectorAll('.me-slider')) {"
        "one.value = 100; one.dispatchEvent(new Event('input', {bubbles: true})); }"
    )
    browser.driver.execute_script(
        "const chart = document.querySelector('.me-chart'), box = chart.getBoundingClientRect();"
        "chart.dispatchEvent(new PointerEvent('pointermove',"
        "{bubbles: true, clientX: box.left + .484 * box.width, clientY: box.top + 60}));"
    )
    time.sleep(1.5)  # pictures are decoded late


def live(browser: Browser, out: Path) -> None:
    """The tab Live with the rendered example, at its end."""
    browser.tab("Live")
    browser.wait(".me-live-form")
    browser.click("[value=example]")
    browser.click(".me-start")
    browser.wait(".me-live[data-state=done]")
    browser.picture(out / "page-live.png", width=1000)


def runs(folder: Path) -> None:
    """A few evaluations of rendered clips."""
    data = api.load("synthetic", subjects=4, clips_per_subject=6)
    for method in ("flow-linear", "flow-svm", "bi-woof", "majority", "prior"):
        api.evaluate(method, data, jobs=1, runs=folder)


def draw(browser: Browser, address: str, out: Path) -> None:
    """All pictures."""

    def result(size: tuple[int, int, float], scheme: str, file: str, then: Callable[[], None], **shape: int) -> None:
        browser.shape(size, scheme)
        browser.open(address)
        browser.click("#me-example")
        browser.wait(".me-result")
        then()
        at_peak(browser)
        browser.picture(out / file, **shape)

    result(DESKTOP, "light", "page-result.png", lambda: None, width=1000)
    result(DESKTOP, "dark", "page-result-dark.png", lambda: browser.click("tr[data-event='3'] button"), width=1000)
    result(PHONE, "light", "page-phone.png", lambda: None, most=2150, width=390)
    browser.shape(DESKTOP, "light")
    browser.open(address)
    live(browser, out)
    browser.tab("Evaluations")
    browser.wait(".me-runs")
    browser.driver.execute_script("for (const one of document.querySelectorAll('.me-run')) one.click()")
    browser.click("#me-report-button")
    browser.wait(".me-report")
    time.sleep(1)
    browser.picture(out / "page-evaluations.png", 1300, width=1000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "images")
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    parser.add_argument("--driver", default="/usr/bin/chromedriver")
    parser.add_argument("--runs", type=Path, help="a folder of run folders (default: a few runs on rendered clips)")
    options = parser.parse_args()
    out, folder = options.out.resolve(), options.runs and options.runs.resolve()
    with tempfile.TemporaryDirectory(prefix="microexpr-screenshots-") as place, contextlib.chdir(place):
        if folder is None:
            folder = Path("runs")  # as the page will name it
            runs(folder)
        with app.served(0, folder) as address, Browser(options.chromium, options.driver, f"{place}/profile") as browser:
            draw(browser, address, out)


if __name__ == "__main__":
    main()
