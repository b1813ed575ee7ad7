"""The `simplify` pass: onnxsim, and what it leaves."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

import onnx
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph, load, refresh, skeleton
from yocc.compiler.graph.native import captured_output
from yocc.compiler.graph.nops import remove_nops
from yocc.compiler.pipeline.passes import Pass, PassContext
from yocc.passes.simplify.axes import all_axes
from yocc.passes.simplify.folding import fold_constants
from yocc.passes.simplify.resize import constant_scales
from yocc.passes.simplify.shielding import hide, show

_FOLD_LIMIT = "1MB"
"""Constants folding may create: grids and shapes, but no tensor that would bloat the file."""
_SKIPPED = [
    "eliminate_duplicate_initializer",  # a weight of two layers cannot be pruned for one of them
    "fuse_add_bias_into_conv",  # `fuse` does it
    "fuse_bn_into_conv",  # pruning reads BatchNorm's scales; `fuse` does it afterwards, in float64
    "fuse_qkv",  # hides three layers in one
]
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

    onnxsim: bool = True

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
    rewrites = fold_constants(graph) + constant_scales(graph) + all_axes(graph) + remove_nops(graph)
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
        after = _onnxsim(before)
        for model in (before, after):
            show(model)
        simplified = load(after)
    except Exception as error:  # onnxsim raises whatever its parts raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        ctx.note(f"onnxsim could not work on this model and was left out: {reason}.", level="warning")
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


def _onnxsim(model: onnx.ModelProto) -> onnx.ModelProto:
    import onnxsim

    simplified: onnx.ModelProto
    with captured_output():
        simplified, _ = onnxsim.simplify(
            model,
            check_n=0,
            certify=False,
            skipped_optimizers=_SKIPPED,
            tensor_size_threshold=_FOLD_LIMIT,
        )
    return simplified


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
