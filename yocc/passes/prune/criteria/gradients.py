"""Criteria that ask what the outputs lose with a channel, by one backward pass for each picture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from yocc.analysis.effect import probes
from yocc.analysis.gradients import GradientGraph, gradient_graph
from yocc.analysis.gradients.builder import REMEDY
from yocc.analysis.heads import final_layers
from yocc.analysis.pictures import require_finite
from yocc.compiler.pipeline.partial import run_until
from yocc.errors import PassError
from yocc.passes.prune.criteria.consumers import Reconstruction
from yocc.passes.prune.criteria.criterion import Score, Subject
from yocc.passes.prune.criteria.taps import class_axes, taps
from yocc.passes.prune.norms import Scores
from yocc.passes.prune.ranking import Ranking

PICTURES = 32


@dataclass(frozen=True)
class _Sums:
    """Of one tensor in one picture, over positions; each of the shape of the tensor's class array.

    Attributes:
        product: sum of a g, with a the activation and g its gradient.
        gradient: sum of g.
        mean: mean of a.
    """

    product: Any
    gradient: Any
    mean: Any


class Taylor(Score):
    """Squared first-order change of the outputs when a channel is set to zero, (sum over positions of a g)^2.

    Molchanov et al., "Importance Estimation for Neural Network Pruning", CVPR 2019, equation (8) for the gate behind a
    layer's activation. There the loss is that of training; here, without labels, it is the network's own answers,
    weighed by their Fisher information and multiplied by random signs (see `effect`).
    """

    name: ClassVar[str] = "taylor"
    summary: ClassVar[str] = "squared first-order change of the outputs when the channel is set to zero"
    comparable: ClassVar[bool] = True
    centred: ClassVar[bool] = False

    def rank(self, subject: Subject) -> list[Ranking]:
        """By what the layers that read a channel lose, and a warning says so, where gradients do not reach."""
        try:
            return super().rank(subject)
        except PassError as error:
            subject.ctx.note(
                f"Channels are chosen by the criterion 'reconstruction' instead of {self.name!r}: {error.message}",
                node=error.node,
                level="warning",
            )
            return Reconstruction().rank(subject)

    def scores(self, subject: Subject) -> Scores:
        """Mean over pictures of the square of the sum over the layers that make a class."""
        seen = list(_sums(subject, self.name))
        means = {name: np.mean([sums[name].mean for sums in seen], axis=0) for name in seen[0]}
        found = np.zeros(subject.channels.classes)
        for sums in seen:
            change = np.zeros(len(found))
            for name, part in sums.items():
                moved = part.product - means[name] * part.gradient if self.centred else part.product
                change += np.bincount(subject.channels.atoms[name].ravel(), np.ravel(moved), len(found))
            found += np.square(change) / len(seen)
        return found


class GaussNewton(Taylor):
    """The same when a channel is set to its mean, which the biases of the layers that read it can take over.

    The diagonal of the Gauss-Newton matrix by a gate on a - mean(a): (sum over positions of (a - mean a) g)^2.
    """

    name: ClassVar[str] = "gauss_newton"
    summary: ClassVar[str] = "squared first-order change of the outputs when the channel is set to its mean"
    centred: ClassVar[bool] = True


def _sums(subject: Subject, criterion: str) -> Iterator[dict[str, _Sums]]:
    """For each picture the sums by tensor, of the tensors the outputs depend on."""
    pictures = subject.some_pictures(criterion, PICTURES)
    sources = [node.outputs[0].name for node in final_layers(subject.graph)]
    names = dict.fromkeys(tap.active for tap in taps(subject))
    made = gradient_graph(subject.graph, subject.shapes, sources, names)
    tensors = made.graph.tensors()
    outputs = {
        name: _reductions(made, tensors[name], class_axes(subject, name)[1]) for name in names if name in made.gradients
    }
    if not outputs:
        raise PassError("No output depends on channels that may go.", REMEDY)
    forward = run_until(subject.graph, sources, subject.ctx)
    backward = made.runner([tensor for three in outputs.values() for tensor in three], subject.ctx)
    random = subject.ctx.random()
    for arrays in pictures:
        answers = forward(arrays)
        require_finite(answers, sources)
        values = backward({**arrays, **probes(made, {name: answers[name] for name in sources}, subject.ctx, random)})
        yield {
            name: _Sums(*(values[tensor.name].astype(np.float64) for tensor in three))
            for name, three in outputs.items()
        }


def _reductions(made: GradientGraph, tensor: gs.Tensor, axes: tuple[int, ...]) -> list[gs.Variable]:
    """Tensors with the sums over positions of a g and of g, and the mean of a."""
    builder, gradient = made.builder, made.gradients[tensor.name]
    positions = np.prod([builder.shape(tensor)[axis] for axis in axes])
    share = builder.emit("Mul", tensor, builder.number(1 / positions))
    summed = (builder.emit("Mul", tensor, gradient), gradient, share)
    return [builder.emit("ReduceSum", values, axes=list(axes), keepdims=1) for values in summed]
