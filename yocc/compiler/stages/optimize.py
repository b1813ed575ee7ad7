"""The second stage: the passes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from yocc.compiler.graph import Graph
from yocc.compiler.pipeline.observers import verify
from yocc.compiler.pipeline.passes import PassContext
from yocc.compiler.pipeline.pipeline import Observer, PassRun, latest_details
from yocc.compiler.stages.prepare import Prepared


@dataclass(frozen=True)
class Optimized:
    """What the passes did.

    Attributes:
        runs: what each did, in order.
        context: what they were given, with what they had to say.
    """

    runs: Sequence[PassRun]
    context: PassContext

    @property
    def details(self) -> Mapping[str, Mapping[str, Any]]:
        """Figures, layers and skip reasons by pass."""
        return latest_details(self.runs)


def optimize(graph: Graph, prepared: Prepared, observers: Sequence[Observer] = ()) -> tuple[Graph, Optimized]:
    """Run the passes; the graph is verified after each.

    Args:
        graph: the model's; passes may change it.
        prepared: everything else they need.
        observers: look at the graph after each pass.

    Returns:
        The compressed graph, and what was done to it.

    Raises:
        YoccError: a pass cannot do what was asked.
        InternalError: a pass left a broken graph.
    """
    graph, runs = prepared.pipeline.run(graph, prepared.context, [verify, *observers])
    return graph, Optimized(runs, prepared.context)
