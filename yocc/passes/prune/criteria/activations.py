"""Criteria that look at what channels carry when pictures go through the network."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from yocc.analysis.pictures import require_finite
from yocc.compiler.pipeline.partial import run_until
from yocc.passes.prune.criteria.criterion import Score, Subject
from yocc.passes.prune.criteria.statistics import ChannelStatistics, channel_statistics
from yocc.passes.prune.criteria.taps import class_axes, taps
from yocc.passes.prune.norms import Scores, by_class

_RANK_PICTURES = 6
_RANK_SIDE = 40
"""Rows and columns of a feature map that are looked at, evenly spaced."""
_RANK_TOLERANCE = 0.01
"""Singular values below this share of the largest do not count."""


class _Statistic(Score):
    """One figure of `ChannelStatistics`, averaged over the layers that make a class."""

    normalized: ClassVar[bool] = False
    """Whether to look in front of the activation instead of behind it."""

    def scores(self, subject: Subject) -> Scores:
        """Means over pictures, positions and layers."""
        names = [tap.normalized if self.normalized else tap.active for tap in taps(subject)]
        found = channel_statistics(subject, names, self.name)
        return by_class(
            ((self.pick(found[name]), class_axes(subject, name)[0]) for name in names), subject.channels.classes
        )

    def pick(self, statistics: ChannelStatistics) -> Any:
        """The figure."""
        raise NotImplementedError


class Activation(_Statistic):
    """Mean |a| behind the activation (Molchanov et al., "Pruning CNNs for Resource Efficient Inference", ICLR 2017)."""

    name: ClassVar[str] = "activation"
    summary: ClassVar[str] = "mean magnitude behind the activation"

    def pick(self, statistics: ChannelStatistics) -> Any:
        """Mean |a|."""
        return statistics.magnitude


class Deviation(_Statistic):
    """Standard deviation behind the activation: a constant channel is a bias (Molchanov et al., ICLR 2017)."""

    name: ClassVar[str] = "deviation"
    summary: ClassVar[str] = "standard deviation behind the activation"

    def pick(self, statistics: ChannelStatistics) -> Any:
        """Standard deviation."""
        return statistics.deviation


class Zeros(_Statistic):
    """Share of values that are neither nearly zero nor negative: one minus the average percentage of zeros.

    Hu et al., "Network Trimming: A Data-Driven Neuron Pruning Approach towards Efficient Deep Architectures", 2016,
    equation (1).
    """

    name: ClassVar[str] = "zeros"
    summary: ClassVar[str] = "share of values behind the activation that are not nearly zero"

    def pick(self, statistics: ChannelStatistics) -> Any:
        """Share of active values."""
        return statistics.active


class Gamma(_Statistic):
    """|gamma| of a batch normalization that was folded away: the deviation of what the convolution gives now.

    Batch normalization makes unit variance and multiplies by gamma, so that over pictures like those it was trained on
    the deviation of a channel in front of its activation is |gamma|.
    """

    name: ClassVar[str] = "gamma"
    summary: ClassVar[str] = "scale of a folded batch normalization, recovered from pictures"
    normalized: ClassVar[bool] = True

    def pick(self, statistics: ChannelStatistics) -> Any:
        """Standard deviation in front of the activation."""
        return statistics.deviation


class HRank(Score):
    """Mean rank of a channel's feature maps (Lin et al., "HRank", CVPR 2020, equation 4).

    SiLU leaves no value exactly zero, so that only singular values from a hundredth of the largest on count.
    """

    name: ClassVar[str] = "hrank"
    summary: ClassVar[str] = "rank of the feature maps"

    def scores(self, subject: Subject) -> Scores:
        """Means over a few pictures; NaN for what is no map."""
        names = [tap.active for tap in taps(subject) if _is_map(subject, tap.active)]
        pictures = subject.some_pictures(self.name, _RANK_PICTURES)
        run = run_until(subject.graph, names, subject.ctx)
        parts = []
        for arrays in pictures:
            values = run(arrays)
            require_finite(values, names)
            parts += [(_ranks(maps), class_axes(subject, name)[0]) for name in names for maps in values[name]]
        return by_class(parts, subject.channels.classes)


def _is_map(subject: Subject, tensor: str) -> bool:
    atoms, axes = class_axes(subject, tensor)
    return atoms.ndim == 4 and axes == (0, 2, 3)


def _ranks(maps: Any) -> Any:
    """Rank of each map; shape [channels] from [channels, height, width]."""
    steps = [-(-side // _RANK_SIDE) for side in maps.shape[1:]]
    values = np.linalg.svd(maps[:, :: steps[0], :: steps[1]], compute_uv=False)
    return (values > np.maximum(_RANK_TOLERANCE * values[:, :1], 1e-12)).sum(axis=1)
