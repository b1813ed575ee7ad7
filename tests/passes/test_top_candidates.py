from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.outputs import DETECTORS, assert_same, changed, facts, found, picture, run
from yocc.compiler.graph import load
from yocc.compiler.pipeline.passes import PassContext
from yocc.compiler.pipeline.target import Target
from yocc.errors import OptionError
from yocc.models.families.family import family_named
from yocc.models.families.profile import ModelProfile, OutputLayout
from yocc.passes import TopCandidates
from yocc.runtime.detection.boxes import SHOWING

MOST = 30


def _decoded(outputs: dict[str, np.ndarray], profile: ModelProfile) -> np.ndarray:
    """Boxes and scores of every candidate, [n, 4 + C]."""
    arrays = [outputs[name][0] for name in profile.outputs]
    return np.concatenate(family_named(profile.family).decode(arrays, profile, -1.0), axis=1)


@pytest.mark.slow
@pytest.mark.parametrize("name", DETECTORS)
def test_values_are_those_of_the_best_rows(name: str) -> None:
    original = DETECTORS[name]()
    model, before, after = changed(original, TopCandidates(most=MOST))
    feed = picture(before)
    outputs, whole = dict(run(model, feed)), dict(run(original, feed))
    columns = name == "yolov8"
    assert after.layout is (OutputLayout.COLUMNS if columns else OutputLayout.ROWS)
    wide = 4 + 3 + (not columns)
    assert [array.shape for array in outputs.values()] == [(1, wide, MOST) if columns else (1, MOST, wide)]
    assert list(outputs) == (["candidates"] if "raw" in name else list(whole))
    kept, every = _decoded(outputs, after), _decoded(whole, before)
    nearest = np.abs(kept[:, None] - every[None]).max(axis=2)
    np.testing.assert_array_less(nearest.min(axis=1), 1e-3)
    assert len(set(nearest.argmin(axis=1))) == MOST
    if columns:
        assert np.isclose(np.sort(kept[:, 4:].max(axis=1)), np.sort(every[:, 4:].max(axis=1))[-MOST:]).all()


def test_detections_stay_where_enough_are_kept() -> None:
    original = DETECTORS["yolov8"]()
    model, before, after = changed(original, TopCandidates(most=60))
    feed = picture(before)
    whole = dict(run(original, feed))
    best = _decoded(whole, before)[:, 4:].max(axis=1)
    selection = replace(SHOWING, confidence=float(np.sort(best)[-61]))
    wanted = found(whole, before, selection)
    assert len(wanted) > 2
    assert_same(found(run(model, feed), after, selection), wanted)


def test_more_than_there_are_changes_nothing() -> None:
    graph = load(DETECTORS["yolov8"]())
    step = TopCandidates(most=5000)
    context = replace(PassContext.for_model(graph, Target("any")), outputs=facts(graph)[1])
    assert step.run(graph, context).rewrites == 0
    assert "no more than 84 candidates" in context.notes[0].message


def test_refusals() -> None:
    step = TopCandidates()
    graph = load(DETECTORS["yolov5"]())
    context = PassContext.for_model(graph, Target("any"))
    with pytest.raises(OptionError, match="a detector of a known family"):
        step.run(graph, context)
    outputs = facts(graph)[1]
    with pytest.raises(OptionError, match="because its decoding is another"):
        step.run(graph, replace(context, outputs=replace(outputs, heads=None, obstacle="its decoding is another")))
    graph.inputs[0].shape = [1, 3, "h", "w"]
    with pytest.raises(OptionError, match="that of this one is open"):
        step.run(graph, replace(context, outputs=outputs))
    with pytest.raises(OptionError, match="0 candidates"):
        TopCandidates(most=0)
