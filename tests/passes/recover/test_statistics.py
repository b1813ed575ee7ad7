from __future__ import annotations

import numpy as np
import pytest

from tests.networks.topologies import TOPOLOGIES
from tests.oracles import run
from tests.passes.feeding import context, run_pass, smooth
from tests.passes.recover.test_recover import error, pictured
from yocc.compiler.graph import Graph, convert_opset, load, refresh, to_proto, verify
from yocc.compiler.pipeline.passes import PassContext
from yocc.passes.fuse import Fuse
from yocc.passes.prune import Prune
from yocc.passes.recover import Recover


def pruned(name: str, ctx: PassContext, *, fuse: bool, ratio: float = 0.3) -> Graph:
    graph = convert_opset(load(TOPOLOGIES[name](0)), 13)
    run_pass(Prune(ratio=ratio), graph, ctx)
    refresh(graph)
    if fuse:
        run_pass(Fuse(), graph, ctx)
        refresh(graph)
    return graph


@pytest.mark.parametrize("fuse", [True, False], ids=["folded", "normalized"])
@pytest.mark.parametrize("name", ["dense", "residual"])
def test_statistics_bring_the_outputs_nearer_to_the_originals(name: str, fuse: bool) -> None:
    model = TOPOLOGIES[name](0)
    ctx = pictured(model, 32)
    graph = pruned(name, ctx, fuse=fuse)
    before = error(model, graph)
    assert run_pass(Recover(method="statistics"), graph, ctx) > 0
    refresh(graph)
    assert verify.problems(graph) == []
    assert error(model, graph) < before


def test_channels_get_back_the_mean_and_deviation_they_had() -> None:
    model = TOPOLOGIES["residual"](0)
    ctx = pictured(model, 16)
    graph = pruned("residual", ctx, fuse=True)
    run_pass(Recover(method="statistics"), graph, ctx)
    refresh(graph)
    assert ctx.teacher is not None
    name = next(iter(ctx.details["recover"]["shifted"]))
    original, changed = (next(n for n in g.nodes if n.name == name) for g in (_fused(model), graph))
    moments = []
    for owner, node in ((_fused(model), original), (graph, changed)):
        values = np.concatenate([_output(owner, node.outputs[0].name, arrays) for arrays in smooth(model, 16)])
        moments.append((values.mean(axis=(0, 2, 3)), values.std(axis=(0, 2, 3))))
    kept = ctx.teacher.kept[name]
    np.testing.assert_allclose(moments[1][0], moments[0][0][kept], atol=1e-2)
    np.testing.assert_allclose(moments[1][1], moments[0][1][kept], rtol=0.05, atol=1e-3)


def test_nothing_pruned_changes_nothing() -> None:
    model = TOPOLOGIES["residual"](0)
    ctx = pictured(model)
    graph = pruned("residual", ctx, fuse=True, ratio=1e-6)
    before = to_proto(graph).SerializeToString(deterministic=True)
    assert run_pass(Recover(method="statistics"), graph, ctx) == 0
    assert to_proto(graph).SerializeToString(deterministic=True) == before


def _fused(model: object) -> Graph:
    graph = convert_opset(load(model), 13)
    run_pass(Fuse(), graph, context())
    refresh(graph)
    return graph


def _output(graph: Graph, name: str, arrays: dict[str, np.ndarray]) -> np.ndarray:
    proto = to_proto(graph)
    proto.graph.output.add().name = name
    return run(proto, arrays)[name]
