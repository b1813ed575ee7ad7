from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.passes.graphs import build
from yocc.analysis.ranks.layers import Layer, find_layers
from yocc.analysis.ranks.moves import PRICE, Move, faster_moves, rank_moves
from yocc.analysis.ranks.times import VALUE, PairTimes, work
from yocc.compiler.graph.shapes import concrete_shapes
from yocc.compiler.pipeline.latency import LatencyTable, PairTime, WidthTime


def layers() -> dict[str, Layer]:
    nodes = ["c: a = Conv(x, w)", "d: y = Conv(a, v)"]
    graph = build(nodes, {"w": (32, 4, 3, 3), "v": (16, 32, 3, 3)}, ["y"])
    return find_layers(graph, concrete_shapes(graph))[0]


def pair(rank: int, first: float, second: float, whole: float = 2.0) -> PairTime:
    return PairTime("outputs", rank, first, second, whole)


WIDE = (WidthTime(4, 32, 4.0), WidthTime(4, 16, 2.0), WidthTime(2, 32, 2.0), WidthTime(2, 16, 1.0))
TABLE = LatencyTable("a board", 1, 1.0, {"c": WIDE}, {"c": (pair(4, 0.5, 0.25), pair(8, 0.75, 0.5))})


def move(rank: int, layer: Layer) -> Move:
    return Move("c", "outputs", rank, 1.0, layer.cost_at("outputs", rank))


def test_a_pair_takes_its_share_of_the_layer_in_the_table() -> None:
    times, own = PairTimes(TABLE), layers()["c"]
    assert times.whole(own) == 4.0
    # Measured where the layer took half as long as in the table.
    assert times.pair(own, "outputs", 4) == pytest.approx(1.5)
    assert times.pair(own, "outputs", 6) == pytest.approx(2.0)
    assert times.pair(own, "outputs", 16) == pytest.approx(5.0)
    # The line through both goes on: half way to 0.25 and 0 of the 2.0 measured.
    assert times.pair(own, "outputs", 2) == pytest.approx(2 * (0.375 + 0.125))
    assert times.pair(own, "vertical", 4) is None
    assert times.pair(layers()["d"], "outputs", 4) is None
    assert times.whole(layers()["d"]) is None


def test_noise_makes_no_rank_slower_than_a_larger_one() -> None:
    noisy = replace(TABLE, pairs={"c": (pair(4, 9.0, 0.25), pair(8, 0.75, 0.5), pair(8, 0.75, 0.5), pair(8, 7, 7))})
    assert PairTimes(noisy).pair(layers()["c"], "outputs", 4) == pytest.approx(2 * (0.75 + 0.25))


def test_narrower_layers_take_less() -> None:
    graph = build(["b: a = Conv(x, v)", "c: y = Conv(a, w)"], {"v": (2, 4, 1, 1), "w": (16, 2, 3, 3)}, ["y"])
    narrow = find_layers(graph, concrete_shapes(graph))[0]["c"]
    times = PairTimes(TABLE)
    assert times.whole(narrow) == pytest.approx(1.0, rel=1e-3)
    # The first layer reads half of the channels, the second makes half of them.
    assert times.pair(narrow, "outputs", 4) == pytest.approx(0.75)


def test_products_are_taken_as_they_are_in_the_table() -> None:
    graph = build(["m: y = MatMul(x, w)"], {"w": (8, 12)}, ["y"])
    own = find_layers(graph, concrete_shapes(graph))[0]["m"]
    table = LatencyTable("a board", 1, 0.0, {"m": (WidthTime(0, 0, 4.0),)}, {"m": (pair(2, 0.5, 0.5),)})
    assert PairTimes(table).whole(own) == 4.0
    assert PairTimes(table).pair(own, "outputs", 2) == pytest.approx(2.0)
    assert PairTimes(table).pair(own, "outputs", 1) == pytest.approx(2.0)


def test_a_pair_that_is_measured_slower_is_not_faster_whatever_macs_it_saves() -> None:
    own = layers()["c"]
    losses = {"outputs": np.linspace(1, 0, 33)}
    by_macs = {each.rank for each in faster_moves(own, losses, 1)}
    slow = replace(TABLE, pairs={"c": (pair(1, 1.0, 1.1), pair(24, 2.0, 2.0))})
    assert faster_moves(own, losses, 1, PairTimes(slow).faster) == []
    fast = replace(TABLE, pairs={"c": (pair(1, 0.1, 0.1), pair(24, 0.5, 0.5))})
    measured = {each.rank for each in faster_moves(own, losses, 1, PairTimes(fast).faster)}
    assert measured == {each.rank for each in rank_moves(own, losses, 1)} > by_macs


def test_what_was_not_measured_goes_by_the_macs_it_saves() -> None:
    own = layers()["c"]
    times = PairTimes(replace(TABLE, pairs={}))
    for rank in range(1, own.most_rank("outputs") + 1):
        saved = own.cost.macs - own.cost_at("outputs", rank).macs
        assert times.faster(own, move(rank, own)) == (saved >= PRICE * own.between("outputs", rank))
    estimate = times.estimated(own, move(4, own))
    assert estimate == pytest.approx(4.0 * (move(4, own).cost.macs + VALUE * own.between("outputs", 4)) / own.cost.macs)
    assert work(own, move(4, own)) / own.cost.macs == pytest.approx((estimate or 0) / 4.0)
    assert times.estimated(layers()["d"], move(4, layers()["d"])) is None
    assert PairTimes(TABLE).estimated(own, move(4, own)) == pytest.approx(1.5)
