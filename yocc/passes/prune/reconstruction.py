"""Ranking channels by what the layers that read them cannot make up for.

Optimal brain surgeon (Hassibi and Stork, "Second Order Derivatives for Network Pruning", NIPS 1992) for whole channels:
with C the covariance of a layer's inputs, removing the inputs b and refitting the others leaves the squared error
trace(W_b' [(C^-1)_bb]^-1 W_b) in its outputs. Channels of a group go one by one, the cheapest first, and the inverse is
brought up to date after each, so that of two channels that can replace each other only one goes.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph
from yocc.compiler.partial import run_until
from yocc.compiler.passes import Feeds, PassContext
from yocc.compiler.shapes import Shapes
from yocc.passes.prune.atoms import WeightCut
from yocc.passes.prune.channels import ChannelMap, Group
from yocc.passes.prune.ranking import Ranking, rank_by_score
from yocc.passes.prune.saliency import l2
from yocc.passes.windows import positions, windows_at

Array = np.ndarray[Any, Any]
PICTURES = 48
LARGEST = 2304
"""Inputs of a layer (channels times kernel) up to which its covariance is kept; 256 channels under a 3 x 3 kernel."""
POINTS = 256
"""Positions sampled in each layer and picture."""
_RIDGE = 1e-3
"""Added to the covariance, as a share of its mean variance: what pictures hardly show must not seem replaceable."""


@dataclass
class _Reader:
    """A layer that reads channels of a group, with what is left of them.

    Attributes:
        weight: shape [inputs, outputs].
        inverse: inverse covariance of the inputs, shape [inputs, inputs].
        entries: rows of `weight` that belong to each class, shape [classes, rows].
        variance: variance of all outputs together.
    """

    weight: Array
    inverse: Array
    entries: Array
    variance: float

    def losses(self, left: Array) -> Array:
        """Share of the output variance lost by removing each of the classes left, shape [left]."""
        rows = self.entries[left]
        blocks = self.inverse[rows[:, :, None], rows[:, None, :]]
        weights = self.weight[rows]
        explained = np.linalg.solve(blocks, weights)
        lost: Array = np.einsum("cro,cro->c", weights, explained) / self.variance
        return lost

    def remove(self, index: int) -> None:
        """Take a class out and let the other inputs make up for it."""
        rows = self.entries[index]
        gain = np.linalg.solve(self.inverse[np.ix_(rows, rows)], self.inverse[rows])
        self.weight -= gain.T @ self.weight[rows]
        self.inverse -= self.inverse[:, rows] @ gain
        self.weight[rows] = 0.0


def rank_by_reconstruction(
    graph: Graph, shapes: Shapes, channels: ChannelMap, feeds: Feeds, ctx: PassContext
) -> list[Ranking]:
    """Rankings from pictures.

    Args:
        graph: the graph, batch normalisations folded.
        shapes: its concrete shapes.
        channels: its channel map.
        feeds: pictures; up to `PICTURES` of them, evenly spaced, are used.
        ctx: runs the model, shows progress.
    """
    nodes = {node.name: node for node in graph.nodes}
    covariances = _covariances(graph, shapes, feeds, ctx)
    by_weight = rank_by_score(channels.groups, l2(graph, channels))
    rankings = []
    for group, ranking in ctx.progress(zip(channels.groups, by_weight, strict=True), "rank channels", len(by_weight)):
        readers = _readers(group, nodes, channels, covariances)
        if readers is None:
            ctx.note(
                "Ranked by its weights: a layer that reads it is too large or not a convolution.",
                node=group.producers[0],
            )
        rankings.append(ranking if readers is None else _rank(group, readers))
    return rankings


def _rank(group: Group, readers: Sequence[_Reader]) -> Ranking:
    left = np.arange(len(group.classes))
    gone: list[int] = []
    losses = [0.0]
    while len(left) > 1:
        each = np.zeros(len(left))
        for reader in readers:
            each += reader.losses(left)
        cheapest = int(np.argmin(each))
        losses.append(losses[-1] + max(0.0, float(each[cheapest])))
        for reader in readers:
            reader.remove(int(left[cheapest]))
        gone.append(int(left[cheapest]))
        left = np.delete(left, cheapest)
    order = np.array([*left, *gone[::-1]])
    lost = np.array([np.inf, *losses[::-1]])
    # Each reader adds the share of its own variance, so that their mean is what is lost of all.
    return Ranking(group.classes[order], lost, np.maximum(0.0, 1.0 - lost / len(readers)))


def _covariances(graph: Graph, shapes: Shapes, feeds: Feeds, ctx: PassContext) -> dict[str, Array]:
    """Covariance of what each convolution multiplies, over sampled positions."""
    layers = [node for node in graph.nodes if _is_plain(node, shapes)]
    run = run_until(graph, [node.inputs[0].name for node in layers], ctx)
    random = ctx.random()
    sums = {node.name: _Sums(int(np.prod(node.inputs[1].shape[1:]))) for node in layers}
    step = max(1, len(feeds) // PICTURES)
    count = min(PICTURES, len(range(0, len(feeds), step)))
    for arrays in ctx.progress(itertools.islice(feeds, 0, step * count, step), "covariances", count):
        values = run(arrays)
        for node in layers:
            output = shapes.shapes[node.outputs[0].name]
            chosen = positions(output, POINTS, random)
            windows = windows_at(values[node.inputs[0].name], node, (output[2], output[3]), chosen)
            sums[node.name].add(windows.reshape(len(windows), -1).astype(np.float64))
    return {name: found.covariance() for name, found in sums.items()}


class _Sums:
    def __init__(self, size: int) -> None:
        self.count = 0
        self.first = np.zeros(size)
        self.second = np.zeros((size, size))

    def add(self, samples: Array) -> None:
        self.count += len(samples)
        self.first += samples.sum(axis=0)
        self.second += samples.T @ samples

    def covariance(self) -> Array:
        mean = self.first / self.count
        covariance: Array = self.second / self.count - np.outer(mean, mean)
        return covariance


def _is_plain(node: gs.Node, shapes: Shapes) -> bool:
    """Ungrouped 2-D convolutions with constant weights; other readers have no say in the ranking."""
    if node.op != "Conv" or node.attrs.get("group", 1) != 1 or not isinstance(node.inputs[1], gs.Constant):
        return False
    if int(np.prod(node.inputs[1].shape[1:])) > LARGEST:
        return False
    return len(node.inputs[1].shape) == 4 and shapes.of(node.outputs[0]) is not None


def _readers(
    group: Group, nodes: dict[str, gs.Node], channels: ChannelMap, covariances: dict[str, Array]
) -> list[_Reader] | None:
    """All layers that read a group's channels; None when one of them could not be measured."""
    readers = []
    for cut in channels.cuts:
        if cut.role != "in" or not np.isin(cut.atoms, group.classes).any():
            continue
        if cut.node not in covariances:
            return None
        reader = _reader(cut, group, nodes[cut.node].inputs[1].values, covariances[cut.node])
        if reader is not None:
            readers.append(reader)
    return readers or None


def _reader(cut: WeightCut, group: Group, weight: Array, covariance: Array) -> _Reader | None:
    kernel = weight[0, 0].size
    flat = weight.reshape(len(weight), -1).T.astype(np.float64)
    variance = float(np.einsum("io,ij,jo->", flat, covariance, flat, optimize=True))
    if variance <= 0:
        return None
    ridge = _RIDGE * float(np.trace(covariance)) / len(covariance)
    inverse = np.linalg.inv(covariance + max(ridge, 1e-12) * np.eye(len(covariance)))
    places = [np.flatnonzero(cut.atoms == number) for number in group.classes]
    entries = np.array([np.concatenate([np.arange(p * kernel, (p + 1) * kernel) for p in where]) for where in places])
    return _Reader(flat, inverse, entries, variance)
