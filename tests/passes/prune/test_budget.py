from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.networks.topologies import TOPOLOGIES
from tests.passes.graphs import build
from tests.passes.prune.masking import random_choice
from tests.passes.prune.planning import counted, equations, mapped, removed
from tests.strategies import RandomGraph, random_graphs
from yocc.compiler.graph import refresh, to_proto
from yocc.models.yolov5 import build_yolov5


def check(model: onnx.ModelProto, share: float, seed: int) -> None:
    """The equations give the counts of the graph as it is, and of the graph that removal really leaves."""
    graph, shapes, channels = mapped(model)
    if not channels.groups:
        return
    costs = equations(graph, shapes, channels)
    full = np.array([len(group.classes) for group in channels.groups], dtype=np.float64)
    now = counted(graph)
    assert costs.totals(full) == pytest.approx((now.parameters, now.macs), rel=1e-12)
    kept = random_choice(channels, share, seed)
    counts = np.array([kept[group.classes].sum() for group in channels.groups], dtype=np.float64)
    after = counted(removed(graph, shapes, channels, kept))
    assert costs.totals(counts) == pytest.approx((after.parameters, after.macs), rel=1e-12)


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(spec=random_graphs(), share=st.sampled_from([0.2, 0.5, 0.9]), seed=st.integers(0, 99))
def test_the_equations_count_what_is_left_of_random_graphs(spec: RandomGraph, share: float, seed: int) -> None:
    check(spec.build(), share, seed)


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_the_equations_count_what_is_left_of_every_topology(name: str) -> None:
    check(TOPOLOGIES[name](1), 0.5, 2)


@pytest.mark.slow
@pytest.mark.parametrize("batch_norm", ["kept", "fused"])
def test_the_equations_count_what_is_left_of_the_detector(batch_norm: str) -> None:
    check(build_yolov5("n", size=64, batch_norm=batch_norm), 0.4, 3)


@pytest.mark.parametrize("shape", [(8,), (2, 8, 5)])
def test_products_with_vectors_and_stacks_of_matrices_are_counted(shape: tuple[int, ...]) -> None:
    lines = ["c: a = Conv(x, w)", "r: b = Relu(a)", "d: e = Conv(b, v)", "m: y = MatMul(e, u)"]
    graph = build(lines, {"w": (4, 4, 1, 1), "v": (2, 4, 1, 1), "u": shape}, ["y"])
    refresh(graph)
    check(to_proto(graph), 0.5, 0)


@pytest.mark.parametrize("name", ["residual", "shuffle_groups", "flatten_gemm", "c2f"])
def test_slopes_are_the_derivatives_of_the_totals(name: str) -> None:
    costs = equations(*mapped(TOPOLOGIES[name](0)))
    kept = np.linspace(2, 6, costs.out.shape[1])
    parameters, macs = costs.slopes(kept)
    for group in range(len(kept)):
        step = np.zeros(len(kept))
        step[group] = 1e-3
        up, down = costs.totals(kept + step), costs.totals(kept - step)
        assert parameters[group] == pytest.approx((up[0] - down[0]) / 2e-3, rel=1e-6)
        assert macs[group] == pytest.approx((up[1] - down[1]) / 2e-3, rel=1e-6)
