from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.compiler.graph.models import build, conv_model, if_model, run, value, weight
from tests.samples import strange_model, tiny_model
from yocc.compiler.graph import Graph, load, to_proto
from yocc.compiler.graph.protos import all_subgraphs
from yocc.compiler.graph.soundness import faults
from yocc.compiler.graph.verify import problems
from yocc.errors import ModelError


def _constant(**attributes: object) -> onnx.ModelProto:
    nodes = [
        helper.make_node("Constant", [], ["w"], name="k", **attributes),
        helper.make_node("Add", ["x", "w"], ["y"]),
    ]
    return build(nodes, [value("x", [3])], [value("y", None)])


def _with(change: str) -> onnx.ModelProto:  # a list of faults
    model = tiny_model()
    if change == "attribute":
        model.graph.node[0].attribute.append(helper.make_attribute("foo", 1))
    elif change == "attribute twice":
        model.graph.node[0].attribute.append(helper.make_attribute("pads", [0, 0, 0, 0]))
    elif change == "operator":
        model.graph.node[2].op_type = "Nonsense"
    elif change == "ir_version":
        model.ir_version = 99
    elif change == "channels":
        model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 7
        model.graph.output[0].type.tensor_type.ClearField("shape")
    elif change == "group 0":
        model.graph.node[0].attribute.append(helper.make_attribute("group", 0))
    elif change == "group 5":
        model.graph.node[0].attribute.append(helper.make_attribute("group", 5))
    elif change == "element type":
        model.graph.input[0].type.tensor_type.elem_type = 99
    elif change == "undefined type":
        model.graph.input[0].type.tensor_type.elem_type = TensorProto.UNDEFINED
    elif change == "segment":
        model.graph.initializer[0].segment.begin = 5
    elif change == "sequences":
        kind = model.graph.input[0].type
        kind.Clear()
        kind.sequence_type.elem_type.sequence_type.elem_type.tensor_type.elem_type = TensorProto.FLOAT
    elif change == "kind of attribute":
        model.graph.node[0].attribute[0].CopyFrom(helper.make_attribute("pads", "abc"))
    else:
        raise ValueError(change)
    return model


@pytest.mark.parametrize(
    "change",
    [
        "attribute",
        "attribute twice",
        "kind of attribute",
        "operator",
        "ir_version",
        "channels",
        "group 0",
        "group 5",
        "element type",
        "undefined type",
        "segment",
        "sequences",
    ],
)
def test_an_invalid_model_is_refused_in_one_line_when_it_is_loaded(change: str) -> None:
    with pytest.raises(ModelError) as caught:
        load(_with(change))
    assert "\n" not in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize("model", [_constant(value=5), _constant(value_floats="abc"), _constant()])
def test_constant_nodes_with_odd_attributes_are_refused(model: onnx.ModelProto) -> None:
    with pytest.raises(ModelError, match=r"not valid|contradicts itself"):
        load(model)


def test_a_constant_node_without_output_is_refused() -> None:
    model = conv_model()
    model.graph.node.append(helper.make_node("Constant", [], [], value=weight("v", 2)))
    with pytest.raises(ModelError, match="zero output"):
        load(model)


def test_an_input_without_a_type_is_refused_and_an_output_is_not() -> None:
    model = tiny_model()
    model.graph.output[0].ClearField("type")
    load(model)
    for change in ("undefined", "none"):
        if change == "none":
            model.graph.input[0].type.Clear()
        else:
            model.graph.input[0].type.tensor_type.elem_type = TensorProto.UNDEFINED
        with pytest.raises(ModelError, match=r"The model is not valid: the input 'x' has no type\."):
            load(model)


def test_an_output_of_undefined_type_gets_the_one_it_has() -> None:
    model = tiny_model()
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.UNDEFINED
    graph = load(model)
    assert (graph.outputs[0].dtype, graph.outputs[0].shape) == (np.float32, [1, 4, 16, 16])
    onnx.checker.check_model(to_proto(graph), full_check=True)


def test_an_attribute_that_refers_to_a_functions_is_refused_outside_of_one() -> None:
    model = _constant(value_ints=[1])
    model.graph.node[0].attribute[0].ref_attr_name = "axis"
    with pytest.raises(ModelError, match=r"'value_ints' of 'k' refers to an attribute of a function and is in none\."):
        load(model)


def test_a_reshape_that_cannot_fit_is_refused() -> None:
    shape = numpy_helper.from_array(np.array([2, 5]), "s")
    model = build([helper.make_node("Reshape", ["x", "s"], ["y"], name="r")], [value("x", [3, 4])], [], [shape])
    model.graph.output.append(value("y", [2, 5]))
    with pytest.raises(ModelError, match=r"Reshape 'r' makes \[2, 5\] of \[3, 4\]"):
        load(model)


def _unnamed() -> onnx.ModelProto:
    model = conv_model()
    model.graph.name = ""
    return model


def _old_ir() -> onnx.ModelProto:
    return conv_model(ir_version=3)


def _unknown_rank() -> onnx.ModelProto:
    model = strange_model()
    model.graph.output[0].type.tensor_type.ClearField("shape")
    model.graph.node[-1].op_type, model.graph.node[-1].domain = "Mystery", "strange.kernels"
    del model.graph.node[-1].attribute[:]
    return model


def _domain_not_imported() -> onnx.ModelProto:
    model = strange_model()
    del model.opset_import[1:]
    return model


def _legacy() -> onnx.ModelProto:
    node = helper.make_node("ImageScaler", ["x"], ["y"], scale=2.0, bias=[0.0, 0.0, 0.0])
    return build([node], [value("x", [1, 3, 4, 4])], [value("y", [1, 3, 4, 4])], opset=9)


def _plugin() -> onnx.ModelProto:
    node = helper.make_node("EfficientNMS_TRT", ["x"], ["y"], background_class=-1)
    return build([node], [value("x", [1, 4])], [value("y", [1, 4])])


def _weight_as_output() -> onnx.ModelProto:
    model = conv_model()
    model.graph.output.append(value("w", [64, 3, 3, 3]))
    return model


def _output_noted_twice() -> onnx.ModelProto:
    model = conv_model()
    model.graph.value_info.append(helper.make_tensor_value_info("y", TensorProto.FLOAT, None))
    return model


@pytest.mark.parametrize(
    "make",
    [_unnamed, _old_ir, _unknown_rank, _domain_not_imported, _legacy, _plugin, _weight_as_output, _output_noted_twice],
)
def test_what_runtimes_take_is_taken_and_stays_sound(make: object) -> None:
    assert callable(make)
    graph: Graph = load(make())
    assert problems(graph) == []
    assert problems(load(to_proto(graph))) == []


def test_a_legacy_operator_still_runs() -> None:
    ones = np.ones((1, 3, 4, 4), np.float32)
    np.testing.assert_array_equal(run(to_proto(load(_legacy())), x=ones)[0], 2 * ones)


def test_the_declared_shape_of_an_output_is_kept() -> None:
    assert load(_output_noted_twice()).outputs[0].shape == [1, 64, 6, 6]


def test_stale_shapes_inside_subgraphs_are_forgotten() -> None:
    model = if_model()
    branch = next(graph for graph in all_subgraphs(model.graph.node) if graph.name == "then")
    branch.value_info.append(value("t0", [1400]))
    graph = load(model)
    assert problems(graph) == []
    flag, x = np.array(True), np.ones(1500, np.float32)
    np.testing.assert_array_equal(
        run(to_proto(graph), x=x, flag=flag)[0], run(to_proto(load(if_model())), x=x, flag=flag)[0]
    )


def test_an_unsorted_subgraph_is_sorted() -> None:
    model = if_model()
    branch = next(graph for graph in all_subgraphs(model.graph.node) if graph.name == "then")
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in reversed(branch.node)]
    del branch.node[:]
    branch.node.extend(nodes)
    assert problems(load(model)) == []


def test_the_model_is_not_changed_by_looking() -> None:
    model = _old_ir()
    before = model.SerializeToString(deterministic=True)
    assert faults(model) == []
    assert model.SerializeToString(deterministic=True) == before


@pytest.mark.parametrize(
    ("node", "weights", "sentence"),
    [
        (["Conv", "x", "w", "b"], {"w": (4, 3, 1, 1), "b": (4, 3, 1, 1)}, "'b' is no bias, as its shape is"),
        (["Pad", "x", "p", "v"], {"v": (2, 1)}, "'v' of shape .* is not one value"),
        (
            ["InstanceNormalization", "x", "s", "b"],
            {"s": (3,), "b": (4,)},
            "its parameters have different shapes",
        ),
        (
            ["LSTM", "x", "w", "r", "b"],
            {"w": (1, 64, 8), "r": (1, 64, 16), "b": (1, 64)},
            "'b' of .* is no bias of shape",
        ),
        (["GRU", "x", "w", "r"], {"w": (1, 48, 8), "r": (1, 64, 16)}, "'r' of .* is no recurrent weight of 1 dir"),
        (["RNN", "x", "w", "r"], {"w": (1, 24, 8), "r": (1, 16, 16)}, "'w' of .* does not fit 'r'"),
    ],
)
def test_parameters_that_do_not_fit_each_other_are_the_models_fault(
    node: list[str], weights: dict[str, tuple[int, ...]], sentence: str
) -> None:
    """Whatever shape they meet: that of the input is open."""
    initializers = [weight(name, *shape) for name, shape in weights.items()]
    initializers.append(numpy_helper.from_array(np.array([0, 0, 1, 1, 0, 0, 1, 1]), "p"))
    made = helper.make_node(node[0], node[1:], ["y"], name="node")
    with pytest.raises(ModelError, match=sentence):
        load(build([made], [value("x", None)], [value("y", None)], initializers))
