"""What a pass would do, as far as that can be said without compiling."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from yocc.compiler.graph import Graph
from yocc.compiler.pipeline.result import PassResult

if TYPE_CHECKING:
    from yocc.compiler.pipeline.passes import Pass, PassContext

UNKNOWN = "what it does is known when it runs"


@dataclass(frozen=True)
class Foreseen:
    """What a pass would do.

    Attributes:
        result: what `run` would return, as far as that is known.
        done: whether the graph now is as the pass would leave it.
        later: what is only known when it runs, as a clause; empty where all is known.
    """

    result: PassResult = field(default_factory=PassResult)
    done: bool = True
    later: str = ""


def unknown(later: str = UNKNOWN) -> Foreseen:
    """Of a pass that left the graph as it was, as only running says what it does."""
    return Foreseen(done=False, later=later)


def run_now(step: Pass, graph: Graph, ctx: PassContext, later: str = "") -> Foreseen:
    """Of a pass that was run on the graph to find out."""
    did = step.run(graph, ctx)
    return Foreseen(did if isinstance(did, PassResult) else PassResult(int(did)), later=later)
