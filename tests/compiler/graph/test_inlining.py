from __future__ import annotations

import onnx
import pytest
from onnx import helper

from tests.compiler.graph.models import build, value
from yocc.compiler.graph import load
from yocc.compiler.graph.inlining import DEEPEST, MOST_NODES, inline_functions
from yocc.errors import ModelError

OPSETS = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]


def _function(name: str, *calls: str, opset: int = 17) -> onnx.FunctionProto:
    """A function that applies others one after the other."""
    names = ["a", *(f"t{index}" for index in range(len(calls) - 1)), "b"]
    nodes = [
        helper.make_node(call, [names[index]], [names[index + 1]], domain="" if call == "Relu" else "local")
        for index, call in enumerate(calls)
    ]
    return helper.make_function(
        "local", name, ["a"], ["b"], nodes, [helper.make_opsetid("", opset), helper.make_opsetid("local", 1)]
    )


def _model(*functions: onnx.FunctionProto) -> onnx.ModelProto:
    call = helper.make_node("F0", ["x"], ["y"], domain="local")
    return build([call], [value("x", [4])], [value("y", [4])], domains=["local"], functions=functions)


def test_functions_within_functions_become_their_nodes() -> None:
    model = _model(_function("F0", "F1", "F1"), _function("F1", "Relu", "Relu"))
    assert [node.op_type for node in inline_functions(model).graph.node] == ["Relu"] * 4
    assert [node.op for node in load(model).nodes] == ["Relu"] * 4


def test_functions_that_double_are_refused_before_they_grow() -> None:
    levels = 30
    functions = [_function(f"F{level}", f"F{level + 1}", f"F{level + 1}") for level in range(levels)]
    model = _model(*functions, _function(f"F{levels}", "Relu"))
    assert 2**levels > MOST_NODES
    with pytest.raises(ModelError, match=r"nodes of .* bytes"):
        load(model)


def test_a_long_chain_of_functions_is_refused() -> None:
    functions = [_function(f"F{level}", f"F{level + 1}") for level in range(DEEPEST + 1)]
    with pytest.raises(ModelError, match=f"more than {DEEPEST} functions"):
        load(_model(*functions, _function(f"F{DEEPEST + 1}", "Relu")))


@pytest.mark.parametrize(
    "functions",
    [(_function("F0", "F0"),), (_function("F0", "F1"), _function("F1", "F0"))],
    ids=["itself", "in a circle"],
)
def test_functions_that_recurse_are_refused(functions: tuple[onnx.FunctionProto, ...]) -> None:
    with pytest.raises(ModelError, match="calls itself"):
        load(_model(*functions))


def test_an_unknown_opset_is_named() -> None:
    with pytest.raises(ModelError, match="'F0' asks for opset 99"):
        load(_model(_function("F0", "Relu", opset=99)))


def test_a_function_that_lacks_what_it_returns_is_refused() -> None:
    broken = _function("F0", "Relu")
    broken.node[0].output[0] = "other"
    with pytest.raises(ModelError):
        load(_model(broken))
