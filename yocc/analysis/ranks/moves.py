"""Moves: what a layer loses at a rank and what that saves, for plans that weigh them against each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from yocc.analysis.ranks.layers import Cost, Form, Layer
from yocc.fitting.budgets import Chosen, Ways, choose_within

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Move:
    """One layer in one form at one rank.

    Attributes:
        layer: its name.
        form: how it becomes two.
        rank: channels between the two.
        loss: foreseen, in the unit of the spectrum it comes from.
        cost: of the two layers.
    """

    layer: str
    form: Form
    rank: int
    loss: float
    cost: Cost


PRICE = 16
"""MACs that a pair must save for each value between its two layers, which the one writes and the other reads. In
onnxruntime and OpenVINO on one core, such a value takes the time of 8 to 10 MACs (`benchmarks/plan.md`)."""


def rank_moves(layer: Layer, losses: Mapping[Form, Array], multiple: int) -> list[Move]:
    """All moves of a layer that save both parameters and MACs, to ranks that are multiples of a number.

    Args:
        layer: the layer.
        losses: by form, what is lost at each rank from 0 on.
        multiple: of the ranks.
    """
    return [
        Move(layer.node.name, form, rank, float(lost[rank]), layer.cost_at(form, rank))
        for form, lost in losses.items()
        for rank in range(min(layer.most_rank(form), len(lost) - 1) // multiple * multiple, 0, -multiple)
    ]


def saves_enough(layer: Layer, move: Move) -> bool:
    """Whether a move saves enough MACs for each value between the two layers, where their time is not known."""
    return layer.cost.macs - move.cost.macs >= PRICE * layer.between(move.form, move.rank)


def faster_moves(
    layer: Layer,
    losses: Mapping[Form, Array],
    multiple: int,
    faster: Callable[[Layer, Move], bool] = saves_enough,
) -> list[Move]:
    """Those moves that save time as well; arguments as for `rank_moves`, and what says whether a move does."""
    return [move for move in rank_moves(layer, losses, multiple) if faster(layer, move)]


def move_to(layer: Layer, losses: Mapping[Form, Array], rank: int) -> Move | None:
    """The move to one rank that loses least; None where none saves both parameters and MACs."""
    moves = [move for move in rank_moves(layer, losses, 1) if move.rank == rank]
    return min(moves, key=lambda move: move.loss, default=None)


@dataclass(frozen=True)
class MovePlan:
    """Which layers move where.

    Attributes:
        moves: those chosen, by layer; the others stay whole.
        loss: foreseen, the sum over the layers.
        bound: no plan of these moves that saves as much loses less; None where it was not looked for.
        reached: whether both budgets are met.
    """

    moves: Mapping[str, Move]
    loss: float
    bound: float | None
    reached: bool

    def saved(self, layers: Mapping[str, Layer]) -> Cost:
        """What the moves save together."""
        pairs = [(layers[name].cost, move.cost) for name, move in self.moves.items()]
        return Cost(
            sum(whole.parameters - pair.parameters for whole, pair in pairs),
            sum(whole.macs - pair.macs for whole, pair in pairs),
        )


def plan_moves(
    moves: Mapping[str, Sequence[Move]],
    whole: Mapping[str, Cost],
    *,
    macs: float,
    parameters: float,
    most_parameters: float = np.inf,
) -> MovePlan:
    """The moves that lose least together among those that save enough.

    Args:
        moves: what each layer may become; it may stay whole as well.
        whole: what each of these layers costs as it is.
        macs: the least to save, in all.
        parameters: likewise.
        most_parameters: the most to save of them, if that is possible.
    """
    names = list(moves)
    items = [
        Ways(
            np.array([0.0, *(move.loss for move in moves[name])]),
            np.array([whole[name].macs, *(move.cost.macs for move in moves[name])], dtype=np.float64),
            np.array([whole[name].parameters, *(move.cost.parameters for move in moves[name])], dtype=np.float64),
        )
        for name in names
    ]
    parameters_whole = sum(whole[name].parameters for name in names)
    chosen: Chosen = choose_within(
        items,
        sum(whole[name].macs for name in names) - macs,
        parameters_whole - parameters,
        parameters_whole - most_parameters,
    )
    taken = {name: moves[name][place - 1] for name, place in zip(names, chosen.places, strict=True) if place}
    return MovePlan(taken, chosen.loss, chosen.bound, chosen.fits)
