from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import onnx
import pytest

from tests.networks.topologies import TOPOLOGIES
from tests.passes.feeding import context, drawn
from tests.passes.graphs import build
from yocc.analysis import timing
from yocc.analysis.timing import by_node, time_ratio, timing_feeds
from yocc.compiler.graph import load, to_proto
from yocc.compiler.pipeline.passes import Arrays
from yocc.runtime.measuring.profiling import OnnxRuntimeProfiler


def test_kernels_belong_to_the_node_with_the_longest_name_before_theirs() -> None:
    graph = load(TOPOLOGIES["residual"](0))
    first, second = (node.name for node in graph.nodes[:2])
    times, rest = by_node(graph, {f"{first}_x": 1.0, first: 2.0, f"{second}/fused": 3.0, "else": 4.0})
    assert times == {first: 3.0, second: 3.0}
    assert rest == 4.0


def test_a_kernel_named_after_what_is_fused_with_a_layer_is_the_layers() -> None:
    lines = ["c: a = Conv(x, w)", "b: d = Add(a, x)", "r: e = Relu(d)", "n: f = Neg(e)", "l: g = Conv(f, w)"]
    graph = build([*lines, "s: y = Relu(g)"], {"w": (4, 4, 1, 1)}, ["y"])
    times, rest = by_node(graph, {"e_nchwc": 3.0, "n": 1.0, "l": 2.0, "y_token_1": 0.5})
    assert times == {"c": 3.0, "n": 1.0, "l": 2.0, "s": 0.5}
    assert rest == 0


def test_layers_of_a_network_with_relu_have_times_of_their_own() -> None:
    """onnxruntime computes each Relu within the layer in front of it."""
    lines = ["c: a = Conv(x, w)", "r: b = Relu(a)", "d: c1 = Conv(b, w)", "s: y = Relu(c1)"]
    graph = build(lines, {"w": (16, 16, 1, 1)}, ["y"], [1, 16, 8, 8])
    feeds = drawn(to_proto(graph), 1).arrays[0]
    times, _ = by_node(graph, OnnxRuntimeProfiler(1, rounds=2)(to_proto(graph), feeds))
    assert {"c", "d"} <= set(times)
    assert not {"r", "s"} & set(times)


def test_the_ratio_is_of_fast_runs_in_alternation(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a clock of its own, on which the machine slows down from run to run and stalls now and then."""
    model, other = (TOPOLOGIES["residual"](seed) for seed in (0, 1))
    now, ran = [0.0], []

    def executor(model: onnx.ModelProto) -> Callable[[Arrays], Arrays]:
        own = 0.2 if model.graph.initializer[0].raw_data == first else 0.1

        def run(_: Arrays) -> Arrays:
            ran.append(own)
            now[0] += own * 1.001 ** len(ran) * (50 if len(ran) % 7 == 0 else 1)
            return {}

        return run

    first = to_proto(load(model)).graph.initializer[0].raw_data
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])
    ctx = replace(context(feeds=drawn(model, 1)), executor=executor)
    assert time_ratio(ctx, load(model), load(other)) == pytest.approx(0.5, abs=0.01)
    assert ran[4:8] == [0.2, 0.1, 0.1, 0.2]


def test_without_pictures_noise_of_the_right_shape_is_timed() -> None:
    model = TOPOLOGIES["residual"](0)
    feeds = timing_feeds(load(model), context())
    assert {name: array.shape for name, array in feeds.items()} == {
        name: array.shape for name, array in drawn(model, 1).arrays[0].items()
    }
    assert all(array.dtype == np.float32 for array in feeds.values())
