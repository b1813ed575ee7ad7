"""Running the passes of a compilation with a copy of the graph before and after each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from yocc.api.debugging.watching import Spot, Watch
from yocc.compiler.graph import Graph, clone
from yocc.compiler.pipeline.observers import verify
from yocc.compiler.pipeline.passes import Pass, PassContext
from yocc.compiler.pipeline.pipeline import Observer, PassRun
from yocc.compiler.stages.prepare import Prepared


@dataclass(frozen=True)
class Step:
    """One pass and what it made of the graph.

    Attributes:
        step: the pass.
        before: the graph it was given; weights are shared.
        ctx: what else it was given.
        run: what it did; None where it failed.
        after: the graph it left; None where it failed.
        error: what it failed with.
    """

    step: Pass
    before: Graph
    ctx: PassContext
    run: PassRun | None = None
    after: Graph | None = None
    error: Exception | None = None


@dataclass
class _Recorder:
    """Notes the graph around each pass."""

    watch: Watch
    done: list[Step] = field(default_factory=list)
    begun: tuple[Pass, Graph, PassContext] | None = None

    def begin(self, step: Pass, graph: Graph, ctx: PassContext) -> None:
        # Of a pass that changed nothing, the copy serves the next one too.
        before = self.done[-1].after if self.done else None
        self.begun = (step, clone(graph) if before is None else before, ctx)
        self.watch.enter(Spot("pass", len(self.done) + 1))

    def end(self, run: PassRun, graph: Graph) -> None:
        if self.begun is None:
            return
        step, before, ctx = self.begun
        self.begun = None
        self.watch.leave()
        self.done.append(Step(step, before, ctx, run, clone(graph)))

    def failed(self, error: Exception) -> None:
        if self.begun is None:
            raise error
        self.watch.leave()
        self.done.append(Step(*self.begun, error=error))


def follow(graph: Graph, prepared: Prepared, watch: Watch, observers: Sequence[Observer] = ()) -> list[Step]:
    """Run the passes as a compilation does, up to one that fails.

    Args:
        graph: the model's; passes change it.
        prepared: the passes and what they are given.
        watch: knows of passes that end the process.
        observers: look at the graph after each pass.
    """
    recorder = _Recorder(watch)
    try:
        prepared.pipeline.run(graph, prepared.context, [verify, recorder.end, *observers], begin=recorder.begin)
    except Exception as error:  # whatever a pass raises is what is looked for
        recorder.failed(error)
    return recorder.done
