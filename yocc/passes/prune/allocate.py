"""How many channels each group keeps, so that parameters and MACs both meet their targets.

Target-capacity filter pruning (see `budget`) reaches both budgets by adding the two normalised excesses to a training
loss (equation 9). Without training the same two excesses weigh each removal's price: the step taken next loses the
least saliency for what it brings towards the budgets that are still exceeded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from yocc.passes.prune.budget import Capacity

Vector = np.ndarray[Any, np.dtype[np.float64]]
TOLERANCE = 0.005
"""How far each budget may be missed before a finer channel multiple is tried, as a share of the original."""


@dataclass(frozen=True)
class Allocation:
    """A choice of kept counts.

    Attributes:
        kept: classes each group keeps, shape [groups].
        parameters: share of the parameters that is left.
        macs: share of the MACs that is left.
        multiple: the channel multiple it respects.
    """

    kept: Any
    parameters: float
    macs: float
    multiple: int

    def missed(self, parameters: float, macs: float) -> float:
        """The larger of the two distances to the targets."""
        return max(abs(self.parameters - parameters), abs(self.macs - macs))


def allocate(
    capacity: Capacity,
    losses: Sequence[Vector],
    repeats: Sequence[int],
    *,
    parameters: float,
    macs: float,
    multiple: int,
) -> Allocation:
    """Choose kept counts for all groups.

    Args:
        capacity: the cost equations.
        losses: for each group, what is lost when k of its n classes stay, k from 0 to n, shape [n + 1].
        repeats: channels of one class in its producer, for each group.
        parameters: share of the parameters to keep.
        macs: share of the MACs to keep.
        multiple: channel counts to prefer; halved until both targets are met.

    Returns:
        The allocation nearest to the targets, of the largest multiple that meets them.
    """
    best: Allocation | None = None
    while True:
        found = _allocate(capacity, losses, repeats, parameters, macs, multiple)
        if best is None or found.missed(parameters, macs) < best.missed(parameters, macs):
            best = found
        if best.missed(parameters, macs) <= TOLERANCE or multiple == 1:
            return best
        multiple = multiple // 2


def _allocate(
    capacity: Capacity,
    losses: Sequence[Vector],
    repeats: Sequence[int],
    parameters: float,
    macs: float,
    multiple: int,
) -> Allocation:
    levels = [
        _levels(len(lost) - 1, max(1, multiple // np.gcd(multiple, times)))
        for lost, times in zip(losses, repeats, strict=True)
    ]
    left = [-lost[counts] for lost, counts in zip(losses, levels, strict=True)]
    full = np.array([counts[0] for counts in levels], dtype=np.float64)
    all_parameters, all_macs = capacity.totals(full)
    goal = np.array([parameters, macs])
    scale = np.array([all_parameters, all_macs])
    position = _descend(capacity, levels, left, goal, scale)
    position = _polish(capacity, levels, left, position, goal, scale)
    kept = _counts(levels, position)
    shares = np.array(capacity.totals(kept)) / scale
    return Allocation(kept.astype(int), float(shares[0]), float(shares[1]), multiple)


def _levels(size: int, step: int) -> list[int]:
    """Counts a group may keep, descending: all of it, then multiples of the step, never nothing."""
    return [size, *(count for count in range(size - 1, 0, -1) if count % step == 0)]


def _counts(levels: Sequence[list[int]], position: Any) -> Vector:
    return np.array([counts[index] for counts, index in zip(levels, position, strict=True)], dtype=np.float64)


def _descend(
    capacity: Capacity, levels: Sequence[list[int]], left: Sequence[Vector], goal: Vector, scale: Vector
) -> Any:
    """Greedily take the cheapest step until no step stays above both targets."""
    position = np.zeros(len(levels), dtype=int)
    last = np.array([len(counts) - 1 for counts in levels])
    while True:
        kept = _counts(levels, position)
        share = np.array(capacity.totals(kept)) / scale
        excess = np.maximum(share - goal, 0.0)
        movable = position < last
        if not movable.any() or excess.max() <= TOLERANCE:
            return position
        following = np.minimum(position + 1, last)
        drop = kept - _counts(levels, following)
        gain = np.stack([slope * drop for slope in capacity.slopes(kept)]) / scale[:, None]
        worth = (excess / excess.sum()) @ gain
        loss = np.array([scores[a] - scores[b] for scores, a, b in zip(left, position, following, strict=True)])
        fits = ((share[:, None] - gain) >= (goal - TOLERANCE)[:, None]).all(axis=0)
        movable &= fits & (worth > 0)
        if not movable.any():
            return position
        price = np.where(movable, loss / np.maximum(worth, 1e-30), np.inf)
        position[int(np.argmin(price))] += 1


def _polish(
    capacity: Capacity, levels: Sequence[list[int]], left: Sequence[Vector], position: Any, goal: Vector, scale: Vector
) -> Any:
    """Move one or two groups by one step while that brings the shares nearer to the targets, cheapest loss first."""
    last = np.array([len(counts) - 1 for counts in levels])
    for _ in range(4 * len(levels)):
        missed = _missed(capacity, levels, position, goal, scale)
        if missed <= TOLERANCE:
            return position
        moves = [
            (group, step)
            for group in range(len(levels))
            for step in (-1, 1)
            if 0 <= position[group] + step <= last[group]
        ]
        if not moves:
            return position
        candidates = _nearest_moves(capacity, levels, position, moves, goal, scale)
        best: tuple[float, float, Any] | None = None
        for changed in candidates:
            distance = _missed(capacity, levels, changed, goal, scale)
            loss = -sum(float(scores[index]) for scores, index in zip(left, changed, strict=True))
            key = (max(distance, TOLERANCE), loss, changed)
            if distance < missed and (best is None or key[:2] < best[:2]):
                best = key
        if best is None:
            return position
        position = best[2]
    return position


def _nearest_moves(
    capacity: Capacity,
    levels: Sequence[list[int]],
    position: Any,
    moves: list[tuple[int, int]],
    goal: Vector,
    scale: Vector,
) -> list[Any]:
    """The single and paired moves that to first order come nearest to the targets, up to 64 of them."""
    kept = _counts(levels, position)
    share = np.array(capacity.totals(kept)) / scale
    slopes = np.stack(capacity.slopes(kept)) / scale[:, None]
    change = np.stack(
        [slopes[:, group] * (levels[group][position[group] + step] - kept[group]) for group, step in moves], axis=1
    )
    change = np.concatenate([np.zeros((2, 1)), change], axis=1)
    distance = np.abs(share[:, None, None] + change[:, :, None] + change[:, None, :] - goal[:, None, None]).max(axis=0)
    found = []
    for flat in np.argsort(distance, axis=None, kind="stable")[:256]:
        first, second = np.unravel_index(flat, distance.shape)
        if first > second or second == 0 or (first and moves[first - 1][0] == moves[second - 1][0]):
            continue
        changed = position.copy()
        for index in (first, second):
            if index:
                group, step = moves[index - 1]
                changed[group] += step
        found.append(changed)
        if len(found) == 64:
            break
    return found


def _missed(capacity: Capacity, levels: Sequence[list[int]], position: Any, goal: Vector, scale: Vector) -> float:
    share = np.array(capacity.totals(_counts(levels, position))) / scale
    return float(np.abs(share - goal).max())
