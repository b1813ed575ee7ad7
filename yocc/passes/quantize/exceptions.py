"""What is quantized otherwise than the structure says: tensors with masks, and large last layers of no detector."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from yocc.analysis.heads import final_layers
from yocc.analysis.masks import is_masked
from yocc.analysis.statistics import TensorStatistics
from yocc.compiler.graph import Graph
from yocc.compiler.graph.operators import WEIGHTED
from yocc.compiler.pipeline.passes import PassContext

LARGE = 0.05
"""Share of all weights from which on a last layer of a network that is no detector is worth quantizing."""
PRODUCTS = frozenset({"Gemm", "MatMul"})
"""Layers that runtimes compute on integers with results in float."""
_ACTIVATIONS = frozenset({"Clip", "Dropout", "Identity", "LeakyRelu", "Relu"})
_MEANS = frozenset({"AveragePool", "GlobalAveragePool", "ReduceMean"})


@dataclass(frozen=True)
class Exceptions:
    """What is treated apart.

    Attributes:
        masked: names of tensors that stay float, with the layers that read them, as sentinels are among their values.
        large_last: names of last layers that are quantized nonetheless.
    """

    masked: frozenset[str] = frozenset()
    large_last: frozenset[str] = frozenset()

    def float_results(self, graph: Graph) -> list[str]:
        """What matrix products among the large last layers give: scores, which stay float."""
        large = (node for node in graph.nodes if node.name in self.large_last and node.op in PRODUCTS)
        return [tensor.name for node in large for tensor in node.outputs]


NOTHING = Exceptions()


def find_exceptions(graph: Graph, ctx: PassContext) -> Exceptions:
    """Large last layers, unless the network is known to be a detector."""
    if ctx.detection is not None or ctx.protected:
        return NOTHING
    return Exceptions(large_last=large_last_layers(graph))


def large_last_layers(graph: Graph) -> frozenset[str]:
    """Names of the last layers of a classifier or regressor that hold much of it.

    Runtimes that compute convolutions on integers write integers, which are too coarse for what a network gives, unless
    a mean over positions evens that out.
    """
    sizes = {node.name: int(np.prod(node.inputs[1].shape)) for node in graph.nodes if _is_layer(node)}
    least = LARGE * sum(sizes.values())
    return frozenset(
        node.name
        for node in final_layers(graph)
        if sizes.get(node.name, 0) >= least and (node.op in PRODUCTS or _is_averaged(node))
    )


def masked_tensors(
    groups: Iterable[Sequence[str]], statistics: Mapping[str, TensorStatistics]
) -> dict[str, frozenset[str]]:
    """The groups of tensors among which one holds sentinels, by the name of that one."""
    found = {}
    for group in groups:
        name = next((name for name in group if is_masked(statistics[name])), None)
        if name is not None:
            found[name] = frozenset(group)
    return found


def _is_layer(node: gs.Node) -> bool:
    return node.op in WEIGHTED and len(node.inputs) > 1 and isinstance(node.inputs[1], gs.Constant)


def _is_averaged(node: gs.Node) -> bool:
    """Whether, but for activations, nothing but a mean over positions reads what a convolution gives."""
    readers = node.outputs[0].outputs
    while len(readers) == 1 and readers[0].op in _ACTIVATIONS:
        readers = readers[0].outputs[0].outputs
    return len(readers) == 1 and readers[0].op in _MEANS
