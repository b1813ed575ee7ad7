from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from tests.passes.feeding import Pictures, context, run_pass
from tests.passes.graphs import build
from yocc.compiler.graph import Graph, load, refresh, to_proto
from yocc.passes.quantize import Quantize
from yocc.runtime.backends.onnxruntime import OnnxRuntimeBackend, OnnxRuntimeSession
from yocc.runtime.backends.unsigned import store_unsigned

SHAPE = (1, 4, 8, 8)


def test_two_weights_of_a_first_layer_do_not_overflow_on_bright_pictures(tmp_path: Path) -> None:
    """Kernels that add two products of uint8 and int8 in 16 bits lose what is beyond 32767."""
    single = np.eye(4, dtype=np.float32).reshape(4, 4, 1, 1)
    weights = {"w": np.full((4, 4, 3, 3), 0.5, np.float32), "v": single, "u": single}
    nodes = ["c: a = Conv(x, w)", "r: h = Relu(a)", "d: b = Conv(h, v)", "s: k = Relu(b)", "e: y = Conv(k, u)"]
    graph = build(nodes, weights, ["y"], SHAPE)
    refresh(graph)
    pictures = Pictures([{"x": np.full(SHAPE, level, np.float32)} for level in (0.0, 0.5, 1.0)])
    backend = OnnxRuntimeBackend()
    target = backend.target({})
    run_pass(Quantize(), graph, context(target, pictures))
    refresh(graph)
    before = to_proto(graph).SerializeToString(deterministic=True)
    artifact = backend.build(graph, target, tmp_path)
    assert to_proto(graph).SerializeToString(deterministic=True) == before
    made = {node.name: node.inputs[1].inputs[0] for node in load(artifact.model).nodes if node.name in "cd"}
    assert made["c"].inputs[0].dtype == made["d"].inputs[0].dtype == np.int8
    assert np.abs(made["c"].inputs[0].values.astype(int)).max() <= 64 < made["d"].inputs[0].values.max()
    signed = OnnxRuntimeSession(before, threads=1, optimize=False)
    stored = OnnxRuntimeSession(artifact.model, threads=1, optimize=True)
    for arrays in pictures:
        wanted = signed.run(arrays)["y"]
        np.testing.assert_allclose(stored.run(arrays)["y"], wanted, atol=0.02 * np.abs(wanted).max())


def test_weights_of_layers_that_read_another_straight_do_not_overflow_either(tmp_path: Path) -> None:
    """What they read is around the middle of the range, from which large weights would overflow."""
    weights = {"w": np.ones((4, 4, 1, 1), np.float32), "v": np.full((8, 4, 1, 1), 0.25, np.float32)}
    weights["u"] = np.ones((4, 8, 1, 1), np.float32)
    nodes = ["f: g = Relu(x)", "c: a = Conv(g, w)", "d: b = Conv(a, v)", "r: h = Relu(b)", "e: y = Conv(h, u)"]
    graph = build(nodes, weights, ["y"], SHAPE)
    model = _built(graph, tmp_path)
    assert _types(model, "d") == {"d": np.int8}
    second = next(node for node in load(model).nodes if node.name == "d")
    assert np.abs(second.inputs[1].inputs[0].inputs[0].values.astype(int)).max() <= 64


def test_layers_behind_a_depthwise_layer_without_activation_do_not_overflow(tmp_path: Path) -> None:
    depthwise = np.zeros((4, 1, 3, 3), np.float32)
    depthwise[:, 0, 1, 1] = (1, -1, 1, -1)
    weights = {"w": np.ones((4, 4, 1, 1), np.float32), "d": depthwise, "v": np.full((8, 4, 1, 1), 0.25, np.float32)}
    weights["v"][1::2, 1::2] = -0.25
    weights["u"] = np.ones((4, 8, 1, 1), np.float32)
    nodes = [
        "f: g = Relu(x)", "c: a = Conv(g, w)", "r: h = Relu(a)", "d: b = Conv<group=4, pads=[1, 1, 1, 1]>(h, d)",
        "p: k = Conv(b, v)", "q: m = Relu(k)", "e: y = Conv(m, u)",
    ]  # fmt: skip
    graph = build(nodes, weights, ["y"], SHAPE)
    model = _built(graph, tmp_path)
    assert _types(model, "dp") == {"d": np.int8, "p": np.uint8}
    signed = OnnxRuntimeSession(to_proto(graph).SerializeToString(), threads=1, optimize=False)
    stored = OnnxRuntimeSession(model, threads=1, optimize=True)
    for arrays in _noise():
        wanted = signed.run(arrays)["y"]
        np.testing.assert_allclose(stored.run(arrays)["y"], wanted, atol=0.03 * np.abs(wanted).max())


def test_other_models_are_written_as_they_are(tmp_path: Path) -> None:
    graph = build(["c: a = Conv(x, w)", "r: y = Relu(a)"], {"w": (4, 4, 1, 1)}, ["y"], SHAPE)
    backend = OnnxRuntimeBackend()
    artifact = backend.build(graph, backend.target({}), tmp_path)
    assert to_proto(load(artifact.model)).SerializeToString(deterministic=True) == to_proto(graph).SerializeToString(
        deterministic=True
    )


def _noise() -> Pictures:
    random = np.random.default_rng(0)
    return Pictures([{"x": random.random(SHAPE, dtype=np.float32)} for _ in range(4)])


def _built(graph: Graph, folder: Path) -> Path:
    """The file of a graph that was quantized on noise."""
    refresh(graph)
    backend = OnnxRuntimeBackend()
    run_pass(Quantize(), graph, context(backend.target({}), _noise()))
    refresh(graph)
    return backend.build(graph, backend.target({}), folder).model


def _types(model: Path, names: str) -> dict[str, Any]:
    """Of the integers that layers' weights are stored as."""
    chosen = (node for node in load(model).nodes if node.name in names)
    return {node.name: node.inputs[1].inputs[0].inputs[0].dtype for node in chosen}


def test_layers_of_other_domains_are_not_looked_at() -> None:
    """Their inputs need be none of a layer's; one can have no input at all."""
    graph = build(["c: y = Add(x, k)"], {"k": (1,)}, ["y"], SHAPE)
    constant = gs.Node("ConvTranspose", "k", {"value_float": 0.5}, [], [gs.Variable("k", np.float32)], domain="strange")
    graph.nodes[0].inputs[1] = constant.outputs[0]
    graph.nodes.insert(0, constant)
    assert store_unsigned(graph) == 0
