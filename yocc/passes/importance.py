"""Where in a picture an error of a layer matters for what the network finds in the end.

Most of a picture is background, and so are most of the positions that a fit looks at when it draws them alike. The
squared gradient of the last outputs, weighed as in `yocc.passes.effect`, says of each position what an error there
costs; drawn by it, positions make a fit that spends what the layer can do where detections come from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from yocc.compiler.graph import Graph, to_proto
from yocc.compiler.passes import Arrays, PassContext, require_executor
from yocc.compiler.shapes import Shapes
from yocc.passes.effect import probes
from yocc.passes.gradients import gradient_graph
from yocc.passes.heads import final_layers

Array = np.ndarray[Any, Any]
SHARE = 0.8
"""Share of the positions drawn by what they matter; the others are drawn alike, so that no part goes unseen."""


class Importance:
    """Measures it, picture by picture.

    Args:
        graph: the graph; not changed.
        shapes: its concrete shapes.
        layers: output name by name of layer, outputs of shape [1, channels, ...].
        ctx: runs the gradients, knows what the outputs mean.

    Attributes:
        sources: names of the outputs that `of` must be given.

    Raises:
        PassError: the gradient of an operator on the way is not known.
    """

    def __init__(self, graph: Graph, shapes: Shapes, layers: Mapping[str, str], ctx: PassContext) -> None:
        self.sources = [node.outputs[0].name for node in final_layers(graph)]
        self._ctx, self._random = ctx, ctx.random()
        self._made = gradient_graph(graph, shapes, self.sources, layers.values())
        self._maps: dict[str, str] = {}
        outputs = []
        for name, tensor in layers.items():
            if tensor in self._made.gradients:
                found = self._made.builder.emit("ReduceSumSquare", self._made.gradients[tensor], axes=[1], keepdims=0)
                found.dtype = np.dtype(np.float32)
                self._maps[name] = found.name
                outputs.append(found)
        self._made.graph.outputs = outputs
        self._made.graph.cleanup().toposort()
        self._run: Callable[[Arrays], Arrays] = require_executor(ctx, "Measuring")(to_proto(self._made.graph))

    def of(self, arrays: Arrays, values: Arrays) -> dict[str, Array]:
        """How likely each position of a layer's output is to be drawn, flattened; summing to 1.

        Args:
            arrays: inputs of the graph.
            values: at least its `sources` for them.

        Returns:
            By name of the layer; layers that matter nowhere in this picture are left out.
        """
        seeds = probes(self._made, {name: values[name] for name in self.sources}, self._ctx, self._random)
        squares = self._run({**arrays, **seeds})
        found = {name: squares[tensor].reshape(-1).astype(np.float64) for name, tensor in self._maps.items()}
        return {name: _likelihood(weights) for name, weights in found.items() if 0 < weights.sum() < np.inf}


def _likelihood(weights: Array) -> Array:
    mixed = (1 - SHARE) / len(weights) + SHARE * weights / weights.sum()
    found: Array = mixed / mixed.sum()
    return found
