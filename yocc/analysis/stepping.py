"""Running a graph piece by piece over several pictures, so that its layers can be changed between the pieces.

A pass that fits layer after layer needs each layer's inputs as the layers before it, already changed, give them.
Running from the pictures for every layer costs a whole run a layer; keeping what is alive at each stop costs one run in
all.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from functools import cache, partial

import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph
from yocc.compiler.graph.order import reads
from yocc.compiler.pipeline.partial import run_until
from yocc.compiler.pipeline.passes import Arrays, PassContext

KEPT_BYTES = 3 * 2**28
"""Intermediate results kept in memory at most; about 10 MB for each picture of 640 x 640 in a small YOLO."""


class Stepper:
    """Remembers how far each picture has come, while there is room, so that nothing is computed twice.

    A picture for which there is no room is run from the start each time.

    Args:
        graph: sorted; nodes that have not been run yet may be changed between steps.
        pictures: inputs of the graph; iterating again starts again.
        ctx: runs models.
        room: bytes to keep at most.
    """

    def __init__(self, graph: Graph, pictures: Iterable[Arrays], ctx: PassContext, *, room: int = KEPT_BYTES) -> None:
        self._graph, self._pictures, self._ctx = graph, pictures, ctx
        self._room = room
        self._done: set[str] = set()
        self._frontier: list[str] = []
        self._states: dict[int, Arrays] = {}

    def step(self, names: Collection[str]) -> Iterator[Arrays]:
        """The named tensors for each picture; run through it to the end before the next step."""
        done = self._done | self._ancestors(names)
        frontier = self._read_outside(done, names)
        # Prepared when needed: most steps need one of the two ways only.
        start = cache(partial(run_until, self._graph, frontier, self._ctx))
        resume = cache(partial(run_until, self._graph, frontier, self._ctx, given=self._frontier))
        for place, arrays in enumerate(self._pictures):
            before = self._states.pop(place, None)
            self._room += _size(before)
            values = start()(arrays) if before is None else resume()(before)
            size = sum(values[name].nbytes for name in frontier)
            if size <= self._room:
                self._room -= size
                # Copies, as what a runtime hands out keeps its whole pool of memory alive.
                self._states[place] = {name: values[name].copy() for name in frontier}
            yield {name: values[name] for name in names}
        self._done, self._frontier = done, frontier

    def _ancestors(self, names: Collection[str]) -> set[str]:
        """Names of the nodes that compute the named tensors."""
        wanted, found = set(names), set()
        for node in reversed(self._graph.nodes):
            if any(tensor.name in wanted for tensor in node.outputs):
                found.add(node.name)
                wanted.update(reads(node))
        return found

    def _read_outside(self, done: set[str], names: Collection[str]) -> list[str]:
        """Tensors that are known when the nodes are done and read by others, and those asked for."""
        known = {tensor.name for tensor in self._graph.inputs}
        known |= {tensor.name for node in self._graph.nodes if node.name in done for tensor in node.outputs}
        read = {name for node in self._graph.nodes if node.name not in done for name in reads(node)}
        return [*dict.fromkeys(names), *sorted((known & read) - set(names))]


def by_depth(graph: Graph, layers: Collection[str]) -> list[list[gs.Node]]:
    """The named nodes in groups none of which feeds another of its group, in order."""
    depth: dict[str, int] = {}
    groups: dict[int, list[gs.Node]] = {}
    for node in graph.nodes:
        level = max((depth.get(name, 0) for name in reads(node)), default=0)
        if node.name in layers:
            groups.setdefault(level, []).append(node)
            level += 1
        for tensor in node.outputs:
            depth[tensor.name] = level
    return [groups[level] for level in sorted(groups)]


def _size(state: Arrays | None) -> int:
    return 0 if state is None else sum(array.nbytes for array in state.values())
