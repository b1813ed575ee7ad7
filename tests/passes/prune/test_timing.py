from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import onnx
import pytest

from tests.networks.topologies import TOPOLOGIES
from tests.passes.feeding import context, drawn
from tests.passes.prune.planning import counted, mapped, removed
from yocc.compiler.graph import load, to_proto
from yocc.compiler.graph.cost import layer_costs
from yocc.compiler.graph.shapes import concrete_shapes
from yocc.compiler.pipeline.passes import Arrays
from yocc.passes.prune import timing
from yocc.passes.prune.latency import table_latency
from yocc.passes.prune.timing import by_node, measure_table, time_ratio, timing_feeds


class CountingProfiler:
    """A device on which each MAC takes a microsecond, under the names of tensors with an ending."""

    device, threads = "a counting device", 1

    def __call__(self, model: onnx.ModelProto, inputs: Arrays) -> Mapping[str, float]:  # noqa: ARG002 # the protocol's
        graph = load(model)
        outputs = {node.name: node.outputs[0].name for node in graph.nodes}
        costs = layer_costs(graph, concrete_shapes(graph))
        return {f"{outputs[cost.node]}_nchwc": cost.macs / 1e3 for cost in costs} | {"reorder": 0.5}


def test_kernels_belong_to_the_node_with_the_longest_name_before_theirs() -> None:
    graph = load(TOPOLOGIES["residual"](0))
    first, second = (node.name for node in graph.nodes[:2])
    times, rest = by_node(graph, {f"{first}_x": 1.0, first: 2.0, f"{second}/fused": 3.0, "else": 4.0})
    assert times == {first: 3.0, second: 3.0}
    assert rest == 4.0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bottleneck", "c2f"])
def test_a_measured_table_predicts_networks_it_has_not_seen(name: str) -> None:
    graph, shapes, channels = mapped(TOPOLOGIES[name](0))
    ctx = context()
    table = measure_table(graph, ctx, CountingProfiler())
    assert (table.device, table.threads, table.rest) == ("a counting device", 1, 0.5)
    latency = table_latency(graph, shapes, channels, table)
    random = np.random.default_rng(5)
    for _ in range(3):
        counts = np.array([random.integers(1, len(group.classes) + 1) for group in channels.groups])
        kept = np.ones(channels.classes, dtype=bool)
        for group, count in zip(channels.groups, counts, strict=True):
            kept[group.classes[count:]] = False
        found = counted(removed(graph, shapes, channels, kept)).macs / 1e3 + 0.5
        assert latency.total(counts.astype(np.float64)) == pytest.approx(found, rel=0.02)


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
