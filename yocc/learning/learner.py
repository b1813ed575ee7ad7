"""What learns from what, and how far it is from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from yocc.compiler.pipeline.passes import Detection
from yocc.learning.loss import output_loss, relative_error, variances
from yocc.learning.network import Network

FEATURES = 3
"""Of so many layers on the way one is compared in a step: their gradients take more time than they are worth."""


class Learner:
    """What learns from what.

    Args:
        student: learns; gives the last layers' outputs and those of the layers in `features`.
        teacher: the original.
        ends: names of the last layers' outputs.
        features: for the outputs of other layers, the teacher's channels that the student still has.
        detection: what the last layers' channels mean.
    """

    def __init__(
        self,
        student: Network,
        teacher: Network,
        ends: Sequence[str],
        features: Mapping[str, Tensor],
        detection: Detection | None,
    ) -> None:
        self.student, self.teacher = student, teacher
        self._ends, self._features, self._detection = ends, features, detection
        self._variances: dict[str, Tensor] = {}

    def to(self, device: str) -> None:
        """Compute there from now on."""
        self.student.to(device)
        self.teacher.to(device)

    def measure(self, batch: Mapping[str, Tensor]) -> None:
        """Take from a batch by what to divide the errors of the layers on the way."""
        with torch.no_grad():
            values = self.teacher(batch)
        self._variances = {name: variances(values[name][:, kept]) for name, kept in self._features.items()}

    def loss(self, batch: Mapping[str, Tensor], weight: float, half: bool, random: np.random.Generator) -> Tensor:
        """Of the outputs and, weighted, of a few layers on the way, which ones is drawn."""
        device = next(iter(batch.values())).device.type
        with torch.autocast(device, torch.bfloat16, enabled=half):
            with torch.no_grad():
                wanted = self.teacher(batch)
            found = self.student(batch)
        ends = [{name: values[name] for name in self._ends} for values in (found, wanted)]
        loss = output_loss(ends[0], ends[1], self._detection)
        if weight and self._features:
            names = sorted(self._features)
            errors = []
            for place in random.choice(len(names), -(-len(names) // FEATURES), replace=False):
                name = names[place]
                kept = _thinned(wanted[name])[:, self._features[name]]
                errors.append(relative_error(_thinned(found[name]), kept, self._variances[name]))
            loss = loss + weight * torch.stack(errors).mean()
        return loss


def _thinned(values: Tensor) -> Tensor:
    """Every second row and column, which says enough of a feature map."""
    return values[..., ::2, ::2].float() if values.ndim == 4 else values.float()
