"""Structured sparsity of weights, as sparse tensor cores take it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import onnx_graphsurgeon as gs

from yocc.analysis.heads import final_layers
from yocc.compiler.graph import Graph, clone
from yocc.compiler.graph.cost import layer_costs
from yocc.compiler.graph.shapes import concrete_shapes
from yocc.compiler.graph.sparsity import GROUP, KEPT, grouped, input_axis, sparse_layers
from yocc.compiler.pipeline.lineage import whole_teacher
from yocc.compiler.pipeline.passes import Pass, PassContext
from yocc.compiler.pipeline.result import PassResult
from yocc.errors import InternalError, OptionError

PATTERNS = ("2:4",)


@dataclass(frozen=True)
class SparsityFigures:
    """What became sparse.

    Attributes:
        layers: names, sorted.
        macs_share: their share of the MACs, 0..1.
        removed_energy: share of the sum of squares of their weights that was set to zero, 0..1.
    """

    layers: tuple[str, ...]
    macs_share: float
    removed_energy: float


@dataclass(frozen=True, kw_only=True)
class Sparsify(Pass):
    """Set the two smaller of every four weights along the input channels to zero (2:4 sparsity).

    Mishra et al., "Accelerating Sparse Deep Neural Networks" (arXiv 2104.08378), section 3, without its retraining. The
    last layers before the decoding, grouped convolutions, and layers whose input channels are not a multiple of 4 stay.

    Attributes:
        pattern: nonzero weights in each group, such as 2:4.
    """

    name: ClassVar[str] = "sparsify"
    summary: ClassVar[str] = "set the two smaller of every four weights along the input channels to zero"

    pattern: Literal["2:4"] = "2:4"

    def __post_init__(self) -> None:
        if self.pattern not in PATTERNS:
            raise OptionError(f"There is no sparsity pattern {self.pattern!r}.", f"Use {', '.join(PATTERNS)}.")

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Mask every layer that can be."""
        last = {node.name for node in final_layers(graph)}
        done: set[str] = set()
        before_graph = graph if ctx.teacher is not None else clone(graph)
        removed, energy = 0.0, 0.0
        shared: dict[tuple[str, int], gs.Constant] = {}
        for node in graph.nodes:
            axis = input_axis(node)
            if axis is None:
                continue
            reason = "a last layer" if node.name in last else _obstacle(node, axis)
            if reason:
                ctx.note(f"Stays dense: {reason}.", node=node.name)
                continue
            weight = node.inputs[1]
            masked = mask(weight.values, axis)
            before, after = (float(np.square(values, dtype=np.float64).sum()) for values in (weight.values, masked))
            removed, energy = removed + before - after, energy + before
            key = (weight.name, axis)
            if key in shared:
                node.inputs[1] = shared[key]
            elif len(weight.outputs) == 1:
                weight.values = masked
            else:
                shared[key] = node.inputs[1] = gs.Constant(f"{weight.name}_sparse_{node.name}", masked)
            done.add(node.name)
        if done and not ctx.target.skips_zeros:
            ctx.note(
                f"The target {ctx.target.name!r} multiplies by zeros anyway: 2:4 sparsity makes nothing faster "
                "there, only on sparse tensor cores.",
                level="warning",
            )
        if not done:
            ctx.note("No layer of this model can be sparse; all stay dense.", level="warning")
        figures = SparsityFigures(tuple(sorted(done)), _share(graph, done, ctx), removed / energy if energy else 0.0)
        lineage = whole_teacher(before_graph, ctx.teacher, frozenset(done)) if done else None
        return PassResult(len(done), figures, lineage=lineage)

    def ensures(self, graph: Graph, ctx: PassContext) -> None:
        """Every layer that was masked is sparse."""
        dense = set(ctx.results[self.name].figures.layers) - set(sparse_layers(graph))
        if dense:
            raise InternalError(f"{', '.join(sorted(dense))} should be 2:4 sparse and are not.")


def mask(weight: np.ndarray[Any, Any], axis: int) -> np.ndarray[Any, Any]:
    """A copy in which the smaller two of each group of four are zero; of equal ones the first stay.

    Args:
        weight: with a multiple of 4 input channels.
        axis: of the input channels.
    """
    groups = grouped(weight, axis)
    if groups is None:
        raise InternalError(f"A weight of shape {weight.shape} has no groups of {GROUP} along axis {axis}.")
    order = np.argsort(-np.abs(groups), axis=-1, kind="stable")
    kept = np.zeros(groups.shape, dtype=bool)
    np.put_along_axis(kept, order[..., :KEPT], True, axis=-1)
    masked = np.where(kept, groups, groups.dtype.type(0))
    moved = masked.reshape(np.moveaxis(weight, axis, -1).shape)
    return np.ascontiguousarray(np.moveaxis(moved, -1, axis))


def _obstacle(node: gs.Node, axis: int) -> str:
    weight = node.inputs[1]
    if not isinstance(weight, gs.Constant):
        return "its weight is computed at run time or quantized"
    if np.dtype(weight.dtype).kind != "f":
        return f"its weight is {weight.dtype}"
    if weight.shape[axis] % GROUP:
        return f"{weight.shape[axis]} input channels are not a multiple of {GROUP}"
    return ""


def _share(graph: Graph, layers: set[str], ctx: PassContext) -> float:
    costs = layer_costs(graph, concrete_shapes(graph, ctx.input_shapes))
    total = sum(cost.macs for cost in costs)
    return sum(cost.macs for cost in costs if cost.node in layers) / total if total else 0.0
