from __future__ import annotations

from tests.report.page.contents import content
from yocc.report.page.layers import layer_view, sensitivity


def test_rows_say_what_became_of_each_layer() -> None:
    view = layer_view(content())
    assert view is not None
    stem, norm, head = view.rows
    assert (stem.channels, stem.kind) == ("16 → 8", "int8 on uint8")
    assert [title for title, _ in view.columns] == ["Saliency", "Weight, dB", "Refit"]
    assert stem.figures == ("90.0\N{NO-BREAK SPACE}%", "40.2", "25.0\N{NO-BREAK SPACE}%")
    assert norm.figures == head.figures == ("", "", "")
    assert norm.remarks == ("folded or removed",)
    assert (head.channels, head.remarks) == ("16", ("prune: last", "quantize: a last layer"))


def test_charts_hold_layers_with_channels_only_and_lead_to_their_rows() -> None:
    view = layer_view(content())
    assert view is not None
    assert view.channels is not None
    assert [bar.target for bar in view.channels.bars] == ["layer-0", "layer-2"]
    assert "8 of 16 output channels kept" in view.channels.bars[0].text
    assert [bar.marked for bar in view.channels.bars] == [False, True]


def test_times_are_charted_where_the_runtime_told_them() -> None:
    made = content()
    view = layer_view(made)
    assert view is not None
    assert view.times is None
    made["measured"]["layer_ms"] = {"original": {"stem": 4.0, "head": 1.0}, "compiled": {"stem": 2.0}}
    view = layer_view(made)
    assert view is not None
    assert view.times is not None
    assert [round(bar.after / bar.before, 3) for bar in view.times.bars] == [0.5, 0.0]


def test_reasons_are_gathered() -> None:
    view = layer_view(content())
    assert view is not None
    assert view.reasons == (("prune", "last", ("head",)), ("quantize", "a last layer", ("head",)))


def test_the_layer_that_hurts_most_comes_first() -> None:
    head, stem = sensitivity(content())
    assert [head.layer, stem.layer] == ["head", "stem"] or [head.layer, stem.layer] == ["stem", "head"]
    assert max(head.score_bar, stem.score_bar) == max(head.box_bar, stem.box_bar) == 1.0


def test_without_layers_or_sensitivity_there_is_nothing() -> None:
    made = content(layers=(), passes=())
    assert layer_view(made) is None
    assert sensitivity(made) == ()
