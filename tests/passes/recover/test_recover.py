from __future__ import annotations

import numpy as np
import onnx
import pytest

from tests.oracles import run
from tests.passes.feeding import context, smooth
from yocc.compiler import verify
from yocc.compiler.graph import Graph, convert_opset, load, refresh, to_proto
from yocc.compiler.passes import PassContext
from yocc.compiler.target import Target
from yocc.errors import CalibrationError, OptionError, PassError
from yocc.models.topologies import TOPOLOGIES
from yocc.passes.fuse import Fuse
from yocc.passes.prune import Prune
from yocc.passes.recover import Recover


def pictured(model: onnx.ModelProto, count: int = 32) -> PassContext:
    return context(Target("test", channel_multiple=1), smooth(model, count))


def pruned(model: onnx.ModelProto, ctx: PassContext, ratio: float = 0.3) -> Graph:
    graph = convert_opset(load(model), 13)
    Prune(ratio=ratio).run(graph, ctx)
    refresh(graph)
    Fuse().run(graph, ctx)
    refresh(graph)
    return graph


def error(model: onnx.ModelProto, graph: Graph) -> float:
    """Mean squared difference on pictures that nothing was fitted to, over the variance of the original's outputs."""
    changed = to_proto(graph)
    wanted, found = [], []
    for arrays in list(smooth(model, 80))[64:]:
        wanted.append(np.concatenate([value.ravel() for value in run(model, arrays).values()]))
        found.append(np.concatenate([value.ravel() for value in run(changed, arrays).values()]))
    return float(np.square(np.array(found) - np.array(wanted)).mean() / np.var(wanted))


@pytest.mark.parametrize("name", ["bottleneck", "c2f", "dense", "residual"])
def test_refitting_brings_the_outputs_nearer_to_the_originals(name: str) -> None:
    model = TOPOLOGIES[name](seed=0)
    ctx = pictured(model, 64)
    graph = pruned(model, ctx)
    before = error(model, graph)
    assert Recover(pictures=64).run(graph, ctx) > 0
    refresh(graph)
    assert verify.problems(graph) == []
    assert error(model, graph) < 0.7 * before


def test_nothing_pruned_changes_nothing() -> None:
    model = TOPOLOGIES["residual"](seed=0)
    ctx = pictured(model)
    graph = pruned(model, ctx, ratio=1e-6)
    before = to_proto(graph).SerializeToString(deterministic=True)
    assert Recover().run(graph, ctx) == 0
    assert to_proto(graph).SerializeToString(deterministic=True) == before


def test_two_runs_give_the_same_bytes() -> None:
    model = TOPOLOGIES["c2f"](seed=1)
    results = []
    for _ in range(2):
        ctx = pictured(model)
        graph = pruned(model, ctx)
        Recover().run(graph, ctx)
        refresh(graph)
        results.append(to_proto(graph).SerializeToString(deterministic=True))
    assert results[0] == results[1]


def test_the_report_has_the_error_of_each_layer() -> None:
    model = TOPOLOGIES["dense"](seed=0)
    ctx = pictured(model)
    graph = pruned(model, ctx)
    count = Recover(pictures=20).run(graph, ctx)
    details = ctx.details["recover"]
    assert details["pictures"] == 20
    assert len(details["layers"]) == count
    assert all(layer["error"] <= layer["error_before"] * 1.001 for layer in details["layers"].values())


def test_without_pruning_before_there_is_nothing_to_recover() -> None:
    model = TOPOLOGIES["residual"](seed=0)
    with pytest.raises(PassError, match="nothing was pruned"):
        Recover().requires(load(model), pictured(model))


def test_without_pictures_recovery_says_so() -> None:
    model = TOPOLOGIES["residual"](seed=0)
    ctx = pictured(model)
    graph = pruned(model, ctx)
    ctx.feeds = None
    with pytest.raises(CalibrationError, match="needs pictures"):
        Recover().requires(graph, ctx)


def test_few_pictures_are_warned_about() -> None:
    model = TOPOLOGIES["residual"](seed=0)
    ctx = pictured(model, 4)
    Recover().run(pruned(model, ctx), ctx)
    assert any(note.level == "warning" and "4 pictures" in note.message for note in ctx.notes)


@pytest.mark.parametrize("options", [{"pictures": 0}, {"points": -1}])
def test_counts_below_one_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(OptionError):
        Recover(**options)  # type: ignore[arg-type]
