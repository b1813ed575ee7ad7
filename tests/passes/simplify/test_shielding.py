from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from tests.compiler.graph.models import build, value
from tests.passes.feeding import run_pass
from yocc.compiler.graph import Graph, load, skeleton
from yocc.compiler.pipeline.passes import PassContext
from yocc.compiler.pipeline.target import Target
from yocc.passes.simplify import Simplify
from yocc.passes.simplify.shielding import hide, show


def _sum_of(size: int) -> onnx.ModelProto:
    """x plus the sum of a constant of so many elements, which is made at run time."""
    nodes = [
        helper.make_node("ConstantOfShape", ["s"], ["big"], name="make"),
        helper.make_node("ReduceSum", ["big"], ["r"], name="sum", keepdims=0),
        helper.make_node("Add", ["x", "r"], ["y"], name="add"),
    ]
    return build(nodes, [value("x", [3])], [value("y", [3])], [numpy_helper.from_array(np.array([size]), "s")])


def _hidden(graph: Graph) -> tuple[list[str], list[str], onnx.ModelProto]:
    told: list[str] = []
    model = skeleton(graph)
    hide(model, graph, lambda reason, node: told.append(f"{node}: {reason}"))
    return [node.name for node in model.graph.node if node.domain], told, model


def test_a_huge_constant_is_hidden_and_shown_again() -> None:
    graph = load(_sum_of(3 * 10**9))
    before = skeleton(graph)
    hidden, told, model = _hidden(graph)
    assert hidden == ["make"]
    assert told == ["make: ConstantOfShape is not computed ahead: its constant would take about 24,000 MB."]
    show(model)
    assert model == before


def test_small_constants_are_not_hidden() -> None:
    assert _hidden(load(_sum_of(10**5)))[:2] == ([], [])


def test_simplify_leaves_it_alone_and_onnxsim_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    graph = load(_sum_of(3 * 10**9))
    ctx = PassContext(Target("onnxruntime"))
    run_pass(Simplify(), graph, ctx)
    assert [node.name for node in graph.nodes] == ["make", "sum", "add"]
    assert [note.node for note in ctx.notes] == ["make"]
    assert capfd.readouterr() == ("", "")


def test_simplify_still_folds_what_is_small() -> None:
    graph = load(_sum_of(1000))
    run_pass(Simplify(), graph, PassContext(Target("onnxruntime")))
    assert len(graph.nodes) == 1
