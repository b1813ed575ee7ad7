"""Figures of a factorization, exact; rounded where they are shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from yocc.analysis.pacing import TimeFigures
from yocc.analysis.ranks.layers import Layer
from yocc.analysis.ranks.moves import Move


@dataclass(frozen=True)
class FactorizeFigures:
    """What became of the network.

    Attributes:
        parameters: share of the parameters that is left, 0..1.
        macs: share of the MACs that is left, 0..1.
        parameters_before: of the network before.
        macs_before: of the network before.
        foreseen: the sum of what the layers lose, in the unit of `by`.
        bound: no choice of ranks that saves as much loses less; None where ranks were given.
        by: what the loss is: `outputs`, second-order change of the network's outputs; `variance`, share of the variance
            of a layer's outputs; `weights`, share of the sum of squares of a layer's weights.
        pictures: on how many pictures it was measured.
        multiple: ranks are multiples of this; None where they were given, and for a budget of time, where each layer
            has its own.
        time: of a budget of time.
    """

    parameters: float
    macs: float
    parameters_before: int
    macs_before: int
    foreseen: float
    bound: float | None
    by: str
    pictures: int
    multiple: int | None
    time: TimeFigures | None = None

    def shown(self) -> dict[str, Any]:
        """Rounded losses, and nothing of what there is none."""
        found = {
            "parameters": self.parameters,
            "macs": self.macs,
            "parameters_before": self.parameters_before,
            "macs_before": self.macs_before,
            "foreseen": float(f"{self.foreseen:.4g}"),
            "bound": None if self.bound is None else float(f"{self.bound:.4g}"),
            "by": self.by,
            "pictures": self.pictures,
            "multiple": self.multiple,
            "latency": None if self.time is None else self.time.shown(),
        }
        return {name: value for name, value in found.items() if value is not None}


def layer_figures(layers: Mapping[str, Layer], moves: Mapping[str, Move]) -> dict[str, dict[str, Any]]:
    """Figures of each layer that became two."""
    return {
        name: {
            "form": move.form,
            "rank": move.rank,
            "full_rank": layers[name].full_rank(move.form),
            "parameters_before": layers[name].cost.parameters,
            "parameters_after": move.cost.parameters,
            "macs_before": layers[name].cost.macs,
            "macs_after": move.cost.macs,
            "foreseen": float(f"{move.loss:.4g}"),
        }
        for name, move in moves.items()
    }
