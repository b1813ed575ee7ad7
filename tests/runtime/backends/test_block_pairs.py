from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import oracles
from tests.passes.graphs import build
from yocc.compiler.graph import Graph, refresh, to_proto
from yocc.compiler.graph.verify import problems
from yocc.runtime.backends.block_pairs import read_blocks_in_pairs

SHAPE = (1, 3, 12, 8)


def pair(
    first: str = "strides=[2, 1], pads=[2, 0, 2, 0]",
    second: str = "strides=[1, 2], pads=[0, 2, 0, 2]",
    kernels: tuple[tuple[int, int], tuple[int, int]] = ((6, 1), (1, 6)),
    shape: tuple[int, ...] = SHAPE,
) -> Graph:
    """Two quantized layers whose sums are exact in float32: all scales are powers of two."""
    random = np.random.default_rng(1)
    weights = {
        "w": random.integers(-9, 10, (4, shape[1], *kernels[0])).astype(np.int8),
        "v": random.integers(-9, 10, (5, 4, *kernels[1])).astype(np.int8),
        "s": np.float32(1), "z": np.uint8(3), "m": np.float32(16), "n": np.uint8(120),
        "t": np.array([1, 2, 1, 0.5], np.float32), "u": np.zeros(4, np.int8),
        "o": np.ones(5, np.float32), "p": np.zeros(5, np.int8),
        "b": random.integers(-99, 99, 4).astype(np.int32), "a": np.array([1, 2, 1, 0.5], np.float32),
        "c": random.integers(-99, 99, 5).astype(np.float32),
    }  # fmt: skip
    nodes = [
        "q: g = QuantizeLinear(x, s, z)",
        "d: f = DequantizeLinear(g, s, z)",
        "dw: k = DequantizeLinear<axis=0>(w, t, u)",
        "db: h = DequantizeLinear<axis=0>(b, a)",
        f"one: i = Conv<{first}>(f, k, h)",
        "e: j = QuantizeLinear(i, m, n)",
        "de: l = DequantizeLinear(j, m, n)",
        "dv: r = DequantizeLinear<axis=0>(v, o, p)",
        f"two: y = Conv<{second}>(l, r, c)",
    ]
    graph = build(nodes, {name: np.asarray(value) for name, value in weights.items()}, ["y"], shape)
    refresh(graph)
    return graph


def run(graph: Graph) -> Any:
    shape = graph.inputs[0].shape
    return oracles.run(to_proto(graph), {"x": np.random.default_rng(0).integers(0, 250, shape).astype(np.float32)})["y"]


@pytest.mark.slow
@given(
    sizes=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    before=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    after=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    across=st.booleans(),
)
def test_sums_of_blocks_are_those_of_pixels(
    sizes: tuple[int, int], before: tuple[int, int], after: tuple[int, int], across: bool
) -> None:
    lines = [
        ("strides=[2, 1], pads=[{}, 0, {}, 0]", (sizes[0], 1)),
        ("strides=[1, 2], pads=[0, {}, 0, {}]", (1, sizes[1])),
    ]
    texts = [text.format(begin, end) for (text, _), begin, end in zip(lines, before, after, strict=True)]
    order = [1, 0] if across else [0, 1]
    graph = pair(texts[order[0]], texts[order[1]], (lines[order[0]][1], lines[order[1]][1]))
    wanted = run(graph)
    changed = read_blocks_in_pairs(graph)
    assert problems(graph) == []
    np.testing.assert_array_equal(run(graph), wanted)
    assert changed == all(node.attrs["strides"] == [1, 1] for node in graph.nodes if node.op == "Conv")


def test_the_pair_of_a_usual_first_layer() -> None:
    graph = pair()
    wanted = run(graph)
    assert read_blocks_in_pairs(graph) == 1
    assert problems(graph) == []
    np.testing.assert_array_equal(run(graph), wanted)
    first, second = (node for node in graph.nodes if node.op == "Conv")
    assert first.inputs[1].shape == [8, 12, 3, 1]
    assert second.inputs[1].shape == [5, 8, 1, 3]
    assert second.inputs[0].shape == [1, 8, 6, 4]
    assert read_blocks_in_pairs(graph) == 0


@pytest.mark.parametrize(
    "other",
    [
        {"first": "strides=[2, 1], pads=[2, 1, 2, 1]"},
        {"first": "strides=[2, 1], dilations=[2, 1], pads=[5, 0, 5, 0]"},
        {"second": "strides=[1, 1], pads=[0, 2, 0, 2]"},
        {"second": "strides=[2, 1], pads=[0, 2, 0, 2]"},
        {"shape": (1, 5, 12, 8)},
        {"shape": (1, 3, 13, 8)},
        {"kernels": ((6, 2), (1, 6))},
    ],
)
def test_other_layers_stay(other: dict[str, Any]) -> None:
    graph = pair(**other)
    before = to_proto(graph).SerializeToString(deterministic=True)
    assert read_blocks_in_pairs(graph) == 0
    assert to_proto(graph).SerializeToString(deterministic=True) == before


def test_floats_stay() -> None:
    lines = ["one: i = Conv<strides=[2, 1]>(x, w)", "two: y = Conv<strides=[1, 2]>(i, v)"]
    graph = build(lines, {"w": (4, 3, 6, 1), "v": (5, 4, 1, 6)}, ["y"], SHAPE)
    refresh(graph)
    assert read_blocks_in_pairs(graph) == 0
