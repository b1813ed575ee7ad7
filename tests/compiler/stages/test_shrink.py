from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from tests.passes.factorize.networks import dead, wide
from tests.passes.feeding import Pictures, Trial, context, smooth
from tests.passes.graphs import build
from yocc.compiler.graph import Graph, load, refresh, to_proto
from yocc.compiler.graph.cost import layer_costs, totals
from yocc.compiler.graph.shapes import concrete_shapes
from yocc.compiler.pipeline.memo import SharedMemo
from yocc.compiler.pipeline.observers import verify
from yocc.compiler.pipeline.pipeline import PassRun, Pipeline, performed
from yocc.compiler.pipeline.target import Target
from yocc.compiler.stages.shrink import Shrink
from yocc.compiler.stages.shrink.foresee import NOTHING, Split, best
from yocc.errors import OptionError, PassError


def trial(model: onnx.ModelProto, pictures: int = 24) -> tuple[Graph, Trial]:
    return load(model), context(Target("test", channel_multiple=1), smooth(model, pictures))


def shrunk(text: str, graph: Graph, ctx: Trial) -> tuple[Graph, list[PassRun]]:
    return Pipeline.parse(text).run(graph, ctx, [verify])


def left(before: onnx.ModelProto, graph: Graph) -> tuple[float, float]:
    old, new = (totals(layer_costs(each, concrete_shapes(each))) for each in (load(before), graph))
    return new.parameters / old.parameters, new.macs / old.macs


def test_ranks_are_chosen_where_they_lose_less() -> None:
    model = wide()
    graph, runs = shrunk("shrink{ratio=0.5}", *trial(model))
    figures = runs[0].details
    assert figures["moves"] == "ranks"
    assert performed(runs) == "factorize{ratio=0.5,exact=true},recover"
    assert left(model, graph) == pytest.approx((0.5, 0.5), abs=0.02)
    assert figures["foreseen"] == figures["foreseen_ranks_alone"] < figures["foreseen_channels_alone"]
    assert "Chosen: ranks" in runs[0].notes[0].message
    assert runs[0].notes[0].level == "choice"


def test_ranks_are_lowered_where_no_channel_can_go_and_they_do_not_reach_the_share() -> None:
    """Half of the parameters are in a weight that two layers share, and every channel is added to the input's."""
    nodes = [
        "a: s = Conv(x, w)",
        "b: t = Conv(s, w)",
        "c: u = Conv(t, v)",
        "d: y = Add(u, x)",
    ]
    graph = build(nodes, {"w": (32, 32, 1, 1), "v": (32, 32, 1, 1)}, ["y"], [1, 32, 8, 8])
    refresh(graph)
    model = to_proto(graph)
    found, runs = shrunk("shrink{ratio=0.6}", load(model), trial(model)[1])
    assert performed(runs).startswith("factorize{ratio=0.6,exact=true}")
    assert "Ranks are lowered, and channels left aside: no channel of this model" in runs[0].notes[0].message
    assert left(model, found)[0] < 1


def test_what_has_neither_channels_nor_ranks_to_lose_is_refused_with_a_remedy_that_works() -> None:
    graph = build(["a: s = Conv(x, w)", "b: y = Conv(s, w)"], {"w": (3, 3, 1, 1)}, ["y"], [1, 3, 8, 8])
    refresh(graph)
    model = to_proto(graph)
    with pytest.raises(PassError, match="no layer can become two thinner ones") as error:
        shrunk("shrink{ratio=0.3}", *trial(model))
    assert "--moves" not in error.value.hint


@pytest.mark.slow
def test_dead_channels_are_removed_as_channels() -> None:
    model = dead(0.5)
    graph, runs = shrunk("shrink{ratio=0.4}", *trial(model))
    assert runs[0].details["moves"] == "channels"
    assert [run.name for run in runs] == ["shrink", "prune", "recover", "prune", "recover"]
    assert left(model, graph) == pytest.approx((0.6, 0.6), abs=0.02)


@pytest.mark.slow
def test_channels_are_removed_as_without_the_choice() -> None:
    chosen, runs = shrunk("fuse,shrink{ratio=0.4}", *trial(dead(0.5)))
    same, _ = shrunk(performed(runs), *trial(dead(0.5)))
    assert performed(runs) == "fuse," + ",".join(["prune{ratio=0.2254,criterion=effect},recover"] * 2)
    assert to_proto(chosen).SerializeToString() == to_proto(same).SerializeToString()


@pytest.mark.slow
def test_both_takes_some_of_each() -> None:
    model = wide()
    graph, runs = shrunk("shrink{ratio=0.4,moves=both}", *trial(model))
    figures = runs[0].details
    assert figures["moves"] == "channels, then ranks"
    assert figures["foreseen_channels_alone"] > 0 < figures["foreseen_ranks_alone"]
    assert [run.name for run in runs][1::2] == ["prune", "factorize"]
    assert left(model, graph) == pytest.approx((0.6, 0.6), abs=0.03)


@pytest.mark.slow
def test_the_rounds_are_those_of_channels() -> None:
    _, runs = shrunk("shrink{ratio=0.2,rounds=3,recover=statistics}", *trial(dead(0.5)))
    assert [run.name for run in runs][1:] == ["prune", "recover"] * 3
    assert runs[2].details["method"] == "statistics"


@pytest.mark.slow
def test_the_price_of_more_is_told() -> None:
    _, runs = shrunk("shrink{ratio=0.5}", *trial(wide()))
    prices = runs[0].details["prices"]
    assert [price["share"] for price in prices] == pytest.approx([0.4, 0.45, 0.5, 0.55, 0.6])
    assert next(price["ranks"] for price in prices if price["share"] == 0.5) == runs[0].details["foreseen"]
    known = [price["ranks"] for price in prices if price["ranks"] is not None]
    assert known == sorted(known)


@pytest.mark.parametrize("pictures", [None, "blank"])
def test_without_pictures_channels_go(pictures: str | None) -> None:
    graph, ctx = trial(wide())
    ctx.feeds = None if pictures is None else Pictures([{"x": np.zeros((1, 3, 16, 16), np.float32)}] * 4)
    _, runs = shrunk("shrink{ratio=0.2}", graph, ctx)
    assert runs[0].details["moves"] == "channels"
    assert "no pictures" in runs[0].details["why"]
    expected = "prune{ratio=0.2}" if pictures is None else "prune{ratio=0.2,criterion=effect},recover"
    assert performed(runs) == expected


def test_without_pictures_both_is_half_of_each() -> None:
    graph, ctx = trial(wide())
    ctx.feeds = None
    _, runs = shrunk("shrink{ratio=0.36,moves=both}", graph, ctx)
    assert performed(runs) == "prune{ratio=0.2},factorize{ratio=0.2,exact=true}"


def test_without_gradients_channels_go() -> None:
    nodes = ["c: a = Conv(x, w)", "d: b = Mod<fmod = 1>(a, k)", "e: y = Conv(b, v)"]
    weights: dict[str, Any] = {"w": (16, 4, 3, 3), "k": np.array(2.0, np.float32), "v": (16, 16, 3, 3)}
    _, runs = shrunk("shrink{ratio=0.2}", *trial(to_proto(build(nodes, weights, ["y"]))))
    assert "cannot be compared" in runs[0].details["why"]
    assert runs[0].details["moves"] == "channels"


def test_of_cuts_that_lose_nothing_the_one_by_channels_is_taken() -> None:
    none, some, channels = Split(0, 0.4, 0, 0.1, True), Split(0.2, 0.25, 0.1, 0.1, True), Split(0.4, 0, 0.2, 0, True)
    assert best([none, some, channels]) is channels
    assert channels.loss < NOTHING
    assert best([none, some, Split(0.4, 0, 9, 0, True)]) is some
    assert best([Split(0, 0.4, 0, 9, False)]) is None


def test_what_is_measured_serves_several_shares() -> None:
    counts: list[str] = []

    def counted(items: Any, label: str, total: int | None = None) -> Any:  # noqa: ARG001 # the protocol's
        counts.append(label)
        return items

    memo = SharedMemo()
    for ratio in (0.2, 0.4):
        graph, ctx = trial(wide())
        ctx.memo, ctx.progress = memo, counted
        Shrink(ratio=ratio).run(graph, ctx)
    assert counts.count("effects") == 1


@pytest.mark.parametrize("options", [{"ratio": 0.0}, {"ratio": 0.95}, {"rounds": 0}])
def test_options_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        Shrink(**options)
