"""Which block goes next: the one that loses least for what it saves, or the next that is named."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from yocc.analysis.blocks import Block
from yocc.analysis.omission import Omission
from yocc.compiler.graph.cost import Totals
from yocc.compiler.pipeline.registry import nearest
from yocc.errors import OptionError


@dataclass(frozen=True)
class Need:
    """What is still to be saved.

    Attributes:
        parameters: None where no share is asked for and each counts.
        macs: likewise.
    """

    parameters: float | None = None
    macs: float | None = None

    @property
    def met(self) -> bool:
        """Whether nothing is left to save."""
        return self.parameters is not None and self.macs is not None and max(self.parameters, self.macs) <= 0

    def worth(self, saved: Totals, whole: Totals) -> float:
        """Mean share of parameters and MACs that is saved, of each as far as it is needed."""
        parameters = saved.parameters if self.parameters is None else min(saved.parameters, max(self.parameters, 0.0))
        macs = saved.macs if self.macs is None else min(saved.macs, max(self.macs, 0.0))
        return (parameters / max(whole.parameters, 1) + macs / max(whole.macs, 1)) / 2


def cheapest(losses: Mapping[str, Omission], saved: Mapping[str, Totals], need: Need, whole: Totals) -> str | None:
    """The block of the least loss for each share that it saves of what is needed; None where none saves anything."""
    worth = {name: need.worth(saved[name], whole) for name in losses}
    useful = [name for name in losses if worth[name] > 0]
    return min(useful, key=lambda name: (losses[name].loss / worth[name], -worth[name]), default=None)


def named(text: str, blocks: Mapping[str, Block], reasons: Mapping[str, str]) -> list[str]:
    """The blocks that names stand for, of each name the largest first.

    Args:
        text: names of blocks, or their beginnings up to a slash, separated by blanks.
        blocks: those there are.
        reasons: why sums end none.

    Raises:
        OptionError: a name stands for no block.
    """
    found: dict[str, None] = {}
    for name in [text] if text in blocks else text.split():
        own = [name] if name in blocks else _below(name, blocks)
        if not own:
            why = f": {reasons[name]}" if name in reasons else ""
            raise OptionError(f"There is no branch or block {name!r} to leave out{why}.", nearest(name, blocks))
        found.update(dict.fromkeys(own))
    return list(found)


def _below(name: str, blocks: Mapping[str, Block]) -> list[str]:
    own: Collection[str] = [other for other in blocks if other.startswith(f"{name.rstrip('/')}/")]
    return sorted(own, key=lambda other: -len(blocks[other].layers))
