from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from tests.passes.feeding import Pictures
from tests.samples import tiny_model
from yocc.compiler.graph import Graph, load
from yocc.compiler.pipeline.lineage import whole_teacher
from yocc.compiler.pipeline.passes import Note, Pass, PassContext, require_executor, silent
from yocc.compiler.pipeline.result import PassResult
from yocc.compiler.pipeline.target import Target
from yocc.errors import CalibrationError, InternalError, OptionError


def test_notes_carry_the_pass_that_made_them() -> None:
    ctx = PassContext(Target("x"))
    ctx.note("before any pass")
    replace(ctx, origin="prune").note("left alone", node="conv1", level="warning")
    assert ctx.notes == [
        Note("pipeline", "before any pass"),
        Note("prune", "left alone", "conv1", "warning"),
    ]


def test_contexts_share_nothing() -> None:
    first, second = PassContext(Target("x")), PassContext(Target("x"))
    first.note("mine")
    first.memo.once("table", lambda: 1)
    assert second.notes == []
    assert second.memo.once("table", lambda: 2) == 2


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
    assert require_executor(PassContext(Target("x"), executor=executor), "quantize") is executor


def test_a_pass_must_say_what_it_does() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Pass()


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


def test_a_context_is_not_to_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        PassContext(Target("x")).teacher = None


def test_what_comes_after_a_pass_has_its_result_and_the_lineage() -> None:
    ctx = PassContext(Target("x"))
    teacher = whole_teacher(load(tiny_model()), None)
    pruned = ctx.after("prune", PassResult(3, lineage=teacher))
    refitted = pruned.after("recover", PassResult(2))
    assert ctx.results == {}
    assert ctx.teacher is None
    assert refitted.teacher is teacher
    assert {name: result.rewrites for name, result in refitted.results.items()} == {"prune": 3, "recover": 2}


def test_a_context_for_a_model_has_a_shape_for_each_open_input() -> None:
    graph = load(tiny_model())
    graph.inputs[0].shape = ["n", *graph.inputs[0].shape[1:]]
    name = graph.inputs[0].name
    ctx = PassContext.for_model(graph, Target("x"), seed=3)
    assert ctx.input_shapes[name][0] == 1
    assert ctx.seed == 3
    given = PassContext.for_model(graph, Target("x"), input_shapes={name: (2, 3, 8, 8)}, protected=[name])
    assert given.input_shapes[name] == (2, 3, 8, 8)
    assert given.protected == {name}


def test_what_does_not_fit_the_model_is_refused() -> None:
    graph = load(tiny_model())
    with pytest.raises(OptionError, match="no input 'z'"):
        PassContext.for_model(graph, Target("x"), input_shapes={"z": (1,)})
    with pytest.raises(OptionError, match="no tensor 'z' to protect"):
        PassContext.for_model(graph, Target("x"), protected=["z"])
    with pytest.raises(CalibrationError, match=f"no array for {graph.inputs[0].name!r}"):
        PassContext.for_model(graph, Target("x"), feeds=Pictures([{"z": np.zeros(1)}]))
