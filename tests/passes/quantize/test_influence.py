from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest

from tests.passes.feeding import Pictures, context, run_pass, whole_graph
from tests.passes.graphs import build
from yocc.analysis.calibrate import collect
from yocc.analysis.statistics import TensorStatistics
from yocc.analysis.transfer import as_is
from yocc.compiler.graph import Graph, refresh, to_proto
from yocc.compiler.graph.shapes import concrete_shapes
from yocc.compiler.pipeline.passes import PassContext
from yocc.compiler.pipeline.target import TensorScheme
from yocc.errors import PassError
from yocc.fitting.activations import silu
from yocc.passes.quantize import Quantize, influence
from yocc.passes.quantize.influence import Influence, influences, narrow
from yocc.passes.quantize.placement import place

UNSIGNED = TensorScheme(signed=False, symmetric=False)
RELU = ["one: a = Conv(x, w)", "act: b = Relu(a)", "two: y = Conv(b, v)"]
SILU = ["one: a = Conv(x, w)", "gate: s = Sigmoid(a)", "act: b = Mul(a, s)", "two: y = Conv(b, v)"]


def network(lines: Sequence[str], read: tuple[float, float]) -> Graph:
    """Hands both channels of the picture on, and reads them with these weights at last."""
    identity = np.eye(2, dtype=np.float32)[:, :, None, None]
    graph = build(lines, {"w": identity, "v": np.array([read], np.float32)[:, :, None, None]}, ["y"], [1, 2, 16, 16])
    refresh(graph)
    return graph


def pictures(outlier: float, count: int = 4, side: int = 16) -> Pictures:
    """Small values in the second channel, mostly none but a few of one large value in the first."""
    random = np.random.default_rng(0)
    found = random.uniform(-1, 1, (count, 1, 2, side, side)).astype(np.float32)
    found[:, :, 0] = np.where(random.random(found[:, :, 0].shape) < 0.02, outlier, 0.0)
    return Pictures([{"x": picture} for picture in found])


def looked_at(graph: Graph, feeds: Pictures) -> tuple[dict[str, Influence], dict[str, TensorStatistics]]:
    ctx = context(whole_graph(), feeds)
    placement = place(graph, ctx.target)
    shapes = concrete_shapes(graph, {})
    statistics = collect(graph, [name for group in placement.groups for name in group], feeds, shapes, ctx)
    return influences(graph, placement, statistics, feeds, shapes, ctx), statistics


def range_of(name: str, graph: Graph, feeds: Pictures, scheme: TensorScheme = UNSIGNED) -> tuple[float, float]:
    found, statistics = looked_at(graph, feeds)
    transfer = silu if name == "a" and any(node.op == "Sigmoid" for node in graph.nodes) else as_is
    return narrow({name: (found[name], transfer)}, statistics[name], scheme)


def test_large_values_that_nothing_depends_on_are_cut_off() -> None:
    assert range_of("b", network(RELU, (0.0, 1.0)), pictures(100.0))[1] < 10


def test_large_values_that_the_outputs_depend_on_are_kept() -> None:
    assert range_of("b", network(RELU, (1.0, 1.0)), pictures(100.0))[1] > 90


def test_what_silu_takes_away_need_not_be_quantized() -> None:
    low, high = range_of("a", network(SILU, (1.0, 1.0)), pictures(-100.0))
    assert -20 < low < -1
    assert 0.7 < high < 1.5


def test_a_symmetric_range_is_symmetric() -> None:
    low, high = range_of("b", network(RELU, (1.0, 1.0)), pictures(100.0), TensorScheme())
    assert low == -high
    assert high > 90


def test_large_tensors_are_looked_at_here_and_there_and_count_as_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = build(RELU, {"w": (4, 2, 1, 1), "v": (4, 4, 1, 1)}, ["y"], [1, 2, 64, 64])
    refresh(graph)
    feeds = pictures(1.0, side=64)
    whole = looked_at(graph, feeds)[0]
    monkeypatch.setattr(influence, "_POSITIONS", 2048)
    thinned = looked_at(graph, feeds)[0]
    assert thinned["b"].sums.shape == whole["b"].sums.shape
    assert thinned["b"].squares.sum() == pytest.approx(whole["b"].squares.sum(), rel=0.2)
    assert not np.array_equal(thinned["b"].squares, whole["b"].squares)


def quantized(graph: Graph, observer: str, feeds: Pictures) -> tuple[bytes, PassContext]:
    ctx = context(whole_graph(), feeds)
    run_pass(Quantize(observer=observer), graph, ctx)
    refresh(graph)
    return to_proto(graph).SerializeToString(deterministic=True), ctx


def test_the_pass_keeps_what_the_outputs_depend_on() -> None:
    found = {}
    for read in (0.0, 1.0):
        graph = network(RELU, (read, 1.0))
        quantized(graph, "outputs", pictures(100.0))
        found[read] = 255 * float(graph.tensors()["b_scale"].values)
    assert found[0.0] < 10
    assert found[1.0] > 90


def test_the_same_pictures_give_the_same_bytes() -> None:
    assert (
        quantized(network(SILU, (1.0, 1.0)), "outputs", pictures(9.0))[0]
        == quantized(network(SILU, (1.0, 1.0)), "outputs", pictures(9.0))[0]
    )


UNKNOWN = ["one: a = Conv(x, w)", "odd: b = Hardmax(a)", "two: y = Conv(b, v)"]


def test_an_operator_without_a_gradient_is_refused_by_name() -> None:
    with pytest.raises(PassError, match="Hardmax"):
        looked_at(network(UNKNOWN, (1.0, 1.0)), pictures(1.0))


def test_where_gradients_are_unknown_values_alone_decide_and_a_note_says_so() -> None:
    by_outputs, ctx = quantized(network(UNKNOWN, (1.0, 1.0)), "outputs", pictures(1.0))
    by_values, _ = quantized(network(UNKNOWN, (1.0, 1.0)), "mse", pictures(1.0))
    assert by_outputs == by_values
    assert any("by the values alone" in note.message and note.node == "odd" for note in ctx.notes)


def test_drawn_pictures_do_not_say_what_matters() -> None:
    class Drawn(Pictures):
        synthetic = True

    feeds = Drawn(pictures(100.0).arrays)
    assert (
        quantized(network(RELU, (0.0, 1.0)), "outputs", feeds)[0]
        == quantized(network(RELU, (0.0, 1.0)), "mse", feeds)[0]
    )


def test_a_tensor_of_zeros_keeps_its_range() -> None:
    empty = Influence(-9, np.zeros(2 * influence.BINS), np.zeros((1, 2 * influence.BINS)))
    statistics = dataclasses.replace(TensorStatistics(), low=0.0, high=0.0)
    assert narrow({"t": (empty, as_is)}, statistics, UNSIGNED) == (0.0, 0.0)
