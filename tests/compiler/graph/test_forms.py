from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest
from onnx import helper, numpy_helper

from tests.oracles import run
from yocc.compiler.graph.forms import new_node, operator_form
from yocc.errors import InternalError

X = np.random.default_rng(0).normal(size=(2, 4, 3)).astype(np.float32)
CASES: dict[str, tuple[str, dict[str, Any], list[np.ndarray]]] = {
    "sum": ("ReduceSum", {"axes": [1], "keepdims": 0}, [X.sum(1)]),
    "sum of squares": ("ReduceSumSquare", {"axes": [1], "keepdims": 1}, [np.square(X).sum(1, keepdims=True)]),
    "mean": ("ReduceMean", {"axes": [0, 2], "keepdims": 0}, [X.mean((0, 2))]),
    "largest": ("ReduceMax", {"axes": [-1], "keepdims": 0}, [X.max(-1)]),
    "smallest of all": ("ReduceMin", {"keepdims": 0}, [X.min()]),
    "unsqueeze": ("Unsqueeze", {"axes": [0]}, [X[None]]),
    "pad": (
        "Pad",
        {"pads": [0, 1, 0, 0, 0, 2], "value": 0.5},
        [np.pad(X, ((0, 0), (1, 0), (0, 2)), constant_values=0.5)],
    ),
    "clip above": ("Clip", {"max": 0.25}, [np.minimum(X, 0.25)]),
    "clip": ("Clip", {"min": -0.5, "max": 0.25}, [np.clip(X, -0.5, 0.25)]),
    "slice": ("Slice", {"starts": [1], "ends": [3], "axes": [1]}, [X[:, 1:3]]),
    "split by sizes": ("Split", {"axis": 1, "split": [1, 3]}, [X[:, :1], X[:, 1:]]),
    "split evenly": ("Split", {"axis": 1}, [X[:, :2], X[:, 2:]]),
    "largest two": ("TopK", {"k": 2, "axis": 1}, [-np.sort(-X, 1)[:, :2], np.argsort(-X, 1)[:, :2]]),
}
NEWEST = min(onnx.defs.onnx_opset_version(), 23)


def proto_of(node: gs.Node, opset: int) -> onnx.ModelProto:
    constants = [tensor for tensor in node.inputs if isinstance(tensor, gs.Constant)]
    names = [tensor.name for tensor in node.inputs]
    made = [tensor.name for tensor in node.outputs]
    graph = helper.make_graph(
        [helper.make_node(node.op, names, made, **node.attrs)],
        "one",
        [helper.make_tensor_value_info("x", 1, X.shape)],
        [helper.make_tensor_value_info(name, 7 if place else 1, None) for place, name in enumerate(made)]
        if node.op == "TopK"
        else [helper.make_tensor_value_info(name, 1, None) for name in made],
        [numpy_helper.from_array(tensor.values, tensor.name) for tensor in constants],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


@pytest.mark.parametrize("opset", [9, 11, 12, 13, 17, 18, 20, NEWEST])
@pytest.mark.parametrize("name", CASES)
def test_every_opset_gets_the_form_it_wants(name: str, opset: int) -> None:
    op, attributes, wanted = CASES[name]
    outputs = [gs.Variable(f"y{place}") for place in range(len(wanted))]
    model = proto_of(new_node(op, "node", [gs.Variable("x")], outputs, opset, attributes), opset)
    onnx.checker.check_model(onnx.shape_inference.infer_shapes(model, strict_mode=True), full_check=True)
    for found, expected in zip(run(model, {"x": X}).values(), wanted, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("op", "moved"), [("ReduceSum", 13), ("Squeeze", 13), ("ReduceMean", 18), ("ReduceL2", 18)])
def test_axes_are_an_input_from_the_opset_on_that_moved_them(op: str, moved: int) -> None:
    before, after = (operator_form(op, opset, {"axes": [1, 2]}) for opset in (moved - 1, moved))
    assert (before.attributes, before.inputs) == ({"axes": [1, 2]}, {})
    assert after.attributes == {}
    assert {slot: (values.tolist(), values.dtype) for slot, values in after.inputs.items()} == {1: ([1, 2], np.int64)}


def test_no_axes_are_an_empty_list_of_integers() -> None:
    assert operator_form("ReduceSum", 13, {"axes": []}).inputs[1].dtype == np.int64


@pytest.mark.parametrize(("op", "attributes"), [("ReduceSum", {"axis": 1}), ("NoSuchOperator", {})])
def test_what_no_opset_knows_is_our_fault(op: str, attributes: dict[str, int]) -> None:
    with pytest.raises(InternalError, match=op):
        operator_form(op, 18, attributes)
