"""What layers lose at each rank, measured on pictures or told by their weights alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from yocc.analysis.covariance import LARGEST, input_moments
from yocc.analysis.effect import effects
from yocc.analysis.pictures import Evenly, evenly, require_finite
from yocc.analysis.ranks.layers import Form, Layer
from yocc.compiler.graph import Graph
from yocc.compiler.graph.shapes import Shapes
from yocc.compiler.pipeline.partial import run_until
from yocc.compiler.pipeline.passes import Feeds, PassContext
from yocc.errors import PassError
from yocc.fitting.low_rank import Spectrum, factors
from yocc.fitting.moments import InputMoments
from yocc.fitting.separable import Separable

Array = np.ndarray[Any, Any]
POINTS = 6400
"""Positions of a layer in one picture up to which all are looked at; of more, as many drawn ones are."""
ENOUGH = 2
"""Samples for each output from which on they alone say how outputs vary."""


@dataclass(frozen=True)
class Split:
    """The weights of the two layers that one becomes.

    Attributes:
        form: how.
        first: shape [rank, inputs] in the form `outputs`, [rank, channels, kernel] along its axis in the others.
        second: shape [outputs, rank], or [outputs, rank, kernel].
        shift: what is added to the layer's bias, shape [outputs].
    """

    form: Form
    first: Array
    second: Array
    shift: Array


@dataclass(frozen=True)
class LayerSpectrum:
    """One layer's directions.

    Attributes:
        layer: the layer.
        spectrum: the directions of its outputs and what is lost without them.
        covariance: of its outputs, shape [outputs, outputs]; their second moment where it takes no bias.
        mean: of its outputs, shape [outputs]; its bias where nothing was measured, 0 where it takes none.
        metric: what an error in its outputs costs, shape [outputs, outputs].
        inputs: mean and covariance of what a kernel that can be separated sees, channel by channel; None elsewhere.
    """

    layer: Layer
    spectrum: Spectrum
    covariance: Array
    mean: Array
    metric: Array
    inputs: tuple[Array, Array] | None = None

    def losses(self) -> dict[Form, Array]:
        """What is lost at each rank from 0 on, by form; a separated kernel's up to the rank that saves something."""
        found: dict[Form, Array] = {"outputs": self.spectrum.losses()}
        for form in ("vertical", "horizontal"):
            if self.inputs is not None and self.layer.most_rank(form):
                found[form] = self.spectrum.losses()[0] * (1 - self._separated(form).kept)
        return found

    def split(self, form: Form, rank: int) -> Split:
        """The weights of a form and rank."""
        if form == "outputs":
            projector = self.spectrum.projector(rank)
            # The mean of what is lost, without the bias, which the second layer adds as the one did.
            lost = self.mean - self.layer.own_bias()
            shift = lost - projector @ lost if self.layer.has_bias else np.zeros(self.layer.outputs)
            mean = lost if self.layer.has_bias else None
            parts = factors(self.layer.matrix(), self.covariance, projector, rank, metric=self.metric, mean=mean)
            return Split(form, parts.first, parts.second, shift)
        kernel, order = _along(form, self.layer.kernel())
        first, second = self._separated(form).factors(rank)
        first = first.reshape(rank, kernel.shape[1], -1)
        lost = kernel - np.einsum("nrb,rca->ncab", second, first)
        mean = np.zeros(lost[0].size) if self.inputs is None else self.inputs[0][order]
        return Split(form, first, second, lost.reshape(len(lost), -1) @ mean)

    def _separated(self, form: Form) -> Separable:
        assert self.inputs is not None  # the callers have looked
        kernel, order = _along(form, self.layer.kernel())
        mean, covariance = self.inputs[0][order], self.inputs[1][np.ix_(order, order)]
        return Separable.of(kernel, covariance, self.spectrum.root, self.layer.most_rank(form), mean=mean)


def _along(form: Form, kernel: Array) -> tuple[Array, Array]:
    """A kernel with the axis of the first layer before the other, and where its inputs are in the original's order."""
    axes = (0, 1, 2, 3) if form == "vertical" else (0, 1, 3, 2)
    order = np.arange(kernel[0].size).reshape(kernel.shape[1:]).transpose(*(axis - 1 for axis in axes[1:]))
    return kernel.transpose(axes), order.reshape(-1)


def spectra_of_weights(layers: Mapping[str, Layer]) -> dict[str, LayerSpectrum]:
    """Directions by the weights alone: the loss is a share of their sum of squares, so that all layers count alike."""
    found = {}
    for name, layer in layers.items():
        weight = layer.matrix()
        covariance = weight @ weight.T
        metric = np.eye(layer.outputs) / max(float(np.trace(covariance)), 1e-300)
        spectrum, inputs = Spectrum.of(covariance, metric), None
        if len(layer.places) > 1 and layer.inputs <= LARGEST:
            inputs = np.zeros(layer.inputs), np.eye(layer.inputs)
        found[name] = LayerSpectrum(layer, spectrum, covariance, layer.own_bias(), metric, inputs)
    return found


def spectra_on_pictures(
    graph: Graph,
    shapes: Shapes,
    layers: Mapping[str, Layer],
    feeds: Feeds,
    ctx: PassContext,
    *,
    count: int,
    metrics: Mapping[str, Array] | None = None,
) -> tuple[dict[str, LayerSpectrum], str]:
    """Directions by how outputs vary on pictures, and by what an error in them does to the network's outputs.

    Where gradients do not reach, the loss of a layer is the share of its outputs' variance, and a warning says so.

    Args:
        graph: the graph; not changed.
        shapes: its concrete shapes.
        layers: the layers to measure.
        feeds: pictures.
        ctx: runs the model, shows progress, knows what the outputs mean.
        count: up to how many pictures, evenly spaced, are used.
        metrics: what an error in each layer's outputs costs, where that is known already; None to measure it.

    Returns:
        Directions by layer, where one on which the outputs do not depend loses nothing at any rank; and what the loss
        is: `outputs` or `variance`.

    Raises:
        CalibrationError: what a layer gives is not finite.
    """
    if metrics is None:
        metrics = _metrics(graph, shapes, layers, feeds, ctx, count)
    moments = _output_moments(graph, layers, evenly(feeds, count), ctx)
    separable = [name for name, layer in layers.items() if len(layer.places) > 1 and layer.inputs <= LARGEST]
    seen = input_moments(graph, shapes, feeds, ctx, separable)
    found = {}
    for name, layer in layers.items():
        own = moments[name]
        weight = layer.matrix()
        covariance = _blended(own.covariance if layer.has_bias else own.power, weight @ weight.T, own.count)
        mean = own.mean if layer.has_bias else np.zeros(layer.outputs)
        if metrics is None:
            metric = np.eye(layer.outputs) / max(float(np.trace(covariance)), 1e-300)
        else:
            metric = metrics.get(name, np.zeros((layer.outputs, layer.outputs)))
            metric = _blended(metric, np.eye(layer.outputs), own.count)
        inputs = (seen[name].mean[0], seen[name].covariance[0]) if name in seen else None
        found[name] = LayerSpectrum(layer, Spectrum.of(covariance, metric), covariance, mean, metric, inputs)
    return found, "variance" if metrics is None else "outputs"


def _blended(measured: Array, prior: Array, count: int) -> Array:
    """A covariance and what would be expected without samples, the more of this the fewer samples there are.

    Four samples vary along three directions, and without the others nothing seems lost. The trace stays as measured.
    Shrinkage as by Ledoit and Wolf (Journal of Multivariate Analysis 88, 2004), by the number of samples alone.
    """
    share = max(0.0, 1 - count / (ENOUGH * len(measured)))
    expected = max(float(np.trace(prior)), 1e-300)
    return measured if share == 0 else (1 - share) * measured + share * np.trace(measured) / expected * prior


def _metrics(
    graph: Graph, shapes: Shapes, layers: Mapping[str, Layer], feeds: Feeds, ctx: PassContext, count: int
) -> Mapping[str, Array] | None:
    """What errors cost by their effect on the network's outputs; None, and a warning, where gradients do not reach."""
    try:
        return effects(graph, shapes, list(layers), feeds, ctx, most=count)
    except PassError as error:
        ctx.note(f"Each layer counts the same when ranks are chosen: {error.message}", node=error.node, level="warning")
        return None


def _output_moments(
    graph: Graph, layers: Mapping[str, Layer], pictures: Evenly, ctx: PassContext
) -> dict[str, InputMoments]:
    names = {name: layer.node.outputs[0].name for name, layer in layers.items()}
    run = run_until(graph, names.values(), ctx)
    random = ctx.random()
    sums = {name: InputMoments.empty(layer.outputs) for name, layer in layers.items()}
    for arrays in ctx.progress(pictures, "outputs", len(pictures)):
        values = run(arrays)
        require_finite(values, names.values())
        for name, layer in layers.items():
            rows = layer.rows(values[names[name]])
            if len(rows) > POINTS:
                rows = rows[np.sort(random.choice(len(rows), POINTS, replace=False))]
            sums[name].add(rows.astype(np.float64))
    return sums
