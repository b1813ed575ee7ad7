from __future__ import annotations

from tests.report.page.contents import content
from yocc.report.page.tensors import tensor_view


def test_the_noisiest_comes_first_and_the_chart_keeps_the_order_of_the_network() -> None:
    view = tensor_view(content())
    assert view is not None
    assert [row.name for row in view.rows] == ["features", "images"]
    assert [bar.target for bar in view.noise.bars] == ["tensor-0", "tensor-1"]
    assert (view.rows[0].loud, view.rows[1].loud, view.rows[1].noise) == (True, False, "lossless")


def test_reports_without_histograms_have_no_table() -> None:
    made = content()
    del made["passes"][1]["details"]["tensors"]["images"]["histogram"]
    assert tensor_view(made) is None
    assert tensor_view(content(passes=())) is None
