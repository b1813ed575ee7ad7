from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import pytest

from tests.networks.topologies import TOPOLOGIES
from tests.passes.feeding import context
from tests.passes.prune.planning import counted, mapped, removed
from yocc.compiler.graph import load
from yocc.compiler.graph.cost import layer_costs
from yocc.compiler.graph.shapes import concrete_shapes
from yocc.compiler.pipeline.passes import Arrays
from yocc.passes.prune.latency import table_latency
from yocc.passes.prune.timing import measure_table


class CountingProfiler:
    """A device on which each MAC takes a microsecond, under the names of tensors with an ending."""

    device, threads = "a counting device", 1

    def __call__(self, model: onnx.ModelProto, inputs: Arrays) -> Mapping[str, float]:  # noqa: ARG002 # the protocol's
        graph = load(model)
        outputs = {node.name: node.outputs[0].name for node in graph.nodes}
        costs = layer_costs(graph, concrete_shapes(graph))
        return {f"{outputs[cost.node]}_nchwc": cost.macs / 1e3 for cost in costs} | {"reorder": 0.5}


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
