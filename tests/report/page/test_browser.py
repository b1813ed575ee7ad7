"""The page as a browser shows it: headless Chromium, steered by playwright."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.report.page.contents import with_examples
from yocc.report.page.render import render_page

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_CHROMIUM = next((path for name in _BROWSERS if (path := shutil.which(name))), None)
_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(_CHROMIUM is None, reason="no Chromium; apt-get install chromium"),
    pytest.mark.skipif(importlib.util.find_spec("playwright") is None, reason="no playwright; pip install playwright"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=_CHROMIUM, args=_FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def page_file(tmp_path: Path) -> Path:
    made = with_examples(tmp_path)
    made["fidelity"]["collapsed"] = "It finds <b>nothing</b>."
    for number in range(30):
        made["layers"].append({**made["layers"][0], "name": f"/model.{number}/" + "long_name_of_a_layer" * 4})
        tensor = made["passes"][1]["details"]["tensors"]["features"]
        made["passes"][1]["details"]["tensors"][f"/model.{number}/" + "output" * 12] = tensor
    path = tmp_path / "report.html"
    path.write_text(render_page(made), encoding="utf-8")
    return path


class _Visit:
    """A page that is open, with everything it asked for and complained about."""

    def __init__(self, browser: Any, path: Path, width: int, scheme: str) -> None:
        self.context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
        self.page = self.context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri())

    def evaluate(self, script: str) -> Any:
        return self.page.evaluate(script)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 375, 768, 1280])
def test_page_fits_is_quiet_and_asks_for_nothing(browser: Any, page_file: Path, width: int, scheme: str) -> None:
    visit = _Visit(browser, page_file, width, scheme)
    assert visit.said == []
    assert [url for url in visit.asked if not url.startswith(("file://", "data:"))] == []
    assert visit.evaluate("document.documentElement.scrollWidth") <= width
    for details in visit.page.query_selector_all("summary"):
        details.click()
    assert visit.evaluate("document.documentElement.scrollWidth") <= width
    visit.context.close()


def test_sections_show_and_the_alarm_is_red(browser: Any, page_file: Path) -> None:
    visit = _Visit(browser, page_file, 1280, "light")
    for name in ("headline", "detections", "layers", "sensitivity", "quantization", "passes", "again"):
        assert visit.page.locator(f"#{name}").is_visible(), name
    red, green, blue = visit.evaluate(
        "getComputedStyle(document.querySelector('[role=alert]')).backgroundColor.match(/\\d+/g).map(Number)"
    )
    assert red > 150
    assert max(green, blue) < 80
    assert visit.page.locator("[role=alert]").inner_text().endswith("It finds <b>nothing</b>.")
    visit.context.close()


def test_dark_mode_is_dark(browser: Any, page_file: Path) -> None:
    script = "getComputedStyle(document.body).{}.match(/\\d+/g).slice(0, 3).map(Number)"
    grounds, inks = [], []
    for scheme in ("light", "dark"):
        visit = _Visit(browser, page_file, 1280, scheme)
        grounds.append(sum(visit.evaluate(script.format("backgroundColor"))))
        inks.append(sum(visit.evaluate(script.format("color"))))
        visit.context.close()
    assert grounds[0] > 700 > 150 > grounds[1]
    assert inks[0] < 150 < 600 < inks[1]


def test_embedded_pictures_are_shown(browser: Any, page_file: Path) -> None:
    visit = _Visit(browser, page_file, 1280, "light")
    pictures = visit.page.locator("svg.picture")
    assert pictures.count() == 4
    colors = {pictures.nth(number).screenshot()[1000:3000] for number in range(4)}
    assert len(colors) > 1
    size = visit.evaluate(
        "new Promise(done => { const one = new Image(); one.onload = () => done([one.width, one.height]);"
        "one.src = document.querySelector('svg.picture image').getAttribute('href') })"
    )
    assert size == [80, 60]
    visit.context.close()


def test_bars_are_reached_by_keyboard_say_what_they_are_and_open_the_table(browser: Any, page_file: Path) -> None:
    visit = _Visit(browser, page_file, 1280, "light")
    visit.page.keyboard.press("Tab")
    assert visit.evaluate("document.activeElement.className") == "skip"
    bar = visit.page.locator("svg.chart a").first
    bar.focus()
    assert "8 of 16 output channels kept" in bar.get_attribute("aria-label")
    assert bar.locator(".tip").evaluate("tip => getComputedStyle(tip).visibility") == "visible"
    row = visit.page.locator("#layer-0")
    assert not row.is_visible()
    visit.page.keyboard.press("Enter")
    row.wait_for(state="visible")
    assert visit.evaluate("location.hash") == "#layer-0"
    visit.context.close()


@pytest.mark.slow
def test_printing_opens_what_is_folded(browser: Any, page_file: Path) -> None:
    visit = _Visit(browser, page_file, 1280, "dark")
    visit.page.emulate_media(media="print", color_scheme="light")
    assert visit.page.locator("#layer-0").is_visible()
    assert not visit.page.locator("nav").is_visible()
    visit.context.close()
