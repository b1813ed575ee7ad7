"""The choice between channels and ranks for a share of the time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import onnx
import pytest

from tests.compiler.stages.test_shrink import dead, shrunk, trial
from tests.passes.factorize.networks import wide
from tests.passes.factorize.test_timing import ByMacs
from tests.passes.feeding import Trial
from yocc.compiler.graph import Graph, load
from yocc.compiler.graph.cost import layer_costs, totals
from yocc.compiler.graph.shapes import concrete_shapes
from yocc.compiler.pipeline.latency import LatencyTable
from yocc.compiler.pipeline.pipeline import performed
from yocc.compiler.stages.shrink import Shrink
from yocc.compiler.stages.timing import measure_all
from yocc.errors import OptionError


def board(model: onnx.ModelProto, slower: Mapping[str, float] | None = None) -> LatencyTable:
    """A table of a board on which time is in proportion to MACs; that of some pairs to more."""
    graph, ctx = trial(model)
    table = measure_all(graph, ctx, ByMacs())
    pairs = {
        name: tuple(
            replace(pair, first=pair.first * factor, second=pair.second * factor)
            for pair in points
            for factor in [(slower or {}).get(name, 1.0)]
        )
        for name, points in table.pairs.items()
    }
    return replace(table, pairs=pairs)


def on_board(model: onnx.ModelProto, slower: Mapping[str, float] | None = None) -> tuple[Graph, Trial]:
    graph, ctx = trial(model)
    ctx.latency = board(model, slower)
    return graph, ctx


def macs(graph: Graph) -> int:
    return totals(layer_costs(graph, concrete_shapes(graph))).macs


@pytest.mark.slow
def test_ranks_are_chosen_where_they_lose_less() -> None:
    graph, runs = shrunk("shrink{ratio=0.4,budget=latency}", *on_board(wide()))
    figures = runs[0].details
    assert (figures["moves"], figures["budget"], figures["share"]) == ("ranks", "latency", 0.4)
    assert performed(runs) == "factorize{ratio=0.4,budget=latency},recover"
    assert figures["foreseen"] == figures["foreseen_ranks_alone"] < figures["foreseen_channels_alone"]
    assert macs(graph) / macs(load(wide())) == pytest.approx(0.6, abs=0.05)
    assert [price["share"] for price in figures["prices"]] == pytest.approx([0.3, 0.35, 0.4, 0.45, 0.5])


@pytest.mark.slow
def test_where_pairs_are_slow_channels_are_removed() -> None:
    slow = dict.fromkeys(("a", "b", "c", "last"), 40.0)
    _, runs = shrunk("shrink{ratio=0.2,budget=latency}", *on_board(wide(), slow))
    assert runs[0].details["moves"] == "channels"
    assert "foreseen_ranks_alone" not in runs[0].details or not runs[0].details["splits"][0]["reached"]
    assert performed(runs) == "prune{ratio=0.2,budget=latency,criterion=effect},recover"


@pytest.mark.slow
def test_dead_channels_are_removed_as_channels() -> None:
    graph, runs = shrunk("shrink{ratio=0.4,budget=latency,rounds=1}", *on_board(dead(0.5)))
    assert runs[0].details["moves"] == "channels"
    assert runs[1].details["latency"]["reached"] == pytest.approx(0.6, abs=0.03)
    assert macs(graph) / macs(load(dead(0.5))) == pytest.approx(0.6, abs=0.05)


@pytest.mark.slow
def test_both_takes_some_of_each_and_meets_the_share_together() -> None:
    _, runs = shrunk("shrink{ratio=0.4,moves=both,budget=latency}", *on_board(wide()))
    assert runs[0].details["moves"] == "channels, then ranks"
    assert [run.name for run in runs][1::2] == ["prune", "factorize"]
    last = runs[-2].details["latency"]
    assert last["goal"] == pytest.approx(0.6, abs=1e-3)
    assert last["reached"] == pytest.approx(0.6, abs=0.05)


def test_without_a_table_the_square_root_law_weighs_both() -> None:
    graph, runs = shrunk("shrink{ratio=0.1,budget=latency}", *trial(wide()))
    assert len(runs[0].details["splits"]) > 1
    assert runs[1].details["latency"]["predictor"] == "square root of the MACs"
    # 0.9 of the time is 0.81 of the MACs, with what stands between layers counted as MACs.
    assert macs(graph) / macs(load(wide())) <= 0.82


def test_without_pictures_channels_go() -> None:
    graph, ctx = trial(wide())
    ctx.feeds = None
    _, runs = shrunk("shrink{ratio=0.2,budget=latency}", graph, ctx)
    assert performed(runs) == "prune{ratio=0.2,budget=latency}"


def test_other_budgets_are_refused() -> None:
    with pytest.raises(OptionError, match="no budget 'macs'"):
        Shrink(budget="macs")  # type: ignore[arg-type]
