from __future__ import annotations

import numpy as np
import pytest

from tests.oracles import random_feeds, run
from tests.passes.feeding import context, run_pass, smooth
from tests.passes.graphs import build
from yocc.compiler.graph import refresh, to_proto, verify
from yocc.passes.quantize import Quantize
from yocc.passes.simplify import Simplify
from yocc.passes.simplify.axes import all_axes
from yocc.runtime.backends.onnxruntime import OnnxRuntimeBackend, reference_executor

PAD = "p: y = Pad(x, pads, , axes)"
WEIGHTS = {"pads": [1, 2, 0, 3], "axes": [-1, 1]}


@pytest.mark.parametrize(
    ("node", "weights"),
    [
        (PAD, WEIGHTS),
        ('p: y = Pad<mode = "reflect">(x, pads, , axes)', {"pads": [1, 2, 3, 1], "axes": [3, 2]}),
        ("p: y = Pad(x, pads, value, axes)", {**WEIGHTS, "value": np.float32(0.5)}),
        ("r: y = Resize<axes = [3, 1]>(x, , scales)", {"scales": np.array([2, 3], np.float32)}),
        ("r: y = Resize<axes = [2]>(x, , , sizes)", {"sizes": [13]}),
    ],
)
def test_all_axes_compute_the_same(node: str, weights: dict[str, np.ndarray]) -> None:
    graph = build([node], weights, ["y"], opset=18)
    before = to_proto(graph)
    assert all_axes(graph) == 1
    refresh(graph)
    assert verify.problems(graph) == []
    assert "axes" not in graph.nodes[0].attrs
    assert len(graph.nodes[0].inputs) < 4 or graph.nodes[0].op == "Resize"
    feeds = random_feeds(before, 0)
    np.testing.assert_array_equal(run(to_proto(graph), feeds)["y"], run(before, feeds)["y"])
    assert all_axes(graph) == 0


@pytest.mark.parametrize(
    ("node", "weights", "shape"),
    [
        ("r: y = Resize<axes = [2]>(x, , , sizes)", {"sizes": [13]}, [1, 4, 8, "w"]),
        ('r: y = Resize<axes = [2, 3], keep_aspect_ratio_policy = "not_larger">(x, , , s)', {"s": [13, 9]}, None),
        ("p: y = Pad(x, pads)", {"pads": [0, 0, 1, 1, 0, 0, 1, 1]}, None),
    ],
)
def test_what_cannot_be_said_of_all_axes_stays(node: str, weights: dict[str, list[int]], shape: list | None) -> None:
    assert all_axes(build([node], weights, ["y"], shape, opset=18)) == 0


@pytest.mark.parametrize(
    ("node", "opset"),
    [
        ("p: y = Pad<pads = [0, 0, 1, 1, 0, 0, 1, 1]>(x)", 9),
        ("r: y = Resize(x, s)", 10),
        ("r: y = Resize(x, s, s)", 11),
    ],
)
def test_forms_of_older_opsets_stay(node: str, opset: int) -> None:
    scales = {"s": np.array([1, 1, 2, 2], np.float32)} if "Resize" in node else {}
    assert all_axes(build([node], scales, ["y"], opset=opset)) == 0


@pytest.mark.parametrize(
    ("node", "weights"),
    [
        ("p: c = Pad(b, pads, , axes)", {"pads": [1, 1, 1, 1], "axes": [2, 3]}),
        ('p: c = Resize<mode = "nearest", axes = [2, 3]>(b, , s)', {"s": np.array([2, 2], np.float32)}),
    ],
)
def test_a_quantized_graph_runs_in_onnxruntime(node: str, weights: dict[str, np.ndarray]) -> None:
    graph = build(
        ["c0: a = Conv(x, w)", "r0: b = Relu(a)", node, "c1: d = Conv(c, v)", "r1: e = Relu(d)", "c2: y = Conv(e, u)"],
        {"w": (16, 4, 3, 3), "v": (16, 16, 3, 3), "u": (4, 16, 1, 1), **weights},
        ["y"],
        opset=18,
    )
    before = to_proto(graph)
    ctx = context(OnnxRuntimeBackend().target({}), smooth(before, 4))
    for step in (Simplify(), Quantize()):
        run_pass(step, graph, ctx)
        refresh(graph)
    feeds = next(iter(smooth(before, 1)))
    found = reference_executor(threads=1, optimize=True)(to_proto(graph))(feeds)["y"]
    wanted = run(before, feeds)["y"]
    assert np.square(found - wanted).mean() < 0.05 * np.square(wanted).mean()
