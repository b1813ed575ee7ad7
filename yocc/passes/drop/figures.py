"""Figures of what was dropped, exact; rounded where they are shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from yocc.analysis.blocks import Block
from yocc.compiler.graph.cost import Totals


@dataclass(frozen=True)
class Removal:
    """One block that is gone.

    Attributes:
        block: in the graph as it was when it went.
        saved: parameters and MACs.
        loss: foreseen; None where nothing was measured.
        rewired: names of the nodes that read another tensor since.
    """

    block: Block
    saved: Totals
    loss: float | None
    rewired: frozenset[str]


@dataclass(frozen=True)
class DropFigures:
    """What became of the network.

    Attributes:
        parameters: share of the parameters that is left, 0..1.
        macs: share of the MACs that is left, 0..1.
        parameters_before: of the network before.
        macs_before: of the network before.
        removals: in the order in which they went.
        foreseen: sum of their losses, in the unit of `by`; None where nothing was measured.
        by: what the loss is: `outputs`, second-order change of the network's outputs; `variance`, share of the variance
            of what the block gives; empty where nothing was measured.
        pictures: on how many pictures it was measured.
        level: stride of the detector's level that is gone; None where there is none.
    """

    parameters: float
    macs: float
    parameters_before: int
    macs_before: int
    removals: Sequence[Removal] = ()
    foreseen: float | None = None
    by: str = ""
    pictures: int = 0
    level: int | None = None

    @classmethod
    def of(
        cls, before: Totals, after: Totals, removals: Sequence[Removal] = (), by: str = "", pictures: int = 0
    ) -> DropFigures:
        """Figures of a network that cost so much before and after."""
        losses = [removal.loss for removal in removals if removal.loss is not None]
        return cls(
            after.parameters / max(before.parameters, 1),
            after.macs / max(before.macs, 1),
            before.parameters,
            before.macs,
            tuple(removals),
            sum(losses) if losses and len(losses) == len(removals) else None,
            by,
            pictures,
        )

    def shown(self) -> dict[str, Any]:
        """Rounded losses, and nothing of what there is none."""
        found = {
            "parameters": self.parameters,
            "macs": self.macs,
            "parameters_before": self.parameters_before,
            "macs_before": self.macs_before,
            "foreseen": _short(self.foreseen),
            "by": self.by or None,
            "pictures": self.pictures or None,
            "level": self.level,
            "dropped": [_shown(removal) for removal in self.removals] or None,
        }
        return {name: value for name, value in found.items() if value is not None}


def _shown(removal: Removal) -> dict[str, Any]:
    found = {
        "name": removal.block.name,
        "kind": removal.block.kind,
        "layers": len(removal.block.layers),
        "parameters": removal.saved.parameters,
        "macs": removal.saved.macs,
        "foreseen": _short(removal.loss),
    }
    return {name: value for name, value in found.items() if value is not None}


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")
