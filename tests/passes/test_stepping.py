from __future__ import annotations

from unittest.mock import patch

import numpy as np
import onnx_graphsurgeon as gs
import pytest

from tests.oracles import run
from tests.passes.feeding import context, drawn
from yocc.compiler.graph import load, to_proto
from yocc.models.topologies import TOPOLOGIES
from yocc.passes import stepping
from yocc.passes.stepping import Stepper, by_depth


@pytest.mark.parametrize("kept", [2**29, 0])
@pytest.mark.parametrize("name", sorted(TOPOLOGIES))
def test_steps_give_what_a_whole_run_gives(name: str, kept: int) -> None:
    model = TOPOLOGIES[name](seed=0)
    graph = load(model)
    feeds = drawn(model, 2)
    layers = {node.name for node in graph.nodes if node.op in ("Conv", "Gemm", "MatMul")}
    stepper = Stepper(graph, feeds, context())
    with patch.object(stepping, "KEPT_BYTES", kept):
        for group in by_depth(graph, layers):
            taps = [node.outputs[0].name for node in group]
            found = list(stepper.step(taps))
            assert len(found) == len(feeds)
            for arrays, values in zip(feeds, found, strict=True):
                exact = run(to_proto(graph), arrays, taps=taps)
                for tap in taps:
                    np.testing.assert_allclose(values[tap], exact[tap], rtol=1e-4, atol=1e-5)


def test_a_layer_changed_between_two_steps_is_seen_by_the_second() -> None:
    model = TOPOLOGIES["residual"](seed=0)
    graph = load(model)
    feeds = drawn(model, 2)
    first, second = (
        group[0] for group in by_depth(graph, {node.name for node in graph.nodes if node.op == "Conv"})[:2]
    )
    stepper = Stepper(graph, feeds, context())
    list(stepper.step([first.inputs[0].name]))
    first.inputs[1] = gs.Constant("other", first.inputs[1].values * np.float32(2))
    (values, _) = stepper.step([second.inputs[0].name])
    name = second.inputs[0].name
    exact = run(to_proto(graph), feeds.arrays[0], taps=[name])[name]
    np.testing.assert_allclose(values[name], exact, rtol=1e-4, atol=1e-5)


def test_kept_tensors_spare_the_nodes_before_them() -> None:
    model = TOPOLOGIES["residual"](seed=0)
    graph = load(model)
    sizes = []
    ctx = context()
    executor = ctx.executor
    assert executor is not None

    def counting(proto):  # type: ignore[no-untyped-def]
        sizes.append(len(proto.graph.node))
        return executor(proto)

    ctx.executor = counting
    stepper = Stepper(graph, drawn(model, 1), ctx)
    for node in graph.nodes:
        list(stepper.step([node.outputs[0].name]))
    assert sum(sizes) == len(graph.nodes)


def test_groups_do_not_feed_each_other() -> None:
    graph = load(TOPOLOGIES["c2f"](seed=0))
    layers = {node.name for node in graph.nodes if node.op == "Conv"}
    groups = by_depth(graph, layers)
    assert {node.name for group in groups for node in group} == layers
    for group in groups:
        made = {tensor.name for node in group for tensor in node.outputs}
        seen = set(made)
        for node in graph.nodes:
            if any(tensor.name in seen for tensor in node.inputs):
                assert not any(node is other for other in group)
                seen.update(tensor.name for tensor in node.outputs)
