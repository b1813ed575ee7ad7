from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs
import pytest

from tests.passes.feeding import context, smooth
from yocc.compiler.graph import Graph, load, to_proto
from yocc.compiler.passes import Arrays, PassContext
from yocc.compiler.target import Target
from yocc.models.topologies import TOPOLOGIES
from yocc.passes.recover.advance import Advance

COUNT = 3


@pytest.fixture(params=sorted(TOPOLOGIES))
def subject(request: pytest.FixtureRequest) -> tuple[Graph, list[Arrays], PassContext]:
    model = TOPOLOGIES[request.param](0)
    return load(model), list(smooth(model, COUNT)), context(Target("test"))


def stops(graph: Graph) -> list[str]:
    """What each convolution reads."""
    return list(dict.fromkeys(node.inputs[0].name for node in graph.nodes if node.op == "Conv"))


@pytest.mark.parametrize("room", [0, 4096, 2**30], ids=["no room", "some room", "room"])
def test_each_stop_gives_what_a_run_from_the_start_gives(
    subject: tuple[Graph, list[Arrays], PassContext], room: int
) -> None:
    graph, pictures, ctx = subject
    advance = Advance(graph, pictures, ctx, room=room)
    for name in stops(graph):
        whole = Advance(graph, pictures, ctx, room=0)
        for found, expected in zip(advance.to([name]), whole.to([name]), strict=True):
            assert set(found) == {name}
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-5, atol=1e-6)


def test_a_layer_may_change_until_it_is_passed(subject: tuple[Graph, list[Arrays], PassContext]) -> None:
    graph, pictures, ctx = subject
    advance = Advance(graph, pictures, ctx)
    for name in stops(graph):
        list(advance.to([name]))
        for node in graph.nodes:
            if node.op == "Conv" and node.inputs[0].name == name:
                # A constant of its own: others may share the one it had.
                halved = node.inputs[1].values * np.float32(0.5)
                node.inputs[1] = gs.Constant(f"{node.name}_halved", halved)
    outputs = [tensor.name for tensor in graph.outputs]
    assert ctx.executor is not None
    run = ctx.executor(to_proto(graph))
    for found, arrays in zip(advance.to(outputs), pictures, strict=True):
        for name, expected in run(arrays).items():
            np.testing.assert_allclose(found[name], expected, rtol=1e-4, atol=1e-5)


def test_nothing_is_computed_twice(subject: tuple[Graph, list[Arrays], PassContext]) -> None:
    graph, pictures, ctx = subject
    counted: list[int] = []
    inner = ctx.executor
    assert inner is not None

    def counting(model: object) -> object:
        run = inner(model)  # type: ignore[arg-type]
        size = sum(node.op_type == "Conv" for node in model.graph.node)  # type: ignore[attr-defined]

        def counted_run(arrays: Arrays) -> Arrays:
            counted.append(size)
            return run(arrays)

        return counted_run

    ctx.executor = counting  # type: ignore[assignment]
    advance = Advance(graph, pictures, ctx)
    for name in stops(graph):
        list(advance.to([name]))
    convolutions = sum(node.op == "Conv" for node in graph.nodes)
    assert sum(counted) <= COUNT * convolutions
