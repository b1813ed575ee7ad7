"""Running a graph only as far as some of its tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from yocc.compiler.graph import Graph, clone, to_proto
from yocc.compiler.passes import Arrays, PassContext, require_executor


def run_until(graph: Graph, names: Iterable[str], ctx: PassContext) -> Callable[[Arrays], Arrays]:
    """Prepare the part of a graph that computes the named tensors; graph inputs among them are handed through.

    Args:
        graph: sorted; not changed.
        names: tensors of the graph.
        ctx: runs models.
    """
    part = clone(graph)
    tensors = part.tensors()
    given = {tensor.name for tensor in part.inputs}
    wanted = [name for name in dict.fromkeys(names) if name not in given]
    if not wanted:
        return dict
    part.outputs = [tensors[name] for name in wanted]
    part.cleanup(remove_unused_graph_inputs=False)
    run = require_executor(ctx, "Measuring")(to_proto(part))
    return lambda arrays: {**arrays, **run(arrays)}
