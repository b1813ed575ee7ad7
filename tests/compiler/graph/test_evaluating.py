from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from tests.compiler.graph.models import build, value, weight
from yocc.compiler.graph import load
from yocc.compiler.graph.evaluating import MOST_ELEMENTS, compute, evaluate
from yocc.compiler.graph.shapes import concrete_shapes

HUGE = 2**28
BOMBS: Mapping[str, tuple[list[Any], dict[str, Any]]] = {
    "ConstantOfShape": ([np.array([HUGE])], {}),
    "Range": ([np.array(0), np.array(HUGE), np.array(1)], {}),
    "Expand": ([np.array([1.0], np.float32), np.array([HUGE])], {}),
    "Tile": ([np.array([1.0], np.float32), np.array([HUGE])], {}),
    "OneHot": ([np.arange(1024), np.array(HUGE), np.array([0.0, 1.0], np.float32)], {}),
    "Pad": ([np.array([1.0], np.float32), np.array([0, HUGE])], {}),
    "Resize": ([np.ones((1, 1), np.float32), None, None, np.array([1, HUGE])], {}),
    "EyeLike": ([np.zeros((2**9, 2**9), np.float32)], {}),
    "CumSum": ([np.zeros(MOST_ELEMENTS + 1, np.float32), np.array(0)], {}),
}


def _node(op: str, inputs: list[Any], attributes: dict[str, Any]) -> tuple[onnx.NodeProto, dict[str, np.ndarray]]:
    names = ["" if each is None else f"i{index}" for index, each in enumerate(inputs)]
    values = {name: each for name, each in zip(names, inputs, strict=True) if name}
    return helper.make_node(op, names, ["y"], **attributes), values


@pytest.mark.parametrize("op", BOMBS)
def test_what_is_too_large_is_not_computed(op: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("yocc.compiler.graph.evaluating.compute", lambda *_: pytest.fail("computed"))
    assert evaluate(*_with_opset(*_node(op, *BOMBS[op]))) is None


def _with_opset(
    proto: onnx.NodeProto, values: dict[str, np.ndarray]
) -> tuple[onnx.NodeProto, int, dict[str, np.ndarray]]:
    return proto, 17, values


@pytest.mark.parametrize(
    ("op", "inputs", "expected"),
    [
        ("Range", [np.array(0), np.array(6), np.array(2)], [0, 2, 4]),
        ("ConstantOfShape", [np.array([2])], [0, 0]),
        ("Add", [np.array([1, 2]), np.array([3])], [4, 5]),
        ("NonZero", [np.array([0, 7, 0, 2])], [[1, 3]]),
        ("Tile", [np.array([1, 2]), np.array([2])], [1, 2, 1, 2]),
        ("Div", [np.array([7.0], np.float32), np.array([0.0], np.float32)], [np.inf]),
    ],
)
def test_shape_arithmetic_is_computed(op: str, inputs: list[Any], expected: list[Any]) -> None:
    result = evaluate(*_with_opset(*_node(op, inputs, {})))
    assert result is not None
    np.testing.assert_array_equal(result[0], expected)


def test_nothing_random_or_windowed_is_computed() -> None:
    assert evaluate(*_with_opset(*_node("RandomNormalLike", [np.zeros(3, np.float32)], {}))) is None
    window = [np.zeros((1, 1, 1, 1), np.float32), np.zeros((1, 1, 1, 1), np.float32)]
    attributes = {"pads": [HUGE, 0, 0, 0], "strides": [2 * HUGE, 1]}
    assert compute(*_with_opset(*_node("Conv", window, attributes))) is None


def test_a_node_that_refuses_its_inputs_has_no_value() -> None:
    assert evaluate(*_with_opset(*_node("Add", [np.array([1, 2]), np.array([1, 2, 3])], {}))) is None
    assert evaluate(*_with_opset(*_node("NoSuchOperator", [np.array([1])], {}))) is None


def test_the_shapes_behind_a_huge_constant_are_known_without_it() -> None:
    nodes = [
        helper.make_node("ConstantOfShape", ["s"], ["big"]),
        helper.make_node("ReduceSum", ["big"], ["r"], keepdims=0),
        helper.make_node("Add", ["x", "r"], ["y"]),
    ]
    size = numpy_helper.from_array(np.array([2**40]), "s")
    shapes = concrete_shapes(load(build(nodes, [value("x", [3])], [value("y", None)], [size])))
    assert shapes.shapes["big"] == (2**40,)
    assert "big" not in shapes.values
    assert shapes.shapes["y"] == (3,)


def test_the_shape_of_a_huge_input_is_a_value() -> None:
    nodes = [helper.make_node("Shape", ["x"], ["s"]), helper.make_node("Cast", ["s"], ["y"], to=1)]
    model = build(nodes, [value("x", [2**31, 2**31, 3])], [value("y", None)], [weight("unused", 2)])
    np.testing.assert_array_equal(concrete_shapes(load(model)).values["s"], [2**31, 2**31, 3])
