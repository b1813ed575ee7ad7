from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import onnx
import pytest

from tests.networks.topologies import TOPOLOGIES
from tests.passes.feeding import context, drawn
from yocc.analysis import timing
from yocc.analysis.timing import by_node, time_ratio, timing_feeds
from yocc.compiler.graph import load, to_proto
from yocc.compiler.pipeline.passes import Arrays


def test_kernels_belong_to_the_node_with_the_longest_name_before_theirs() -> None:
    graph = load(TOPOLOGIES["residual"](0))
    first, second = (node.name for node in graph.nodes[:2])
    times, rest = by_node(graph, {f"{first}_x": 1.0, first: 2.0, f"{second}/fused": 3.0, "else": 4.0})
    assert times == {first: 3.0, second: 3.0}
    assert rest == 4.0


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
