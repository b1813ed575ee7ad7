"""Filter granularity: a convolution reads fewer of the channels it is offered, whoever else reads them all.

The layers that make the channels stay as they are; a Gather in front of the layer picks those it reads. Parameters and
MACs are those of the narrower weight, and each picture costs a copy of what is picked.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph
from yocc.compiler.graph.cost import layer_costs, totals
from yocc.compiler.graph.shapes import concrete_shapes
from yocc.compiler.pipeline.passes import PassContext
from yocc.passes.prune.allocate import Allocation, allocate
from yocc.passes.prune.budget import Capacity
from yocc.passes.prune.plan import Goal
from yocc.passes.prune.ranking import share_losses
from yocc.passes.prune.slices import Array, inner_layers, measure_named, require_some


@dataclass(frozen=True)
class FilterPlan:
    """Which inputs each layer goes on reading.

    Attributes:
        allocation: how many.
        read: indices of the input channels that are kept, ascending, by layer.
        inputs: how many input channels there were, by layer.
        parameters: of the graph before.
        macs: of the graph before.
    """

    allocation: Allocation
    read: dict[str, Array]
    inputs: dict[str, int]
    parameters: int
    macs: int


def plan_filters(graph: Graph, ctx: PassContext, *, goal: Goal, criterion: str, multiple: int) -> FilterPlan:
    """Choose by the magnitude of the weights that would go.

    Raises:
        PassError: no layer can read less.
    """
    given = {tensor.name for tensor in graph.inputs}
    layers = [node for node in inner_layers(graph, ctx) if node.inputs[0].name not in given]
    require_some(layers)
    costs = layer_costs(graph, concrete_shapes(graph, ctx.input_shapes))
    before, of = totals(costs), {cost.node: cost for cost in costs}
    measure = measure_named(criterion, ctx)
    scores = [measure(node.inputs[1].values, (0, *range(2, node.inputs[1].values.ndim))) for node in layers]
    orders = [np.argsort(-found, kind="stable") for found in scores]
    # Each layer is a group of its own; a last row, one by one, stands for everything else.
    outputs = [float(node.inputs[1].shape[0]) for node in layers]
    pairs = [float(np.prod(node.inputs[1].shape[:2])) for node in layers]
    sizes = [float(np.prod(node.inputs[1].shape)) for node in layers]
    work = [float(of[node.name].macs) for node in layers]
    count = len(layers)
    capacity = Capacity(
        out=np.zeros((count + 1, count)),
        out_fixed=np.array([*outputs, 1.0]),
        into=np.vstack([np.eye(count), np.zeros((1, count))]),
        into_fixed=np.array([*np.zeros(count), 1.0]),
        parameters=np.array([*np.divide(sizes, pairs), before.parameters - sum(sizes)]),
        macs=np.array([*np.divide(work, pairs), before.macs - sum(work)]),
        linear=np.zeros(count),
        fixed=0.0,
    )
    allocation = allocate(
        capacity,
        [share_losses(found[order]) for found, order in zip(scores, orders, strict=True)],
        [1] * count,
        parameters=goal.parameters,
        macs=goal.macs,
        channels=goal.channels,
        multiple=multiple,
    )
    chosen = zip(layers, orders, allocation.kept, strict=True)
    return FilterPlan(
        allocation,
        {node.name: np.sort(order[:kept]) for node, order, kept in chosen},
        {node.name: node.inputs[1].shape[1] for node in layers},
        before.parameters,
        before.macs,
    )


def drop_filters(graph: Graph, ctx: PassContext, plan: FilterPlan) -> int:
    """Let each layer read what the plan keeps; returns how many layers read less."""
    changed = 0
    for node in list(graph.nodes):
        read = plan.read.get(node.name)
        if read is None or len(read) == plan.inputs[node.name]:
            continue
        source, weight = node.inputs[0], node.inputs[1]
        picked = gs.Variable(f"{source.name}_read_by_{node.name}", source.dtype)
        indices = gs.Constant(f"{picked.name}_indices", read.astype(np.int64))
        graph.nodes.append(gs.Node("Gather", f"{picked.name}_reader", {"axis": 1}, [source, indices], [picked]))
        node.inputs[0] = picked
        weight.values = np.ascontiguousarray(weight.values[:, read])
        changed += 1
    ctx.note(f"{changed} layers copy the channels they read on every run; layers make as many channels as before.")
    return changed
