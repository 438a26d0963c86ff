"""The page in a real browser: at two widths, in light and dark, with what people do to it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pki_sample import sample
from report_sample import REPORT
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from provision.report.page import page

Browser = webdriver.Chrome


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.binary_location = "/usr/bin/chromium"
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, Service("/usr/bin/chromedriver"))
    yield driver
    driver.quit()


@pytest.fixture(params=[(1280, "light"), (1280, "dark"), (400, "light"), (400, "dark")], ids=lambda p: f"{p[0]}-{p[1]}")
def shown(browser: Browser, request: pytest.FixtureRequest, tmp_path: Path) -> Browser:
    width, scheme = request.param
    path = tmp_path / "report.html"
    path.write_text(page(replace(REPORT, subject=sample(tmp_path))))
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.get(path.as_uri())
    return browser


def check(shown: Browser, name: str) -> WebElement:
    (found,) = (one for one in shown.find_elements(By.TAG_NAME, "details") if name in one.text)
    return found


def luminance(shown: Browser, element: WebElement, name: str) -> float:
    """How light a colour is, from 0 to 1, as contrast is reckoned (WCAG 2)."""
    colour = shown.execute_script("return getComputedStyle(arguments[0])[arguments[1]]", element, name)
    parts = [int(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_it_fits_its_window_and_nothing_is_amiss(shown: Browser) -> None:
    root = "return document.documentElement"
    assert shown.execute_script(f"{root}.scrollWidth") <= shown.execute_script(f"{root}.clientWidth")
    assert shown.execute_script("return performance.getEntriesByType('resource').length") == 0
    assert shown.get_log("browser") == []
    assert shown.find_element(By.TAG_NAME, "h1").text == REPORT.summary
    assert shown.find_element(By.ID, "state").text == "failed"


def test_evidence_of_what_failed_is_open_and_the_rest_unfolds(shown: Browser) -> None:
    assert "<script>alert(1)</script>" in check(shown, "overlay/tcp-and-udp").text
    folded = check(shown, "app/counter")
    assert "images" not in folded.text
    folded.find_element(By.TAG_NAME, "summary").click()
    assert "images" in folded.text


def test_the_matrix_is_red_where_nothing_came_and_only_there(shown: Browser) -> None:
    cells = shown.find_elements(By.CSS_SELECTOR, "#reached td")
    assert [(one.get_attribute("class"), one.text) for one in cells if one.text not in "·?"] == [
        ("good", "0.25 ms"),
        ("bad", "✘ ping on demo"),
    ]


def test_the_picture_names_every_node_inside_its_frame(shown: Browser, tmp_path: Path) -> None:
    words = [one.text for one in shown.find_elements(By.CSS_SELECTOR, "#topology svg text.name")]
    assert words == [node.name for node in sample(tmp_path).nodes]
    frame, *boxes = (one.rect for one in shown.find_elements(By.CSS_SELECTOR, "svg, svg rect"))
    for box in boxes:
        assert frame["x"] <= box["x"] <= box["x"] + box["width"] <= frame["x"] + frame["width"]
        assert frame["y"] <= box["y"] <= box["y"] + box["height"] <= frame["y"] + frame["height"]


@pytest.mark.parametrize("selector", ["h1", "#state", ".over", "#reached .good", "#reached .bad", "#checks .why"])
def test_words_can_be_read_on_their_ground(shown: Browser, selector: str) -> None:
    words = shown.find_element(By.CSS_SELECTOR, selector)
    ground = words
    while shown.execute_script("return getComputedStyle(arguments[0]).backgroundColor", ground) == "rgba(0, 0, 0, 0)":
        ground = ground.find_element(By.XPATH, "..")
    light, dark = sorted((luminance(shown, words, "color"), luminance(shown, ground, "backgroundColor")), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 4.5  # WCAG 2 AA
