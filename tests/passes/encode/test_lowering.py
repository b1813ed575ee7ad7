from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracles import run
from tests.passes.graphs import build
from yocc.compiler.graph import Graph, load, refresh, to_proto, verify
from yocc.compiler.graph.cost import weight_of
from yocc.fitting.codec import CODECS, make_codec
from yocc.passes.encode.lowering import Decoders
from yocc.passes.simplify.folding import fold_constants

SHAPES = [(6, 4, 3, 3), (5, 4, 1, 1), (1, 4, 1, 1), (3, 4, 3, 1)]


def decoded_graph(name: str, bits: int, shape: tuple[int, ...]) -> tuple[Graph, np.ndarray]:
    """A convolution whose weight is decoded, and that weight."""
    graph = build(["c: y = Conv(x, w)"], {"w": shape}, ["y"])
    codec = make_codec(name, bits)
    random = np.random.default_rng(bits)
    codes = random.integers(0, 2**bits, shape).astype(np.uint8)
    scales = random.uniform(0.5, 2, shape[0])
    decoders = Decoders(graph)
    graph.nodes[0].inputs[1] = decoders.scaled("p", decoders.decoded("p", codes, codec, np.float32), scales, 0)
    refresh(graph)
    weight = codec.decode(codes).astype(np.float32) * scales.astype(np.float32).reshape(-1, 1, 1, 1)
    return graph, weight


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(name=st.sampled_from(sorted(CODECS)), bits=st.integers(2, 8), shape=st.sampled_from(SHAPES))
def test_the_runtime_decodes_what_was_coded(name: str, bits: int, shape: tuple[int, ...]) -> None:
    graph, weight = decoded_graph(name, bits, shape)
    assert verify.problems(graph) == []
    picture = np.zeros((1, 4, 8, 8), np.float32)
    tensor = graph.nodes[-1].inputs[1].name
    np.testing.assert_array_equal(run(to_proto(graph), {"x": picture}, taps=[tensor])[tensor], weight)


@pytest.mark.parametrize("bits", range(2, 9))
def test_onnxruntime_decodes_once_when_it_loads_the_model(bits: int, tmp_path: object) -> None:
    graph, weight = decoded_graph("apot", bits, (16, 4, 3, 3))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = f"{tmp_path}/optimized.onnx"
    onnxruntime.InferenceSession(to_proto(graph).SerializeToString(), options, providers=["CPUExecutionProvider"])
    optimized = load(options.optimized_model_filepath)
    assert [node.op for node in optimized.nodes] == ["Conv"]
    np.testing.assert_array_equal(optimized.nodes[0].inputs[1].values, weight)


def test_int8_levels_become_codes_of_a_coded_convolution() -> None:
    graph = build(["c: y = Conv(x, w)"], {"w": (6, 4, 1, 1)}, ["y"])
    codec = make_codec("log2", 4)
    codes = np.arange(24, dtype=np.uint8).reshape(6, 4, 1, 1) % 16
    levels = Decoders(graph).decoded("p", codes, codec, np.int8)
    dequantized = gs.Variable("d", dtype=np.float32)
    scale, zero = gs.Constant("s", np.ones(6, np.float32)), gs.Constant("z", np.zeros(6, np.int8))
    graph.nodes.append(gs.Node("DequantizeLinear", "q", {"axis": 0}, [levels, scale, zero], [dequantized]))
    graph.nodes[0].inputs[1] = dequantized
    refresh(graph)
    assert verify.problems(graph) == []
    tapped = run(to_proto(graph), {"x": np.zeros((1, 4, 8, 8), np.float32)}, taps=["d"])["d"]
    np.testing.assert_array_equal(tapped, codec.decode(codes).astype(np.float32))


@pytest.mark.parametrize("bits", [4, 5])
def test_parameters_and_shapes_are_those_of_the_decoded_weight(bits: int) -> None:
    graph, weight = decoded_graph("uniform", bits, (5, 4, 3, 3))
    node = next(node for node in graph.nodes if node.op == "Conv")
    found = weight_of(node)
    assert found is not None
    np.testing.assert_array_equal(found.values, weight)


def test_folding_leaves_packed_codes_packed() -> None:
    graph, _ = decoded_graph("log2", 4, (6, 4, 3, 3))
    before = len(graph.nodes)
    assert fold_constants(graph) == 0
    assert len(graph.nodes) == before


def test_tables_are_shared_and_names_that_are_taken_are_not_taken_again() -> None:
    graph = build(["p_rows: p = Conv(x, w)", "c: y = Conv(p, v)"], {"w": (4, 4, 1, 1), "v": (4, 4, 1, 1)}, ["y"])
    decoders = Decoders(graph)
    codec = make_codec("log2", 4)
    for node in list(graph.nodes):
        levels = decoders.decoded("p", np.zeros((4, 4, 1, 1), np.uint8), codec, np.float32)
        node.inputs[1] = decoders.scaled("p", levels, np.ones(4), 0)
    refresh(graph)
    assert verify.problems(graph) == []
    names = [node.name for node in graph.nodes]
    assert len(names) == len(set(names))
    tables = {node.inputs[0].name for node in graph.nodes if node.op == "Gather"}
    assert len(tables) == 1
