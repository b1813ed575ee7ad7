from __future__ import annotations

from dataclasses import replace

import numpy as np

from tests.passes.graphs import build
from yocc.analysis.ranks.layers import Layer, find_layers
from yocc.analysis.ranks.moves import PRICE, faster_moves, move_to, plan_moves, rank_moves
from yocc.compiler.graph.shapes import concrete_shapes


def layer() -> Layer:
    graph = build(["c: y = Conv(x, w)"], {"w": (16, 4, 3, 3)}, ["y"])
    return find_layers(graph, concrete_shapes(graph))[0]["c"]


def test_moves_save_parameters_and_macs() -> None:
    whole = layer()
    losses = np.linspace(1, 0, 17)
    moves = rank_moves(whole, {"outputs": losses, "vertical": losses[:9]}, 2)
    assert {move.form for move in moves} == {"outputs", "vertical"}
    assert all(move.rank % 2 == 0 and move.loss == losses[move.rank] for move in moves)
    assert all(move.cost.macs < whole.cost.macs and move.cost.parameters < whole.cost.parameters for move in moves)
    most = max(move.rank for move in moves if move.form == "outputs")
    beyond = whole.cost_at("outputs", most + 2)
    assert beyond.macs >= whole.cost.macs or beyond.parameters >= whole.cost.parameters


def test_the_better_form_is_taken_at_a_rank() -> None:
    losses = {"outputs": np.linspace(1, 0, 17), "vertical": np.linspace(1, 0.7, 9)}
    move = move_to(layer(), losses, 6)
    assert move is not None
    assert move.form == "outputs"
    assert move_to(layer(), losses, 60) is None


def test_a_plan_saves_what_is_asked_for_and_no_more_than_it_must() -> None:
    whole = layer()
    moves = {"a": rank_moves(whole, {"outputs": np.linspace(1, 0, 17)}, 1)}
    moves["b"] = rank_moves(whole, {"outputs": np.linspace(9, 0, 17)}, 1)
    costs = {"a": whole.cost, "b": whole.cost}
    plan = plan_moves(moves, costs, macs=0.3 * whole.cost.macs, parameters=0.0)
    assert plan.reached
    assert set(plan.moves) == {"a"}
    saved = plan.saved({"a": whole, "b": whole})
    assert 0.3 * whole.cost.macs <= saved.macs < 0.4 * whole.cost.macs
    assert not plan_moves(moves, costs, macs=3.0 * whole.cost.macs, parameters=0.0).reached


def test_a_pair_that_saves_less_than_what_stands_between_costs_is_not_taken() -> None:
    whole = layer()
    losses = {"outputs": np.linspace(1, 0, 17), "vertical": np.linspace(1, 0, 17)}
    every, faster = rank_moves(whole, losses, 1), faster_moves(whole, losses, 1)
    assert 0 < len(faster) < len(every)
    for move in every:
        # The first of two layers along the axes works at more rows than the kernel's result has.
        between = move.rank * (whole.positions if move.form == "outputs" else whole.places[move.form])
        assert whole.between(move.form, move.rank) == between
        assert (move in faster) == (whole.cost.macs - move.cost.macs >= PRICE * between)


def test_parameters_are_not_saved_beyond_the_most() -> None:
    """A layer at few positions saves parameters, one at many positions saves MACs."""
    graph = build(["c: y = Conv(x, w)"], {"w": (32, 4, 3, 3)}, ["y"])
    whole = find_layers(graph, concrete_shapes(graph))[0]["c"]
    fine = replace(
        whole,
        positions=4 * whole.positions,
        places={"outputs": 4 * whole.places["outputs"]},
        cost=replace(whole.cost, macs=4 * whole.cost.macs),
    )
    losses = np.maximum(0, 1 - np.arange(33) / whole.most_rank("outputs")) ** 2
    layers = {f"{kind}{number}": each for kind, each in (("few", whole), ("many", fine)) for number in range(3)}
    moves = {
        name: [
            replace(move, loss=(4.5 if "many" in name else 0.2 * 1.1 ** int(name[-1])) * move.loss) for move in found
        ]
        for name, found in ((name, rank_moves(each, {"outputs": losses}, 1)) for name, each in layers.items())
    }
    costs = {name: each.cost for name, each in layers.items()}
    macs, parameters = (sum(getattr(cost, what) for cost in costs.values()) for what in ("macs", "parameters"))
    least = {"macs": 0.4 * macs, "parameters": 0.4 * parameters}
    free = plan_moves(moves, costs, **least)
    exact = plan_moves(moves, costs, **least, most_parameters=0.43 * parameters)
    assert free.saved(layers).parameters > 0.43 * parameters >= exact.saved(layers).parameters >= 0.4 * parameters
    assert exact.saved(layers).macs >= 0.4 * macs
    assert exact.loss > free.loss
