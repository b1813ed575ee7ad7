from __future__ import annotations

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest
from onnx import helper, numpy_helper

from tests.oracles import run
from tests.passes.feeding import context, run_pass, smooth
from yocc.compiler.graph import Graph, load, refresh, to_proto, verify
from yocc.compiler.pipeline.lineage import Teacher
from yocc.compiler.pipeline.passes import Detection, PassContext
from yocc.compiler.pipeline.target import Target
from yocc.passes.prune import Prune
from yocc.passes.recover import Recover
from yocc.passes.recover.waves import waves


def shared_head(*, biases: tuple[str, str] = ("d", "d"), chained: bool = False) -> onnx.ModelProto:
    """Two levels with one head of two layers; chained, the second layer's weight is that of the first level's too."""
    random = np.random.default_rng(0)
    shapes = {"a": (12, 3, 3, 3), "b": (12, 12, 3, 3), "h": (12, 12, 3, 3), "l": (7, 12, 1, 1), "d": (12,), "e": (12,)}
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["a0"], name="fine", pads=[1] * 4, strides=[2, 2]),
        helper.make_node("Relu", ["a0"], ["a1"], name="relu1"),
        helper.make_node("Conv", ["a1", "b"], ["b0"], name="coarse", pads=[1] * 4, strides=[2, 2]),
        helper.make_node("Relu", ["b0"], ["b1"], name="relu2"),
        helper.make_node("Conv", ["a1", "h", biases[0]], ["h0"], name="head fine", pads=[1] * 4),
        helper.make_node("Relu", ["h0"], ["h1"], name="relu3"),
        helper.make_node("Conv", ["b1", "h", biases[1]], ["h2"], name="head coarse", pads=[1] * 4),
        helper.make_node("Relu", ["h2"], ["h3"], name="relu4"),
        helper.make_node("Conv", ["h1", "l"], ["y0"], name="last fine"),
        helper.make_node("Conv", ["h3", "l"], ["y1"], name="last coarse"),
    ]
    if chained:
        nodes[6].input[0] = "h1"
    graph = helper.make_graph(
        nodes,
        "shared",
        [helper.make_tensor_value_info("x", 1, [1, 3, 16, 16])],
        [helper.make_tensor_value_info(name, 1, None) for name in ("y0", "y1")],
        [numpy_helper.from_array(random.normal(0, 0.3, s).astype(np.float32), n) for n, s in shapes.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def pruned(model: onnx.ModelProto) -> tuple[Graph, PassContext]:
    graph = load(model)
    ctx = context(Target("test", channel_multiple=1), smooth(model, 24))
    ctx.detection = Detection(classes=2, objectness=True)
    run_pass(Prune(ratio=0.3, criterion="l2"), graph, ctx)
    refresh(graph)
    return graph, ctx


def names(graph: Graph, teacher: Teacher | None) -> list[list[tuple[str, ...]]]:
    assert teacher is not None
    return [[tuple(node.name for node in together) for together in wave] for wave in waves(graph, teacher)]


def matrices(graph: Graph) -> int:
    """Values of all weights, each counted once; biases are not among them."""
    constants = {t.name: t for t in graph.tensors().values() if isinstance(t, gs.Constant)}
    return sum(tensor.values.size for tensor in constants.values() if tensor.values.ndim == 4)


def error(model: onnx.ModelProto, graph: Graph) -> float:
    squares = []
    for arrays in list(smooth(model, 30))[24:]:
        wanted, found = run(model, arrays), run(to_proto(graph), arrays)
        squares += [np.square(found[name] - wanted[name]).mean() for name in wanted]
    return float(np.mean(squares))


def test_layers_of_one_weight_are_refitted_together_and_stay_one() -> None:
    model = shared_head()
    graph, ctx = pruned(model)
    size, before = matrices(graph), error(model, graph)
    assert names(graph, ctx.teacher) == [
        [("coarse",)],
        [("head fine", "head coarse")],
        [("last fine", "last coarse")],
    ]
    assert run_pass(Recover(), graph, ctx) == 5
    refresh(graph)
    assert verify.problems(graph) == []
    assert matrices(graph) == size
    assert error(model, graph) < 0.8 * before
    layers = {node.name: node for node in graph.nodes}
    assert layers["head fine"].inputs[1] is layers["head coarse"].inputs[1]
    assert "loss" in ctx.details["recover"]["layers"]["last coarse"]


@pytest.mark.parametrize(
    "model", [shared_head(biases=("d", "e")), shared_head(chained=True)], ids=["biases", "chained"]
)
def test_layers_that_cannot_stay_in_step_are_left_alone(model: onnx.ModelProto) -> None:
    graph, ctx = pruned(model)
    size = matrices(graph)
    found = {name for wave in names(graph, ctx.teacher) for together in wave for name in together}
    assert not {"head fine", "head coarse"} & found
    run_pass(Recover(), graph, ctx)
    refresh(graph)
    assert verify.problems(graph) == []
    layers = {node.name: node for node in graph.nodes}
    assert layers["head fine"].inputs[1] is layers["head coarse"].inputs[1]
    assert matrices(graph) == size
