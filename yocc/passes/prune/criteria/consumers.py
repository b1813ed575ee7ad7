"""Criteria that ask what the layers that read a channel cannot make up for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from yocc.analysis.effect import effects
from yocc.analysis.windows import is_plain
from yocc.errors import PassError
from yocc.passes.prune.criteria.criterion import Criterion, Subject
from yocc.passes.prune.ranking import Ranking
from yocc.passes.prune.reconstruction import rank_by_reconstruction


class Reconstruction(Criterion):
    """What the layers that read a channel lose after a refit; see `yocc.passes.prune.reconstruction`."""

    name: ClassVar[str] = "reconstruction"
    summary: ClassVar[str] = "error that is left in the layers that read the channel after refitting, all layers alike"

    def rank(self, subject: Subject) -> list[Ranking]:
        """Channels of a group go one by one."""
        return self._rank(subject, None)

    def _rank(self, subject: Subject, weights: Mapping[str, Any] | None) -> list[Ranking]:
        feeds = subject.pictures(self.name)
        return rank_by_reconstruction(
            subject.graph, subject.shapes, subject.channels, feeds, subject.ctx, effects=weights
        )


class Effect(Reconstruction):
    """The same, weighed by what it does to the network's outputs; see `yocc.analysis.effect`."""

    name: ClassVar[str] = "effect"
    summary: ClassVar[str] = "the same error weighted by its effect on the network's outputs, by gradients"

    def rank(self, subject: Subject) -> list[Ranking]:
        """All layers count alike, and a warning says so, where gradients do not reach."""
        layers = [node.name for node in subject.graph.nodes if is_plain(node)]
        feeds = subject.pictures(self.name)
        weights = None
        try:
            weights = effects(subject.graph, subject.shapes, layers, feeds, subject.ctx)
        except PassError as error:
            subject.ctx.note(
                f"Each layer counts the same when channels are chosen: {error.message}",
                node=error.node,
                level="warning",
            )
        return self._rank(subject, weights)
