"""Whatever the granularity, what is pruned gives what the masked original gives."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.networks.topologies import TOPOLOGIES
from tests.oracles import assert_same_function, random_feeds
from tests.passes.feeding import context, run_pass, smooth
from tests.passes.graphs import build
from tests.passes.prune.planning import counted
from tests.strategies import RandomGraph, random_graphs
from yocc.compiler.graph import Graph, clone, convert_opset, load, refresh, to_proto, verify
from yocc.compiler.pipeline.passes import PassContext
from yocc.compiler.pipeline.target import Target
from yocc.errors import OptionError, PassError
from yocc.models.yolov5 import build_yolov5
from yocc.passes.prune import PROMISE, Prune
from yocc.passes.recover import Recover

FINER = ("filter", "kernel", "unstructured")


def prepared(model: onnx.ModelProto, pictures: int = 20) -> tuple[Graph, PassContext]:
    graph = convert_opset(load(model), 13)
    refresh(graph)
    return graph, context(Target("test", channel_multiple=1), smooth(model, pictures))


def masked_like(original: Graph, pruned: Graph) -> Graph:
    """The original with zeros where the pruned graph reads nothing."""
    masked, nodes = clone(original), {node.name: node for node in pruned.nodes}
    for node in masked.nodes:
        if node.op != "Conv":
            continue
        other, weight = nodes[node.name], np.array(node.inputs[1].values)
        readers = other.inputs[0].inputs
        if readers and readers[0].name.endswith(f"_read_by_{node.name}_reader"):
            gone = np.setdiff1d(np.arange(weight.shape[1]), readers[0].inputs[1].values)
            weight[:, gone] = 0
        else:
            weight[other.inputs[1].values == 0] = 0
        node.inputs[1].values = weight
    return masked


def check(model: onnx.ModelProto, granularity: str, ratio: float, pictures: int = 20) -> int:
    graph, ctx = prepared(model, pictures)
    step = Prune(ratio=ratio, granularity=granularity, criterion="l1")
    original = clone(graph)
    with contextlib.suppress(PassError):  # a random graph may have nothing to thin out
        rewrites = run_pass(step, graph, ctx)
    if "prune" not in ctx.details:
        return 0
    refresh(graph)
    step.ensures(graph, ctx)
    assert verify.problems(graph) == []
    reference = to_proto(masked_like(original, graph))
    assert_same_function(reference, to_proto(graph), tolerance=1e-4, feeds=random_feeds(reference, seed=1))
    return rewrites


@pytest.mark.slow
@pytest.mark.parametrize("granularity", FINER)
@pytest.mark.parametrize("name", ["residual", "c2f", "unet", "shuffle_split"])
def test_pruned_equals_masked(name: str, granularity: str) -> None:
    assert check(TOPOLOGIES[name](0), granularity, 0.3) > 0


@pytest.mark.slow
@pytest.mark.parametrize("granularity", FINER)
def test_pruned_equals_masked_on_the_real_detector(shared_data: Path, granularity: str) -> None:
    assert check(onnx.load(shared_data / "models" / "yolov5n.onnx"), granularity, 0.3, pictures=1) > 0


@pytest.mark.slow
@pytest.mark.parametrize("granularity", FINER)
@settings(max_examples=8, deadline=None)
@given(graph=random_graphs(), ratio=st.sampled_from([0.1, 0.4, 0.8]))
def test_pruned_equals_masked_on_random_graphs(granularity: str, graph: RandomGraph, ratio: float) -> None:
    check(graph.build(), granularity, ratio)


@pytest.mark.slow
def test_filters_meet_parameters_and_macs_and_leave_outputs_alone() -> None:
    graph, ctx = prepared(build_yolov5("n", size=64, batch_norm="fused"))
    before, widths = counted(graph), {n.name: n.inputs[1].shape[0] for n in graph.nodes if n.op == "Conv"}
    run_pass(Prune(ratio=0.3, granularity="filter"), graph, ctx)
    refresh(graph)
    after = counted(graph)
    assert after.parameters / before.parameters == pytest.approx(0.7, abs=PROMISE)
    assert after.macs / before.macs == pytest.approx(0.7, abs=PROMISE)
    assert {n.name: n.inputs[1].shape[0] for n in graph.nodes if n.op == "Conv"} == widths
    assert not [note for note in ctx.notes if note.level == "warning"]
    assert any("copy the channels they read" in note.message for note in ctx.notes)


def test_filters_can_go_in_rounds() -> None:
    graph, ctx = prepared(TOPOLOGIES["residual"](0))
    before = counted(graph)
    for _ in range(2):
        run_pass(Prune(ratio=0.2, granularity="filter"), graph, ctx)
        refresh(graph)
        assert verify.problems(graph) == []
    assert counted(graph).macs / before.macs == pytest.approx(0.64, abs=0.02)
    assert run_pass(Recover(pictures=20), graph, ctx) > 0


def test_what_filters_lost_is_recovered() -> None:
    graph, ctx = prepared(TOPOLOGIES["residual"](0))
    run_pass(Prune(ratio=0.3, granularity="filter"), graph, ctx)
    refresh(graph)
    recover = Recover(pictures=20)
    recover.requires(graph, ctx)
    assert run_pass(recover, graph, ctx) > 0
    for layer in ctx.details["recover"]["layers"].values():
        assert layer["error"] <= layer["error_before"] * 1.01


def test_filters_that_cannot_meet_the_ratio_say_what_can() -> None:
    graph, ctx = prepared(to_proto(two_layers()))
    run_pass(Prune(ratio=0.9, granularity="filter"), graph, ctx)
    (warning,) = [note.message for note in ctx.notes if note.level == "warning"]
    assert "Asked to leave 10%; the nearest reachable is" in warning


def two_layers() -> Graph:
    """The second may be thinned out; the first reads the picture, the third is the last."""
    lines = ["c: a = Conv(x, w)", "d: b = Conv<pads = [1, 1, 1, 1]>(a, u)", "e: y = Conv(b, v)"]
    graph = build(lines, {"w": (4, 4, 1, 1), "u": (2, 4, 3, 3), "v": (4, 2, 1, 1)}, ["y"])
    refresh(graph)
    return graph


def test_the_smallest_weights_and_slices_become_zero() -> None:
    for granularity in ("kernel", "unstructured"):
        graph, ctx = prepared(to_proto(two_layers()))
        weight = graph.nodes[1].inputs[1]
        before = np.array(weight.values)
        run_pass(Prune(ratio=0.5, granularity=granularity), graph, ctx)
        zero = weight.values == 0
        assert np.array_equal(weight.values[~zero], before[~zero])
        if granularity == "kernel":
            sizes = np.square(before).sum(axis=(2, 3))
            assert np.array_equal(zero.any(axis=(2, 3)), zero.all(axis=(2, 3)))
            assert sizes[zero.all(axis=(2, 3))].max() < sizes[~zero.any(axis=(2, 3))].min()
        assert 0.4 <= ctx.details["prune"]["zeros"] <= 0.5
        assert ctx.details["prune"]["macs"] == 1


@pytest.mark.parametrize("granularity", ["kernel", "unstructured"])
def test_that_zeros_bring_no_speed_is_said(granularity: str) -> None:
    graph, ctx = prepared(TOPOLOGIES["residual"](0))
    run_pass(Prune(ratio=0.5, granularity=granularity), graph, ctx)
    (warning,) = [note.message for note in ctx.notes if note.level == "warning"]
    assert "% of the weights" in warning
    assert "'test' multiplies by them anyway: the model is no faster" in warning


def test_random_weights_go_by_the_seed() -> None:
    found = []
    for seed in (0, 0, 1):
        graph, ctx = prepared(to_proto(two_layers()))
        ctx.seed = seed
        run_pass(Prune(ratio=0.5, granularity="unstructured", criterion="random"), graph, ctx)
        found.append(graph.nodes[1].inputs[1].values.tobytes())
    assert found[0] == found[1] != found[2]


def test_what_cannot_be_meant_is_refused() -> None:
    with pytest.raises(OptionError, match="no granularity 'layer'"):
        Prune(granularity="layer")
    with pytest.raises(OptionError, match="'effect' judges whole channels") as caught:
        Prune(granularity="kernel", criterion="effect")
    assert caught.value.hint == "Use one of auto, l1, l2, random."
    with pytest.raises(OptionError, match="changes no macs"):
        Prune(granularity="unstructured", budget="macs")


@pytest.mark.parametrize("granularity", FINER)
def test_a_model_with_last_layers_only_is_refused(granularity: str) -> None:
    graph = build(["e: y = Conv(x, v)"], {"v": (2, 4, 1, 1)}, ["y"])
    refresh(graph)
    graph, ctx = prepared(to_proto(graph))
    with pytest.raises(PassError, match="can be pruned"):
        run_pass(Prune(granularity=granularity), graph, ctx)
