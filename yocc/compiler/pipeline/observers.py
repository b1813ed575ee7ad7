"""Looking at the graph after each pass: verify it, print it, say how long it took."""

from __future__ import annotations

from collections.abc import Callable

from yocc.compiler.graph import Graph
from yocc.compiler.graph.printer import print_graph
from yocc.compiler.graph.verify import problems
from yocc.compiler.pipeline.pipeline import Observer, PassRun
from yocc.errors import InternalError, PassError


def verify(run: PassRun, graph: Graph) -> None:
    """Check the graph in full.

    Raises:
        InternalError: the pass left a graph that onnx refuses.
        PassError: the same of a pass that is not yocc's.
    """
    found = problems(graph)
    if found and run.owner:
        raise PassError(
            f"The pass {run.spec!r} of {run.owner} left a broken graph: {'; '.join(found)}.",
            f"Leave it out, or report it to the authors of {run.owner}.",
        )
    if found:
        raise InternalError(f"The pass {run.spec!r} left a broken graph: {'; '.join(found)}.")


def printing(write: Callable[[str], object]) -> Observer:
    """An observer that writes the graph after each pass that changed it."""

    def observe(run: PassRun, graph: Graph) -> None:
        if run.rewrites:
            write(f"after {run.spec}:\n{print_graph(graph)}")

    return observe


def timing(write: Callable[[str], object]) -> Observer:
    """An observer that writes what each pass did and how long it took."""

    def observe(run: PassRun, graph: Graph) -> None:
        rewrites = f"{run.rewrites} rewrite" + ("" if run.rewrites == 1 else "s")
        write(f"{run.spec}: {rewrites}, {len(graph.nodes)} nodes, {run.seconds:.2f} s")

    return observe
