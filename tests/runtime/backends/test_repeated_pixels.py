from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests import oracles
from tests.passes.graphs import build
from yocc.compiler.graph import Graph, refresh, to_proto
from yocc.compiler.graph.verify import problems
from yocc.runtime.backends.repeated_pixels import repeat_pixels

FEEDS = {"x": np.random.default_rng(1).normal(size=(2, 3, 4, 5)).astype(np.float32)}
FLOOR = 'coordinate_transformation_mode="asymmetric", nearest_mode="floor"'


def upsampling(attributes: str, scales: tuple[float, ...] = (1, 1, 2, 3), *, quantized: bool = True) -> Graph:
    lines = [
        "q: a = QuantizeLinear(x, s, z)", "d: b = DequantizeLinear(a, s, z)", f"r: c = Resize<{attributes}>(b, , f)",
        "e: g = QuantizeLinear(c, s, z)" if quantized else "e: g = Sigmoid(c)",
        "h: y = DequantizeLinear(g, s, z)" if quantized else "h: y = Neg(g)",
    ]  # fmt: skip
    constants = {"s": np.float32(0.03), "z": np.uint8(120), "f": np.array(scales, np.float32)}
    graph = build(lines, constants, ["y"], shape=(2, 3, 4, 5))
    refresh(graph)
    return graph


@pytest.mark.parametrize(
    "attributes", [f'{FLOOR}, mode="nearest"', 'mode="nearest"', 'coordinate_transformation_mode="half_pixel"']
)
def test_each_pixel_is_repeated(attributes: str) -> None:
    graph = upsampling(attributes)
    wanted = oracles.run(to_proto(graph), FEEDS)["y"]
    assert repeat_pixels(graph) == 1
    assert problems(graph) == []
    assert "Resize" not in [node.op for node in graph.nodes]
    np.testing.assert_array_equal(oracles.run(to_proto(graph), FEEDS)["y"], wanted)


@pytest.mark.parametrize(
    ("attributes", "scales"),
    [
        (FLOOR, (1, 1, 1.5, 2)),
        (FLOOR, (1, 2, 2, 2)),
        ('coordinate_transformation_mode="asymmetric", nearest_mode="ceil"', (1, 1, 2, 2)),
        ('coordinate_transformation_mode="align_corners"', (1, 1, 3, 3)),
        ('mode="linear"', (1, 1, 2, 2)),
    ],
)
def test_other_sizes_and_places_are_left_alone(attributes: str, scales: tuple[float, ...]) -> None:
    assert repeat_pixels(upsampling(attributes, scales)) == 0


def test_floats_are_left_alone() -> None:
    assert repeat_pixels(upsampling(FLOOR, quantized=False)) == 0


@pytest.mark.slow
def test_nothing_is_moved_between_quantized_layers(tmp_path: Path) -> None:
    """onnxruntime keeps channels last between quantized convolutions."""
    lines = [
        "q: a = QuantizeLinear(x, s, z)", "d: b = DequantizeLinear(a, s, z)", "w1: w = DequantizeLinear(v, t, u)",
        "c1: c = Conv(b, w)", "q1: e = QuantizeLinear(c, s, z)", "d1: g = DequantizeLinear(e, s, z)",
        f"r: h = Resize<{FLOOR}>(g, , f)", "q2: i = QuantizeLinear(h, s, z)", "d2: j = DequantizeLinear(i, s, z)",
        "w2: k = DequantizeLinear(v, t, u)", "c2: l = Conv(j, k)", "q3: m = QuantizeLinear(l, s, z)",
        "d3: y = DequantizeLinear(m, s, z)",
    ]  # fmt: skip
    codes = np.random.default_rng(0).integers(-127, 128, (3, 3, 1, 1)).astype(np.int8)
    constants = {"s": np.float32(0.03), "z": np.uint8(120), "f": np.array([1, 1, 2, 2], np.float32), "v": codes}
    graph = build(lines, constants | {"t": np.float32(0.01), "u": np.int8(0)}, ["y"], shape=(2, 3, 4, 5))
    refresh(graph)
    repeat_pixels(graph)
    found = oracles.optimized_operators(to_proto(graph), tmp_path)
    assert found.count("Transpose") <= 2
    assert found.count("QLinearConv") == 2
