"""The last layers of a detector, refitted by what their outputs mean instead of by squares.

A score is compared by its probability, classes and boxes as far as the original believes that something is there: the
measure by which distillation learns (`yocc.learning.loss`), least for the last layers' inputs as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from yocc.analysis.heads import final_layers
from yocc.compiler.graph import Graph
from yocc.compiler.pipeline.passes import Arrays, Detection
from yocc.fitting.logistic import (
    divergence,
    refit_logistic,
    refit_softmax,
    sigmoid,
    softmax,
    softmax_divergence,
    softmax_of_candidates,
)

Array = np.ndarray[Any, Any]
RIDGES = (1e-1, 1e-2, 1e-3)
"""Candidates, as a share of what the samples count, where an input's mean square is 1."""
SOFTENED = 1.25
"""Logits are divided by it before they are compared, so that what the original only suspects counts more. 1 brings back
what it is sure of at the expense of that, from 1.5 on it is the other way round (docs/recovery.md)."""
_DOUBT = 1e-3
"""Samples that count less, of the one that counts most, are left out."""
_DEAD = 1e-2
"""Inputs smaller than this share of the others' root mean square are hardly there."""


@dataclass(frozen=True)
class AnswerFit:
    """A last layer before and after.

    Attributes:
        weight: shape [n, m].
        bias: shape [m].
        loss_before: on the pictures held out, of each object the original sees, with the weights it had.
        loss: the same with those that were fitted to the others.
    """

    weight: Array
    bias: Array
    loss_before: float
    loss: float


@dataclass(frozen=True)
class Answers:
    """What a last layer sees and what it should answer, at samples of all pictures.

    Attributes:
        inputs: shape [samples, n].
        outputs: the original's, shape [samples, m].
        counts: for how many positions each stands, shape [samples].
        there: how far the original believes that something is there, shape [samples]; read for layers of boxes, and
            of classes where objectness is apart.
        held_out: whether the sample is of a picture held out, shape [samples].
    """

    inputs: Array
    outputs: Array
    counts: Array
    there: Array
    held_out: Array


@dataclass(frozen=True)
class _Part:
    """Outputs that are fitted together, and how much each sample counts.

    Logits of probabilities, of classes that compete, of a background and classes that compete with it, or values.
    """

    columns: slice
    counts: Array
    kind: Literal["scores", "classes", "background", "values"]


def last_layers(graph: Graph) -> dict[str, str]:
    """Names of the last layers, and of their outputs."""
    return {node.name: node.outputs[0].name for node in final_layers(graph)}


def believed(values: Arrays, layers: Mapping[str, str], detection: Detection) -> dict[str, Array]:
    """How far something is there, at each position of the layers whose outputs count only as far as it is.

    Args:
        values: at least the last layers' outputs, shape [batch, channels, height, width].
        layers: as `last_layers`.
        detection: what their channels mean.

    Returns:
        By name of layer, flattened: the objectness at that place, or the likeliest class where there is none.
    """
    telling = "objectness" if detection.decoupled else "classes"
    likeliest: dict[tuple[int, ...], Array] = {}
    for output in layers.values():
        place = values[output].shape[2:]
        if detection.kind(values[output].shape[1]) == "background":
            p = softmax_of_candidates(values[output], 1 + detection.classes)
            likeliest[place] = (1 - p[:, :, 0]).max(axis=1).reshape(-1).astype(np.float32)
        elif detection.kind(values[output].shape[1]) == telling:
            likeliest[place] = sigmoid(values[output].max(axis=1)).reshape(-1) * likeliest.get(place, np.float32(1))
    return {
        name: likeliest[values[output].shape[2:]]
        for name, output in layers.items()
        if detection.kind(values[output].shape[1]) in _weighed(detection) and values[output].shape[2:] in likeliest
    }


def _weighed(detection: Detection) -> tuple[str, ...]:
    """The kinds of layers whose outputs count as far as something is there."""
    return ("boxes", "classes") if detection.decoupled else ("boxes",)


def refit_answers(answers: Answers, weight: Array, bias: Array, detection: Detection) -> AnswerFit:
    """Weights and bias of the least divergence; what does not get better on the pictures held out stays.

    Args:
        answers: what to learn from; pictures held out choose the ridge and are learned from once it is chosen.
        weight: the weights to begin with and to stay near, shape [n, m].
        bias: shape [m].
        detection: what the outputs mean.
    """
    sizes = _sizes(answers.inputs)
    inputs = np.concatenate([answers.inputs / sizes, np.ones((len(answers.inputs), 1), np.float32)], axis=1)
    start = (np.concatenate([weight * sizes[:, None], bias[None]]) / SOFTENED).astype(np.float32)
    outputs = answers.outputs.astype(np.float32) / SOFTENED
    found, before, after = start.copy(), 0.0, 0.0
    for part in _parts(outputs, answers, detection):
        columns = part.columns
        fitted, was, now = _refit_part(inputs, outputs[:, columns], part, answers.held_out, start[:, columns])
        found[:, columns] = fitted
        before, after = before + was, after + now
    objects = max(_objects(outputs, answers, detection), 1e-9)
    refitted = found.astype(np.float64) * SOFTENED
    return AnswerFit(refitted[:-1] / sizes[:, None], refitted[-1], before / objects, after / objects)


def _sizes(inputs: Array) -> Array:
    """Root mean square of each input, but not so little that a dead one's weight could grow without bounds."""
    squares = np.square(inputs, dtype=np.float64).mean(axis=0)
    found: Array = np.sqrt(np.maximum(squares, _DEAD**2 * squares.mean() or 1.0)).astype(np.float32)
    return found


def _parts(outputs: Array, answers: Answers, detection: Detection) -> Iterator[_Part]:
    counts, channels = answers.counts, outputs.shape[1]
    kind = detection.kind(channels)
    if kind == "background":
        for first in range(0, channels, 1 + detection.classes):
            yield _Part(slice(first, first + 1 + detection.classes), counts, "background")
    elif kind == "joined":
        classes = detection.classes
        yield _Part(slice(0, classes), counts, "scores")
        yield _Part(slice(classes, channels), counts * sigmoid(outputs[:, :classes]).max(axis=1), "values")
    elif kind != "anchors":
        weighed = counts * answers.there if kind in _weighed(detection) else counts
        competing = kind == "classes" and detection.competing
        yield _Part(slice(0, channels), weighed, "values" if kind == "boxes" else "classes" if competing else "scores")
    else:
        for box in range(0, channels, 5 + detection.classes):
            believed = counts * sigmoid(outputs[:, box + 4])
            yield _Part(slice(box + 4, box + 5), counts, "scores")
            yield _Part(slice(box + 5, box + 5 + detection.classes), believed, "scores")
            yield _Part(slice(box, box + 4), believed, "values")


def _objects(outputs: Array, answers: Answers, detection: Detection) -> float:
    """How many objects the original sees in the pictures held out."""
    outputs, counts = outputs[answers.held_out], answers.counts[answers.held_out]
    kind = detection.kind(outputs.shape[1])
    if kind == "anchors":
        return float(counts @ sigmoid(outputs[:, 4 :: 5 + detection.classes]).sum(axis=1))
    if kind == "background":
        return float(counts @ (1 - softmax_of_candidates(outputs, 1 + detection.classes)[:, :, 0]).sum(axis=1))
    if kind == "joined":
        return float(counts @ sigmoid(outputs[:, : detection.classes]).sum(axis=1))
    apart = kind in _weighed(detection)
    return float(counts @ (answers.there[answers.held_out] if apart else sigmoid(outputs).sum(axis=1)))


def _refit_part(inputs: Array, wanted: Array, part: _Part, held_out: Array, start: Array) -> tuple[Array, float, float]:
    """The weights, and the losses on the pictures held out before and after."""
    kept = part.counts > _DOUBT * part.counts.max(initial=0.0)
    inputs, wanted, counts, judges = inputs[kept], wanted[kept], part.counts[kept], held_out[kept]
    fit, distance = _measure(part)
    probable = _probable(wanted, part)
    seen = ~judges

    def loss(weights: Array) -> float:
        return float(counts[judges] @ distance(inputs[judges] @ weights, wanted[judges]).sum(axis=1))

    before = loss(start)
    chosen, least = 0.0, before
    for ridge in RIDGES:
        strength = ridge * float((counts * probable)[seen].sum())
        found = loss(fit(inputs[seen], wanted[seen], counts[seen], start, strength)) if strength else before
        if found < least:
            chosen, least = ridge, found
    if not chosen:
        return start, before, before
    return fit(inputs, wanted, counts, start, chosen * float((counts * probable).sum())), before, least


def _measure(part: _Part) -> tuple[Callable[..., Array], Callable[[Array, Array], Array]]:
    """What fits the outputs, and how far given ones are from those that are wanted."""
    if part.kind in ("classes", "background"):
        return refit_softmax, softmax_divergence
    return (refit_logistic, divergence) if part.kind == "scores" else (_refit_squares, _half_squares)


def _probable(wanted: Array, part: _Part) -> Array:
    """How far each sample says something that must be learned, shape [samples]."""
    if part.kind == "values":
        return np.ones(len(wanted), np.float32)
    if part.kind == "scores":
        likeliest: Array = sigmoid(wanted).max(axis=1)
        return likeliest
    chances = softmax(wanted)
    found: Array = 1 - chances[:, 0] if part.kind == "background" else chances.max(axis=1)
    return found


def _half_squares(given: Array, wanted: Array) -> Array:
    found: Array = 0.5 * np.square(given - wanted)
    return found


def _refit_squares(inputs: Array, wanted: Array, counts: Array, start: Array, ridge: float) -> Array:
    """As `refit_logistic`, for values."""
    matrix = ((inputs.T * counts) @ inputs).astype(np.float64)
    matrix[np.diag_indices_from(matrix)] += ridge
    missed = (inputs.T * counts) @ (wanted - inputs @ start)
    found: Array = start + np.linalg.solve(matrix, missed.astype(np.float64)).astype(np.float32)
    return found
