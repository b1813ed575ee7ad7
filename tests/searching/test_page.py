"""`search.html`: what it shows, and that it needs nothing else."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.report.page.test_browser import _CHROMIUM, _Visit, browser
from tests.searching.test_front import POINTS, front_of, point
from yocc.searching.front import Front, Point
from yocc.searching.limits import Limits
from yocc.searching.page import render_search
from yocc.searching.plots import ABSENT, HEIGHT, WIDTH, front_plot, history_plot, parallel_plot

__all__ = ["browser"]
LIMITS = Limits(latency=0.8, loss=0.1)


def example(limits: Limits = LIMITS) -> Front:
    """A front with points of every kind."""
    params: list[dict[str, Any]] = [
        {"side": 640, "precision": "float32"}, {"side": 480, "precision": "int8"}, {"side": 320, "precision": "int8"},
        {"side": 320, "precision": "mixed", "placement": 0.75}, {"side": 512, "precision": "int8"},
    ]  # fmt: skip
    points = [
        replace(point(each.trial, each.measured.latency or 0, each.measured.loss or 0, limits=limits), params=chosen)
        for each, chosen in zip(POINTS, params, strict=True)
    ]
    front = front_of(points, limits)
    stopped = Point(
        5, {"side": 256}, {}, "--side 256", replace(POINTS[0].measured, latency=None), "stopped", "Not <b>timed</b>."
    )
    kept = [replace(each, folder=f"points/{each.trial:04d}") if each.trial in front.front else each for each in points]
    return replace(front, points=(*kept, stopped), importance={"side": 0.75, "precision": 0.25}, seconds=75.0)


def test_it_shows_the_recommended_point_all_trials_and_their_reasons() -> None:
    front = example()
    text = render_search(front)
    assert render_search(front) == text
    assert "default-src 'none'" in text
    assert "<script" not in text
    assert not re.findall(r"(?:src|href)=\"(?:https?:)?//", text)
    assert "Recommended: trial 1" in text
    assert "yocc compile model.onnx --prune 0.1 --calib front/pictures/fitting" in text
    assert "Not &lt;b&gt;timed&lt;/b&gt;." in text
    assert text.count('<tr id="trial-') == 6
    assert 'href="points/0001/report.html"' in text


def test_nothing_within_the_limits_is_an_alarm_with_the_nearest() -> None:
    text = render_search(example(Limits(latency=0.1)))
    assert "Nothing is within the limits" in text
    assert "The nearest: trial 3" in text


def test_a_search_without_results_has_a_page() -> None:
    text = render_search(front_of([], Limits(loss=0.1)))
    assert "Allow more trials or time." in text
    assert "<circle" not in text


def test_plots_stay_within_their_bounds() -> None:
    front = example()
    for plot in (front_plot(front, str), history_plot(front, str)):
        assert plot is not None
        assert all(0 <= dot.x <= WIDTH and 0 <= dot.y <= HEIGHT for dot in plot.dots)
        assert all(0 <= tick.at <= WIDTH for tick in (*plot.x_ticks, *plot.y_ticks))
        assert plot.line.startswith("M")
    shown = front_plot(front, str)
    assert shown is not None
    assert [dot.kind for dot in shown.dots] == ["feasible", "front", "front", "front", "best"]
    assert len(shown.bounds) == 2
    by_time = history_plot(replace(front, limits=Limits(loss=0.1)), str)
    assert by_time is not None
    assert by_time.up == "time as a share of the original's"


def test_parallel_coordinates_have_an_axis_for_what_varies() -> None:
    shown = parallel_plot(example(), str)
    assert shown is not None
    assert [axis.name for axis in shown.axes] == ["side", "precision", "placement", "time", "loss"]
    assert [tick.label for tick in shown.axes[1].ticks] == ["float32", "int8", "mixed"]
    assert [tick.label for tick in shown.axes[2].ticks] == ["0.75", ABSENT]
    assert len(shown.strands) == 5
    assert shown.strands[-1].kind == "best"
    assert parallel_plot(front_of([]), str) is None
    one = parallel_plot(front_of([replace(POINTS[0], params={"side": 640})]), str)
    assert one is None or [axis.name for axis in one.axes] == ["time", "loss"]


@pytest.mark.slow
@pytest.mark.skipif(_CHROMIUM is None, reason="no Chromium; apt-get install chromium")
@pytest.mark.skipif(importlib.util.find_spec("playwright") is None, reason="no playwright; pip install playwright")
@pytest.mark.parametrize("width", [320, 1280])
def test_it_fits_is_quiet_and_says_what_is_pointed_at(browser: Any, tmp_path: Path, width: int) -> None:
    path = tmp_path / "search.html"
    path.write_text(render_search(example()), encoding="utf-8")
    visit = _Visit(browser, path, width, "light")
    assert visit.said == []
    assert [url for url in visit.asked if not url.startswith(("file://", "data:"))] == []
    assert visit.evaluate("document.documentElement.scrollWidth") <= width
    dot = visit.page.locator("svg.plot a").last
    dot.focus()
    assert dot.locator(".tip").evaluate("tip => getComputedStyle(tip).visibility") == "visible"
    visit.page.keyboard.press("Enter")
    assert visit.evaluate("location.hash").startswith("#trial-")
    visit.context.close()
