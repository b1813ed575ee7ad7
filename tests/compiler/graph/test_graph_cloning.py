from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.compiler.graph.models import REAL_MODELS, build, conv_model, if_model, loop_model, run, shapes_of, value
from yocc.compiler.graph import clone, convert_opset, load, refresh, skeleton, to_proto, weight_bytes
from yocc.compiler.graph.verify import problems
from yocc.errors import InternalError


@pytest.mark.parametrize("flag", [True, False])
def test_branches_that_capture_tensors_and_weights_compute_the_same(flag: bool) -> None:
    model = if_model()
    x = np.random.default_rng(1).normal(size=1500).astype(np.float32)
    ordered = load(model)
    graphs = [ordered, clone(ordered), convert_opset(ordered, 19)]
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    mid = x * weights["shared"]
    expected = mid + weights["shared"] + weights["inner"] if flag else mid - weights["inner"]
    for graph in graphs:
        assert problems(graph) == []
        np.testing.assert_array_equal(run(to_proto(graph), x=x, flag=flag)[0], expected)


def test_a_captured_weight_is_written_once() -> None:
    exported = to_proto(load(if_model()))
    inner = [tensor.name for node in exported.graph.node for a in node.attribute for tensor in a.g.initializer]
    assert [tensor.name for tensor in exported.graph.initializer] == ["shared"]
    assert "shared" not in inner


def test_a_new_value_of_a_captured_weight_reaches_the_branch_in_a_clone_too() -> None:
    x = np.ones(1500, np.float32)
    for graph in (load(if_model()), clone(load(if_model()))):
        graph.tensors()["shared"].values = np.full(1500, 2, np.float32)
        inner = numpy_helper.to_array(if_model().graph.initializer[1])
        np.testing.assert_array_equal(run(to_proto(graph), x=x, flag=True)[0], 4 + inner)


def test_a_loop_is_carried_through() -> None:
    graph = clone(load(loop_model()))
    refresh(graph)
    assert problems(graph) == []
    result = run(to_proto(graph), x=np.ones(3, np.float32), n=np.array(3))[0]
    np.testing.assert_array_equal(result, np.full(3, 4))


def test_dead_nodes_of_a_subgraph_are_left_alone() -> None:
    model = loop_model()
    model.graph.node[0].attribute[0].g.node.append(helper.make_node("Neg", ["next"], ["unused"]))
    graph = load(model)
    refresh(graph)
    body = next(iter(graph.subgraphs()))
    assert [node.op for node in body.nodes] == ["Add", "Identity", "Neg"]


def test_changing_a_clone_leaves_the_original_alone() -> None:
    graph = load(conv_model())
    graph.metadata["stride"] = "32"
    graph.nodes[0].attrs["pads"] = [0, 0, 0, 0]
    before = to_proto(graph).SerializeToString(deterministic=True)
    other = clone(graph)
    other.metadata["stride"] = "8"
    other.nodes[0].attrs["pads"][0] = 1
    other.nodes[1].op = "Sigmoid"
    other.tensors()["w"].values = np.zeros((64, 3, 3, 3), np.float32)
    other.import_domains[0].version = 20
    other.outputs[0].name = "renamed"
    assert to_proto(graph).SerializeToString(deterministic=True) == before


def test_a_clone_says_the_same_about_the_model() -> None:
    model = conv_model()
    helper.set_model_props(model, {"stride": "32"})
    model.doc_string, model.graph.doc_string, model.domain, model.model_version = "m", "g", "d", 3
    model.producer_name, model.producer_version = "trainer", "2.1"
    graph = load(model)
    assert to_proto(clone(graph)) == to_proto(graph)


def test_a_clone_can_change_the_type_of_a_weight() -> None:
    other = clone(load(conv_model()))
    other.tensors()["w"].values = other.tensors()["w"].values.astype(np.float16)
    assert to_proto(other).graph.initializer[0].data_type == TensorProto.FLOAT16


def test_a_sequence_stays_one_in_a_clone() -> None:
    nodes = [
        helper.make_node("SequenceConstruct", ["x", "x"], ["s"]),
        helper.make_node("ConcatFromSequence", ["s"], ["y"], axis=0),
    ]
    outputs = [value("y", [2, 4]), helper.make_tensor_sequence_value_info("s", TensorProto.FLOAT, None)]
    graph = load(build(nodes, [value("x", [1, 4])], outputs))
    assert problems(clone(graph)) == []
    assert to_proto(clone(graph)).graph.output[1].type.HasField("sequence_type")


def test_refresh_forgets_stale_shapes_and_infers_new_ones() -> None:
    graph = load(conv_model())
    weights = graph.tensors()["w"]
    weights.values = weights.values[:16]
    graph.outputs[0].shape = [1, 16, 6, 6]
    assert shapes_of(graph)["c"] == [1, 64, 6, 6]
    refresh(graph)
    assert shapes_of(graph)["c"] == [1, 16, 6, 6]
    assert problems(graph) == []


def test_refresh_raises_where_shapes_contradict() -> None:
    graph = load(conv_model())
    graph.tensors()["w"].values = np.zeros((16, 5, 3, 3), np.float32)
    with pytest.raises(onnx.shape_inference.InferenceError):
        refresh(graph)


def test_refresh_sorts_stably_and_drops_dead_nodes_but_no_inputs() -> None:
    nodes = [helper.make_node("Relu", ["x"], [f"r{index}"], name=f"relu{index}") for index in range(6)]
    nodes += [helper.make_node("Sum", [f"r{index}" for index in range(5)], ["y"], name="sum")]
    graph = load(build(nodes, [value("x", [3]), value("unused", [2])], [value("y", [3])]))
    assert [node.name for node in graph.nodes] == [f"relu{index}" for index in range(5)] + ["sum"]
    assert [tensor.name for tensor in graph.inputs] == ["x", "unused"]
    graph.nodes = [graph.nodes[5], *graph.nodes[:5]]
    refresh(graph)
    assert [node.name for node in graph.nodes] == [f"relu{index}" for index in range(5)] + ["sum"]


def test_refresh_finds_a_cycle_a_pass_made() -> None:
    graph = load(conv_model())
    extra = gs.Variable("extra", dtype=np.float32)
    conv = graph.nodes[0]
    graph.nodes.append(gs.Node("Add", "loop", inputs=[conv.inputs[0], graph.outputs[0]], outputs=[extra]))
    conv.inputs[0] = extra
    with pytest.raises(InternalError, match="cycle"):
        refresh(graph)


@pytest.mark.slow
def test_outputs_keep_their_names_order_and_declared_shapes(shared_data: Path) -> None:
    for name in REAL_MODELS:
        path = shared_data / "models" / name
        declared = [(entry.name, entry.type) for entry in onnx.load(path).graph.output]
        exported = to_proto(load(path))
        assert [(entry.name, entry.type) for entry in exported.graph.output] == declared, name


def test_outputs_without_a_shape_get_one() -> None:
    model = conv_model()
    model.graph.output[0].type.tensor_type.ClearField("shape")
    assert load(model).outputs[0].shape == [1, 64, 6, 6]


def test_an_unsorted_graph_is_not_exported() -> None:
    graph = load(conv_model())
    graph.nodes.reverse()
    with pytest.raises(InternalError, match="unsorted"):
        to_proto(graph)


def test_the_skeleton_holds_no_large_weight_and_no_inferred_shape() -> None:
    bare = skeleton(load(conv_model()))
    assert [entry.name for entry in bare.graph.input] == ["x", "w"]
    assert len(bare.graph.initializer) == 0
    assert len(bare.graph.value_info) == 0


def test_weight_bytes_counts_subgraphs() -> None:
    assert weight_bytes(load(conv_model())) == 64 * 27 * 4
    assert weight_bytes(load(if_model())) >= 2 * 1500 * 4
