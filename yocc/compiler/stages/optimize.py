"""The second stage: the passes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from yocc.compiler.graph import Graph
from yocc.compiler.pipeline.kept import Kept, Shelf
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


def optimize(
    graph: Graph, prepared: Prepared, observers: Sequence[Observer] = (), kept: Kept | None = None
) -> tuple[Graph, Optimized]:
    """Run the passes; the graph is verified after each.

    Args:
        graph: the model's; passes may change it.
        prepared: everything else they need.
        observers: look at the graph after each pass.
        kept: of other compilations of the same model and files; added to.

    Returns:
        The compressed graph, and what was done to it.

    Raises:
        YoccError: a pass cannot do what was asked.
        InternalError: a pass left a broken graph.
    """
    context, shelf = prepared.context, None if kept is None else _shelf(prepared, kept)
    if shelf is not None:
        context = replace(context, memo=shelf.memo())
    graph, runs = prepared.pipeline.run(graph, context, [verify, *observers], shelf=shelf)
    return graph, Optimized(runs, context)


def _shelf(prepared: Prepared, kept: Kept) -> Shelf | None:
    """What is kept for compilations in the same circumstances; None where these cannot be told or include time."""
    options, inputs, source = prepared.options, prepared.inputs, prepared.source
    if options.recipe.budget is not None or not isinstance(source, str | Path):
        return None
    circumstances = repr(
        (source, options.data, options.target, options.measure.threads, options.recipe.latency_table,
         prepared.context.outputs)
    )  # fmt: skip
    return Shelf(kept, circumstances, None if inputs is None else inputs.calibration)
