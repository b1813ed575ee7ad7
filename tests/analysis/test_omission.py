from __future__ import annotations

import numpy as np
import pytest

from tests.networks.attention import attention
from tests.oracles import run
from tests.passes.drop.networks import residual
from tests.passes.feeding import context, smooth
from tests.passes.graphs import build
from yocc.analysis.blocks import find_blocks
from yocc.analysis.omission import exit_axis, omissions
from yocc.compiler.graph import load, to_proto
from yocc.compiler.graph.shapes import concrete_shapes


def test_the_loss_is_what_the_outputs_lose_and_the_shift_what_is_added() -> None:
    """Behind the block is one layer, so that the second-order change is all there is; random signs estimate it."""
    weights = {"w": (4, 4, 1, 1), "u": (4, 4, 1, 1), "z": (3, 4, 1, 1)}
    model = to_proto(build(["stem: h = Conv(x, w)", "one: r = Conv(h, u)", "last: y = Conv(r, z)"], weights, ["y"]))
    graph, ctx = load(model), context(feeds=smooth(model, 12))
    shapes = concrete_shapes(graph)
    blocks, _ = find_blocks(graph, [shapes])
    assert ctx.feeds is not None
    found, by = omissions(graph, shapes, blocks, ctx.feeds, ctx, count=12)
    assert by == "outputs"
    taps = [run(model, arrays, ["h", "r"]) for arrays in smooth(model, 12)]
    added = np.concatenate([tap["r"] - tap["h"] for tap in taps])
    np.testing.assert_allclose(found["one"].shift, added.mean(axis=(0, 2, 3)), atol=1e-5)
    last = next(tensor for tensor in model.graph.initializer if tensor.name == "z")
    matrix = np.frombuffer(last.raw_data, np.float32).reshape(3, 4)
    errors = np.einsum("nc,bchw->bnhw", matrix, added - added.mean(axis=(0, 2, 3), keepdims=True))
    lost = [np.square(error).sum() / tap["y"].var() for error, tap in zip(errors, taps, strict=True)]
    assert found["one"].loss == pytest.approx(np.mean(lost), rel=0.25)


def test_the_same_again() -> None:
    model = residual()
    results = []
    for _ in range(2):
        graph, ctx = load(model), context(feeds=smooth(model, 4))
        shapes = concrete_shapes(graph)
        assert ctx.feeds is not None
        results.append(omissions(graph, shapes, find_blocks(graph, [shapes])[0], ctx.feeds, ctx, count=4)[0])
    assert {name: found.loss for name, found in results[0].items()} == {
        name: found.loss for name, found in results[1].items()
    }
    assert min(results[0], key=lambda name: results[0][name].loss) in ("b2/sum", "b2/act")


def test_where_channels_are() -> None:
    graph = load(attention(0))
    shapes = concrete_shapes(graph)
    nodes = {node.name: node for node in graph.nodes}
    assert {exit_axis(block, nodes, shapes) for block in find_blocks(graph, [shapes])[0].values()} == {1}
    weights = {"w": (8, 8), "z": (8, 3)}
    graph = build(["one: h = MatMul(x, w)", "act: r = Relu(h)", "last: y = MatMul(r, z)"], weights, ["y"], [1, 5, 8])
    shapes = concrete_shapes(graph)
    blocks, _ = find_blocks(graph, [shapes])
    assert exit_axis(blocks["act"], {node.name: node for node in graph.nodes}, shapes) == 2
    ctx = context(feeds=smooth(to_proto(graph), 4))
    assert ctx.feeds is not None
    assert omissions(graph, shapes, blocks, ctx.feeds, ctx, count=4)[0]["act"].shift.shape == (8,)
