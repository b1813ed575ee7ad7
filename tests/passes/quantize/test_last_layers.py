from __future__ import annotations

import pytest

from yocc.analysis.heads import final_layers
from yocc.compiler.graph import load
from yocc.compiler.pipeline.target import Target
from yocc.models.yolov5 import build_yolov5
from yocc.passes.quantize.placement import place


@pytest.mark.parametrize(("wish", "quantized"), [("float", False), ("int8", True)])
def test_target_decides_about_the_last_layers(wish: str, quantized: bool) -> None:
    graph = load(build_yolov5("n", size=64))
    last = {node.name for node in final_layers(graph)}
    placement = place(graph, Target("t", placement="inputs", last_layers=wish))
    assert len(last) == 3
    assert (last <= set(placement.layers)) is quantized
    assert (last <= placement.skipped.keys()) is not quantized


def test_outputs_of_last_layers_are_never_quantized() -> None:
    graph = load(build_yolov5("n", size=64))
    outputs = {node.outputs[0].name for node in final_layers(graph)}
    placement = place(graph, Target("t", placement="inputs", last_layers="int8"))
    assert not outputs & {name for group in placement.groups for name in group}
