from __future__ import annotations

import numpy as np
import pytest

from tests.networks.topologies import TOPOLOGIES
from tests.passes.prune.planning import equations, mapped
from yocc.compiler.pipeline.latency import LatencyTable, WidthTime
from yocc.compiler.pipeline.latency_terms import fit_terms
from yocc.errors import PassError
from yocc.passes.prune.latency import SquareRootLaw, table_latency

WIDTHS = [(16, 16), (16, 32), (48, 32), (64, 64), (32, 64)]


def times(constant: float, per_out: float, per_in: float, per_pair: float) -> list[WidthTime]:
    return [WidthTime(i, o, constant + per_out * o + per_in * i + per_pair * o * i) for i, o in WIDTHS]


@pytest.mark.parametrize("terms", [(0.5, 0.0, 0.0, 0.001), (0.1, 0.01, 0.02, 0.0005), (2.0, 0.0, 0.0, 0.0)])
def test_the_terms_that_made_times_are_found(terms: tuple[float, float, float, float]) -> None:
    np.testing.assert_allclose(fit_terms(times(*terms)), terms, rtol=1e-4, atol=1e-6)


def test_terms_are_not_negative_and_nothing_gives_nothing() -> None:
    falling = [WidthTime(16, 16, 2.0), WidthTime(16, 32, 1.0), WidthTime(16, 64, 0.5)]
    assert (fit_terms(falling) >= 0).all()
    assert not fit_terms([]).any()


@pytest.mark.parametrize("name", ["bottleneck", "c2f", "dense", "inverted_residual", "residual"])
def test_sums_over_a_table_are_those_of_the_widths_and_slopes_are_their_derivatives(name: str) -> None:
    graph, shapes, channels = mapped(TOPOLOGIES[name](0))
    convs = [node for node in graph.nodes if node.op == "Conv"]
    layers = {node.name: tuple(times(0.1, 0.01, 0.0, 0.002)) for node in convs}
    latency = table_latency(graph, shapes, channels, LatencyTable("test", 1, 5.0, layers))
    full = np.array([len(group.classes) for group in channels.groups], dtype=np.float64)
    ends = [(shapes.shapes[node.inputs[0].name][1], shapes.shapes[node.outputs[0].name][1]) for node in convs]
    assert latency.total(full) == pytest.approx(5.0 + sum(0.1 + 0.01 * o + 0.002 * i * o for i, o in ends), rel=1e-4)
    step = 1e-4
    for index, slope in enumerate(latency.slopes(full)):
        less = full.copy()
        less[index] -= step
        assert (latency.total(full) - latency.total(less)) / step == pytest.approx(slope, rel=1e-2, abs=1e-9)


def test_what_a_table_says_of_other_operators_counts_as_rest() -> None:
    graph, shapes, channels = mapped(TOPOLOGIES["residual"](0))
    conv = next(node.name for node in graph.nodes if node.op == "Conv")
    table = LatencyTable("test", 1, 1.0, {conv: (WidthTime(3, 8, 2.0),), "fused away": (WidthTime(8, 8, 4.0),)})
    full = np.array([len(group.classes) for group in channels.groups], dtype=np.float64)
    assert table_latency(graph, shapes, channels, table).total(full) == pytest.approx(7.0)


def test_a_table_of_another_model_is_refused() -> None:
    graph, shapes, channels = mapped(TOPOLOGIES["residual"](0))
    with pytest.raises(PassError, match="'a board' knows no convolution"):
        table_latency(graph, shapes, channels, LatencyTable("a board", 1, 1.0, {"other": ()}))


def test_the_law_of_the_square_root_halves_the_time_with_a_quarter_of_the_macs() -> None:
    graph, shapes, channels = mapped(TOPOLOGIES["residual"](0))
    capacity = equations(graph, shapes, channels)
    law = SquareRootLaw(capacity)
    full = np.array([len(group.classes) for group in channels.groups], dtype=np.float64)
    some = np.maximum(full // 2, 1)
    share = capacity.totals(some)[1] / capacity.totals(full)[1]
    assert law.total(some) / law.total(full) == pytest.approx(share**0.5)
    less = full - np.eye(len(full))[0] * 1e-4
    assert (law.total(full) - law.total(less)) / 1e-4 == pytest.approx(law.slopes(full)[0], rel=1e-3)
