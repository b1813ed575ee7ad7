"""Criteria that look at the weights alone."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from yocc.errors import PassError
from yocc.passes.prune.criteria.criterion import Score, Subject
from yocc.passes.prune.norms import Scores, bn_gamma, l1, l2


class BnGamma(Score):
    """Mean |gamma| of the batch normalizations of a class.

    Network slimming (Liu et al., "Learning Efficient Convolutional Networks through Network Slimming", ICCV 2017), the
    saliency of target-capacity filter pruning.
    """

    name: ClassVar[str] = "bn_gamma"
    summary: ClassVar[str] = "scale of the batch normalization"

    def scores(self, subject: Subject) -> Scores:
        """Refuses a graph in which a group has no batch normalization, as its scores would mean nothing."""
        found = bn_gamma(subject.graph, subject.channels)
        if any(np.isnan(found[group.classes]).any() for group in subject.channels.groups):
            raise PassError(
                "The criterion 'bn_gamma' needs batch normalization, which this model has fused away.",
                "Use criterion=auto or l2, or criterion=gamma with pictures.",
            )
        return found


class L1(Score):
    """Sum of |w| of a group (Li et al., "Pruning Filters for Efficient ConvNets", ICLR 2017)."""

    name: ClassVar[str] = "l1"
    summary: ClassVar[str] = "sum of the absolute weights"

    def scores(self, subject: Subject) -> Scores:
        """Over all weights that would go."""
        return l1(subject.graph, subject.channels)


class L2(Score):
    """Norm of the weights of a group, as in DepGraph (Fang et al., CVPR 2023)."""

    name: ClassVar[str] = "l2"
    summary: ClassVar[str] = "norm of the weights"

    def scores(self, subject: Subject) -> Scores:
        """Over all weights that would go."""
        return l2(subject.graph, subject.channels)


class Auto(Score):
    """BN-gamma where a group kept its batch normalization, L2 elsewhere; only scores of one group are ever compared."""

    name: ClassVar[str] = "auto"
    summary: ClassVar[str] = "bn_gamma where there is batch normalization, l2 elsewhere"

    def scores(self, subject: Subject) -> Scores:
        """Of one kind in each group."""
        gamma, found = (measure(subject.graph, subject.channels) for measure in (bn_gamma, l2))
        for group in subject.channels.groups:
            if not np.isnan(gamma[group.classes]).any():
                found[group.classes] = gamma[group.classes]
        return found


class Fpgm(Score):
    """Distance of a filter to the others of its layer: what is near the geometric median can be replaced.

    He et al., "Filter Pruning via Geometric Median for Deep Neural Networks Acceleration", CVPR 2019, equation (7); the
    distances of all filters of a class are added up.
    """

    name: ClassVar[str] = "fpgm"
    summary: ClassVar[str] = "distance to the other filters of the layer"

    def scores(self, subject: Subject) -> Scores:
        """Sum of distances over the layers that make a class."""
        nodes = {node.name: node for node in subject.graph.nodes}
        found = np.zeros(subject.channels.classes)
        for cut in subject.channels.cuts:
            if cut.role == "out":
                weight = np.moveaxis(nodes[cut.node].inputs[cut.slot].values, cut.axis, 0)
                filters = weight.reshape(len(weight), -1).astype(np.float64)
                found += np.bincount(cut.atoms, _distances(filters).sum(axis=1), len(found))
        return found


def _distances(rows: Any) -> Any:
    gram = rows @ rows.T
    squares = np.diag(gram)
    return np.sqrt(np.maximum(squares[:, None] + squares[None, :] - 2 * gram, 0.0))


class Random(Score):
    """A number drawn for each class: what a criterion must be better than."""

    name: ClassVar[str] = "random"
    summary: ClassVar[str] = "random, by the seed"

    def scores(self, subject: Subject) -> Scores:
        """Uniform between 0 and 1."""
        return subject.ctx.random().random(subject.channels.classes)
