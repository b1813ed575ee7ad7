from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tests.networks.topologies import TOPOLOGIES
from tests.passes.graphs import build
from tests.passes.prune.planning import mapped
from yocc.analysis.coupling.channels import ChannelMap
from yocc.compiler.graph import Graph, refresh, to_proto
from yocc.passes.prune.norms import bn_gamma, by_class, l1, l2


def chain() -> tuple[Graph, ChannelMap, np.ndarray, np.ndarray]:
    lines = ["c: a = Conv(x, w, b)", "r: d = Relu(a)", "e: y = Conv(d, v)"]
    rng = np.random.default_rng(0)
    w, v = rng.normal(size=(6, 4, 3, 3)).astype(np.float32), rng.normal(size=(2, 6, 1, 1)).astype(np.float32)
    graph = build(lines, {"w": w, "v": v, "b": np.full(6, 100, np.float32)}, ["y"])
    refresh(graph)
    graph, _, channels = mapped(to_proto(graph))
    return graph, channels, w, v


def test_norms_take_in_all_weights_that_go_with_a_channel_but_no_bias() -> None:
    graph, channels, w, v = chain()
    (group,) = channels.groups
    expected = np.abs(w).sum(axis=(1, 2, 3)) + np.abs(v).sum(axis=(0, 2, 3))
    np.testing.assert_allclose(l1(graph, channels)[group.classes], expected, rtol=1e-5)
    expected = np.sqrt(np.square(w).sum(axis=(1, 2, 3)) + np.square(v).sum(axis=(0, 2, 3)))
    np.testing.assert_allclose(l2(graph, channels)[group.classes], expected, rtol=1e-5)


def test_gamma_is_nan_where_there_is_no_batch_normalization() -> None:
    graph, channels, *_ = chain()
    assert np.isnan(bn_gamma(graph, channels)[channels.groups[0].classes]).all()


def test_gamma_is_the_mean_over_the_normalizations_of_a_class() -> None:
    """In a residual stage several normalizations scale the same channels."""
    graph, _, channels = mapped(TOPOLOGIES["residual"](0))
    nodes = {node.name: node for node in graph.nodes}
    found = bn_gamma(graph, channels)
    for group in channels.groups:
        gammas = [
            np.abs(nodes[cut.node].inputs[1].values)
            for cut in channels.cuts
            if cut.slot == 1 and nodes[cut.node].op == "BatchNormalization" and set(cut.atoms) == set(group.classes)
        ]
        assert len(gammas) >= len(group.producers)
        np.testing.assert_allclose(found[group.classes], np.mean(gammas, axis=0), rtol=1e-6)


def test_the_sign_of_gamma_does_not_matter() -> None:
    graph, _, channels = mapped(TOPOLOGIES["residual"](0))
    before = bn_gamma(graph, channels)
    for node in graph.nodes:
        if node.op == "BatchNormalization":
            node.inputs[1].values = -node.inputs[1].values
    np.testing.assert_array_equal(bn_gamma(graph, channels), before)


@pytest.mark.parametrize("measure", [l1, l2, bn_gamma])
def test_scaling_up_a_channel_raises_its_figure(measure: Callable[[Graph, ChannelMap], np.ndarray]) -> None:
    graph, _, channels = mapped(TOPOLOGIES["residual"](0))
    cut = next(
        cut
        for cut in channels.cuts
        if cut.role == ("along" if measure is bn_gamma else "out") and cut.slot == 1 and cut.atoms.all()
    )
    before = measure(graph, channels)
    node = next(node for node in graph.nodes if node.name == cut.node)
    values = np.array(node.inputs[1].values)
    values[0] *= 10
    node.inputs[1].values = values
    after = measure(graph, channels)
    changed = np.flatnonzero(before[1:] != after[1:]) + 1
    assert changed.tolist() == [cut.atoms[0]]
    assert after[changed[0]] > before[changed[0]]


def test_classes_are_averaged_over_all_places_they_occur() -> None:
    found = by_class([(np.array([1.0, 3.0]), np.array([1, 2])), (np.array([5.0]), np.array([[2]]))], 4)
    np.testing.assert_array_equal(found, [np.nan, 1.0, 4.0, np.nan])
