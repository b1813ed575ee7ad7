"""How many channels each group keeps, so that parameters, MACs or channels meet their targets.

Target-capacity filter pruning (see `budget`) reaches both budgets by adding the two normalized excesses to a training
loss (equation 9). Without training the same two excesses weigh each removal's price: the step taken next loses the
least saliency for what it brings towards the budgets that are still exceeded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from yocc.passes.prune.budget import Capacity
from yocc.passes.prune.latency import Latency

Vector = np.ndarray[Any, np.dtype[np.float64]]
TOLERANCE = 0.005
"""How far each budget may be missed before a finer channel multiple is tried, as a share of the original."""
_MOST_MOVES = 8
"""Moves to the targets, for each group, before what is reached is taken."""
_LEAST_GAIN = 0.02
"""By which share of the distance to the targets a move must come nearer, unless that meets them."""
_TRIED = 64
"""Moves whose true change is looked at, of those that are best to first order."""


@dataclass(frozen=True)
class Allocation:
    """A choice of kept counts.

    Attributes:
        kept: classes each group keeps, shape [groups].
        parameters: share of the parameters that is left.
        macs: share of the MACs that is left.
        multiple: the channel multiple it respects.
        channels: share of the channels of all groups that is left.
        latency: share of the time that is left by prediction; None without one.
    """

    kept: Any
    parameters: float
    macs: float
    multiple: int
    channels: float = 1.0
    latency: float | None = None

    def missed(
        self,
        parameters: float | None,
        macs: float | None,
        channels: float | None = None,
        latency: float | None = None,
    ) -> float:
        """The largest of the distances to the targets; None for what has no target."""
        pairs = (
            (self.parameters, parameters),
            (self.macs, macs),
            (self.channels, channels),
            (self.latency, latency),
        )
        return max(abs(found - wanted) for found, wanted in pairs if found is not None and wanted is not None)


@dataclass(frozen=True)
class _Budget:
    """What is counted, as shares of the original.

    Attributes:
        capacity: the equations of parameters and MACs.
        widths: channels of each class of a group, shape [groups].
        latency: predicts time; None where it has no target.
        scale: parameters, MACs, channels and time of the original.
        rows: which of the four have a target.
        goal: their targets, shape [rows].
    """

    capacity: Capacity
    widths: Vector
    latency: Latency | None
    scale: Vector
    rows: list[int]
    goal: Vector

    def all_shares(self, kept: Vector) -> Vector:
        """Parameters, MACs, channels and time."""
        return _amounts(self.capacity, self.widths, self.latency, kept) / self.scale

    def shares(self, kept: Vector) -> Vector:
        """Of what has a target."""
        return self.all_shares(kept)[self.rows]

    def slopes(self, kept: Vector) -> Vector:
        """What one more class of each group adds to the shares, shape [rows, groups]."""
        time = np.zeros(len(kept)) if self.latency is None else self.latency.slopes(kept)
        every = np.stack([*self.capacity.slopes(kept), self.widths, time])
        slopes: Vector = every[self.rows] / self.scale[self.rows, None]
        return slopes

    def missed(self, kept: Vector) -> float:
        """The largest distance to a target."""
        return float(np.abs(self.shares(kept) - self.goal).max())


def allocate(
    capacity: Capacity,
    losses: Sequence[Vector],
    repeats: Sequence[int],
    *,
    parameters: float | None,
    macs: float | None,
    multiple: int,
    channels: float | None = None,
    latency: tuple[Latency, float] | None = None,
) -> Allocation:
    """Choose kept counts for all groups.

    Args:
        capacity: the cost equations.
        losses: for each group, what is lost when k of its n classes stay, k from 0 to n, shape [n + 1].
        repeats: channels of one class in its producer, for each group.
        parameters: share of the parameters to keep, None for any.
        macs: share of the MACs to keep, None for any.
        multiple: channel counts to prefer; halved until all targets are met.
        channels: share of the channels to keep, None for any.
        latency: what predicts the time, and the share of it to keep; None for any.

    Returns:
        The allocation nearest to the targets, of the largest multiple that meets them.
    """
    predictor, share = latency or (None, None)
    goals = (parameters, macs, channels, share)
    rows = [row for row, goal in enumerate(goals) if goal is not None]
    full = np.array([len(lost) - 1 for lost in losses], dtype=np.float64)
    widths = np.array(repeats, dtype=np.float64)
    scale = _amounts(capacity, widths, predictor, full)
    budget = _Budget(capacity, widths, predictor, scale, rows, np.array([goals[row] for row in rows], dtype=np.float64))
    best: Allocation | None = None
    while True:
        found = _allocate(budget, losses, repeats, multiple)
        if best is None or found.missed(*goals) < best.missed(*goals):
            best = found
        if best.missed(*goals) <= TOLERANCE or multiple == 1:
            return best
        multiple = multiple // 2


def _allocate(budget: _Budget, losses: Sequence[Vector], repeats: Sequence[int], multiple: int) -> Allocation:
    levels = [
        _levels(len(lost) - 1, max(1, multiple // np.gcd(multiple, times)))
        for lost, times in zip(losses, repeats, strict=True)
    ]
    left = [-lost[counts] for lost, counts in zip(losses, levels, strict=True)]
    position = _descend(budget, levels, left)
    position = _polish(budget, levels, left, position)
    kept = _counts(levels, position)
    parameters, macs, channels, time = budget.all_shares(kept).tolist()
    latency = None if budget.latency is None else time
    return Allocation(kept.astype(int), parameters, macs, multiple, channels, latency)


def _amounts(capacity: Capacity, widths: Vector, latency: Latency | None, kept: Vector) -> Vector:
    return np.array([*capacity.totals(kept), widths @ kept, 1.0 if latency is None else latency.total(kept)])


def _levels(size: int, step: int) -> list[int]:
    """Counts a group may keep, descending: all of it, then multiples of the step, never nothing."""
    return [size, *(count for count in range(size - 1, 0, -1) if count % step == 0)]


def _counts(levels: Sequence[list[int]], position: Any) -> Vector:
    return np.array([counts[index] for counts, index in zip(levels, position, strict=True)], dtype=np.float64)


def _descend(budget: _Budget, levels: Sequence[list[int]], left: Sequence[Vector]) -> Any:
    """Greedily take the cheapest step until no step stays above all targets."""
    position = np.zeros(len(levels), dtype=int)
    last = np.array([len(counts) - 1 for counts in levels])
    while True:
        kept = _counts(levels, position)
        share = budget.shares(kept)
        excess = np.maximum(share - budget.goal, 0.0)
        movable = position < last
        if not movable.any() or excess.max() <= TOLERANCE:
            return position
        following = np.minimum(position + 1, last)
        drop = kept - _counts(levels, following)
        gain = budget.slopes(kept) * drop
        worth = (excess / excess.sum()) @ gain
        loss = np.array([scores[a] - scores[b] for scores, a, b in zip(left, position, following, strict=True)])
        fits = ((share[:, None] - gain) >= (budget.goal - TOLERANCE)[:, None]).all(axis=0)
        movable &= fits & (worth > 0)
        if not movable.any():
            return position
        price = np.where(movable, loss / np.maximum(worth, 1e-30), np.inf)
        position[int(np.argmin(price))] += 1


def _polish(budget: _Budget, levels: Sequence[list[int]], left: Sequence[Vector], position: Any) -> Any:
    """Move one or two groups by one step until the targets are met, as long as that brings the shares nearer to them.

    The move taken loses least for what it brings: a step that is for free may have to be taken back, so that another
    one, as cheap, can serve the budget that is still exceeded.
    """
    for _ in range(_MOST_MOVES * len(levels)):
        missed = budget.missed(_counts(levels, position))
        if missed <= TOLERANCE:
            return position
        enough = min(_LEAST_GAIN * missed, missed - TOLERANCE)
        best: tuple[float, Any] | None = None
        for changed in _cheapest_moves(budget, levels, left, position, enough):
            nearer = missed - max(budget.missed(_counts(levels, changed)), TOLERANCE)
            if nearer >= enough:
                price = (_lost(left, changed) - _lost(left, position)) / nearer
                if best is None or price < best[0]:
                    best = price, changed
        if best is None:
            return position
        position = best[1]
    return position


def _lost(left: Sequence[Vector], position: Any) -> float:
    return -sum(float(scores[index]) for scores, index in zip(left, position, strict=True))


def _cheapest_moves(
    budget: _Budget, levels: Sequence[list[int]], left: Sequence[Vector], position: Any, enough: float
) -> list[Any]:
    """Moves that to first order lose least for coming nearer to the targets, by `enough`; up to `_TRIED` of them."""
    moves = [
        (group, step)
        for group, counts in enumerate(levels)
        for step in (-1, 1)
        if 0 <= position[group] + step < len(counts)
    ]
    if not moves:
        return []
    kept = _counts(levels, position)
    share, slopes = budget.shares(kept), budget.slopes(kept)
    change = np.zeros((len(share), 1 + len(moves)))
    lost = np.zeros(1 + len(moves))
    for place, (group, step) in enumerate(moves, 1):
        after = position[group] + step
        change[:, place] = slopes[:, group] * (levels[group][after] - kept[group])
        lost[place] = left[group][position[group]] - left[group][after]
    missing = share - budget.goal
    distance = np.abs(missing[:, None, None] + change[:, :, None] + change[:, None, :]).max(axis=0)
    nearer = float(np.abs(missing).max()) - np.maximum(distance, TOLERANCE)
    groups = np.array([-1, *(group for group, _ in moves)])
    places = np.arange(len(groups))
    possible = (nearer >= enough) & (groups[:, None] != groups[None, :]) & (places[:, None] < places[None, :])
    price = np.where(possible, (lost[:, None] + lost[None, :]) / np.maximum(nearer, 1e-12), np.inf)
    found = []
    for flat in np.argsort(price, axis=None, kind="stable")[:_TRIED]:
        pair = np.unravel_index(flat, price.shape)
        if not np.isfinite(price[pair]):
            break
        changed = position.copy()
        for place in pair:
            if place:
                group, step = moves[place - 1]
                changed[group] += step
        found.append(changed)
    return found
