"""What SiLUs see on pictures, what comes nearest to them there, and what the network loses by it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from yocc.analysis.effect import effects
from yocc.analysis.pictures import evenly, require_finite
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
RANGE = 4.0
"""Standard deviation of the values that are assumed where there are no pictures."""
EFFECTS = 12
"""Pictures on which is measured what an error costs, which takes many times what running them does."""
_DRAWN = 4096


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


def fit_without_pictures(silus: Mapping[str, Silu], activation: Activation) -> dict[str, Fitted]:
    """The same numbers for all: for values of a normal distribution; the loss is the energy of the error."""
    values = np.random.default_rng(0).normal(0, RANGE, (_DRAWN, 1))
    numbers = fit_substitute(values, activation)
    error, energy = np.square(numbers(values) - silu(values)).mean(), silu(values).var()
    snr = 10 * np.log10(energy / error)
    return {name: Fitted(numbers, float(snr), each.values * error / energy) for name, each in silus.items()}


def fit_on_pictures(
    graph: Graph,
    shapes: Shapes,
    silus: Mapping[str, Silu],
    activation: Activation,
    feeds: Feeds,
    ctx: PassContext,
    *,
    count: int,
    points: int,
) -> tuple[dict[str, Fitted], str]:
    """Numbers for each SiLU's own values, and what the outputs lose by each alone.

    Args:
        graph: the graph; not changed.
        shapes: its concrete shapes.
        silus: by name.
        activation: the function in their place.
        feeds: pictures.
        ctx: runs the model, shows progress, knows what the outputs mean.
        count: up to how many pictures, evenly spaced, are used.
        points: positions sampled in each tensor and picture.

    Returns:
        By SiLU; and what the loss is: `outputs`, or `energy` of the error where gradients do not reach.

    Raises:
        CalibrationError: what the network gives is not finite.
    """
    axes = {name: _axis(each, shapes) for name, each in silus.items()}
    try:
        metrics = effects(graph, shapes, list(silus), feeds, ctx, most=min(count, EFFECTS), axes=axes)
    except PassError as error:
        ctx.note(f"SiLUs are compared by their own error: {error.message}", node=error.node, level="warning")
        metrics = None
    seen = _samples(graph, silus, axes, feeds, ctx, count=count, points=points)
    found = {}
    for name, each in ctx.progress(silus.items(), "activations", len(silus)):
        values = seen[name]
        weights = None if metrics is None or name not in metrics else np.diag(metrics[name])
        numbers = _fit(values, activation, weights, by_channel=each.axis is not None)
        wrong, energy = numbers(values) - silu(values), max(float(silu(values).var()), 1e-300)
        noise = max(float(np.square(wrong).mean()), 1e-300)
        if metrics is None:
            loss = each.values * noise / energy
        else:
            loss = float(np.sum(metrics[name] * (wrong.T @ wrong))) / len(wrong) if name in metrics else 0.0
        found[name] = Fitted(numbers, float(10 * np.log10(energy / noise)), loss)
    return found, "energy" if metrics is None else "outputs"


MODE = "all"


def _fit(values: Array, activation: Activation, weights: Array | None, *, by_channel: bool) -> Substitute:
    """Of values [samples, channels], with the numbers of each channel where these are a layer's."""
    flat = np.tile(1.0 if weights is None else np.maximum(weights, 0.0) / max(weights.max(), 1e-300), (len(values), 1))
    flat = np.broadcast_to(flat, values.shape)
    common = fit_substitute(values.reshape(-1, 1), activation, weights=flat.reshape(-1, 1))
    if not by_channel or MODE == "tensor":
        return common
    drawn = np.sort(values.reshape(-1))[:: max(1, values.size // QUANTILES)]
    values = values[:: max(1, len(values) // OWN)]
    both = np.concatenate([values, np.broadcast_to(drawn[:, None], (len(drawn), values.shape[1]))])
    weighed = np.repeat([1 - COMMON, COMMON], [len(values), len(drawn)])[:, None]
    return fit_substitute(both, activation, weights=np.broadcast_to(weighed, both.shape), first=common)


def _axis(each: Silu, shapes: Shapes) -> int:
    rank = len(shapes.shapes[each.entry])
    return 1 if each.axis is not None or rank > 3 else max(rank - 1, 0)


def _samples(
    graph: Graph,
    silus: Mapping[str, Silu],
    axes: Mapping[str, int],
    feeds: Feeds,
    ctx: PassContext,
    *,
    count: int,
    points: int,
) -> dict[str, Array]:
    """What each SiLU reads at a few positions of each picture, shape [samples, channels]."""
    entries = list(dict.fromkeys(each.entry for each in silus.values()))
    run, random, pictures = run_until(graph, entries, ctx), ctx.random(), evenly(feeds, count)
    parts: dict[str, list[Array]] = {name: [] for name in silus}
    for arrays in ctx.progress(pictures, "values", len(pictures)):
        read = run(arrays)
        require_finite(read, entries)
        for name, each in silus.items():
            values = read[each.entry]
            at = positions(values.shape, points, random, axis=axes[name])
            parts[name].append(outputs_at(values, at, axis=axes[name]).astype(np.float64))
    return {name: np.concatenate(rows) for name, rows in parts.items()}
