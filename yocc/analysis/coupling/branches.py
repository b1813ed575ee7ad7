"""Channels that go through an If: where both branches compute element by element, the same ones leave it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_graphsurgeon as gs

from yocc.analysis.coupling.atoms import Array
from yocc.analysis.coupling.computing import unary
from yocc.analysis.coupling.walk import Walk, frozen
from yocc.compiler.graph.operators import OPS, Flow

BRANCHES = ("then_branch", "else_branch")


def follow_if(walk: Walk, node: gs.Node) -> list[Array] | None:
    """Atoms of an If's outputs; None where its branches do more than compute on each element on its own.

    Channels of an output that differ in shape between the branches stay.
    """
    branches = [node.attrs.get(name) for name in BRANCHES]
    if node.op != "If" or node.domain or not all(_is_plain(walk, branch) for branch in branches):
        return None
    for branch in branches:
        for inner in branch.nodes:
            walk.atoms.update(zip((tensor.name for tensor in inner.outputs), unary(walk, inner), strict=True))
    return [
        _joined(walk, node, output, [branch.outputs[place] for branch in branches])
        for place, output in enumerate(node.outputs)
    ]


def _is_plain(walk: Walk, branch: gs.Graph) -> bool:
    return all(
        node.op in OPS
        and OPS[node.op].flow is Flow.UNARY
        and not node.domain
        and all(isinstance(tensor, gs.Constant) or tensor.is_empty() for tensor in node.inputs[1:])
        and all(tensor.is_empty() or walk.shapes.of(tensor) is not None for tensor in [*node.inputs, *node.outputs])
        for node in branch.nodes
    )


def _joined(walk: Walk, node: gs.Node, output: gs.Tensor, sources: Sequence[gs.Tensor]) -> Array:
    shapes = {walk.shapes.of(tensor) for tensor in [output, *sources]}
    if len(shapes) > 1 or None in shapes:
        for tensor in sources:
            walk.freeze(tensor, node, "the branches of If give different shapes")
        return frozen(len(walk.shapes.of(output) or ()))
    first, second = (walk.of(tensor) for tensor in sources)
    walk.table.join(first, second)
    return np.broadcast_arrays(first, second)[0]
