from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.compiler.graph.models import REAL_MODELS, build, conv_model, if_model, loop_model, run, shapes_of, value
from yocc.compiler.graph import OLDEST_OPSET, clone, convert_opset, load, refresh, save, to_proto
from yocc.compiler.graph.verify import problems
from yocc.errors import ModelError

X = np.random.default_rng(0).normal(size=(1, 3, 8, 8)).astype(np.float32)


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
    assert shapes_of(graph)["z"] == [1, 8]
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.parametrize("shape", [None, [1, 99]])
def test_an_output_keeps_its_own_shape_where_value_info_repeats_it(shape: list[int] | None) -> None:
    model = conv_model()
    for name in ("x", "y"):
        model.graph.value_info.append(value(name, shape))
    graph = load(model)
    assert [list(tensor.shape) for tensor in (*graph.inputs, *graph.outputs)] == [[1, 3, 8, 8], [1, 64, 6, 6]]
    assert problems(graph) == []


@pytest.mark.parametrize("opset", [18, 21])
def test_shapes_behind_a_group_normalization_are_known(opset: int) -> None:
    nodes = [
        helper.make_node("GroupNormalization", ["x", "s", "b"], ["n"], num_groups=2),
        helper.make_node("Mish", ["n"], ["m"]),
        helper.make_node("GlobalMaxPool", ["m"], ["y"]),
    ]
    graph = helper.make_graph(nodes, "g", [value("x", [1, 4, 8, 8])], [value("y", [1, 4, 1, 1])])
    for name in "sb":
        graph.initializer.append(numpy_helper.from_array(np.ones(2 if opset < 21 else 4, np.float32), name))
    loaded = load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9))
    assert [tuple(node.outputs[0].shape) for node in loaded.nodes] == [(1, 4, 8, 8), (1, 4, 8, 8), (1, 4, 1, 1)]
    assert loaded.nodes[0].op == "GroupNormalization"
    assert problems(loaded) == []


def test_a_normalization_that_leaves_its_axes_out_is_read() -> None:
    node = helper.make_node("MeanVarianceNormalization", ["x"], ["y"])
    graph = helper.make_graph([node], "g", [value("x", [1, 3, 8, 8])], [value("y", [1, 3, 8, 8])])
    loaded = load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
    assert problems(loaded) == []
    assert loaded.nodes[0].attrs["axes"] == [0, 2, 3]


def test_refresh_makes_names_of_nodes_unique() -> None:
    graph = load(conv_model())
    for node in graph.nodes:
        node.name = "same"
    refresh(graph)
    assert [node.name for node in graph.nodes] == ["same", "same_"]
