from __future__ import annotations

import pytest

from yocc.report.page.charts import HEIGHT, LEFT, PLOT, TALL, WIDTH, Place, bar_chart, histogram, nice_step


@pytest.mark.parametrize("highest", [0.003, 0.9, 1, 2.5, 3, 7, 10, 99, 256, 12345.0])
def test_axes_have_a_few_round_steps(highest: float) -> None:
    step = nice_step(highest)
    assert 2 <= highest / step <= 7.5
    assert f"{step:.0e}"[0] in "125"


def test_bars_reach_as_high_as_their_values() -> None:
    chart = bar_chart("n", "l", [Place(100, 50, "a", "t"), Place(0, 25, "b", "u", marked=True)])
    assert (chart.bars[0].before, chart.bars[0].after, chart.bars[1].after) == (HEIGHT, HEIGHT / 2, HEIGHT / 4)
    assert chart.ticks[0].y == chart.base
    assert chart.ticks[-1].label == "100"
    assert chart.has_marked


@pytest.mark.parametrize("count", [1, 60, 1000])
def test_bars_stay_within_the_chart(count: int) -> None:
    chart = bar_chart("n", "l", [Place(0, 0, "a", "t")] * count)
    assert chart.width >= LEFT + PLOT
    assert chart.bars[-1].x + chart.slot <= chart.width
    assert chart.bars[-1].after == 0


def test_histograms_show_what_is_clipped() -> None:
    found = histogram([5, 0, 100, 1], -2.0, 2.0, [-0.2, 2.0])
    assert found.clipped.count("M") == 1
    assert found.kept.count("M") == 2
    assert f"v-{TALL:.1f}" in found.kept
    assert (found.first, found.last) == (43.2, WIDTH)


def test_a_constant_is_a_histogram() -> None:
    found = histogram([7, 0], 1.0, 1.0, [0.0, 1.0])
    assert found.clipped == ""
