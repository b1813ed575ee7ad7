from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import oracles
from tests.passes.graphs import build
from yocc.compiler.graph import Graph, refresh, to_proto
from yocc.compiler.graph.verify import problems
from yocc.runtime.backends.openvino import OpenVinoBackend
from yocc.runtime.backends.tall_kernels import widen_tall_kernels

SHAPE = (1, 3, 16, 16)


def _tall(rows: int, channels: int, attributes: str) -> Graph:
    """A quantized layer of rows x 1 behind a float one."""
    random = np.random.default_rng(0)
    weights: dict[str, Any] = {
        "v": random.normal(size=(channels, 3, 1, 1)).astype(np.float32),
        "w": random.integers(-63, 64, (16, channels, rows, 1)).astype(np.int8),
        "s": np.array(0.02, np.float32),
        "z": np.array(40, np.uint8),
        "t": random.uniform(0.01, 0.02, 16).astype(np.float32),
        "u": np.zeros(16, np.int8),
    }
    nodes = [
        "f: a = Conv(x, v)",
        "p: q = QuantizeLinear(a, s, z)",
        "d: b = DequantizeLinear(q, s, z)",
        "g: k = DequantizeLinear<axis=0>(w, t, u)",
        f"c: y = Conv<{attributes}>(b, k)",
    ]
    graph = build(nodes, weights, ["y"], SHAPE)
    refresh(graph)
    return graph


def _feeds() -> dict[str, Any]:
    return {"x": np.random.default_rng(1).normal(size=SHAPE).astype(np.float32)}


@pytest.mark.parametrize(
    ("rows", "attributes"),
    [
        (3, "pads=[1, 0, 1, 0]"),
        (3, "pads=[1, 0, 1, 0], strides=[2, 2]"),
        (2, "pads=[1, 2, 0, 1], dilations=[1, 3]"),
        (3, 'auto_pad="SAME_LOWER"'),
    ],
)
def test_a_column_of_zeros_changes_nothing(rows: int, attributes: str) -> None:
    graph = _tall(rows, 8, attributes)
    wanted = oracles.run(to_proto(graph), _feeds())["y"]
    assert widen_tall_kernels(graph) == 1
    assert problems(graph) == []
    found = oracles.run(to_proto(graph), _feeds())["y"]
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)
    assert widen_tall_kernels(graph) == 0


@pytest.mark.parametrize(
    ("rows", "channels", "attributes"),
    [(3, 8, "pads=[0, 1, 0, 1]"), (1, 8, "pads=[1, 0, 1, 0]"), (3, 32, "pads=[1, 0, 1, 0]")],
)
def test_other_kernels_stay(rows: int, channels: int, attributes: str) -> None:
    assert widen_tall_kernels(_tall(rows, channels, attributes)) == 0


@pytest.mark.skipif(OpenVinoBackend().available() is not None, reason="needs openvino")
@pytest.mark.parametrize(("rows", "channels"), [(2, 24), (3, 16), (3, 20), (4, 16), (7, 8)])
def test_openvino_computes_the_border_right(rows: int, channels: int, tmp_path: Path) -> None:
    graph = _tall(rows, channels, "pads=[1, 0, 1, 0]")
    wanted = oracles.run(to_proto(graph), _feeds())["y"]
    backend = OpenVinoBackend()
    with backend.session(backend.build(graph, backend.target({}), tmp_path), threads=1) as session:
        found = session.run(_feeds())["y"]
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-3 * np.abs(wanted).max())
