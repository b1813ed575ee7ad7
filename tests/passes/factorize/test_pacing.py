from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

import numpy as np
import pytest

from tests.passes.factorize.networks import wide
from tests.passes.factorize.test_timing import ByMacs
from tests.passes.feeding import Trial, context, run_pass, smooth
from yocc.analysis.pacing import CLOSE
from yocc.analysis.ranks.layers import Layer, find_layers
from yocc.analysis.ranks.moves import Move, rank_moves
from yocc.compiler.graph import Graph, load, refresh, verify
from yocc.compiler.graph.cost import layer_costs, totals
from yocc.compiler.graph.shapes import concrete_shapes
from yocc.compiler.pipeline.latency import LatencyTable, PairTime, WidthTime
from yocc.compiler.pipeline.passes import PassContext
from yocc.compiler.pipeline.pipeline import Pipeline
from yocc.compiler.pipeline.target import Target
from yocc.errors import OptionError
from yocc.fitting.budgets import STEPS
from yocc.passes.factorize import Factorize
from yocc.passes.factorize import pacing as module
from yocc.passes.factorize.clocks import LawClock, TableClock
from yocc.passes.factorize.pacing import choose_in_time
from yocc.passes.factorize.timing import measure_pairs


def trial(multiple: int = 4) -> Trial:
    return context(Target("test", channel_multiple=multiple), smooth(wide(), 6))


def macs(graph: Graph) -> int:
    return totals(layer_costs(graph, concrete_shapes(graph))).macs


def macs_ratio(ctx: PassContext, original: Graph, candidate: Graph) -> float:  # noqa: ARG001 # as the one that times
    """A device that takes half of its time for something else than MACs, which the table does not know."""
    return 0.5 + 0.5 * macs(candidate) / macs(original)


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> Trial:
    monkeypatch.setattr(module, "time_ratio", macs_ratio)
    ctx = trial(1)
    ctx.profiler = ByMacs()
    return ctx


def layers_of(graph: Graph) -> dict[str, Layer]:
    return find_layers(graph, concrete_shapes(graph))[0]


def losses_of(layers: Mapping[str, Layer], seed: int) -> dict[str, tuple[Layer, dict[str, np.ndarray]]]:
    """Falling losses of some size for each layer and form."""
    random = np.random.default_rng(seed)
    return {
        name: (
            layer,
            {form: random.uniform(0.5, 9) * (1 - np.arange(18) / 17) ** 2 for form in ("outputs", "vertical")},
        )
        if len(layer.places) > 1
        else (layer, {"outputs": random.uniform(0.5, 9) * (1 - np.arange(18) / 17) ** 2})
        for name, layer in layers.items()
    }


def board(layers: Mapping[str, Layer], seed: int) -> LatencyTable:
    """A table by which pairs take arbitrary times, the more the larger their ranks."""
    random = np.random.default_rng(seed)
    pairs = {
        name: tuple(
            PairTime(form, rank, share * rank / 9, 0.1, 1.0)
            for form in layer.places
            for share in [random.uniform(0.3, 1.3)]
            for rank in (2, 9)
        )
        for name, layer in layers.items()
    }
    whole = {
        name: (WidthTime(layer.node.inputs[1].shape[1], layer.outputs, random.uniform(1, 5)),)
        for name, layer in layers.items()
    }
    return LatencyTable("a board", 1, 0.7, whole, pairs)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("share", [0.5, 0.7, 0.9])
def test_the_ranks_are_the_best_of_all_choices_up_to_the_grid(seed: int, share: float) -> None:
    graph = load(wide())
    layers = layers_of(graph)
    losses, clock = losses_of(layers, seed), TableClock.of(board(layers, seed), graph, concrete_shapes(graph))
    plan, left = choose_in_time(losses, clock, share, 4)
    ways: list[list[tuple[float, float]]] = []
    for name, (layer, lost) in losses.items():
        whole = clock.whole(layer)
        assert whole is not None
        own = [(0.0, whole)]
        for move in rank_moves(layer, lost, 4):
            time = clock.pair(layer, move)
            assert time is not None
            if time < whole:
                own.append((move.loss, time))
        assert all(move.layer == name for move in rank_moves(layer, lost, 4))
        ways.append(own)
    rest = clock.total - sum(own[0][1] for own in ways)
    sums = [(sum(loss for loss, _ in each), rest + sum(time for _, time in each)) for each in itertools.product(*ways)]
    best = min((loss for loss, time in sums if time <= share * clock.total), default=math.inf)
    assert plan.reached == (best < math.inf)
    if not plan.reached:
        return
    assert plan.bound is not None
    assert plan.bound <= best + 1e-9
    assert best <= plan.loss + 1e-9
    # Met exactly, and as good as anything within a budget that is smaller by the grid.
    assert left <= share + 1e-9
    grid = len(ways) * share * clock.total / STEPS
    assert plan.loss <= min(loss for loss, time in sums if time <= share * clock.total - grid) + 1e-9


def test_a_pair_that_is_slower_is_no_choice_even_where_time_runs_out() -> None:
    graph = load(wide())
    layers = layers_of(graph)
    slow = {name: tuple(PairTime(form, 4, 0.6, 0.5, 1.0) for form in layer.places) for name, layer in layers.items()}
    table = LatencyTable("a board", 1, 0.0, board(layers, 0).layers, slow)
    plan, left = choose_in_time(losses_of(layers, 0), TableClock.of(table, graph, concrete_shapes(graph)), 0.5, 1)
    assert (dict(plan.moves), plan.reached, left) == ({}, False, pytest.approx(1.0))


def test_without_a_table_the_square_root_law_predicts() -> None:
    graph = load(wide())
    layers = layers_of(graph)
    clock = LawClock(macs(graph))
    plan, left = choose_in_time(losses_of(layers, 1), clock, 0.8, 1)
    assert plan.reached
    pairs = [(layers[name], move) for name, move in plan.moves.items()]
    saved = sum(layer.cost.macs - (clock.pair(layer, move) or 0) for layer, move in pairs)
    assert left == pytest.approx((1 - saved / macs(graph)) ** 0.5)
    assert 0.75 < left <= 0.8
    assert all(layer.cost.macs - move.cost.macs >= 16 * layer.between(move.form, move.rank) for layer, move in pairs)


def test_a_clock_sums_what_a_table_says_of_a_graph() -> None:
    graph = load(wide())
    layers = layers_of(graph)
    table = board(layers, 2)
    elsewhere = {**table.layers, "gone": (WidthTime(8, 8, 3.0), WidthTime(4, 4, 1.0))}
    clock = TableClock.of(LatencyTable("a board", 1, 0.7, elsewhere, {}), graph, concrete_shapes(graph))
    assert clock.total == pytest.approx(3.7 + sum(points[0].ms for points in table.layers.values()))
    assert (clock.left(0.5), clock.share(clock.total / 4)) == (pytest.approx(clock.total / 2), pytest.approx(0.25))
    move = Move("b", "outputs", 4, 0.0, layers["b"].cost_at("outputs", 4))
    assert 0 < (clock.pair(layers["b"], move) or 0) < (clock.whole(layers["b"]) or 0)


def test_a_prediction_that_is_off_is_corrected_until_the_measured_time_is_met(timed: Trial) -> None:
    graph, before = load(wide()), load(wide())
    step = Factorize(ratio=0.2, budget="latency")
    assert run_pass(step, graph, timed) > 0
    refresh(graph)
    assert verify.problems(graph) == []
    step.ensures(graph, timed)
    details = timed.details["factorize"]
    assert macs_ratio(timed, before, graph) == pytest.approx(0.8, abs=CLOSE)
    assert details["latency"]["measured"] == pytest.approx(0.8, abs=CLOSE)
    assert details["latency"]["predicted"] < 0.7
    assert details["latency"]["predictor"] == "table of a counting device"
    assert details["bound"] <= details["foreseen"]
    assert any(f"than {details['bound']:.4g}" in note.message for note in timed.notes)
    assert "multiple" not in details


def test_what_cannot_be_reached_names_the_nearest_that_can(timed: Trial) -> None:
    run_pass(Factorize(ratio=0.6, budget="latency"), load(wide()), timed)
    (warning,) = [note.message for note in timed.notes if note.level == "warning"]
    assert "Asked to leave 40% of the time; the nearest reachable is 5" in warning


def test_ranks_go_on_from_where_channels_arrived(timed: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("yocc.passes.prune.pacing.time_ratio", macs_ratio)
    spec = "prune{ratio=0.1,budget=latency,criterion=l1},factorize{ratio=0.1,budget=latency}"
    graph, runs = Pipeline.parse(spec).run(load(wide()), timed)
    assert runs[-1].details["latency"]["goal"] == pytest.approx(0.81)
    assert macs_ratio(timed, load(wide()), graph) == pytest.approx(0.81, abs=0.02)


def test_a_table_of_a_board_predicts_and_nothing_is_timed() -> None:
    ctx, graph = trial(1), load(wide())
    ctx.latency = measure_pairs(graph, ctx, ByMacs())
    run_pass(Factorize(ratio=0.3, budget="latency"), graph, ctx)
    refresh(graph)
    found = ctx.details["factorize"]["latency"]
    assert found["measured"] is None
    assert found["reached"] == pytest.approx(0.7, abs=0.04)
    assert found["reached"] == pytest.approx(macs(graph) / macs(load(wide())), abs=0.04)
    assert any("nothing was timed" in note.message for note in ctx.notes)


def test_a_table_without_pairs_is_told() -> None:
    ctx, graph = trial(), load(wide())
    table = measure_pairs(graph, ctx, ByMacs())
    ctx.latency = LatencyTable(table.device, 1, table.rest, table.layers)
    run_pass(Factorize(ratio=0.2, budget="latency"), graph, ctx)
    assert any("has no pairs" in note.message for note in ctx.notes)
    assert ctx.details["factorize"]["latency"]["reached"] == pytest.approx(0.8, abs=0.03)


@pytest.mark.parametrize(
    "options", [{"rank": 8}, {"ratio": 0.2, "exact": True}, {"ratio": 0.2, "budget": "channels"}, {"ratio": 1.0}]
)
def test_time_is_a_budget_of_a_ratio_alone(options: dict[str, object]) -> None:
    with pytest.raises(OptionError):
        Factorize(**{"budget": "latency", **options})  # type: ignore[arg-type]
