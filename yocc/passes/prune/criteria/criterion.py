"""What a criterion is: something that says how much a channel matters."""

from __future__ import annotations

import abc
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from yocc.analysis.coupling.channels import ChannelMap
from yocc.analysis.pictures import evenly
from yocc.compiler.graph import Graph
from yocc.compiler.graph.shapes import Shapes
from yocc.compiler.pipeline.passes import DATA_REMEDY, Arrays, Feeds, PassContext
from yocc.errors import CalibrationError, PassError
from yocc.passes.prune.norms import Scores, l2
from yocc.passes.prune.ranking import Ranking, rank_by_score, rank_by_sum, substitute_missing

GROUP = "yocc.criteria"
"""The entry-point group of other packages' criteria."""


@dataclass(frozen=True)
class Subject:
    """What is to be judged.

    Attributes:
        graph: sorted; not to be changed.
        shapes: its concrete shapes.
        channels: which of its channels live and die together: its classes are what is scored.
        ctx: pictures, what runs the model, randomness, notes.
    """

    graph: Graph
    shapes: Shapes
    channels: ChannelMap
    ctx: PassContext

    def pictures(self, criterion: str) -> Feeds:
        """The pictures to look at.

        Raises:
            CalibrationError: there are none.
        """
        if self.ctx.feeds is None or len(self.ctx.feeds) == 0:
            raise CalibrationError(f"The criterion {criterion!r} needs pictures.", DATA_REMEDY)
        return self.ctx.feeds

    def some_pictures(self, criterion: str, most: int) -> Iterable[Arrays]:
        """Up to `most` pictures, evenly spaced, with progress shown."""
        pictures = evenly(self.pictures(criterion), most)
        return self.ctx.progress(pictures, criterion, len(pictures))


class Criterion(abc.ABC):
    """Orders the channels of each group."""

    name: ClassVar[str]
    """The name in `prune{criterion=...}`."""
    summary: ClassVar[str]
    """One line."""

    @abc.abstractmethod
    def rank(self, subject: Subject) -> list[Ranking]:
        """One ranking for each group of `subject.channels`.

        Raises:
            CalibrationError: it needs pictures and there are none.
            PassError: it does not apply to this graph.
        """


class Score(Criterion):
    """A criterion that gives each class of channels one number."""

    comparable: ClassVar[bool] = False
    """Whether scores are losses in one unit throughout the network, which add up. Otherwise only scores of one group
    compare, and a group loses what its share of the score says."""

    @abc.abstractmethod
    def scores(self, subject: Subject) -> Scores:
        """A score for each class, the larger the more it matters; NaN where nothing is known. Shape [classes]."""

    def rank(self, subject: Subject) -> list[Ranking]:
        """Groups with a NaN are ranked by their weights, and that is noted."""
        groups, scores = subject.channels.groups, self.scores(subject)
        known = [not np.isnan(scores[group.classes]).any() for group in groups]
        if not any(known):
            raise PassError(
                f"The criterion {self.name!r} finds nothing it could measure in this model.", "Use criterion=auto."
            )
        for group, measured in zip(groups, known, strict=True):
            if not measured:
                subject.ctx.note(
                    f"Ranked by its weights: {self.name} finds nothing to measure.", node=group.producers[0]
                )
        ranked = (rank_by_sum if self.comparable else rank_by_score)(groups, np.nan_to_num(scores))
        return substitute_missing(
            [ranking if measured else None for ranking, measured in zip(ranked, known, strict=True)],
            rank_by_score(groups, l2(subject.graph, subject.channels)),
            comparable=self.comparable,
        )
