"""How much an error in a layer's outputs matters for what the network finds in the end, without labels.

The Gauss-Newton matrix of a loss at the network's own answers (Martens, "New Insights and Perspectives on the Natural
Gradient Method", JMLR 2020, section 8): with F the Fisher information of the last outputs and J their Jacobian by a
layer's outputs, an error e there costs e' J' F J e. One backward pass of sqrt(F) times random signs estimates J' F J
without bias. Scores are Bernoulli variables, so that their Fisher information by the logit is p (1 - p); a class counts
as far as there is an object, and a box as far as something is there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from yocc.analysis.gradients import GradientGraph, flat_gram, gradient_graph
from yocc.analysis.gradients.builder import REMEDY
from yocc.analysis.heads import final_layers
from yocc.analysis.pictures import in_time, require_finite
from yocc.analysis.windows import channel_axis
from yocc.compiler.graph import Graph
from yocc.compiler.graph.shapes import Shapes
from yocc.compiler.pipeline.partial import run_until
from yocc.compiler.pipeline.passes import Arrays, Detection, Feeds, PassContext
from yocc.errors import PassError
from yocc.fitting.logistic import softmax_of_candidates

Array = np.ndarray[Any, Any]
PICTURES = 32
_BOX = 0.25
"""Fisher information of a box logit where there is surely an object, relative to a Bernoulli variable's at most."""


def effects(
    graph: Graph,
    shapes: Shapes,
    layers: list[str],
    feeds: Feeds,
    ctx: PassContext,
    *,
    most: int = PICTURES,
    axes: Mapping[str, int] | None = None,
    original: Graph | None = None,
) -> dict[str, Array]:
    """J' F J of each layer, summed over its positions and averaged over pictures.

    Args:
        graph: the graph; not changed.
        shapes: its concrete shapes.
        layers: names of nodes.
        feeds: pictures.
        ctx: runs the model, shows progress, knows what the outputs mean.
        most: up to how many pictures, evenly spaced, are used; fewer are where time is short.
        axes: where the first outputs of nodes have their channels, by name; `channel_axis` says it of others.
        original: a network by whose outputs errors are weighed, where this one has lost something of it and sees less.

    Returns:
        By layer, shape [channels, channels]; layers on which the outputs do not depend are left out.

    Raises:
        CalibrationError: the network's outputs are not finite.
        PassError: the gradient of an operator on the way is not known or not finite.
    """
    sources = [node.outputs[0].name for node in final_layers(graph)]
    nodes = {node.name: node for node in graph.nodes}
    made = gradient_graph(graph, shapes, sources, [nodes[name].outputs[0].name for name in layers])
    grams, channels = {}, {}
    for name in layers:
        tensor = nodes[name].outputs[0].name
        axis = channel_axis(nodes[name]) if axes is None else axes.get(name, channel_axis(nodes[name]))
        if tensor in made.gradients and tensor in shapes.shapes:
            grams[name] = flat_gram(made, tensor, shapes.shapes[tensor], axis)
            channels[name] = shapes.shapes[tensor][axis]
    if not grams:
        return {}
    forward, backward = (
        run_until(graph if original is None else original, sources, ctx),
        made.runner(list(grams.values()), ctx),
    )
    random = ctx.random()
    found = {name: np.zeros((count, count)) for name, count in channels.items()}

    def backward_on(arrays: Arrays) -> Arrays:
        answers = forward(arrays)
        require_finite(answers, sources)
        return backward({**arrays, **probes(made, {name: answers[name] for name in sources}, ctx, random)})

    pictures = in_time(feeds, most, backward_on, ctx)
    for arrays in ctx.progress(pictures, "effects", len(pictures)):
        values = backward_on(arrays)
        for name, gram in grams.items():
            found[name] += values[gram.name].astype(np.float64) / len(pictures)
    for name, total in found.items():
        if not np.isfinite(total).all():
            raise PassError("The gradient is infinite or NaN.", REMEDY, node=name)
    return found


def probes(
    made: GradientGraph,
    outputs: Mapping[str, Array],
    ctx: PassContext,
    random: np.random.Generator,
    *,
    by_probability: bool = False,
) -> Arrays:
    """Seeds for a backward pass, by the name of the gradient graph's input: sqrt(F) times random signs.

    Args:
        made: the gradient graph.
        outputs: what the last layers give, by its sources.
        ctx: knows what the outputs mean.
        random: draws the signs.
        by_probability: as in `fisher`.
    """
    seeds = {}
    for source, information in fisher(outputs, ctx.detection, by_probability=by_probability).items():
        signs = random.integers(0, 2, information.shape) * 2 - 1
        seeds[made.seeds[source]] = (np.sqrt(information) * signs).astype(np.float32)
    return seeds


def fisher(outputs: Mapping[str, Array], detection: Detection | None, *, by_probability: bool = False) -> Arrays:
    """Fisher information of each value of the last layers' outputs, of their shapes.

    Args:
        outputs: what the last layers give, shape [batch, channels, height, width] in a detector.
        detection: what the channels mean; None weighs each output by its variance.
        by_probability: weigh scores by p instead of p (1 - p), which is the same for unlikely objects: for errors so
            large that they take a certain object away, where the curvature is 0.
    """
    if detection is None:
        return {name: np.full(values.shape, 1 / max(float(values.var()), 1e-12)) for name, values in outputs.items()}
    doubt = _one if by_probability else _doubt
    found: Arrays = {}
    likeliest: dict[tuple[int, ...], Array] = {}
    weighed = []
    for name, values in outputs.items():
        kind = detection.kind(values.shape[1])
        if kind == "anchors":
            found[name] = _anchors(values, detection.classes, doubt)
        elif kind == "background":
            p = softmax_of_candidates(values, 1 + detection.classes)
            there = 1 - p[:, :, :1]
            information = np.concatenate([there * doubt(there), p[:, :, 1:] * doubt(p[:, :, 1:])], axis=2)
            found[name] = information.reshape(values.shape)
            likeliest[values.shape[2:]] = there.max(axis=1)
        elif kind == "joined":
            p = _sigmoid(values[:, : detection.classes])
            boxes = np.repeat(_BOX * p.max(axis=1, keepdims=True), detection.behind, axis=1)
            found[name] = np.concatenate([p * doubt(p), boxes], axis=1)
        elif kind == "boxes" or (kind == "classes" and detection.decoupled):
            weighed.append((name, kind))
        else:
            p = _sigmoid(values)
            found[name] = p * doubt(p)
            # The class of a detector with one class looks like an objectness; its score is the product.
            likeliest[values.shape[2:]] = p.max(axis=1, keepdims=True) * likeliest.get(values.shape[2:], 1.0)
    for name, kind in weighed:
        values = outputs[name]
        there = likeliest.get(values.shape[2:], np.ones((1, 1, 1, 1)))
        if kind == "boxes":
            found[name] = np.broadcast_to(_BOX * there, values.shape)
        else:
            p = softmax_of_candidates(values, detection.classes)[:, 0] if detection.competing else _sigmoid(values)
            found[name] = there * p * doubt(p)
    return found


def _anchors(values: Array, classes: int, doubt: Callable[[Array], Array]) -> Array:
    rows = values.reshape(len(values), -1, 5 + classes, *values.shape[2:])
    p = _sigmoid(rows)
    there = p[:, :, 4:5]
    classified = p[:, :, 5:]
    information = np.concatenate(
        [np.repeat(_BOX * there, 4, axis=2), there * doubt(there), there * classified * doubt(classified)], axis=2
    )
    return information.reshape(values.shape)


def _doubt(p: Array) -> Array:
    return 1 - p


def _one(p: Array) -> Array:
    return np.ones_like(p)


def _sigmoid(values: Array) -> Array:
    return 1 / (1 + np.exp(-values.astype(np.float64)))
