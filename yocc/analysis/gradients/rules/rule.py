"""What a rule is.

A rule gets the node, the gradient of its first output and the inputs to differentiate by. It returns the gradients of
those, by input slot; an input that is left out has a gradient of zero. Only gradients of activations are needed, none
of weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import onnx_graphsurgeon as gs

from yocc.analysis.gradients.builder import Builder, NoGradient

Slots = Sequence[int]
Gradients = dict[int, gs.Variable]
Rule = Callable[[Builder, gs.Node, gs.Variable, Slots], Gradients]


def only_first(slots: Slots, reason: str) -> None:
    """Refuse to differentiate by anything but the first input."""
    if list(slots) != [0]:
        raise NoGradient(reason)
