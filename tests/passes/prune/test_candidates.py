from __future__ import annotations

import pytest

from tests.networks.topologies import TOPOLOGIES
from tests.passes.feeding import context, run_pass, smooth
from tests.passes.prune.planning import counted
from yocc.compiler.graph import Graph, convert_opset, load, refresh, to_proto, verify
from yocc.compiler.pipeline.passes import PassContext
from yocc.compiler.pipeline.target import Target
from yocc.errors import CalibrationError, OptionError
from yocc.passes.prune import Prune

MODEL = TOPOLOGIES["dense"](0)


def pruned(candidates: int, pictures: int = 12) -> tuple[Graph, PassContext]:
    graph = convert_opset(load(MODEL), 13)
    refresh(graph)
    ctx = context(Target("test", channel_multiple=1), smooth(MODEL, pictures))
    step = Prune(ratio=0.4, criterion="l2", candidates=candidates)
    run_pass(step, graph, ctx)
    refresh(graph)
    step.ensures(graph, ctx)
    return graph, ctx


def test_the_candidate_with_the_least_error_is_taken_and_meets_the_budget() -> None:
    graph, ctx = pruned(4)
    assert verify.problems(graph) == []
    errors = ctx.details["prune"]["candidates"]
    assert len(errors) == 4
    assert len(set(errors)) > 1
    whole = counted(load(MODEL))
    assert counted(graph).parameters / whole.parameters == pytest.approx(0.6, abs=0.03)
    first, _ = pruned(1)
    same = to_proto(first).SerializeToString(deterministic=True) == to_proto(graph).SerializeToString(
        deterministic=True
    )
    assert same == (min(errors) == errors[0])


@pytest.mark.slow
def test_two_runs_take_the_same() -> None:
    first, second = (to_proto(pruned(3)[0]).SerializeToString(deterministic=True) for _ in range(2))
    assert first == second


def test_candidates_need_pictures() -> None:
    with pytest.raises(CalibrationError, match="judged on pictures"):
        pruned(2, pictures=1)


@pytest.mark.parametrize(
    "options", [{"candidates": 0}, {"candidates": 2, "budget": "latency"}, {"candidates": 2, "granularity": "kernel"}]
)
def test_what_candidates_cannot_be_combined_with_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(OptionError, match="candidates"):
        Prune(criterion="l2", **options)
