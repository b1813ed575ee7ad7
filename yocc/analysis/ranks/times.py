"""How long a layer, and a pair in its place, takes at any rank, by a latency table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from yocc.analysis.ranks.layers import Form, Layer
from yocc.analysis.ranks.moves import Move, saves_enough
from yocc.compiler.pipeline.latency import LatencyTable, PairTime, WidthTime
from yocc.compiler.pipeline.latency_terms import fit_terms

Array = np.ndarray[Any, Any]
VALUE = 10
"""MACs in whose time the first layer of a pair writes one value and the second reads it (`benchmarks/plan.md`)."""


@dataclass(frozen=True)
class PairTimes:
    """Times of layers and of pairs, from what a table says of them.

    What was measured of pairs is read as a share of the layer that was measured next to them. Between two ranks it is
    interpolated; of layers that have lost channels since, the first of the two takes less in proportion to the
    channels that it reads, and the second to those that it makes.

    Attributes:
        table: the table.
    """

    table: LatencyTable

    def whole(self, layer: Layer) -> float | None:
        """Milliseconds of a layer at its widths; None where the table does not have it."""
        points = self.table.layers.get(layer.node.name)
        if not points:
            return None
        return self.at(layer.node.name, *_widths(layer, _full(points)))

    def at(self, name: str, inputs: int, outputs: int) -> float:
        """Milliseconds of a node of the table at some widths."""
        full = _full(self.table.layers[name])
        if (inputs, outputs) == (full.inputs, full.outputs):
            return full.ms
        constant, per_out, per_in, per_pair = self._terms[name]
        return float(constant + per_out * outputs + per_in * inputs + per_pair * outputs * inputs)

    def pair(self, layer: Layer, form: Form, rank: int) -> float | None:
        """Milliseconds of a pair in its place; None where no such pair was measured."""
        curve, points = self._curves.get((layer.node.name, form)), self.table.layers.get(layer.node.name)
        if curve is None or not points:
            return None
        full = _full(points)
        inputs, outputs = _widths(layer, full)
        first, second = (np.interp(min(rank, curve[0][-1]), curve[0], column) for column in curve[1:])
        parts = first * _ratio(inputs, full.inputs) + second * _ratio(outputs, full.outputs)
        return float(full.ms * parts * max(1.0, rank / curve[0][-1]))

    def faster(self, layer: Layer, move: Move) -> bool:
        """Whether a pair takes less time than its layer: as measured, or else if it saves `PRICE` MACs a value."""
        whole, pair = self.whole(layer), self.pair(layer, move.form, move.rank)
        if whole is None or pair is None:
            return saves_enough(layer, move)
        return pair < whole

    def estimated(self, layer: Layer, move: Move) -> float | None:
        """Milliseconds of a pair as measured, or else by its MACs and values; None where the layer is unknown."""
        pair = self.pair(layer, move.form, move.rank)
        if pair is not None:
            return pair
        whole = self.whole(layer)
        return None if whole is None else whole * work(layer, move) / layer.cost.macs

    @cached_property
    def _terms(self) -> dict[str, Array]:
        return {name: fit_terms(points) for name, points in self.table.layers.items()}

    @cached_property
    def _curves(self) -> dict[tuple[str, Form], tuple[Array, Array, Array]]:
        found = {}
        for name, points in self.table.pairs.items():
            for form in {point.form: None for point in points}:
                found[name, form] = _curve([point for point in points if point.form == form])
        return found


def work(layer: Layer, move: Move) -> float:
    """MACs of a pair, with what stands between its layers counted as MACs."""
    return move.cost.macs + VALUE * layer.between(move.form, move.rank)


def _curve(points: Sequence[PairTime]) -> tuple[Array, Array, Array]:
    """Ranks from 0 on, and the two layers of a pair as shares of the whole layer's time, never falling.

    What noise makes slower than a larger rank is as slow as that. Below the least rank, the line through the two least
    goes on, at most to nothing.
    """
    ranks = np.unique([point.rank for point in points])
    columns = []
    for name in ("first", "second"):
        shares = np.array(
            [
                np.median([getattr(point, name) / point.whole for point in points if point.rank == rank])
                for rank in ranks
            ]
        )
        shares = np.minimum.accumulate(shares[::-1])[::-1]
        slope = (shares[1] - shares[0]) / (ranks[1] - ranks[0]) if len(ranks) > 1 else 0.0
        columns.append(np.concatenate([[max(0.0, shares[0] - slope * ranks[0])], shares]))
    return np.concatenate([[0], ranks]), columns[0], columns[1]


def _full(points: Sequence[WidthTime]) -> WidthTime:
    """The measurement at all channels."""
    return max(points, key=lambda point: (point.inputs * point.outputs, point.inputs, point.outputs))


def _widths(layer: Layer, full: WidthTime) -> tuple[int, int]:
    """Channels that a layer reads and makes, as a table counts them; only those of convolutions are followed."""
    if layer.node.op not in ("Conv", "ConvTranspose"):
        return full.inputs, full.outputs
    inputs = layer.node.inputs[1].shape[1 if layer.node.op == "Conv" else 0]
    return int(inputs), layer.outputs


def _ratio(left: int, full: int) -> float:
    return left / full if full else 1.0
