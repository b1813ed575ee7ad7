"""In which order the classes of a group go, and what is lost with each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from yocc.analysis.coupling.channels import Group

Array = np.ndarray[Any, Any]
_LARGEST = 1e300


@dataclass(frozen=True)
class Ranking:
    """One group's classes by importance.

    Attributes:
        classes: class numbers, the most important first, shape [n].
        losses: what is lost when only the first k classes stay, for k from 0 to n, shape [n + 1]; infinite for none.
        left: share of the saliency that is left then, shape [n + 1].
    """

    classes: Array
    losses: Array
    left: Array


def rank_by_score(groups: Sequence[Group], scores: Array) -> list[Ranking]:
    """Rankings from one score for each class, shape [classes]."""
    rankings = []
    for group in groups:
        order = np.argsort(-scores[group.classes], kind="stable")
        classes = group.classes[order]
        losses = share_losses(scores[classes])
        rankings.append(Ranking(classes, losses, np.exp(-losses)))
    return rankings


def rank_by_sum(groups: Sequence[Group], scores: Array) -> list[Ranking]:
    """Rankings from what is lost with each class, shape [classes], where losses add up and compare between groups."""
    rankings = []
    for group in groups:
        order = np.argsort(-scores[group.classes], kind="stable")
        classes = group.classes[order]
        kept = np.cumsum(scores[classes].astype(np.float64))
        lost = np.maximum(kept[-1] - kept, 0.0)
        left = np.concatenate([[0.0], 1.0 - lost / max(float(kept[-1]), 1e-300)])
        rankings.append(Ranking(classes, np.concatenate([[np.inf], lost]), left))
    return rankings


def share_losses(scores: Array) -> Array:
    """Losses of a group, shape [n + 1], from the scores of its classes in descending order, shape [n].

    A loss is minus the logarithm of the share of the score that stays: thinning a layer out costs more and more, and
    groups of any scale compare.
    """
    # Norms of weights near float32's largest overflow, and the largest stay the last to go.
    total = np.cumsum(np.minimum(scores.astype(np.float64), _LARGEST) + 1e-12)
    losses: Array = np.concatenate([[np.inf], -np.log(total / total[-1])])
    return losses


def substitute_missing(
    rankings: Sequence[Ranking | None], substitutes: Sequence[Ranking], *, comparable: bool = True
) -> list[Ranking]:
    """Put substitutes where there is no ranking; where losses add up, such a group counts like one in the middle."""
    found = [float(ranking.losses[1]) for ranking in rankings if ranking is not None]
    typical = float(np.median(found)) if comparable and found else 1.0
    return [
        Ranking(substitute.classes, substitute.losses * typical, substitute.left) if ranking is None else ranking
        for ranking, substitute in zip(rankings, substitutes, strict=True)
    ]
