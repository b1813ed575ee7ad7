"""Two outputs of a first layer as one: the same sums, from blocks of planes and of bytes with channels last."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
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

Kernel = tuple[int, int]
SIX = "strides=[2, 2], pads=[2, 2, 2, 2]"


def _coded(attributes: str, kernel: Kernel, shape: tuple[int, ...], outputs: int = 3, *, last: bool = False) -> Graph:
    """A quantized layer between codes, whose sums are exact in float32: all scales are powers of two.

    With `last`, what is given has its channels last.
    """
    random = np.random.default_rng(1)
    weights = {
        "w": random.integers(-9, 10, (outputs, shape[1], *kernel)).astype(np.int8),
        "s": np.float32(1), "z": np.uint8(3), "u": np.zeros(outputs, np.int8),
        "t": np.exp2(random.integers(-2, 3, outputs)).astype(np.float32),
        "b": random.integers(-99, 99, outputs).astype(np.int32),
        "e": np.float32(16), "h": np.uint8(120),
    }  # fmt: skip
    nodes = [
        "d: f = DequantizeLinear(q, s, z)",
        "g: k = DequantizeLinear<axis=0>(w, t, u)",
        "i: j = DequantizeLinear<axis=0>(b, t)",
        f"c: y = Conv<{attributes}>(f, k, j)",
        "m: n = QuantizeLinear(y, e, h)",
        "o: r = DequantizeLinear(n, e, h)",
    ]
    if last:
        nodes = ["p: a = QuantizeLinear(x, s, z)", "v: q = Transpose<perm=[0, 3, 1, 2]>(a)", *nodes]
        shape = (shape[0], *shape[2:], shape[1])
    else:
        nodes = ["p: q = QuantizeLinear(x, s, z)", *nodes]
    graph = build(nodes, {name: np.asarray(value) for name, value in weights.items()}, ["r"], shape)
    refresh(graph)
    return graph


def _outputs(graph: Graph) -> Any:
    shape = tuple(graph.inputs[0].shape)
    feeds = {"x": np.random.default_rng(0).integers(0, 250, shape).astype(np.float32)}
    return oracles.run(to_proto(graph), feeds)["r"]


def _layer(graph: Graph) -> Any:
    return next(node for node in graph.nodes if node.name == "c")


@pytest.mark.slow
@given(
    kernel=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    before=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    after=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    channels=st.integers(1, 4),
    batch=st.integers(1, 2),
    last=st.booleans(),
)
def test_sums_of_pairs_are_those_of_single_outputs(
    kernel: Kernel, before: Kernel, after: Kernel, channels: int, batch: int, *, last: bool
) -> None:
    graph = _coded(f"strides=[2, 2], pads={[*before, *after]}", kernel, (batch, channels, 12, 16), last=last)
    wanted = _outputs(graph)
    changed = read_blocks(graph)
    assert problems(graph) == []
    np.testing.assert_array_equal(_outputs(graph), wanted)
    assert changed == (_layer(graph).attrs["strides"] == [1, 1])


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(
    ("attributes", "kernel", "blocks", "sides"),
    [
        (SIX, (6, 6), [3, 2], [8, 5]),
        ("strides=[2, 2], pads=[1, 1, 1, 1]", (3, 3), [2, 2], [8, 4]),
        ('strides=[2, 2], auto_pad="SAME_UPPER"', (3, 3), [2, 2], [8, 4]),
        ("strides=[2, 2]", (2, 2), [1, 1], [8, 4]),
    ],
)
def test_usual_first_layers_give_two_outputs_at_once(
    attributes: str, kernel: Kernel, blocks: list[int], sides: list[int], *, last: bool
) -> None:
    graph = _coded(attributes, kernel, (1, 3, 16, 16), last=last)
    wanted = _outputs(graph)
    assert read_blocks(graph) == 1
    assert problems(graph) == []
    layer = _layer(graph)
    assert layer.attrs["kernel_shape"] == blocks
    assert layer.inputs[0].shape == [1, 24, *sides]
    assert layer.outputs[0].shape == [1, 6, 8, 4]
    np.testing.assert_array_equal(_outputs(graph), wanted)
    assert read_blocks(graph) == 0


@pytest.mark.parametrize(
    ("attributes", "shape", "outputs"),
    [
        ("strides=[1, 1], pads=[2, 2, 2, 2]", (1, 3, 16, 16), 3),
        ("strides=[2, 2], pads=[2, 2, 2, 2], dilations=[2, 2]", (1, 3, 16, 16), 3),
        (SIX, (1, 5, 16, 16), 3),
    ],
)
def test_other_layers_stay(attributes: str, shape: tuple[int, ...], outputs: int) -> None:
    graph = _coded(attributes, (6, 6), shape, outputs)
    before = to_proto(graph).SerializeToString(deterministic=True)
    assert read_blocks(graph) == 0
    assert to_proto(graph).SerializeToString(deterministic=True) == before


@pytest.mark.parametrize(("shape", "outputs"), [((1, 3, 16, 18), 3), ((1, 3, 16, 16), 64), ((1, 3, 16, 16), 1)])
def test_others_give_one_output_at_a_time(shape: tuple[int, ...], outputs: int) -> None:
    graph = _coded(SIX, (6, 6), shape, outputs)
    wanted = _outputs(graph)
    assert read_blocks(graph) == 1
    assert _layer(graph).inputs[0].shape[1] == 12
    assert _layer(graph).outputs[0].shape[1] == outputs
    np.testing.assert_array_equal(_outputs(graph), wanted)


def test_outputs_that_are_read_in_float_stay_apart() -> None:
    graph = _coded(SIX, (6, 6), (1, 3, 16, 16))
    graph.outputs.append(_layer(graph).outputs[0])
    refresh(graph)
    assert read_blocks(graph) == 1
    assert graph.outputs[1].shape == [1, 3, 8, 8]


@pytest.mark.parametrize("side", [16, 32])
def test_the_file_gives_what_the_graph_gives(side: int, tmp_path: Path) -> None:
    shape = (1, 3, side, side)
    nodes = [f"c: a = Conv<{SIX}>(x, w)", "r: h = Relu(a)", "e: y = Conv(h, v)"]
    graph = build(nodes, {"w": (8, 3, 6, 6), "v": (4, 8, 1, 1)}, ["y"], shape)
    refresh(graph)
    backend = OnnxRuntimeBackend()
    random = np.random.default_rng(0)
    pictures = Pictures([{"x": random.random(shape, dtype=np.float32)} for _ in range(4)])
    run_pass(Quantize(), graph, context(backend.target({}), pictures))
    refresh(graph)
    artifact = backend.build(graph, backend.target({}), tmp_path)
    layer = next(node for node in load(artifact.model).nodes if node.name == "c")
    assert (layer.attrs["kernel_shape"], layer.attrs["strides"]) == ([3, 2], [1, 1])
    written = OnnxRuntimeSession(artifact.model, threads=1)
    plain = onnx.ModelProto.FromString(to_proto(graph).SerializeToString())
    for feeds in pictures:
        wanted = oracles.run(plain, feeds)["y"]
        np.testing.assert_allclose(written.run(feeds)["y"], wanted, atol=0.02 * np.abs(wanted).max())
