"""Running a graph only as far as some of its tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph, clone, to_proto
from yocc.compiler.passes import Arrays, PassContext, require_executor


def run_until(
    graph: Graph, names: Iterable[str], ctx: PassContext, *, given: Iterable[str] | None = None
) -> Callable[[Arrays], Arrays]:
    """Prepare the part of a graph that computes the named tensors; those of them that are given are handed through.

    Args:
        graph: sorted; not changed.
        names: tensors of the graph.
        ctx: runs models.
        given: tensors that are known already, which nothing is computed for; the graph's inputs when None.
    """
    part = clone(graph)
    tensors = part.tensors()
    if given is not None:
        part.inputs = [tensors[name] for name in dict.fromkeys(given)]
        _detach(part.inputs)
    known = {tensor.name for tensor in part.inputs}
    wanted = [name for name in dict.fromkeys(names) if name not in known]
    if not wanted:
        return dict
    part.outputs = [tensors[name] for name in wanted]
    part.cleanup(remove_unused_graph_inputs=given is not None)
    run = require_executor(ctx, "Measuring")(to_proto(part))
    read = {tensor.name for tensor in part.inputs}
    return lambda arrays: {**arrays, **run({name: array for name, array in arrays.items() if name in read})}


def _detach(tensors: Iterable[gs.Variable]) -> None:
    """Let nothing compute the tensors; the places of their producers' other outputs stay."""
    for tensor in tensors:
        for node in list(tensor.inputs):
            for place, output in enumerate(node.outputs):
                if output is tensor:
                    node.outputs[place] = gs.Variable(f"{tensor.name}_detached", tensor.dtype, tensor.shape)
