from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.compiler.models import build, conv_model, if_model, loop_model, run, value, weight
from yocc.compiler.graph import (
    OLDEST_OPSET,
    Graph,
    clone,
    convert_opset,
    load,
    refresh,
    save,
    skeleton,
    to_proto,
    weight_bytes,
)
from yocc.compiler.verify import problems
from yocc.errors import InternalError, ModelError

REAL_MODELS = (
    "squeezenet11.onnx",
    "ultraface_rfb320_op9.onnx",
    "yolov5n.onnx",
    "yolov5n_bn.onnx",
    "yolov5n_dynamic.onnx",
    "yolov5n_fp16cast_op12.onnx",
    "yolov5n_raw_op12.onnx",
)
X = np.random.default_rng(0).normal(size=(1, 3, 8, 8)).astype(np.float32)


def _shapes(graph: Graph) -> dict[str, object]:
    return {name: tensor.shape for name, tensor in graph.tensors().items()}


# Loading


def test_path_text_bytes_and_proto_give_the_same_graph(tmp_path: Path) -> None:
    model = conv_model()
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    exported = {
        to_proto(load(source)).SerializeToString(deterministic=True)
        for source in (path, str(path), model.SerializeToString(), model)
    }
    assert len(exported) == 1


def test_loading_a_proto_does_not_change_it() -> None:
    model = if_model()
    before = model.SerializeToString(deterministic=True)
    load(model)
    assert model.SerializeToString(deterministic=True) == before


def test_everything_about_the_model_survives_load_and_save(tmp_path: Path) -> None:
    model = conv_model(opset=15, ir_version=8)
    helper.set_model_props(model, {"stride": "32", "names": "{0: 'person'}", "empty": ""})
    model.doc_string, model.graph.doc_string, model.graph.name = "the model", "the graph", "detector"
    model.domain, model.model_version = "org.example", 7
    model.producer_name, model.producer_version = "trainer", "2.1"
    path = tmp_path / "m.onnx"
    save(load(model), path)
    saved = onnx.load(path)
    for field in ("doc_string", "domain", "model_version", "producer_name", "producer_version", "ir_version"):
        assert getattr(saved, field) == getattr(model, field), field
    assert saved.graph.doc_string == "the graph"
    assert saved.graph.name == "detector"
    assert {entry.key: entry.value for entry in saved.metadata_props} == {
        "stride": "32",
        "names": "{0: 'person'}",
        "empty": "",
    }
    assert [(entry.domain, entry.version) for entry in saved.opset_import] == [("", 15)]
    np.testing.assert_array_equal(run(saved, x=X)[0], run(model, x=X)[0])


def test_an_old_ir_version_rises_only_as_far_as_needed() -> None:
    assert to_proto(load(conv_model(opset=9, ir_version=3))).ir_version == 4
    assert to_proto(load(conv_model(opset=17, ir_version=8))).ir_version == 8
    assert to_proto(load(conv_model(opset=17, ir_version=9))).ir_version == 9


def test_unsorted_nodes_are_sorted_and_compute_the_same() -> None:
    model = conv_model()
    expected = run(model, x=X)[0]
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in reversed(model.graph.node)]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    graph = load(model)
    assert [node.name for node in graph.nodes] == ["conv", "relu"]
    assert problems(graph) == []
    np.testing.assert_array_equal(run(to_proto(graph), x=X)[0], expected)


def test_a_cycle_is_refused_with_a_node_on_it() -> None:
    nodes = [
        helper.make_node("Add", ["x", "b"], ["a"], name="first"),
        helper.make_node("Relu", ["a"], ["b"], name="second"),
    ]
    with pytest.raises(ModelError, match="cycle") as caught:
        load(build(nodes, [value("x", [3])], [value("b", [3])]))
    assert caught.value.node == "first"


def test_initializers_listed_as_inputs_are_constants() -> None:
    model = conv_model(opset=9, ir_version=3)
    model.graph.input.append(value("w", [64, 3, 3, 3]))
    graph = load(model)
    assert [tensor.name for tensor in graph.inputs] == ["x"]
    assert isinstance(graph.tensors()["w"], gs.Constant)
    np.testing.assert_array_equal(run(to_proto(graph), x=X)[0], run(model, x=X)[0])


@pytest.mark.parametrize(
    ("attribute", "expected"),
    [
        ({"value": numpy_helper.from_array(np.array([1.5, 2.5], np.float32))}, np.array([1.5, 2.5], np.float32)),
        ({"value_float": 1.5}, np.array(1.5, np.float32)),
        ({"value_floats": [1.5, 2.5]}, np.array([1.5, 2.5], np.float32)),
        ({"value_int": 3}, np.array(3, np.int64)),
        ({"value_ints": [3, 4]}, np.array([3, 4], np.int64)),
    ],
)
def test_constant_nodes_become_constants(attribute: dict[str, object], expected: np.ndarray) -> None:
    nodes = [
        helper.make_node("Constant", [], ["k"], **attribute),
        helper.make_node("Cast", ["k"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["x", "f"], ["y"]),
    ]
    graph = load(build(nodes, [value("x", [2])], [value("y", [2])]))
    constant = graph.tensors()["k"]
    assert isinstance(constant, gs.Constant)
    assert constant.values.dtype == expected.dtype
    np.testing.assert_array_equal(constant.values, expected)
    assert [node.op for node in graph.nodes] == ["Cast", "Add"]


def test_a_constant_that_is_an_output_keeps_its_node_and_its_name() -> None:
    nodes = [
        helper.make_node("Constant", [], ["k"], value=numpy_helper.from_array(np.ones(3, np.float32))),
        helper.make_node("Relu", ["x"], ["y"]),
    ]
    model = build(nodes, [value("x", [3])], [value("y", [3]), value("k", [3])])
    graph = load(model)
    assert [tensor.name for tensor in graph.outputs] == ["y", "k"]
    assert problems(graph) == []
    np.testing.assert_array_equal(run(to_proto(graph), x=np.zeros(3, np.float32))[1], np.ones(3))


@pytest.mark.parametrize("opset", [17, 11])
def test_functions_are_inlined_also_from_another_opset(opset: int) -> None:
    squeeze = (
        helper.make_node("Squeeze", ["a"], ["s"], axes=[0]) if opset < 13 else helper.make_node("Squeeze", ["a"], ["s"])
    )
    function = helper.make_function(
        "local", "F", ["a"], ["b"], [squeeze, helper.make_node("Neg", ["s"], ["b"])], [helper.make_opsetid("", opset)]
    )
    call = helper.make_node("F", ["x"], ["y"], domain="local")
    model = build([call], [value("x", [1, 4])], [value("y", [4])], domains=["local"], functions=[function])
    graph = load(model)
    assert [node.op for node in graph.nodes] == ["Squeeze", "Neg"]
    assert problems(graph) == []
    np.testing.assert_array_equal(run(to_proto(graph), x=np.ones((1, 4), np.float32))[0], -np.ones(4))


def test_empty_and_duplicate_node_names_become_unique_and_unique_ones_stay() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], name="same"),
        helper.make_node("Neg", ["a"], ["b"], name="same"),
        helper.make_node("Abs", ["b"], ["c"]),
        helper.make_node("Abs", ["c"], ["d"]),
        helper.make_node("Neg", ["d"], ["y"], name="Abs_2"),
    ]
    names = [node.name for node in load(build(nodes, [value("x", [3])], [value("y", [3])])).nodes]
    assert len(set(names)) == 5
    assert all(names)
    assert names[-1] == "Abs_2"
    assert "same" in names


@pytest.mark.parametrize("opset", range(OLDEST_OPSET, onnx.defs.onnx_opset_version() + 1))
def test_every_opset_from_the_oldest_to_the_newest_loads_and_verifies(opset: int) -> None:
    ir_version = helper.find_min_ir_version_for([helper.make_opsetid("", opset)])
    graph = load(conv_model(opset=opset, ir_version=ir_version))
    assert graph.opset == opset
    assert problems(graph) == []


def test_an_operator_onnx_does_not_know_keeps_its_declared_shape() -> None:
    nodes = [
        helper.make_node("Mystery", ["x"], ["z"], domain="org.example", name="mystery"),
        helper.make_node("Relu", ["z"], ["y"]),
    ]
    model = build(nodes, [value("x", [1, 4])], [value("y", [1, 8])], domains=["org.example"])
    model.graph.value_info.append(value("z", [1, 8]))
    graph = load(model)
    assert _shapes(graph)["z"] == [1, 8]
    assert problems(graph) == []
    assert graph.nodes[0].domain == "org.example"


@pytest.mark.parametrize(
    "kind", ["BFLOAT16", "FLOAT16", "FLOAT8E4M3FN", "FLOAT8E5M2", "FLOAT8E4M3FNUZ", "INT4", "UINT4", "INT8", "DOUBLE"]
)
@pytest.mark.parametrize("touched", [False, True])
def test_every_element_type_survives_read_or_unread(kind: str, touched: bool) -> None:
    tensor = helper.make_tensor("w", getattr(TensorProto, kind), [5], [0, 1, 2, 3, 4])
    nodes = [helper.make_node("Cast", ["w"], ["c"], to=TensorProto.FLOAT), helper.make_node("Add", ["x", "c"], ["y"])]
    graph = load(build(nodes, [value("x", [5])], [value("y", [5])], [tensor], opset=21, ir_version=10))
    if touched:
        assert graph.tensors()["w"].values.shape == (5,)
    again = to_proto(graph).graph.initializer[0]
    assert again.data_type == tensor.data_type
    np.testing.assert_array_equal(numpy_helper.to_array(again), numpy_helper.to_array(tensor))


# Refusing


def test_a_missing_file_a_folder_and_an_unreadable_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="There is no file"):
        load(tmp_path / "absent.onnx")
    with pytest.raises(ModelError, match="is a folder"):
        load(tmp_path)
    if os.geteuid() != 0:
        path = tmp_path / "m.onnx"
        path.write_bytes(conv_model().SerializeToString())
        path.chmod(0)
        with pytest.raises(ModelError, match="cannot be read"):
            load(path)


@pytest.mark.parametrize("keep", [0.01, 0.3, 0.5, 0.99])
def test_a_truncated_file_is_refused_in_one_line(tmp_path: Path, keep: float) -> None:
    data = conv_model().SerializeToString()
    path = tmp_path / "m.onnx"
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(ModelError) as caught:
        load(path)
    assert "\n" not in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize("data", [b"", b"not onnx at all", b"\x89PNG\r\n\x1a\n" + bytes(100), bytes(1000), b"\x08\x08"])
def test_something_else_is_refused_in_one_line(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(data)
    for source in (path, data):
        with pytest.raises(ModelError) as caught:
            load(source)
        assert "\n" not in str(caught.value)


def test_an_empty_proto_is_refused() -> None:
    with pytest.raises(ModelError, match="holds no ONNX graph"):
        load(onnx.ModelProto())


def test_opsets_outside_the_range_are_refused_with_the_number() -> None:
    with pytest.raises(ModelError, match="opset 8 is older than 9"):
        load(conv_model(opset=8))
    newest = onnx.defs.onnx_opset_version()
    with pytest.raises(ModelError, match=f"opset {newest + 1} is newer than {newest}"):
        load(conv_model(opset=newest + 1))
    unnamed = conv_model()
    del unnamed.opset_import[:]
    with pytest.raises(ModelError, match="names no ONNX opset"):
        load(unnamed)


def test_a_tensor_nothing_produces_is_refused() -> None:
    relu = helper.make_node("Relu", ["ghost"], ["y"], name="relu")
    with pytest.raises(ModelError, match="Nothing produces the tensor 'ghost'") as caught:
        load(build([relu], [value("x", [3])], [value("y", [3])]))
    assert caught.value.node == "relu"
    relu = helper.make_node("Relu", ["x"], ["y"], name="relu")
    with pytest.raises(ModelError, match="Nothing produces the output 'z'"):
        load(build([relu], [value("x", [3])], [value("z", [3])]))


def test_a_captured_tensor_nothing_produces_is_refused() -> None:
    model = loop_model()
    model.graph.input[0].name = "renamed"
    model.graph.node[0].input[2] = "renamed"
    with pytest.raises(ModelError, match="Nothing produces the tensor 'x'"):
        load(model)


def test_a_tensor_produced_twice_is_refused() -> None:
    nodes = [helper.make_node("Relu", ["x"], ["y"], name="a"), helper.make_node("Neg", ["x"], ["y"], name="b")]
    with pytest.raises(ModelError, match="'y' is produced twice") as caught:
        load(build(nodes, [value("x", [3])], [value("y", [3])]))
    assert caught.value.node == "b"


def test_contradicting_shapes_are_refused_in_one_line() -> None:
    model = conv_model()
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 5
    with pytest.raises(ModelError, match="contradicts itself") as caught:
        load(model)
    assert "\n" not in str(caught.value)


def test_what_the_importer_would_lose_is_refused() -> None:
    sparse = helper.make_sparse_tensor(weight("s", 2), numpy_helper.from_array(np.array([0, 2])), [4])
    model = build([helper.make_node("Relu", ["x"], ["y"])], [value("x", [4])], [value("y", [4])])
    model.graph.sparse_initializer.append(sparse)
    with pytest.raises(ModelError, match="sparse form"):
        load(model)
    constant = helper.make_node("Constant", [], ["y"], name="k", sparse_value=sparse)
    with pytest.raises(ModelError, match="SPARSE_TENSOR") as caught:
        load(build([constant], [value("x", [4])], [value("y", [4])]))
    assert caught.value.node == "k"
    mapped = build([helper.make_node("Relu", ["x"], ["y"])], [value("x", [4])], [value("y", [4])])
    mapped.graph.output[0].type.map_type.key_type = TensorProto.INT64
    with pytest.raises(ModelError, match="passes a map"):
        load(mapped)


# Subgraphs


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


# Cloning and refreshing


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
    assert _shapes(graph)["c"] == [1, 64, 6, 6]
    refresh(graph)
    assert _shapes(graph)["c"] == [1, 16, 6, 6]
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


# Opsets


def test_a_newer_opset_keeps_the_function_and_the_model() -> None:
    model = conv_model(opset=9, ir_version=4)
    model.graph.node.append(helper.make_node("Upsample", ["y", "scales"], ["big"], mode="nearest", name="up"))
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "scales"))
    model.graph.output[0].CopyFrom(value("big", [1, 64, 12, 12]))
    helper.set_model_props(model, {"stride": "32"})
    model.doc_string, model.graph.doc_string, model.producer_name, model.model_version = "m", "g", "trainer", 3
    newer = convert_opset(load(model), 13)
    assert newer.opset == 13
    assert problems(newer) == []
    saved = to_proto(newer)
    assert {entry.key: entry.value for entry in saved.metadata_props} == {"stride": "32"}
    assert (saved.doc_string, saved.graph.doc_string, saved.graph.name) == ("m", "g", "g")
    assert (saved.producer_name, saved.model_version) == ("trainer", 3)
    assert [tensor.name for tensor in newer.inputs] == ["x"]
    np.testing.assert_array_equal(run(saved, x=X)[0], run(model, x=X)[0])


def test_a_new_enough_graph_is_returned_as_it_is() -> None:
    graph = load(conv_model(opset=17))
    assert convert_opset(graph, 13) is graph
    assert convert_opset(graph, 17) is graph


def test_converting_leaves_the_old_graph_alone() -> None:
    graph = load(conv_model(opset=11))
    before = to_proto(graph).SerializeToString(deterministic=True)
    convert_opset(graph, 17)
    assert to_proto(graph).SerializeToString(deterministic=True) == before


def test_an_opset_nobody_knows_cannot_be_reached() -> None:
    with pytest.raises(ModelError, match="cannot be raised to 999") as caught:
        convert_opset(load(conv_model()), 999)
    assert "\n" not in str(caught.value)


# Saving


@pytest.mark.parametrize("make", [conv_model, if_model, loop_model])
def test_saving_twice_and_after_reloading_gives_the_same_bytes(make: object, tmp_path: Path) -> None:
    assert callable(make)
    first, second, third = (tmp_path / name for name in ("a.onnx", "b.onnx", "c.onnx"))
    graph = load(make())
    save(graph, first)
    save(graph, str(second))
    save(load(first), third)
    assert first.read_bytes() == second.read_bytes() == third.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.onnx", "b.onnx", "c.onnx"]


@pytest.mark.parametrize("name", REAL_MODELS)
def test_real_models_load_verify_clone_convert_and_repeat(shared_data: Path, name: str, tmp_path: Path) -> None:
    path = shared_data / "models" / name
    graph = load(path)
    assert problems(graph) == []
    assert problems(clone(graph)) == []
    assert problems(convert_opset(graph, 19)) == []
    assert graph.metadata == {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    save(graph, tmp_path / "first.onnx")
    save(load(path), tmp_path / "second.onnx")
    save(load(tmp_path / "first.onnx"), tmp_path / "third.onnx")
    first = (tmp_path / "first.onnx").read_bytes()
    assert first == (tmp_path / "second.onnx").read_bytes() == (tmp_path / "third.onnx").read_bytes()
    onnx.checker.check_model(onnx.load_from_string(first), full_check=True)


@pytest.mark.parametrize("name", ["ultraface_rfb320_op9.onnx", "yolov5n_fp16cast_op12.onnx", "yolov5n_raw_op12.onnx"])
def test_real_models_compute_the_same_after_load_and_conversion(shared_data: Path, name: str) -> None:
    path = shared_data / "models" / name
    entry = onnx.load(path).graph.input[0]
    shape = [dim.dim_value for dim in entry.type.tensor_type.shape.dim]
    dtype = helper.tensor_dtype_to_np_dtype(entry.type.tensor_type.elem_type)
    feeds = {entry.name: np.random.default_rng(0).random(shape).astype(dtype)}
    expected = run(path, **feeds)
    graph = load(path)
    for result in (run(to_proto(graph), **feeds), run(to_proto(convert_opset(graph, 19)), **feeds)):
        for got, wanted in zip(result, expected, strict=True):
            np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4 * float(np.abs(wanted).max()))
