from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.compiler.graph.models import build, value, weight
from yocc.compiler.graph import Graph, load
from yocc.compiler.graph.cost import layer_costs, totals
from yocc.compiler.graph.shapes import concrete_shapes, default_input_shapes
from yocc.errors import ModelError, OptionError


def test_small_weights_behind_codes_have_a_shape() -> None:
    """Values no evaluator computes leave the shape to inference."""
    constants = {
        "codes": np.ones((4, 3, 1, 1), np.int8),
        "scale": np.full(4, 0.1, np.float32),
        "zero": np.zeros(4, np.int8),
    }
    graph = helper.make_graph(
        [
            helper.make_node("DequantizeLinear", ["codes", "scale", "zero"], ["weight"], axis=0),
            helper.make_node("Conv", ["x", "weight"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, 8, 8])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    loaded = load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8))
    shapes = concrete_shapes(loaded)
    assert shapes.shapes["weight"] == (4, 3, 1, 1)
    assert totals(layer_costs(loaded, shapes)).macs == 4 * 3 * 8 * 8


@pytest.mark.parametrize(("opset", "parameters"), [(18, 2), (21, 4)])
def test_group_normalization_keeps_the_shape(opset: int, parameters: int) -> None:
    constants = {name: np.ones(parameters, np.float32) for name in ("scale", "bias")}
    constants["w"] = np.ones((5, 4, 1, 1), np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("GroupNormalization", ["x", "scale", "bias"], ["n"], num_groups=2),
            helper.make_node("Conv", ["n", "w"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4, 3, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 5, 3, 6])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    loaded = load(model)
    shapes = concrete_shapes(loaded, {"x": (2, 4, 3, 6)})
    assert shapes.shapes["n"] == (2, 4, 3, 6)
    assert totals(layer_costs(loaded, shapes)).macs == 2 * 5 * 4 * 3 * 6


@pytest.mark.parametrize(("second", "expected"), [("Neg", (1, 3, 8, 8)), ("GlobalMaxPool", None)])
def test_what_both_branches_of_an_if_give_in_one_shape_is_known(second: str, expected: tuple[int, ...] | None) -> None:
    branches = [
        helper.make_graph(
            [helper.make_node(op, ["x"], [f"{op}_y"])], op, [], [helper.make_tensor_value_info(f"{op}_y", 1, None)]
        )
        for op in ("Relu", second)
    ]
    graph = helper.make_graph(
        [helper.make_node("If", ["flag"], ["y"], name="if", then_branch=branches[0], else_branch=branches[1])],
        "g",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8]),
            helper.make_tensor_value_info("flag", TensorProto.BOOL, []),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, "h", "w"])],
    )
    loaded = load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
    assert concrete_shapes(loaded).shapes.get("y") == expected


def contradicting(shape: list[int | str], reader: onnx.NodeProto, extra: onnx.TensorProto) -> Graph:
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"], name="conv", pads=[1] * 4), reader]
    return load(build(nodes, [value("x", shape)], [value("y", None)], [weight("w", 8, 3, 3, 3), extra]))


RESHAPE = (
    helper.make_node("Reshape", ["c", "s"], ["y"], name="flat"),
    numpy_helper.from_array(np.array([1, 8, 256]), "s"),
)
ADD = helper.make_node("Add", ["c", "p"], ["y"], name="add"), weight("p", 1, 8, 16, 16)


@pytest.mark.parametrize(("reader", "extra"), [RESHAPE, ADD], ids=["Reshape", "Add"])
def test_an_open_size_that_the_model_contradicts_asks_for_the_input_shape(
    reader: onnx.NodeProto, extra: onnx.TensorProto
) -> None:
    graph = contradicting([1, 3, "h", "w"], reader, extra)
    with pytest.raises(OptionError, match=r"x=1,3,640,640.*--input-shape") as caught:
        concrete_shapes(graph)
    assert caught.value.node == reader.name
    with pytest.raises(OptionError, match="x=1,3,8,8"):
        concrete_shapes(graph, {"x": (1, 3, 8, 8)})
    assert concrete_shapes(graph, {"x": (1, 3, 16, 16)}).shapes["c"] == (1, 8, 16, 16)


def test_sizes_that_contradict_each_other_are_the_models_fault() -> None:
    with pytest.raises(ModelError, match=r"Reshape 'flat' makes \[1, 8, 256\] of \[1, 8, 20, 20\]"):
        concrete_shapes(contradicting([1, 3, 20, 20], *RESHAPE))


@pytest.mark.parametrize(
    "reader",
    [
        helper.make_node("MaxPool", ["c"], ["y"], name="it", kernel_shape=[99, 99]),
        helper.make_node("Pad", ["c", "s"], ["y"], name="it"),
    ],
    ids=["MaxPool", "Pad"],
)
def test_a_result_of_less_than_nothing_is_the_models_fault(reader: onnx.NodeProto) -> None:
    pads = numpy_helper.from_array(np.array([0, -9, 0, 0, 0, 0, 0, 0]), "s")
    with pytest.raises(ModelError, match=r"its result cannot have the shape \[1, -?\d+, -?\d+, -?\d+\]") as caught:
        concrete_shapes(contradicting([1, 3, 20, 20], reader, pads))
    assert caught.value.node == "it"


def _body(step: str, extra: str = "") -> onnx.GraphProto:
    text = f"body (int64 i, bool c, float[] s) => (bool d, float[] t{extra}) {{ d = Identity(c) {step} }}"
    body = onnx.parser.parse_graph(text)
    for tensor in [*body.input[2:], *body.output[1:]]:
        tensor.type.tensor_type.ClearField("shape")
    return body


def _looping(node: onnx.NodeProto, results: list[str]) -> Graph:
    constants = [numpy_helper.from_array(np.array(3), "trips"), weight("w", 4, 4, 1, 1)]
    return load(build([node], [value("x", [1, 4, 6, 6])], [value(each, None) for each in results], constants))


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ("u = Conv(s, w) t = Relu(u)", (1, 4, 6, 6)),
        ("t = Concat<axis = 2>(s, s)", None),
        ("t = GlobalMaxPool(s)", None),
    ],
)
def test_a_state_of_a_loop_has_a_shape_where_it_keeps_it(step: str, expected: tuple[int, ...] | None) -> None:
    loop = helper.make_node("Loop", ["trips", "", "x"], ["y"], name="loop", body=_body(step))
    graph = _looping(loop, ["y"])
    shapes = concrete_shapes(graph)
    assert shapes.shapes.get("y") == expected
    costs = totals(layer_costs(graph, shapes))
    assert (costs.parameters, costs.macs) == ((16, 3 * 16 * 36) if "Conv" in step else (0, 0))


def test_a_state_that_reads_a_growing_one_has_no_shape() -> None:
    body = onnx.parser.parse_graph(
        "body (int64 i, bool c, float[] s, float[] k) => (bool d, float[] t, float[] m)"
        "{ d = Identity(c) t = Concat<axis = 2>(s, s) m = Concat<axis = 3>(s) }"
    )
    for tensor in [*body.input[2:], *body.output[1:]]:
        tensor.type.tensor_type.ClearField("shape")
    loop = helper.make_node("Loop", ["trips", "", "x", "x"], ["y", "z"], name="loop", body=body)
    shapes = concrete_shapes(_looping(loop, ["y", "z"])).shapes
    assert "y" not in shapes
    assert "z" not in shapes


def test_results_of_a_scan_have_shapes() -> None:
    body = onnx.parser.parse_graph(
        "body (float[] s, float[] e) => (float[] t, float[] o) { t = Add(s, e) o = Relu(t) }"
    )
    for tensor in [*body.input, *body.output]:
        tensor.type.tensor_type.ClearField("shape")
    state = helper.make_node("ReduceSum", ["x", "axis"], ["first"], name="sum", keepdims=0)
    scan = helper.make_node(
        "Scan", ["first", "x"], ["y", "z"], name="scan", num_scan_inputs=1, scan_input_axes=[3], scan_output_axes=[1],
        body=body,
    )  # fmt: skip
    axis = numpy_helper.from_array(np.array([3]), "axis")
    graph = load(build([state, scan], [value("x", [1, 4, 6, 5])], [value("y", None), value("z", None)], [axis]))
    shapes = concrete_shapes(graph).shapes
    assert shapes["y"] == (1, 4, 6)
    assert shapes["z"] == (1, 5, 4, 6)


def test_what_is_in_branches_costs_the_dearer_and_a_weight_counts_once() -> None:
    branches = [
        onnx.parser.parse_graph(f"{name} () => (float[1, 4, 6, 6] {name}_y) {{ {nodes} }}")
        for name, nodes in (("then", "p = Conv(x, w) then_y = Conv(p, w)"), ("else", "else_y = Conv(x, w)"))
    ]
    node = helper.make_node("If", ["flag"], ["y"], name="if", then_branch=branches[0], else_branch=branches[1])
    flag = helper.make_tensor_value_info("flag", TensorProto.BOOL, [])
    graph = load(build([node], [value("x", [1, 4, 6, 6]), flag], [value("y", None)], [weight("w", 4, 4, 1, 1)]))
    costs = layer_costs(graph, concrete_shapes(graph))
    assert [(each.node, each.op, each.parameters, each.macs) for each in costs] == [("if", "If", 16, 2 * 16 * 36)]


def _reading(readers: str, weights: dict[str, tuple[int, ...]], shape: str) -> Graph:
    given = [f"float[{','.join(map(str, each))}] {name}" for name, each in weights.items()]
    inputs = ", ".join([f"float[{shape}] x", *given])
    text = f'<ir_version: 8, opset_import: ["" : 17]> g ({inputs}) => (float[N] y) {{ {readers} }}'
    model = onnx.parser.parse_model(text)
    del model.graph.input[1:]
    model.graph.initializer.extend(weight(name, *each) for name, each in weights.items())
    model.graph.output[0].type.tensor_type.ClearField("shape")
    return load(model)


@pytest.mark.parametrize(
    ("readers", "weights", "shape", "expected"),
    [
        ("y = Conv(x, w)", {"w": (8, 3, 3, 3)}, "N, C, 16, 16", (1, 3, 16, 16)),
        ("y = Conv<group = 4>(x, w)", {"w": (8, 2, 3, 3)}, "1, C, H, W", (1, 8, 640, 640)),
        (
            "a = Sub(x, m)  b = Div(a, m)  y = Conv(b, w)",
            {"m": (1,), "w": (8, 5, 3, 3)},
            "1, C, 16, 16",
            (1, 5, 16, 16),
        ),
        ("y = Gemm(x, w)", {"w": (6, 4)}, "N, K", (1, 6)),
        ("y = Gemm<transB = 1>(x, w)", {"w": (6, 4)}, "N, K", (1, 4)),
        ("y = Relu(x)", {}, "N, C, 16, 16", (1, 1, 16, 16)),
    ],
)
def test_open_channels_are_those_that_the_first_layer_needs(
    readers: str, weights: dict[str, tuple[int, ...]], shape: str, expected: tuple[int, ...]
) -> None:
    graph = _reading(readers, weights, shape)
    assert default_input_shapes(graph) == {"x": expected}
    assert concrete_shapes(graph).shapes["x"] == expected


def test_channels_that_the_weights_are_not_made_for_are_refused() -> None:
    graph = _reading("y = Conv(x, w)", {"w": (8, 3, 3, 3)}, "N, C, 16, 16")
    with pytest.raises(OptionError, match=r"x=1,1,16,16.*'w' is made for 3 channels and meets 1"):
        concrete_shapes(graph, {"x": (1, 1, 16, 16)})
