"""What SiLUs see on pictures, what comes nearest to them there, and what the network loses by it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from yocc.analysis.effect import effects
from yocc.analysis.importance import Importance
from yocc.analysis.pictures import Evenly, evenly, require_finite
from yocc.analysis.windows import outputs_at, positions
from yocc.compiler.graph import Graph
from yocc.compiler.graph.shapes import Shapes
from yocc.compiler.pipeline.partial import run_until
from yocc.compiler.pipeline.passes import Feeds, PassContext
from yocc.errors import PassError
from yocc.fitting.activations import Activation, Substitute, fit_substitute, silu
from yocc.passes.substitute.find import Silu

Array = np.ndarray[Any, Any]
COMMON = 0.05
"""Share of the values of all channels among those that one channel's numbers are fitted to."""
OWN = 512
"""Values of a channel that its numbers are fitted to."""
QUANTILES = 256
"""Values that stand for those of all channels."""
EFFECTS = 12
"""Pictures on which is measured what an error costs, which takes many times what running them does."""
SPREAD = 4.0
"""Standard deviation of the values that are assumed where there are no pictures."""
_ASSUMED = 1024
_SMALLEST = 1e-300


@dataclass(frozen=True)
class Fitted:
    """What a SiLU becomes.

    Attributes:
        numbers: of the activation in its place.
        snr: of its values, decibels.
        loss: foreseen, in the unit of the measurement.
    """

    numbers: Substitute
    snr: float
    loss: float


@dataclass(frozen=True)
class Seen:
    """What was measured of SiLUs.

    Attributes:
        silus: by name.
        values: that each reads, shape [samples, channels].
        metrics: what an error of each costs, shape [channels, channels], of those on which the outputs depend; None
            where nothing says so.
        pictures: on how many pictures; 0 where values are assumed.
    """

    silus: Mapping[str, Silu]
    values: Mapping[str, Array]
    metrics: Mapping[str, Array] | None
    pictures: int

    @classmethod
    def assumed(cls, silus: Mapping[str, Silu]) -> Seen:
        """The same values for all: of a normal distribution."""
        values = np.random.default_rng(0).normal(0, SPREAD, (_ASSUMED, 1))
        return cls(silus, dict.fromkeys(silus, values), None, 0)

    @classmethod
    def on_pictures(
        cls,
        graph: Graph,
        shapes: Shapes,
        silus: Mapping[str, Silu],
        feeds: Feeds,
        ctx: PassContext,
        *,
        count: int,
        points: int,
    ) -> Seen:
        """Values at positions that are drawn mostly by what an error there costs.

        Args:
            graph: the graph; not changed.
            shapes: its concrete shapes.
            silus: by name.
            feeds: pictures.
            ctx: runs the model, shows progress, knows what the outputs mean.
            count: up to how many pictures, evenly spaced, are used.
            points: positions sampled in each tensor and picture.

        Raises:
            CalibrationError: what the network gives is not finite.
        """
        axes = {name: _axis(each, shapes) for name, each in silus.items()}
        nodes = {node.name: node for node in graph.nodes}
        metrics, importance = None, None
        try:
            metrics = effects(graph, shapes, list(silus), feeds, ctx, most=min(count, EFFECTS), axes=axes)
            convolved = [nodes[name] for name, axis in axes.items() if axis == 1]
            importance = Importance(graph, shapes, convolved, ctx)
        except PassError as error:
            ctx.note(f"SiLUs are compared by their own error: {error.message}", node=error.node, level="warning")
        values = _samples(graph, silus, axes, evenly(feeds, count), ctx, points=points, importance=importance)
        return cls(silus, values, metrics, count)

    @property
    def by(self) -> str:
        """What losses are: `outputs`, second-order change of the network's outputs; or `energy` of the error."""
        return "energy" if self.metrics is None else "outputs"

    def fitted(self, activation: Activation, names: Iterable[str]) -> dict[str, Fitted]:
        """An activation in the place of each of some SiLUs, and what the outputs lose by each alone."""
        return {name: self._fitted(activation, name) for name in names}

    def _fitted(self, activation: Activation, name: str) -> Fitted:
        values, each = self.values[name], self.silus[name]
        metric = None if self.metrics is None else self.metrics.get(name)
        weights = None if metric is None else np.diag(metric)
        numbers = _fit(values, activation, weights, by_channel=each.axis is not None)
        wrong, energy = numbers(values) - silu(values), max(float(silu(values).var()), _SMALLEST)
        noise = max(float(np.square(wrong).mean()), _SMALLEST)
        if self.metrics is None:
            loss = each.values * noise / energy
        else:
            loss = 0.0 if metric is None else float(np.sum(metric * (wrong.T @ wrong))) / len(wrong)
        return Fitted(numbers, float(10 * np.log10(energy / noise)), loss)


def _fit(values: Array, activation: Activation, weights: Array | None, *, by_channel: bool) -> Substitute:
    """Of values [samples, channels], with a and b of each channel where these are a layer's.

    c and d stay common to all: runtimes that multiply and add numbers of each channel in the same kernel as the layer
    take slower kernels for it, as OpenVINO does.
    """
    channels = values.shape[1]
    each = np.ones(channels) if weights is None else np.maximum(weights, 0.0) / max(weights.max(), _SMALLEST)
    flat = np.broadcast_to(each, values.shape).reshape(-1, 1)
    common = fit_substitute(values.reshape(-1, 1), activation, weights=flat)
    if not by_channel or channels == 1:
        return common
    all_of_them = np.sort(values.reshape(-1))[:: max(1, values.size // QUANTILES)]
    values = values[:: max(1, len(values) // OWN)]
    both = np.concatenate([values, np.broadcast_to(all_of_them[:, None], (len(all_of_them), channels))])
    # Values that a channel takes on rarely are not left to chance.
    shares = np.repeat([(1 - COMMON) / len(values), COMMON / len(all_of_them)], [len(values), len(all_of_them)])
    return fit_substitute(both, activation, weights=np.broadcast_to(shares[:, None], both.shape), first=common)


def _axis(each: Silu, shapes: Shapes) -> int:
    rank = len(shapes.shapes[each.entry])
    return 1 if each.axis is not None or rank > 3 else max(rank - 1, 0)


def _samples(
    graph: Graph,
    silus: Mapping[str, Silu],
    axes: Mapping[str, int],
    pictures: Evenly,
    ctx: PassContext,
    *,
    points: int,
    importance: Importance | None,
) -> dict[str, Array]:
    """What each SiLU reads at a few positions of each picture, shape [samples, channels]."""
    entries = list(dict.fromkeys(each.entry for each in silus.values()))
    sources = [] if importance is None else importance.sources
    run, random = run_until(graph, [*entries, *sources], ctx), ctx.random()
    parts: dict[str, list[Array]] = {name: [] for name in silus}
    for arrays in ctx.progress(pictures, "activations", len(pictures)):
        read = run(arrays)
        require_finite(read, [*entries, *sources])
        likely = {} if importance is None else importance.of(arrays, read)
        for name, each in silus.items():
            values = read[each.entry]
            at = positions(values.shape, points, random, likely.get(name), axis=axes[name])
            parts[name].append(outputs_at(values, at, axis=axes[name]).astype(np.float64))
    return {name: np.concatenate(rows) for name, rows in parts.items()}
