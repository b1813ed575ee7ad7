"""Relu and Clip in front of a quantization: the same codes without them, or clipped as codes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import oracles
from tests.passes.feeding import Pictures, context, run_pass
from tests.passes.graphs import build
from yocc.compiler.graph import Graph, load, refresh, to_proto
from yocc.compiler.graph.verify import problems
from yocc.passes.quantize import Quantize
from yocc.runtime.backends.clipping import clip_codes
from yocc.runtime.backends.onnxruntime import OnnxRuntimeBackend, OnnxRuntimeSession

SHAPE = (1, 3, 6, 5)


def _clipped(clip: str, scale: float, zero: int, values: dict[str, float] | None = None, code: Any = np.uint8) -> Graph:
    weights: dict[str, Any] = {name: np.float32(value) for name, value in (values or {}).items()}
    weights |= {"w": (4, 3, 1, 1), "s": np.float32(scale), "z": np.array(zero, code)}
    nodes = [
        "c: a = Conv(x, w)",
        f"k: b = {clip}",
        "q: n = QuantizeLinear(b, s, z)",
        "d: y = DequantizeLinear(n, s, z)",
    ]
    graph = build(nodes, weights, ["y"], SHAPE)
    refresh(graph)
    return graph


def _outputs(graph: Graph) -> Any:
    feeds = {"x": 3 * np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)}
    return oracles.run(to_proto(graph), feeds)["y"]


@pytest.mark.slow
@given(
    low=st.none() | st.floats(-4, 4),
    high=st.none() | st.floats(-4, 4),
    scale=st.floats(0.003, 0.2),
    zero=st.integers(-128, 127),
    signed=st.booleans(),
)
def test_codes_are_the_same(low: float | None, high: float | None, scale: float, zero: int, *, signed: bool) -> None:
    values = {name: value for name, value in (("l", low), ("h", high)) if value is not None}
    clip = f"Clip(a, {'l' if low is not None else ''}{', h' if high is not None else ''})"
    if not values:
        clip = "Relu(a)"
    graph = _clipped(
        clip.replace("(a, )", "(a)"), scale, zero if signed else zero + 128, values, np.int8 if signed else np.uint8
    )
    wanted = _outputs(graph)
    assert clip_codes(graph) == 1
    assert problems(graph) == []
    np.testing.assert_array_equal(_outputs(graph), wanted)


@pytest.mark.parametrize(
    ("clip", "zero", "values", "left"),
    [
        ("Relu(a)", 0, {}, []),
        ("Relu(a)", 9, {}, [(9, 255)]),
        ("Clip(a, l)", 9, {"l": -0.45}, []),
        ("Clip(a, l)", 9, {"l": -0.35}, [(2, 255)]),
        ("Clip(a, l, h)", 0, {"l": 0.0, "h": 6.0}, [(0, 120)]),
        ("Clip(a, l, h)", 0, {"l": 0.0, "h": 12.75}, []),
    ],
)
def test_bounds_inside_the_range_stay_as_codes(
    clip: str, zero: int, values: dict[str, float], left: list[tuple[int, int]]
) -> None:
    graph = _clipped(clip, 0.05, zero, values)
    wanted = _outputs(graph)
    assert clip_codes(graph) == 1
    clips = [node for node in graph.nodes if node.op in ("Clip", "Relu")]
    assert [tuple(int(bound.values) for bound in node.inputs[1:]) for node in clips] == left
    assert all(node.inputs[1].dtype == np.uint8 for node in clips)
    np.testing.assert_array_equal(_outputs(graph), wanted)


def test_what_is_read_elsewhere_is_clipped_in_float() -> None:
    graph = _clipped("Relu(a)", 0.05, 0)
    graph.outputs.append(graph.tensors()["b"])
    refresh(graph)
    assert clip_codes(graph) == 0


def test_nothing_stands_between_a_layer_and_its_quantization(tmp_path: Path) -> None:
    """A lower bound below zero, as of an activation in place of SiLU."""
    nodes = ["c: a = Conv(x, w)", "k: h = Clip(a, l)", "e: y = Conv(h, v)"]
    weights: dict[str, Any] = {"w": (16, 3, 3, 3), "v": (16, 16, 1, 1), "l": np.float32(-0.2)}
    graph = build(nodes, weights, ["y"], (1, 3, 12, 12))
    refresh(graph)
    backend = OnnxRuntimeBackend()
    random = np.random.default_rng(0)
    pictures = Pictures([{"x": random.random((1, 3, 12, 12), dtype=np.float32)} for _ in range(4)])
    run_pass(Quantize(), graph, context(backend.target({}), pictures))
    refresh(graph)
    artifact = backend.build(graph, backend.target({}), tmp_path)
    assert not any(node.op == "Clip" for node in load(artifact.model).nodes)
    session = OnnxRuntimeSession(artifact.model, threads=1)
    for feeds in pictures:
        wanted = oracles.run(to_proto(graph), feeds)["y"]
        np.testing.assert_allclose(session.run(feeds)["y"], wanted, atol=0.02 * np.abs(wanted).max())
