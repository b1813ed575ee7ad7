from __future__ import annotations

import pytest

from tests.passes.feeding import context, run_pass
from tests.passes.prune.planning import counted
from tests.passes.prune.test_timing import CountingProfiler
from yocc.analysis.pacing import CLOSE
from yocc.compiler.graph import Graph, convert_opset, load, refresh
from yocc.compiler.pipeline.passes import PassContext
from yocc.compiler.pipeline.pipeline import Pipeline
from yocc.errors import OptionError
from yocc.models.yolov5 import build_yolov5
from yocc.passes.prune import Prune
from yocc.passes.prune import pacing as module


def detector() -> Graph:
    graph = convert_opset(load(build_yolov5("n", size=64, batch_norm="fused")), 13)
    refresh(graph)
    return graph


def macs_ratio(ctx: PassContext, original: Graph, candidate: Graph) -> float:  # noqa: ARG001 # as the one that times
    """A device that takes half of its time for something else than MACs, which the table does not know."""
    return 0.5 + 0.5 * counted(candidate).macs / counted(original).macs


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> PassContext:
    monkeypatch.setattr(module, "time_ratio", macs_ratio)
    ctx = context()
    ctx.profiler = CountingProfiler()
    return ctx


@pytest.mark.slow
def test_a_prediction_that_is_off_is_corrected_until_the_measured_time_is_met(timed: PassContext) -> None:
    graph = detector()
    before = detector()
    run_pass(Prune(ratio=0.3, budget="latency", criterion="l1"), graph, timed)
    refresh(graph)
    assert macs_ratio(timed, before, graph) == pytest.approx(0.7, abs=CLOSE)
    details = timed.details["prune"]["latency"]
    assert details["measured"] == pytest.approx(0.7, abs=CLOSE)
    assert details["predicted"] < 0.5
    assert timed.memo.once("latency table", lambda: None) is not None


@pytest.mark.slow
def test_rounds_aim_at_what_they_leave_together(timed: PassContext) -> None:
    spec = "prune{ratio=0.2,budget=latency,criterion=l1},prune{ratio=0.2,budget=latency,criterion=l1}"
    graph, runs = Pipeline.parse(spec).run(detector(), timed)
    assert macs_ratio(timed, detector(), graph) == pytest.approx(0.64, abs=CLOSE)
    assert runs[-1].details["latency"]["goal"] == pytest.approx(0.64)


@pytest.mark.slow
def test_what_cannot_be_reached_names_the_nearest_that_can(timed: PassContext) -> None:
    graph = detector()
    run_pass(Prune(ratio=0.7, budget="latency", criterion="l1"), graph, timed)
    (warning,) = [note.message for note in timed.notes if note.level == "warning"]
    assert "Asked to leave 30% of the time; the nearest reachable is 5" in warning


@pytest.mark.slow
def test_without_anything_that_times_the_square_root_law_predicts_and_says_so() -> None:
    ctx, graph, before = context(), detector(), detector()
    run_pass(Prune(ratio=0.3, budget="latency", criterion="l1"), graph, ctx)
    refresh(graph)
    share = counted(graph).macs / counted(before).macs
    assert share**0.5 == pytest.approx(0.7, abs=0.01)
    assert ctx.details["prune"]["latency"]["measured"] is None
    (warning,) = [note.message for note in ctx.notes if note.level == "warning"]
    assert "square root" in warning
    assert "nothing was timed" in warning


@pytest.mark.parametrize("granularity", ["filter", "kernel", "unstructured"])
def test_time_is_a_budget_of_channels_only(granularity: str) -> None:
    with pytest.raises(OptionError, match="A time budget"):
        Prune(ratio=0.3, budget="latency", criterion="l1", granularity=granularity)
