"""How much a channel says about what the layer that reads it will find."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from yocc.analysis.pictures import require_finite
from yocc.analysis.windows import outputs_at, positions
from yocc.compiler.pipeline.partial import run_until
from yocc.passes.prune.criteria.criterion import Score, Subject
from yocc.passes.prune.norms import Scores, by_class

Array = np.ndarray[Any, Any]
PICTURES = 48
POINTS = 32
"""Positions sampled in each layer and picture."""
BINS = 8
"""Bins of each of the two variables, with equally many samples in each."""


class MutualInformation(Score):
    """Mutual information, in nats, of a channel and the mean |output| at the same place of the layer that reads it.

    Estimated from a histogram with equally filled bins (Cover and Thomas, "Elements of Information Theory", equation
    2.28, on samples); summed up over positions it says how well a channel predicts where the next layer finds anything.
    """

    name: ClassVar[str] = "mutual_information"
    summary: ClassVar[str] = "mutual information with the output of the layer that reads the channel"

    def scores(self, subject: Subject) -> Scores:
        """Means over the convolutions that read a class; NaN where none does."""
        pictures = subject.some_pictures(self.name, PICTURES)
        readers = _readers(subject)
        names = [tensor.name for node in readers for tensor in (node.inputs[0], node.outputs[0])]
        run = run_until(subject.graph, names, subject.ctx)
        random = subject.ctx.random()
        seen: dict[str, list[tuple[Array, Array]]] = {node.name: [] for node in readers}
        for arrays in pictures:
            values = run(arrays)
            require_finite(values, names)
            for node in readers:
                seen[node.name].append(_sample(values[node.inputs[0].name], values[node.outputs[0].name], random))
        parts = []
        for node in readers:
            inputs, outputs = (np.concatenate(part) for part in zip(*seen[node.name], strict=True))
            target = _binned(outputs)
            information = np.array([mutual_information(_binned(column), target) for column in inputs.T])
            parts.append((information, subject.channels.atoms[node.inputs[0].name]))
        return by_class(parts, subject.channels.classes)


def _readers(subject: Subject) -> list[gs.Node]:
    """Convolutions over maps whose input channels may go."""
    reading = {cut.node for cut in subject.channels.cuts if cut.role == "in" and cut.atoms.any()}
    return [
        node
        for node in subject.graph.nodes
        if node.name in reading
        and node.op == "Conv"
        and subject.channels.atoms[node.inputs[0].name].shape == (1, len(_channels(subject, node)), 1, 1)
    ]


def _channels(subject: Subject, node: gs.Node) -> range:
    return range(subject.shapes.shapes[node.inputs[0].name][1])


def _sample(inputs: Array, outputs: Array, random: np.random.Generator) -> tuple[Array, Array]:
    """Input channels, shape [points, channels], and the mean |output| at the same places, shape [points]."""
    chosen = positions(outputs.shape, POINTS, random)
    samples, rows, columns = np.unravel_index(chosen, (len(outputs), *outputs.shape[2:]))
    rows = rows * inputs.shape[2] // outputs.shape[2]
    columns = columns * inputs.shape[3] // outputs.shape[3]
    return inputs[samples, :, rows, columns], np.abs(outputs_at(outputs, chosen)).mean(axis=1)


def _binned(values: Array) -> Array:
    """Number of the bin of each value; values that are alike are in one bin."""
    edges = np.unique(np.quantile(values, np.arange(1, BINS) / BINS))
    return np.searchsorted(edges, values, side="right")


def mutual_information(first: Array, second: Array) -> float:
    """Mutual information of two discrete variables, in nats.

    Args:
        first: small integers from 0 on, shape [samples].
        second: likewise.
    """
    joint = np.zeros((first.max() + 1, second.max() + 1))
    np.add.at(joint, (first, second), 1 / len(first))
    apart = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    there = joint > 0
    return float((joint[there] * np.log(joint[there] / apart[there])).sum())
