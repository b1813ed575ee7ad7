from __future__ import annotations

from dataclasses import replace

import pytest

from tests.outputs import DETECTORS, assert_same, changed, facts, found, picture, run
from yocc.compiler.graph import load
from yocc.compiler.pipeline.passes import PassContext
from yocc.compiler.pipeline.target import Target
from yocc.errors import OptionError
from yocc.models.families.profile import OutputLayout
from yocc.passes import RawOutputs
from yocc.runtime.detection.boxes import SCORING

PER_STRIDE = {"yolov5": 1, "yolov5 raw": 1, "yolov8": 2, "yolox": 3, "yolox raw": 3}


@pytest.mark.slow
@pytest.mark.parametrize("name", DETECTORS)
def test_decoding_raw_heads_gives_what_the_original_gives(name: str) -> None:
    original = DETECTORS[name]()
    model, before, after = changed(original, RawOutputs())
    feed = picture(before)
    outputs = run(model, feed)
    assert after.layout is OutputLayout.RAW_HEADS
    assert list(outputs) == list(after.outputs)
    assert len(outputs) == PER_STRIDE[name] * len(before.strides)
    assert all(array.ndim == 4 for array in outputs.values())
    sizes = [array.shape[2] for array in outputs.values()]
    assert sizes == sorted(sizes, reverse=True)
    assert {node.output[0] for node in model.graph.node if node.op_type == "Conv"} >= set(outputs)
    wanted = found(run(original, feed), before, SCORING)
    assert len(wanted) > 2
    assert_same(found(outputs, after, SCORING), wanted)


def test_a_detector_that_ends_there_is_left_as_it_is() -> None:
    model, _, _ = changed(DETECTORS["yolov5 raw"](), RawOutputs())
    again, before, after = changed(model, RawOutputs())
    assert [node.name for node in again.graph.node] == [node.name for node in model.graph.node]
    assert before.outputs == after.outputs


def test_other_networks_are_refused() -> None:
    graph = load(DETECTORS["yolov5"]())
    context = PassContext.for_model(graph, Target("any"))
    with pytest.raises(OptionError, match="Raw outputs take a detector of a known family"):
        RawOutputs().run(graph, context)
    _, outputs = facts(graph)
    unknown = replace(outputs, heads=None, obstacle="its decoding cannot be evaluated")
    with pytest.raises(OptionError, match="because its decoding cannot be evaluated"):
        RawOutputs().run(graph, replace(context, outputs=unknown))
