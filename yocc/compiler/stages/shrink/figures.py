"""Figures of a choice between channels and ranks, exact; rounded where they are shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from yocc.compiler.stages.shrink.foresee import CHANNELS_COUNT, Split


@dataclass(frozen=True)
class Price:
    """What a share is foreseen to cost.

    Attributes:
        share: of parameters and MACs, or of the time.
        channels: loss by channels alone, counted as in `Split.loss`; None where they do not reach the share.
        ranks: loss by ranks alone, likewise.
    """

    share: float
    channels: float | None
    ranks: float | None


@dataclass(frozen=True)
class ShrinkFigures:
    """What was chosen, and what else was looked at.

    Attributes:
        moves: `channels`, `ranks` or `channels, then ranks`.
        channels: share that channels take.
        ranks: share of what is left that ranks save.
        chosen: the cut; None where nothing could be foreseen.
        splits: all cuts that were looked at.
        prices: of smaller and larger shares.
        pictures: on how many it was foreseen.
        why: why nothing was foreseen, or empty.
        budget: what shares are of: `both`, parameters and MACs, or `latency`.
    """

    moves: str
    channels: float
    ranks: float
    chosen: Split | None = None
    splits: Sequence[Split] = ()
    prices: Sequence[Price] = ()
    pictures: int = 0
    why: str = ""
    budget: str = "both"

    def shown(self) -> dict[str, Any]:
        """Rounded, and nothing of what there is none."""
        alone = {split.ranks: split for split in self.splits if split.reached}
        found: dict[str, Any] = {
            "moves": self.moves,
            "budget": None if self.budget == "both" else self.budget,
            "share": round(1 - (1 - self.channels) * (1 - self.ranks), 4),
            "channels": round(self.channels, 4),
            "ranks": round(self.ranks, 4),
            "foreseen": None if self.chosen is None else _short(self.chosen.loss),
            "foreseen_channels_alone": _short(alone[0.0].loss) if 0.0 in alone else None,
            "foreseen_ranks_alone": next((_short(each.loss) for each in alone.values() if each.channels == 0), None),
            "channels_counted": CHANNELS_COUNT if self.splits else None,
            "pictures": self.pictures or None,
            "why": self.why or None,
            "splits": [_split(split) for split in self.splits] or None,
            "prices": [
                {"share": price.share, "channels": _short(price.channels), "ranks": _short(price.ranks)}
                for price in self.prices
            ]
            or None,
        }
        return {name: value for name, value in found.items() if value is not None}


def _split(split: Split) -> dict[str, Any]:
    return {
        "channels": round(split.channels, 4),
        "ranks": round(split.ranks, 4),
        "lost_by_channels": _short(split.lost_by_channels),
        "lost_by_ranks": _short(split.lost_by_ranks),
        "reached": split.reached,
    }


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")
