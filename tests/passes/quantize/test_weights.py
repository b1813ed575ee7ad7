from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from tests.oracles import run
from tests.passes.feeding import Pictures, context, run_pass, smooth
from tests.passes.graphs import build
from tests.runtime.backends.test_openvino import needs_openvino
from yocc.compiler.graph import Graph, refresh, to_proto, verify, weight_bytes
from yocc.passes.quantize import Quantize
from yocc.runtime.backends.onnxruntime import OnnxRuntimeBackend
from yocc.runtime.backends.openvino import OpenVinoBackend


def shared_by(count: int) -> Graph:
    """So many convolutions that share one weight, with ReLU between them."""
    nodes, last = [], "x"
    for place in range(count):
        nodes += [f"c{place}: a{place} = Conv<pads = [1, 1, 1, 1]>({last}, w)", f"r{place}: b{place} = Relu(a{place})"]
        last = f"b{place}"
    weight = np.random.default_rng(0).normal(0, 0.06, (32, 32, 3, 3)).astype(np.float32)
    return build(nodes, {"w": weight}, [last], [1, 32, 8, 8])


@pytest.mark.parametrize("rounding", ["gram", "nearest"])
def test_a_weight_that_layers_share_is_stored_once(rounding: str) -> None:
    graph = shared_by(4)
    before = to_proto(graph)
    ctx = context(OnnxRuntimeBackend().target({}), smooth(before, 4))
    run_pass(Quantize(rounding=rounding), graph, ctx)
    refresh(graph)
    assert verify.problems(graph) == []
    weights = {id(node.inputs[1].inputs[0].inputs[0]) for node in graph.nodes if node.op == "Conv"}
    assert len(weights) == 1
    assert weight_bytes(graph) < 0.5 * 4 * 32 * 32 * 9
    feeds = next(iter(smooth(before, 1)))
    exact, quantized = run(before, feeds)["b3"], run(to_proto(graph), feeds)["b3"]
    assert np.square(quantized - exact).mean() < 0.05 * np.square(exact).mean()


def test_a_layer_that_stays_float_reads_the_codes_of_the_others_and_a_note_says_so() -> None:
    graph = shared_by(3)
    ctx = context(OnnxRuntimeBackend().target({}), smooth(to_proto(graph), 4))
    run_pass(Quantize(rounding="nearest"), graph, ctx)
    notes = {note.node: note.message for note in ctx.notes if "quantized layers share it" in note.message}
    assert list(notes) == ["c2"]
    assert all(node.inputs[1].inputs[0].op == "DequantizeLinear" for node in graph.nodes if node.op == "Conv")


def tied() -> Graph:
    """An encoder whose weight the decoder reads transposed."""
    nodes = [
        "g0: a = Gemm(x, w)",
        "r0: b = Relu(a)",
        "g1: c = Gemm<transB = 1>(b, w)",
        "r1: d = Relu(c)",
        "g2: y = Gemm(d, v)",
    ]
    return build(nodes, {"w": (16, 16), "v": (16, 4)}, ["y"], [1, 16])


def test_a_weight_read_along_both_axes_is_stored_once_with_one_scale() -> None:
    graph = tied()
    ctx = context(OnnxRuntimeBackend().target({}), smooth(to_proto(graph), 4))
    run_pass(Quantize(rounding="nearest"), graph, ctx)
    decoders = [node.inputs[1].inputs[0] for node in graph.nodes if node.name in ("g0", "g1")]
    assert decoders[0] is decoders[1]
    assert decoders[0].inputs[1].values.size == 1


def test_openvino_gets_a_weight_read_along_both_axes_twice() -> None:
    """Its plugin computes a shared one wrongly, with a signal to noise below 0 dB."""
    graph = tied()
    ctx = context(OpenVinoBackend().target({}), smooth(to_proto(graph), 4))
    run_pass(Quantize(rounding="nearest"), graph, ctx)
    axes = {node.name: node.inputs[1].inputs[0].attrs["axis"] for node in graph.nodes if node.name in ("g0", "g1")}
    assert axes == {"g0": 1, "g1": 0}


@pytest.mark.parametrize("rounding", ["gram", "nearest"])
def test_weights_of_layers_that_read_the_input_or_a_layer_may_leave_half_of_their_range_free(rounding: str) -> None:
    single = np.eye(4, dtype=np.float32).reshape(4, 4, 1, 1)
    weights = {"w": np.full((4, 4, 3, 3), 0.5, np.float32), "v": single, "p": single, "u": single}
    nodes = ["c: a = Conv(x, w)", "r: h = Relu(a)", "d: b = Conv(h, v)"]
    nodes += ["s: k = Conv(b, p)", "t: m = Relu(k)", "e: y = Conv(m, u)"]
    graph = build(nodes, weights, ["y"])
    refresh(graph)
    exact = to_proto(graph)
    target = dataclasses.replace(OpenVinoBackend().target({}), first_weights="half")
    run_pass(Quantize(rounding=rounding), graph, context(target, smooth(exact, 4)))
    refresh(graph)
    stored = {node.name: node.inputs[1].inputs[0].inputs[0].values for node in graph.nodes if node.name in "cds"}
    assert 40 < np.abs(stored["c"]).max() <= 63 < np.abs(stored["d"]).max()
    assert 40 < np.abs(stored["s"]).max() <= 63
    feeds = next(iter(smooth(exact, 1)))
    wanted = run(exact, feeds)["y"]
    assert np.abs(run(to_proto(graph), feeds)["y"] - wanted).max() < 0.05 * np.abs(wanted).max()


@needs_openvino
def test_bright_pictures_do_not_overflow_in_openvino(tmp_path: Path) -> None:
    """Kernels that add two products of uint8 and int8 in 16 bits lose what is beyond 32767."""
    rng = np.random.default_rng(0)
    weights = {"w": rng.uniform(0.2, 0.5, (16, 16, 3, 3)).astype(np.float32), "v": np.eye(16, dtype=np.float32)}
    weights["v"] = weights["v"].reshape(16, 16, 1, 1)
    graph = build(["c: a = Conv(x, w)", "d: y = Conv(a, v)"], weights, ["y"], [1, 16, 8, 8])
    refresh(graph)
    exact = to_proto(graph)
    pictures = Pictures([{"x": np.full((1, 16, 8, 8), level, np.float32)} for level in (0.0, 0.5, 1.0)])
    backend = OpenVinoBackend()
    target = backend.target({})
    run_pass(Quantize(), graph, context(target, pictures))
    refresh(graph)
    largest = max(np.abs(run(exact, arrays)["y"]).max() for arrays in pictures)
    with backend.session(backend.build(graph, target, tmp_path), threads=1) as session:
        for arrays in pictures:
            wanted = run(exact, arrays)["y"]
            np.testing.assert_allclose(session.run(arrays)["y"], wanted, atol=0.03 * largest)
