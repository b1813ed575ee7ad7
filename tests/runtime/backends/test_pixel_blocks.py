from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import oracles
from tests.passes.feeding import Pictures, context, run_pass
from tests.passes.graphs import build
from yocc.compiler.graph import Graph, load, refresh, to_proto
from yocc.compiler.graph.verify import problems
from yocc.passes.quantize import Quantize
from yocc.runtime.backends.onnxruntime import OnnxRuntimeBackend, OnnxRuntimeSession
from yocc.runtime.backends.pixel_blocks import read_blocks


def _coded(attributes: str, kernel: tuple[int, int], shape: tuple[int, ...]) -> Graph:
    """A quantized layer whose sums are exact in float32: all scales are 1."""
    random = np.random.default_rng(1)
    weights = {
        "w": random.integers(-9, 10, (2, shape[1], *kernel)).astype(np.int8),
        "s": np.float32(1), "z": np.uint8(3), "t": np.ones(2, np.float32), "u": np.zeros(2, np.int8),
    }  # fmt: skip
    nodes = [
        "p: q = QuantizeLinear(x, s, z)",
        "d: f = DequantizeLinear(q, s, z)",
        "g: k = DequantizeLinear<axis=0>(w, t, u)",
        f"c: y = Conv<{attributes}>(f, k)",
    ]
    graph = build(nodes, {name: np.asarray(value) for name, value in weights.items()}, ["y"], shape)
    refresh(graph)
    return graph


def _noise(shape: tuple[int, ...]) -> dict[str, Any]:
    return {"x": np.random.default_rng(0).integers(0, 250, shape).astype(np.float32)}


def _outputs(graph: Graph, feeds: dict[str, Any]) -> Any:
    return oracles.run(to_proto(graph), feeds)["y"]


@pytest.mark.slow
@given(
    kernel=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    before=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    after=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    channels=st.integers(1, 4),
)
def test_sums_of_blocks_are_those_of_pixels(
    kernel: tuple[int, int], before: tuple[int, int], after: tuple[int, int], channels: int
) -> None:
    shape = (1, channels, 12, 8)
    graph = _coded(f"strides=[2, 2], pads={[*before, *after]}", kernel, shape)
    feeds = _noise(shape)
    wanted = _outputs(graph, feeds)
    changed = read_blocks(graph)
    assert problems(graph) == []
    np.testing.assert_array_equal(_outputs(graph, feeds), wanted)
    assert changed == (next(node for node in graph.nodes if node.name == "c").attrs["strides"] == [1, 1])


@pytest.mark.parametrize(
    ("attributes", "kernel", "blocks", "pads"),
    [
        ("strides=[2, 2], pads=[2, 2, 2, 2]", (6, 6), [3, 3], [1, 1, 1, 1]),
        ("strides=[2, 2], pads=[1, 1, 1, 1]", (3, 3), [2, 2], [1, 1, 0, 0]),
        ('strides=[2, 2], auto_pad="SAME_UPPER"', (3, 3), [2, 2], [0, 0, 1, 1]),
        ("strides=[2, 2]", (2, 2), [1, 1], [0, 0, 0, 0]),
    ],
)
def test_usual_first_layers_read_blocks(attributes: str, kernel: Any, blocks: list[int], pads: list[int]) -> None:
    graph = _coded(attributes, kernel, (1, 3, 8, 8))
    assert read_blocks(graph) == 1
    first = next(node for node in graph.nodes if node.name == "c")
    assert first.attrs["kernel_shape"] == blocks
    assert first.attrs["pads"] == pads
    assert first.inputs[0].shape == [1, 12, 4, 4]
    assert read_blocks(graph) == 0


@pytest.mark.parametrize(
    ("attributes", "shape"),
    [
        ("strides=[1, 1]", (1, 3, 8, 8)),
        ("strides=[2, 1]", (1, 3, 8, 8)),
        ("strides=[2, 2], dilations=[2, 2]", (1, 3, 8, 8)),
        ("strides=[2, 2]", (1, 3, 9, 8)),
        ("strides=[2, 2]", (1, 5, 8, 8)),
    ],
)
def test_other_layers_stay(attributes: str, shape: tuple[int, ...]) -> None:
    graph = _coded(attributes, (3, 3), shape)
    before = to_proto(graph).SerializeToString(deterministic=True)
    assert read_blocks(graph) == 0
    assert to_proto(graph).SerializeToString(deterministic=True) == before


def test_floats_stay() -> None:
    weights = {"w": (8, 3, 3, 3)}
    graph = build(["c: y = Conv<strides=[2, 2]>(x, w)"], weights, ["y"], (1, 3, 8, 8))
    refresh(graph)
    assert read_blocks(graph) == 0


def test_bytes_with_channels_last_are_copied_in_runs() -> None:
    graph = _coded("strides=[2, 2], pads=[1, 1, 1, 1]", (3, 3), (1, 3, 8, 8))
    quantize = next(node for node in graph.nodes if node.op == "QuantizeLinear")
    codes, bytes_ = quantize.outputs[0], gs.Variable("bytes", np.uint8)
    quantize.op, quantize.inputs, quantize.attrs = "Cast", quantize.inputs[:1], {"to": onnx.TensorProto.UINT8}
    quantize.outputs = [bytes_]
    graph.nodes.append(gs.Node("Transpose", "t", {"perm": [0, 3, 1, 2]}, [bytes_], [codes]))
    graph.inputs[0].shape = [1, 8, 8, 3]
    refresh(graph)
    feeds = _noise((1, 8, 8, 3))
    wanted = _outputs(graph, feeds)
    assert read_blocks(graph) == 1
    assert problems(graph) == []
    np.testing.assert_array_equal(_outputs(graph, feeds), wanted)
    assert next(node for node in graph.nodes if node.op == "Concat").inputs[0].dtype == np.uint8


def test_two_layers_may_read_one_picture() -> None:
    graph = _coded("strides=[2, 2], pads=[1, 1, 1, 1]", (3, 3), (1, 3, 8, 8))
    other = _coded("strides=[2, 2], pads=[1, 1, 1, 1]", (3, 3), (1, 3, 8, 8))
    for node in [node for node in other.nodes if node.op != "QuantizeLinear"]:
        node.name += "_2"
        for tensor in (*node.inputs, *node.outputs):
            tensor.name = tensor.name.removesuffix("_2") + "_2"
        graph.nodes.append(node)
    codes = next(node for node in graph.nodes if node.op == "QuantizeLinear").outputs[0]
    next(node for node in graph.nodes if node.name == "d_2").inputs[0] = codes
    graph.outputs += other.outputs
    refresh(graph)
    feeds = _noise((1, 3, 8, 8))
    wanted = oracles.run(to_proto(graph), feeds)
    assert read_blocks(graph) == 2
    assert problems(graph) == []
    for name, values in oracles.run(to_proto(graph), feeds).items():
        np.testing.assert_array_equal(wanted[name], values)


def test_codes_that_are_read_elsewhere_keep_their_order() -> None:
    graph = _coded("strides=[2, 2], pads=[1, 1, 1, 1]", (3, 3), (1, 3, 8, 8))
    codes = next(node for node in graph.nodes if node.op == "QuantizeLinear").outputs[0]
    other = gs.Variable("other", np.float32)
    decode = next(node for node in graph.nodes if node.name == "d")
    graph.nodes.append(gs.Node("DequantizeLinear", "o", {}, [codes, *decode.inputs[1:]], [other]))
    graph.outputs.append(other)
    refresh(graph)
    feeds = _noise((1, 3, 8, 8))
    wanted = oracles.run(to_proto(graph), feeds)
    assert read_blocks(graph) == 1
    found = oracles.run(to_proto(graph), feeds)
    for name, values in wanted.items():
        np.testing.assert_array_equal(found[name], values)


def test_the_file_reads_blocks_and_gives_what_the_graph_gives(tmp_path: Path) -> None:
    shape = (1, 3, 16, 16)
    nodes = ["c: a = Conv<strides=[2, 2], pads=[2, 2, 2, 2]>(x, w)", "r: h = Relu(a)", "e: y = Conv(h, v)"]
    graph = build(nodes, {"w": (64, 3, 6, 6), "v": (4, 64, 1, 1)}, ["y"], shape)
    refresh(graph)
    backend = OnnxRuntimeBackend()
    random = np.random.default_rng(0)
    pictures = Pictures([{"x": random.random(shape, dtype=np.float32)} for _ in range(4)])
    run_pass(Quantize(), graph, context(backend.target({}), pictures))
    refresh(graph)
    artifact = backend.build(graph, backend.target({}), tmp_path)
    layer = next(node for node in load(artifact.model).nodes if node.name == "c")
    assert (layer.attrs["kernel_shape"], layer.attrs["strides"]) == ([3, 3], [1, 1])
    written = OnnxRuntimeSession(artifact.model, threads=1)
    for feeds in pictures:
        wanted = _outputs(graph, feeds)
        np.testing.assert_allclose(written.run(feeds)["y"], wanted, atol=0.02 * np.abs(wanted).max())
