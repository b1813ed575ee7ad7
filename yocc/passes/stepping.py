"""Running a graph piece by piece over several pictures, so that its layers can be changed between the pieces.

A pass that fits layer after layer needs each layer's inputs as the layers before it, already changed, give them.
Running from the pictures for every layer costs a whole run a layer; keeping what is alive at each cut costs one run in
all.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator

import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph, to_proto
from yocc.compiler.partial import extract
from yocc.compiler.passes import Arrays, PassContext, require_executor

KEPT_BYTES = 2**28
"""What one stepper keeps of all pictures at most; beyond it, it computes again from its last cut."""


class Stepper:
    """One graph and a few pictures, run up to ever later tensors.

    Args:
        graph: sorted, with known shapes; nodes not yet run may be changed between steps.
        feeds: pictures, iterated anew while nothing else is kept.
        ctx: runs models.
    """

    def __init__(self, graph: Graph, feeds: Iterable[Arrays], ctx: PassContext) -> None:
        self._graph = graph
        self._ctx = ctx
        self._start = feeds
        self._done: set[str] = set()
        """Names of nodes before the last cut."""

    def step(self, names: Collection[str]) -> Iterator[Arrays]:
        """Compute the named tensors, one picture after the other.

        The cut moves to here when all pictures have been taken and what is alive is small enough to be kept.
        """
        needed = _ancestors(self._graph, names, self._done)
        alive = _alive(self._graph, self._done | needed)
        run = _piece(self._graph, needed, [*names, *alive], self._ctx)
        kept: list[Arrays] | None = []
        size = 0
        for arrays in self._start:
            values = run(arrays)
            if kept is not None:
                # Copies, as what a runtime hands out keeps its whole pool of memory alive.
                kept.append({name: values[name].copy() for name in alive})
                size += sum(array.nbytes for array in kept[-1].values())
                if size > KEPT_BYTES:
                    kept = None
            yield {name: values[name] for name in names}
        if kept is not None:
            self._start, self._done = kept, self._done | needed


def by_depth(graph: Graph, layers: Collection[str]) -> list[list[gs.Node]]:
    """The named nodes in groups none of which feeds another of its group, in order."""
    depth: dict[str, int] = {}
    groups: dict[int, list[gs.Node]] = {}
    for node in graph.nodes:
        level = max((depth.get(tensor.name, 0) for tensor in node.inputs), default=0)
        if node.name in layers:
            groups.setdefault(level, []).append(node)
            level += 1
        for tensor in node.outputs:
            depth[tensor.name] = level
    return [groups[level] for level in sorted(groups)]


def _ancestors(graph: Graph, names: Collection[str], done: set[str]) -> set[str]:
    """Nodes not done that the named tensors need."""
    wanted = set(names)
    found = set()
    for node in reversed(graph.nodes):
        if node.name in done or not any(tensor.name in wanted for tensor in node.outputs):
            continue
        found.add(node.name)
        wanted.update(tensor.name for tensor in node.inputs)
        for subgraph in node.subgraphs(recursive=True):
            wanted.update(tensor.name for inner in subgraph.nodes for tensor in inner.inputs)
    return found


def _alive(graph: Graph, done: set[str]) -> list[str]:
    """Tensors made by done nodes or given from outside that other nodes still read."""
    made = {tensor.name for tensor in graph.inputs}
    made |= {tensor.name for node in graph.nodes if node.name in done for tensor in node.outputs}
    read: dict[str, None] = {}
    for node in graph.nodes:
        if node.name not in done:
            read |= {tensor.name: None for tensor in node.inputs if tensor.name in made}
            for subgraph in node.subgraphs(recursive=True):
                inner = [tensor.name for inner in subgraph.nodes for tensor in inner.inputs]
                read |= {name: None for name in inner if name in made}
    return list(read)


def _piece(graph: Graph, nodes: set[str], names: Collection[str], ctx: PassContext) -> Callable[[Arrays], Arrays]:
    """What computes tensors by some of the nodes; tensors it is given are handed through."""
    chosen = [node for node in graph.nodes if node.name in nodes]
    made = {tensor.name for node in chosen for tensor in node.outputs}
    wanted = [name for name in dict.fromkeys(names) if name in made]
    if not wanted:
        return dict
    part = extract(graph, chosen, wanted)
    run = require_executor(ctx, "Measuring")(to_proto(part))
    read = {tensor.name for tensor in part.inputs}
    return lambda arrays: {**arrays, **run({name: array for name, array in arrays.items() if name in read})}
