from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.compiler.graph.models import build, conv_model, external_model, if_model, loop_model, value, weight
from yocc.compiler.graph import clone, convert_opset, load
from yocc.compiler.graph.external import ExternalValues
from yocc.compiler.graph.printer import print_graph
from yocc.models.yolov5 import Scale, build_yolov5

Compare = Callable[[str, str], None]


def _varied_model() -> onnx.ModelProto:
    """Open dimensions, omitted inputs, long and tensor attributes, another domain, an element type numpy lacks."""
    fill = numpy_helper.from_array(np.array([0.25], np.float32))
    nodes = [
        helper.make_node("Clip", ["x", "", "top"], ["c"], name="clip"),
        helper.make_node(
            "Mystery", ["c"], ["m"], name="mystery", domain="org.example", table=list(range(20)), gain=0.1
        ),
        helper.make_node("ConstantOfShape", ["shape"], ["f"], name="fill", value=fill),
        helper.make_node("Cast", ["brain"], ["b"], name="cast", to=TensorProto.FLOAT),
        helper.make_node("Sum", ["m", "f", "b"], ["y"], name="sum"),
    ]
    weights = [
        numpy_helper.from_array(np.array(6, np.float32), "top"),
        numpy_helper.from_array(np.array([1, 3, 4], np.int64), "shape"),
        helper.make_tensor("brain", TensorProto.BFLOAT16, [1, 3, 4], [0] * 12),
    ]
    model = build(nodes, [value("x", ["batch", 3, 4])], [value("y", None)], weights, domains=["org.example"])
    helper.set_model_props(
        model, {"stride": "32", "names": "{" + ", ".join(f"{i}: 'class {i}'" for i in range(80)) + "}"}
    )
    return model


@pytest.mark.parametrize("make", [conv_model, if_model, loop_model, _varied_model])
def test_graphs_print_as_before(make: Callable[[], onnx.ModelProto], golden: Compare) -> None:
    golden(f"printer_{make.__name__.strip('_')}.txt", print_graph(load(make())) + "\n")


def test_a_detector_prints_as_before(golden: Compare) -> None:
    model = build_yolov5(Scale(depth=0.01, width=1 / 64), classes=2, size=64, batch_norm="fused")
    golden("printer_detector.txt", print_graph(load(model)) + "\n")


def test_one_line_a_node_input_output_and_metadata_entry() -> None:
    graph = load(_varied_model())
    lines = print_graph(graph).splitlines()
    assert len(lines) == 1 + len(graph.metadata) + len(graph.inputs) + len(graph.nodes) + len(graph.outputs)
    assert all(len(line) < 200 for line in lines)


def test_equal_graphs_print_equally_and_different_ones_do_not() -> None:
    graph = load(_varied_model())
    assert print_graph(clone(graph)) == print_graph(graph)
    other = clone(graph)
    other.nodes[1].attrs["gain"] = 0.2
    assert print_graph(other) != print_graph(graph)
    assert print_graph(convert_opset(load(conv_model(opset=11)), 13)) != print_graph(load(conv_model(opset=11)))


def test_weights_on_disk_stay_there(tmp_path: Path) -> None:
    graph = load(external_model(tmp_path))
    assert "w:float32[64,3,3,3]" in print_graph(graph)
    assert isinstance(graph.tensors()["w"]._values, ExternalValues)


def test_unnamed_and_unknown_things_print() -> None:
    node = helper.make_node("Mystery", ["x", "", "w"], ["", "y"], name="m", domain="org.example")
    model = build([node], [value("x", None)], [value("y", None)], [weight("w", 5)], domains=["org.example"])
    assert "x[...], -, w:float32[5] -> -, y:float32[...]" in print_graph(load(model))
