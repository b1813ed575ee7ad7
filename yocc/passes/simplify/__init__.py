"""The `simplify` pass: onnxsim, and what it leaves."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

import onnx
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph, load, refresh, skeleton
from yocc.compiler.graph.nops import remove_nops
from yocc.compiler.pipeline.passes import Pass, PassContext
from yocc.containment.worker import one_line, start_worker
from yocc.passes.simplify.axes import all_axes
from yocc.passes.simplify.contained import onnxsim_result
from yocc.passes.simplify.einsum import products_from_einsum
from yocc.passes.simplify.folding import fold_constants
from yocc.passes.simplify.fused_conv import split_fused_convolutions
from yocc.passes.simplify.fused_operators import split_fused_operators
from yocc.passes.simplify.resize import constant_scales
from yocc.passes.simplify.shielding import hide, show
from yocc.passes.simplify.tied_tables import share_tied_tables
from yocc.passes.simplify.transposed import stated_pads

_ROUNDS = 8
"""A removed node can let onnxsim remove more; real models settle after two rounds."""


@dataclass(frozen=True, kw_only=True)
class Simplify(Pass):
    """Fold constants and remove operators without effect; the model computes the same function.

    onnxsim gets the graph without its large weights: it needs no time or memory for them, cannot expand them, and meets
    no size limit. Constants that depend on large weights are folded by yocc.

    Attributes:
        onnxsim: whether to run onnxsim in addition to yocc's own rules.
    """

    name: ClassVar[str] = "simplify"
    summary: ClassVar[str] = "fold constants, remove no-ops, make Resize scales constant"
    quick: ClassVar[bool] = True

    onnxsim: bool = True

    def warm_up(self) -> None:
        """Start the process that onnxsim runs in."""
        if self.onnxsim:
            start_worker()

    def run(self, graph: Graph, ctx: PassContext) -> int:
        """Simplify until nothing changes any more."""
        total, usable = 0, self.onnxsim
        for _ in range(_ROUNDS):
            rewrites = _own_rules(graph)
            if usable:
                changed = _run_onnxsim(graph, ctx)
                usable = changed is not None
                rewrites += changed or 0
            total += rewrites
            if not rewrites:
                break
        return total


def _own_rules(graph: Graph) -> int:
    rewrites = (
        split_fused_convolutions(graph)
        + split_fused_operators(graph)
        + products_from_einsum(graph)
        + share_tied_tables(graph)
        + fold_constants(graph)
        + constant_scales(graph)
        + all_axes(graph)
        + stated_pads(graph)
        + remove_nops(graph)
    )
    if rewrites:
        refresh(graph)
    return rewrites


def _run_onnxsim(graph: Graph, ctx: PassContext) -> int | None:
    """Let onnxsim work on the graph; whatever goes wrong leaves the graph as it was, with a note.

    Returns:
        How many nodes are gone or new; None when onnxsim cannot work on this graph.
    """
    before = skeleton(graph)
    hide(before, graph, lambda reason, node: _note_once(ctx, reason, node))
    try:
        after = onnxsim_result(before)
        for model in (before, after):
            show(model)
        simplified = load(after)
    except Exception as error:  # what it leaves can be anything
        ctx.note(f"onnxsim could not work on this model and was left out: {one_line(error)}.", level="warning")
        return None
    if _names(graph.outputs) != _names(simplified.outputs) or not _names(graph.inputs) <= _names(simplified.inputs):
        ctx.note("onnxsim changed the model's inputs or outputs; its result is not used.", level="warning")
        return None
    old, new = _contents(before), _contents(after)
    changed = (old - new).total() + (new - old).total()
    if changed:
        _adopt(graph, simplified)
    return changed


def _note_once(ctx: PassContext, reason: str, node: str) -> None:
    if not any((note.message, note.node) == (reason, node) for note in ctx.notes):
        ctx.note(reason, node=node)


def _adopt(graph: Graph, simplified: Graph) -> None:
    """Put the simplified nodes into the graph; inputs and outputs keep the types they were declared with."""
    weights = {tensor.name: tensor for tensor in graph.tensors().values() if isinstance(tensor, gs.Constant)}
    for tensor in simplified.inputs:
        if tensor.name in weights:
            # The values may still lie on disk; `.values` would read them.
            tensor.to_constant(weights[tensor.name]._values)
    tensors = simplified.tensors()
    for ours in [*graph.inputs, *graph.outputs]:
        if isinstance(tensors[ours.name], gs.Variable):  # an output can have become a constant
            tensors[ours.name].shape, tensors[ours.name].dtype = ours.shape, ours.dtype
    graph.nodes = simplified.nodes
    graph.inputs = [tensors[tensor.name] for tensor in graph.inputs]
    graph.outputs = [tensors[tensor.name] for tensor in graph.outputs]


def _contents(model: onnx.ModelProto) -> Counter[tuple[object, ...]]:
    """The nodes of a model as a multiset, free of the order of nodes and attributes.

    Bodies of If and Loop are left out: onnxsim does not work on them, only writes them anew.
    """
    return Counter(
        (
            node.op_type,
            node.domain,
            tuple(node.input),
            tuple(node.output),
            tuple(
                sorted(
                    attribute.SerializeToString(deterministic=True)
                    for attribute in node.attribute
                    if attribute.type != onnx.AttributeProto.GRAPH
                )
            ),
        )
        for node in model.graph.node
    )


def _names(tensors: list[gs.Tensor]) -> set[str]:
    return {tensor.name for tensor in tensors}
