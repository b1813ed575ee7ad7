"""The search of the site: opened from the disk in headless Chromium, and what it looks through."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.installed import ROOT
from tests.report.page.test_browser import _CHROMIUM, _Visit, browser
from tests.test_site import site

sys.path.insert(0, str(ROOT / "docs"))
from sections import Page  # docs/ is no package

__all__ = ["browser", "site"]
needs_browser = pytest.mark.skipif(_CHROMIUM is None, reason="no Chromium; apt-get install chromium")
FOUND = "[...document.querySelectorAll('.yocc-search a')].map(link => link.firstChild.textContent)"
CHOSEN = "document.querySelector('.yocc-search [aria-selected=true]').firstChild.textContent"


def test_sections_of_a_guide_begin_at_headings_and_rows_of_options() -> None:
    page = Page(
        "<title>A guide</title><script>no()</script><nav>not this</nav><main><p>Before</p>"
        "<h2 id='a-b'>A <code>b</code></h2><p>one &amp; two</p>"
        "<table><tr id='--x'><td>--x</td><td>does x</td></tr></table><p>three</p></main>",
        reference=False,
    )
    assert page.title == "A guide"
    assert [(each.anchor, each.heading.strip(), each.text) for each in page.sections] == [
        ("", "", "Before"),
        ("--x", "--x", "--x does x"),
        ("a-b", "A b", "one & two --x does x three"),
    ]


def test_sections_of_the_reference_are_names_without_what_they_inherit() -> None:
    page = Page(
        "<main><section id='Thing'>class Thing<h6 id='attributes'>Attributes:</h6><div id='Thing.x' class='classattr'>x"
        "<br> = 1</div><div class='inherited'><dd id='inherited-y' class='variable'>y</dd></div></section></main>",
        reference=True,
    )
    assert [(each.anchor, each.text) for each in page.sections[1:]] == [
        ("Thing", "class ThingAttributes:"),
        ("Thing.x", "x = 1"),
    ]


@pytest.fixture
def visit(browser: Any, site: Path) -> Iterator[_Visit]:
    opened = _Visit(browser, site / "docs" / "troubleshooting.html", 900, "light")
    yield opened
    assert opened.said == []
    assert all(url.startswith("file://") for url in opened.asked)
    opened.context.close()


def _ask(visit: _Visit, query: str) -> list[str]:
    if not visit.evaluate("document.querySelector('dialog.yocc-search')?.open ?? false"):
        visit.page.keyboard.press("/")
    visit.page.wait_for_function("window.yoccIndex")
    assert visit.evaluate("document.activeElement.type") == "search"
    visit.page.keyboard.press("Control+a")
    visit.page.keyboard.type(query)
    found: list[str] = visit.evaluate(FOUND)
    return found


@pytest.mark.slow
@needs_browser
@pytest.mark.parametrize(
    ("query", "page", "anchor"),
    [
        ("--max-latency", "docs/options.html", "--max-latency"),
        ("max_latency", "docs/options.html", "--max-latency"),
        ("prune", "docs/options.html", "--prune"),
        ("nothing is detected", "docs/troubleshooting.html", "nothing-is-detected"),
        ("yocc.compile", "api/yocc.html", "compile"),
        ("yocc.errors", "api/yocc/errors.html", ""),
        ("PassContext", "api/yocc.html", "PassContext"),
        ("raspberry", "docs/tutorial.html", "raspberry-pi-ncnn-or-tvm"),
        ("writing a backend", "docs/writing_a_backend.html", "writing-a-backend"),
    ],
)
def test_the_best_is_first_and_enter_leads_there(visit: _Visit, site: Path, query: str, page: str, anchor: str) -> None:
    assert _ask(visit, query)
    visit.page.keyboard.press("Enter")
    visit.page.wait_for_url((site / page).as_uri() + (f"#{anchor}" if anchor else ""))
    assert not anchor or visit.evaluate(f"document.getElementById({anchor!r}) !== null")


@pytest.mark.slow
@needs_browser
def test_words_and_stems_find_guides_before_the_reference(visit: _Visit) -> None:
    assert "Quantized tensors" in _ask(visit, "zero point")[:4]
    marked = visit.evaluate("document.querySelector('.yocc-search mark').textContent.toLowerCase()")
    assert marked in {"zero", "zero_point", "point"}
    pruning = _ask(visit, "pruning")
    assert {"--prune", "Pruning did nothing, or ruined the model"} <= set(pruning)
    assert _ask(visit, "xyzzy") == []
    assert "Nothing" in visit.page.text_content(".yocc-search p")
    assert _ask(visit, "letterbox xyzzy"), "without a section that has all words, those that have some"


@pytest.mark.slow
@needs_browser
def test_keys_and_clicks(visit: _Visit) -> None:
    found = _ask(visit, "calibrate")
    assert visit.evaluate(CHOSEN) == found[0]
    visit.page.keyboard.press("ArrowDown")
    visit.page.keyboard.press("ArrowDown")
    assert visit.evaluate(CHOSEN) == found[2]
    visit.page.keyboard.press("ArrowUp")
    assert visit.evaluate(CHOSEN) == found[1]
    visit.page.keyboard.press("Escape")
    assert not visit.evaluate("document.querySelector('dialog.yocc-search').open")
    visit.page.click("button.yocc-open")
    _ask(visit, "zero point")
    wanted = visit.evaluate("document.querySelectorAll('.yocc-search a')[1].href")
    visit.page.click(".yocc-search a >> nth=1")
    visit.page.wait_for_url(wanted)


@pytest.mark.slow
@needs_browser
def test_the_reference_has_the_same_search_and_a_way_back(browser: Any, site: Path) -> None:
    opened = _Visit(browser, site / "api" / "yocc" / "passes" / "prune.html", 900, "dark")
    _ask(opened, "quick start")
    opened.page.keyboard.press("Enter")
    opened.page.wait_for_url((site / "docs" / "quick_start.html").as_uri() + "*")
    opened.page.go_back()
    opened.page.click("text=Guides")
    opened.page.wait_for_url((site / "index.html").as_uri())
    assert opened.said == []
    opened.context.close()
