from __future__ import annotations

import pytest

from yocc.compiler.graph import Graph
from yocc.compiler.pipeline.passes import Note, Pass, PassContext, require_executor, silent
from yocc.compiler.pipeline.target import Target
from yocc.errors import InternalError


def test_notes_carry_the_pass_that_made_them() -> None:
    ctx = PassContext(Target("x"))
    ctx.note("before any pass")
    ctx.enter("prune")
    ctx.note("left alone", node="conv1", level="warning")
    assert ctx.notes == [
        Note("pipeline", "before any pass"),
        Note("prune", "left alone", "conv1", "warning"),
    ]


def test_contexts_share_nothing() -> None:
    first, second = PassContext(Target("x")), PassContext(Target("x"))
    first.note("mine")
    first.details["prune"] = 1
    assert second.notes == []
    assert second.details == {}


def test_the_same_seed_gives_the_same_numbers_whatever_ran_before() -> None:
    ctx = PassContext(Target("x"), seed=3)
    first = ctx.random().random(5)
    assert (ctx.random().random(5) == first).all()
    assert (PassContext(Target("x"), seed=4).random().random(5) != first).any()


def test_silent_progress_passes_items_on() -> None:
    assert list(silent([1, 2, 3], "counting")) == [1, 2, 3]


def test_a_missing_executor_is_our_mistake() -> None:
    with pytest.raises(InternalError, match="quantize runs the model"):
        require_executor(PassContext(Target("x")), "quantize")
    executor = object()
    assert require_executor(PassContext(Target("x"), executor=executor), "quantize") is executor  # type: ignore[arg-type] # any object


def test_a_pass_must_say_what_it_does() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Pass()  # type: ignore[abstract] # that is the mistake


def test_optional_steps_do_nothing() -> None:
    class Idle(Pass):
        name, summary = "idle", "does nothing"

        def run(self, graph: Graph, ctx: PassContext) -> int:  # noqa: ARG002 # the protocol's
            return 0

    ctx = PassContext(Target("x"))
    step = Idle()
    assert step.min_opset(ctx) == 0
    step.requires(Graph(), ctx)
    step.ensures(Graph(), ctx)
    assert ctx.notes == []
