"""Parts of single weights: what is finer than a channel, and how much each part matters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.analysis.heads import final_layers
from yocc.compiler.graph import Graph
from yocc.compiler.pipeline.passes import PassContext
from yocc.errors import PassError

Array = np.ndarray[Any, Any]
Measure = Callable[[Array, tuple[int, ...]], Array]
"""Of a weight, over some of its axes."""
MEASURES = ("auto", "l1", "l2", "random")
"""Criteria that say something about less than a channel; `auto` is `l2`."""


def measure_named(criterion: str, ctx: PassContext) -> Measure:
    """The measure of a criterion of `MEASURES`."""
    if criterion == "l1":
        return lambda weight, axes: np.abs(weight.astype(np.float64)).sum(axis=axes)
    if criterion == "random":
        random = ctx.random()
        return lambda weight, axes: random.random([n for axis, n in enumerate(weight.shape) if axis not in axes])
    return lambda weight, axes: np.sqrt(np.square(weight.astype(np.float64)).sum(axis=axes))


def inner_layers(graph: Graph, ctx: PassContext) -> list[gs.Node]:
    """Ungrouped convolutions with a weight of their own; what the decoding reads stays whole, and it is noted."""
    last = {node.name for node in final_layers(graph)}
    found = []
    for node in _convolutions(graph):
        reason = "a last layer" if node.name in last else _obstacle(node)
        if reason:
            ctx.note(f"The weight stays whole: {reason}.", node=node.name)
        else:
            found.append(node)
    return found


def require_some(layers: Sequence[gs.Node]) -> None:
    """There must be something to thin out.

    Raises:
        PassError: there is not.
    """
    if not layers:
        raise PassError("No weight of this model can be pruned.", "All are shared, grouped, or of last layers.")


def _convolutions(graph: Graph) -> Iterator[gs.Node]:
    return (node for node in graph.nodes if node.op == "Conv" and not node.domain)


def _obstacle(node: gs.Node) -> str:
    weight = node.inputs[1]
    if not isinstance(weight, gs.Constant):
        return "it is computed at run time or quantized"
    if node.attrs.get("group", 1) != 1:
        return "the convolution is grouped"
    return "several layers share it" if len(weight.outputs) > 1 else ""
