"""Where in a picture an error of a layer matters for what the network finds in the end.

Most of a picture is background, and so are most of the positions that a fit looks at when it draws them alike. The
squared gradient of the last outputs, weighed as in `yocc.analysis.effect`, says of each position what an error there
costs; drawn by it, positions make a fit that spends what the layer can do where detections come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.analysis.effect import probes
from yocc.analysis.gradients import gradient_graph
from yocc.analysis.heads import final_layers
from yocc.analysis.windows import channel_axis
from yocc.compiler.graph import Graph
from yocc.compiler.graph.shapes import Shapes
from yocc.compiler.pipeline.passes import Arrays, PassContext

Array = np.ndarray[Any, Any]
SHARE = 0.8
"""Share of the positions drawn by what they matter; the others are drawn alike, so that no part goes unseen."""


class Importance:
    """Measures it, picture by picture.

    Args:
        graph: the graph; not changed.
        shapes: its concrete shapes.
        layers: nodes; where their first outputs have channels, `channel_axis` says.
        ctx: runs the gradients, knows what the outputs mean.

    Attributes:
        sources: names of the outputs that `of` must be given.

    Raises:
        PassError: the gradient of an operator on the way is not known.
    """

    def __init__(self, graph: Graph, shapes: Shapes, layers: Sequence[gs.Node], ctx: PassContext) -> None:
        self.sources = [node.outputs[0].name for node in final_layers(graph)]
        self._ctx, self._random = ctx, ctx.random()
        self._made = gradient_graph(graph, shapes, self.sources, [node.outputs[0].name for node in layers])
        self._maps: dict[str, str] = {}
        outputs = []
        for node in layers:
            gradient = self._made.gradients.get(node.outputs[0].name)
            if gradient is not None:
                found = self._made.builder.emit("ReduceSumSquare", gradient, axes=[channel_axis(node)], keepdims=0)
                self._maps[node.name] = found.name
                outputs.append(found)
        self._run = self._made.runner(outputs, ctx)

    def of(self, arrays: Arrays, values: Arrays) -> dict[str, Array]:
        """How likely each position of a layer's output is to be drawn, in the order of `windows`; summing to 1.

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
