from __future__ import annotations

import numpy as np

from tests.passes.feeding import context, run_pass, smooth
from tests.passes.graphs import build
from yocc.compiler.graph import Graph, refresh, to_proto
from yocc.passes.encode import Encode
from yocc.passes.factorize import Factorize
from yocc.runtime.backends.onnxruntime import OnnxRuntimeSession


def outputs(graph: Graph, feeds: dict[str, np.ndarray]) -> np.ndarray:
    found: np.ndarray = OnnxRuntimeSession(to_proto(graph).SerializeToString(), threads=1).run(feeds)["y"]
    return found


def test_pairs_of_low_rank_are_encoded_as_other_layers_are() -> None:
    nodes = [
        "c: a = Conv<pads=[1, 1, 1, 1]>(x, w)",
        "r: b = Relu(a)",
        "d: e = Conv<pads=[1, 1, 1, 1]>(b, v)",
        "s: h = Relu(e)",
    ]
    weights = {"w": (16, 4, 3, 3), "v": (16, 16, 3, 3), "u": (4, 16, 1, 1)}
    graph = build([*nodes, "l: y = Conv(h, u)"], weights, ["y"])
    refresh(graph)
    pictures = smooth(to_proto(graph), 6)
    ctx = context(feeds=pictures)
    assert run_pass(Factorize(rank=8), graph, ctx) > 0
    refresh(graph)
    pairs = [node.name for node in graph.nodes if node.name.endswith("_low_rank")]
    assert pairs
    exact = [outputs(graph, arrays) for arrays in pictures]
    encoded = run_pass(Encode(code="uniform", bits=8), graph, ctx)
    refresh(graph)
    assert encoded == sum(node.op == "Conv" for node in graph.nodes)
    found = [outputs(graph, arrays) for arrays in pictures]
    noise = sum(float(np.square(one - other).sum()) for one, other in zip(exact, found, strict=True))
    signal = sum(float(np.square(one).sum()) for one in exact)
    assert 10 * np.log10(signal / noise) > 30
