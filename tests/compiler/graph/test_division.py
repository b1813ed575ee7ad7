from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from tests.compiler.graph.models import build, value
from yocc.compiler.graph import load
from yocc.errors import ModelError

SMALLEST = -(2**63)


def _model(op: str, dividend: Any, divisor: Any, kind: Any = np.int64, *, through: str = "") -> onnx.ModelProto:
    """x plus a quotient of constants, one of which may come from another node."""
    nodes = [
        helper.make_node(op, ["a", "d"], ["q"], name="divide"),
        helper.make_node("Cast", ["q"], ["f"], to=1),
        helper.make_node("Add", ["x", "f"], ["y"]),
    ]
    constants = [numpy_helper.from_array(np.array(dividend, kind), "a")]
    if through:
        constants.append(numpy_helper.from_array(np.array(divisor, kind), "b"))
        nodes.insert(0, helper.make_node(through, ["b"], ["d"]))
    else:
        constants.append(numpy_helper.from_array(np.array(divisor, kind), "d"))
    return build(nodes, [value("x", [2])], [value("y", None)], constants)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (_model("Div", [SMALLEST, 1], [-1]), "smallest int64 by -1"),
        (_model("Div", [SMALLEST], [1], through="Neg"), "smallest int64 by -1"),
        (_model("Div", [-(2**31)], [-1], np.int32), "smallest int32 by -1"),
        (_model("Div", [4, 6], [2, 0]), "divides by zero"),
        (_model("Mod", [4], [0]), "divides by zero"),
    ],
)
def test_what_would_end_the_process_is_refused(model: onnx.ModelProto, message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        load(model)
    assert caught.value.node == "divide"


@pytest.mark.parametrize(
    "model",
    [
        _model("Div", [SMALLEST + 1], [-1]),
        _model("Div", [SMALLEST], [2]),
        _model("Div", [-128], [-1], np.int8),
        _model("Div", [1.0], [0.0], np.float32),
        _model("Mod", [7], [3]),
    ],
)
def test_other_divisions_are_left_alone(model: onnx.ModelProto) -> None:
    assert any(node.name == "divide" for node in load(model).nodes)
