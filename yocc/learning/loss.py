"""How far one detector's raw outputs are from another's, without labels: the other's confidence says what matters.

To second order the same measure as the Gauss-Newton matrix that ranks channels (`yocc.analysis.effect`): scores by
the divergence of Kullback and Leibler, classes and boxes as far as the teacher thinks that something is there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F  # everybody's name for it
from torch import Tensor

from yocc.compiler.pipeline.passes import Detection

BOX = 0.25
"""Weight of a squared box logit's error against that of a score, as in the ranking of channels."""

DOUBT = 1e-3
"""Probability of an object up to which a cell's classes and box are not compared, which most cells are below."""


def output_loss(student: Mapping[str, Tensor], teacher: Mapping[str, Tensor], detection: Detection | None) -> Tensor:
    """Divergence of raw outputs, for each object the teacher sees; 0 where both agree.

    Args:
        student: outputs of the last layers by name, shape [pictures, channels, height, width] in a detector.
        teacher: the same of the original.
        detection: what the channels mean; None compares squares relative to the teacher's variance.
    """
    if detection is None:
        pairs = [(student[name].float(), wanted.float()) for name, wanted in teacher.items()]
        errors = [relative_error(found, wanted, variances(wanted)) for found, wanted in pairs]
        return torch.stack(errors).mean()
    total, objects = torch.zeros(()), torch.zeros(())
    likeliest: dict[Sequence[int], Tensor] = {}
    weighed = []
    for name, wanted in teacher.items():
        kind = detection.kind(wanted.shape[1])
        if kind == "anchors":
            ours, theirs = (_cells(values, detection.classes) for values in (student[name], wanted))
            there = theirs[:, 4].float().sigmoid()
            objects = objects + there.sum()
            total = total + _divergence(ours[:, 4].float(), theirs[:, 4].float()).sum()
            seen = (there > DOUBT).nonzero()[:, 0]
            # Full precision only for these: most cells are not compared, and copying all takes as long as layers.
            ours, theirs, weight = (values.index_select(0, seen).float() for values in (ours, theirs, there[:, None]))
            total = total + (weight * _divergence(ours[:, 5:], theirs[:, 5:])).sum()
            total = total + (weight * _distance(ours[:, :4], theirs[:, :4])).sum()
        elif kind == "background":
            ours, theirs = (_rows(values, detection.classes) for values in (student[name], wanted))
            sure = theirs.exp()
            total = total + (sure * (theirs - ours)).sum()
            there = (1 - sure[:, :, 0]).amax(1, keepdim=True)
            likeliest[tuple(wanted.shape[2:])] = there
            objects = objects + there.sum()
        elif kind == "joined":
            ours, theirs = student[name].float(), wanted.float()
            sizes = (detection.classes, detection.behind)
            (scores, box), (sure, told) = ours.split(sizes, dim=1), theirs.split(sizes, dim=1)
            there = sure.sigmoid().amax(1, keepdim=True)
            objects = objects + there.sum()
            total = total + _divergence(scores, sure).sum() + (there * _distance(box, told)).sum()
        elif kind == "boxes" or (kind == "classes" and detection.decoupled):
            scores = _competing if detection.competing else _divergence
            weighed.append((name, _distance if kind == "boxes" else scores))
        else:
            total = total + _divergence(student[name].float(), wanted.float()).sum()
            there = wanted.float().sigmoid().amax(1, keepdim=True)
            place = tuple(wanted.shape[2:])
            # The class of a detector with one class looks like an objectness; its score is the product.
            likeliest[place] = there * likeliest[place] if place in likeliest else there
            objects = objects + there.sum()
    for name, error in weighed:
        there = likeliest.get(tuple(teacher[name].shape[2:]), torch.ones(()))
        total = total + (there * error(student[name].float(), teacher[name].float())).sum()
    return total / objects.clamp_min(1.0)


def relative_error(student: Tensor, teacher: Tensor, variance: Tensor) -> Tensor:
    """Mean squared difference of each channel relative to the teacher's variance there, averaged over channels.

    Args:
        student: shape [pictures, channels, ...].
        teacher: the same of the original.
        variance: of the teacher, shape [channels].
    """
    error = (student - teacher).square().mean([axis for axis in range(teacher.ndim) if axis != 1])
    return (error / variance).mean()


def variances(values: Tensor) -> Tensor:
    """Of each channel, shape [channels]; never 0."""
    return values.var([axis for axis in range(values.ndim) if axis != 1], correction=0) + 1e-6


def _cells(values: Tensor, classes: int) -> Tensor:
    """Shape [cells, 5 + classes]; a view where the channels lie last in memory."""
    return values.movedim(1, -1).reshape(-1, 5 + classes)


def _rows(values: Tensor, classes: int) -> Tensor:
    """Logarithms of the probabilities of a background and classes, shape [pictures, candidates, 1 + classes, ...]."""
    return values.float().unflatten(1, (-1, 1 + classes)).log_softmax(2)


def _divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """Of Bernoulli variables given by logits."""
    return F.softplus(student) - F.softplus(teacher) - teacher.sigmoid() * (student - teacher)


def _competing(student: Tensor, teacher: Tensor) -> Tensor:
    """Of classes joined by a softmax along axis 1, class by class."""
    ours, theirs = student.log_softmax(1), teacher.log_softmax(1)
    return theirs.exp() * (theirs - ours)


def _distance(student: Tensor, teacher: Tensor) -> Tensor:
    """Half the squared difference near 0, linear from 1 on."""
    return BOX * F.smooth_l1_loss(student, teacher, reduction="none")
