from __future__ import annotations

import numpy as np

from tests.passes.graphs import build
from yocc.analysis.ranks.layers import Layer, find_layers
from yocc.analysis.ranks.moves import move_to, plan_moves, rank_moves
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
