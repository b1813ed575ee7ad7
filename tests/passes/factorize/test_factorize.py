from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings

from tests.networks.attention import attention, convnext
from tests.oracles import run
from tests.passes.factorize.networks import separable, wide
from tests.passes.feeding import Pictures, Trial, context, run_pass, smooth, whole_graph
from tests.passes.graphs import build
from tests.passes.opsets import OPSETS, small_detector
from tests.strategies import RandomGraph, random_graphs
from yocc.analysis.ranks.layers import find_layers
from yocc.compiler.graph import Graph, load, refresh, to_proto, verify
from yocc.compiler.graph.cost import layer_costs, totals
from yocc.compiler.graph.shapes import concrete_shapes
from yocc.compiler.pipeline.latency import LatencyTable, PairTime, WidthTime
from yocc.compiler.pipeline.memo import SharedMemo
from yocc.compiler.pipeline.passes import Detection
from yocc.compiler.pipeline.pipeline import Pipeline
from yocc.compiler.pipeline.target import Target
from yocc.errors import InternalError, OptionError, PassError
from yocc.passes.distill import Distill
from yocc.passes.factorize import Factorize
from yocc.passes.fp16 import Fp16
from yocc.passes.fuse import Fuse
from yocc.passes.prune import Prune
from yocc.passes.quantize import Quantize
from yocc.passes.recover import Recover
from yocc.passes.simplify import Simplify

FEW = settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


def trial(model: onnx.ModelProto, target: Target | None = None, pictures: int = 8) -> tuple[Graph, Trial]:
    ctx = context(target or Target("test", channel_multiple=1), smooth(model, pictures))
    return load(model), ctx


def factorized(step: Factorize, graph: Graph, ctx: Trial) -> dict[str, Any]:
    assert run_pass(step, graph, ctx) > 0
    refresh(graph)
    assert verify.problems(graph) == []
    step.ensures(graph, ctx)
    return ctx.details["factorize"]


def error(model: onnx.ModelProto, graph: Graph, feeds: Pictures | None = None) -> float:
    """Mean squared error of the outputs, as a share of their variance."""
    changed, found = to_proto(graph), []
    for arrays in feeds or list(smooth(model, 12))[8:]:
        for wanted, given_ in zip(run(model, arrays).values(), run(changed, arrays).values(), strict=True):
            found.append(np.square(given_ - wanted).mean() / wanted.var())
    return float(np.mean(found))


@pytest.mark.parametrize("ratio", [0.1, 0.3, 0.5])
def test_the_ratio_is_met(ratio: float) -> None:
    graph, ctx = trial(wide())
    before = totals(layer_costs(graph, concrete_shapes(graph)))
    details = factorized(Factorize(ratio=ratio), graph, ctx)
    after = totals(layer_costs(graph, concrete_shapes(graph)))
    assert after.macs / before.macs == pytest.approx(details["macs"])
    assert after.parameters / before.parameters == pytest.approx(details["parameters"])
    assert 1 - ratio - 0.05 < max(details["macs"], details["parameters"]) <= 1 - ratio + 0.001


def test_what_is_redundant_goes_without_loss() -> None:
    model = wide()
    graph, ctx = trial(model)
    factorized(Factorize(ratio=0.4), graph, ctx)
    assert error(model, graph) < 1e-3
    with_weights = load(model)
    without = context(Target("test", channel_multiple=1))
    factorized(Factorize(ratio=0.4), with_weights, without)
    assert any("no pictures" in note.message for note in without.notes)
    assert without.details["factorize"]["by"] == "weights"
    assert error(model, with_weights) < 1e-2


NO_GRADIENT = ["c: a = Conv(x, w)", "d: b = Mod<fmod = 1>(a, k)", "e: y = Conv(b, v)"]
"""A graph in which errors cannot be followed to the outputs, so that a layer's outputs all count the same."""


def without_gradients() -> onnx.ModelProto:
    weights = {"w": (16, 4, 3, 3), "k": np.array(2.0, np.float32), "v": (16, 16, 3, 3)}
    return to_proto(build(NO_GRADIENT, weights, ["y"]))


def test_the_foreseen_loss_is_the_error_on_the_pictures() -> None:
    model = without_gradients()
    graph, ctx = trial(model, pictures=6)
    details = factorized(Factorize(rank=5, pictures=6), graph, ctx)
    pairs = [(run(model, feeds, ["a"])["a"], run(to_proto(graph), feeds, ["a"])["a"]) for feeds in smooth(model, 6)]
    wanted, found = (np.concatenate(arrays).astype(np.float64) for arrays in zip(*pairs, strict=True))
    variance = wanted.var(axis=(0, 2, 3)).sum()
    lost = np.square(found - wanted).mean(axis=(0, 2, 3)).sum()
    assert details["layers"]["c"]["foreseen"] == pytest.approx(lost / variance, rel=1e-3)
    np.testing.assert_allclose(found.mean(axis=(0, 2, 3)), wanted.mean(axis=(0, 2, 3)), atol=1e-5)


def test_the_foreseen_loss_is_about_what_the_outputs_lose() -> None:
    """Of a network that is one layer, whose outputs count by their variance; random signs estimate that."""
    model = to_proto(build(["c: y = Conv(x, w)"], {"w": (8, 4, 3, 3)}, ["y"]))
    graph, ctx = trial(model, pictures=6)
    details = factorized(Factorize(rank=3, pictures=6), graph, ctx)
    changed, lost = to_proto(graph), []
    for arrays in smooth(model, 6):
        wanted, found = run(model, arrays)["y"], run(changed, arrays)["y"]
        lost.append(np.square(found - wanted).sum() / wanted.var())
    assert details["foreseen"] == pytest.approx(np.mean(lost), rel=0.1)


def test_each_layer_gets_the_rank_that_is_asked_for() -> None:
    graph, ctx = trial(wide())
    details = factorized(Factorize(rank=5), graph, ctx)
    assert {name: figures["rank"] for name, figures in details["layers"].items()} == {"a": 5, "b": 5, "c": 5}
    assert details["skipped"] == {"last": "no lower rank saves enough for its loss"}


def test_ranks_are_multiples_of_the_targets() -> None:
    graph, ctx = trial(wide(), Target("test", channel_multiple=8))
    details = factorized(Factorize(ratio=0.3), graph, ctx)
    assert details["multiple"] == 8
    assert all(figures["rank"] % 8 == 0 for figures in details["layers"].values())
    graph, ctx = trial(wide(), Target("test", channel_multiple=8))
    details = factorized(Factorize(ratio=0.75), graph, ctx)
    assert details["multiple"] < 8
    assert any("larger steps" in note.message for note in ctx.notes)


def test_what_cannot_be_reached_is_a_warning() -> None:
    graph, ctx = trial(wide())
    factorized(Factorize(ratio=0.99), graph, ctx)
    assert any("nearest reachable" in note.message and note.level == "warning" for note in ctx.notes)


def test_without_gradients_all_layers_count_alike() -> None:
    graph, ctx = trial(without_gradients())
    assert factorized(Factorize(ratio=0.3), graph, ctx)["by"] == "variance"
    assert any("counts the same" in note.message for note in ctx.notes)


def test_blank_pictures_say_nothing() -> None:
    graph, ctx = trial(wide())
    ctx.feeds = Pictures([{"x": np.zeros((1, 3, 16, 16), np.float32)}] * 4)
    assert factorized(Factorize(ratio=0.3), graph, ctx)["by"] == "weights"


def test_nothing_to_factorize_is_an_error() -> None:
    graph, ctx = trial(to_proto(build(["c: y = Conv<group = 4>(x, w)"], {"w": (4, 1, 3, 3)}, ["y"])))
    with pytest.raises(PassError, match="No layer"):
        Factorize(ratio=0.2).run(graph, ctx)


def test_nothing_to_save_is_a_warning() -> None:
    graph, ctx = trial(to_proto(build(["c: y = Conv(x, w)"], {"w": (4, 4, 1, 1)}, ["y"])))
    assert run_pass(Factorize(rank=3), graph, ctx) == 0
    assert any("No layer was factorized" in note.message for note in ctx.notes)


def test_nothing_to_save_before_recovery_is_an_error() -> None:
    graph, ctx = trial(to_proto(build(["c: y = Conv(x, w)"], {"w": (4, 4, 1, 1)}, ["y"])))
    with pytest.raises(PassError, match="no rank saves"):
        run_pass(Factorize(rank=3), graph, replace(ctx, remaining_passes=("recover",)))


@pytest.mark.parametrize("options", [{}, {"ratio": 0.2, "rank": 8}, {"ratio": 1.0}, {"ratio": 0.0}, {"rank": 0}])
def test_options_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        Factorize(**options)
    with pytest.raises(OptionError):
        Factorize(ratio=0.2, pictures=0)
    with pytest.raises(OptionError):
        Factorize(ratio=0.2, multiple=0)


def test_a_promise_that_is_not_kept_is_an_error_of_ours() -> None:
    graph, ctx = trial(wide())
    factorized(Factorize(rank=5), graph, ctx)
    first, second = (next(node for node in graph.nodes if node.name == name) for name in ("b_low_rank", "b"))
    first.inputs[1].values, second.inputs[1].values = first.inputs[1].values[:4], second.inputs[1].values[:, :4]
    with pytest.raises(InternalError, match="MACs"):
        Factorize(rank=5).ensures(graph, ctx)


def test_the_same_bytes_come_out_again() -> None:
    results = []
    for _ in range(2):
        graph, ctx = trial(small_detector(17))
        ctx.detection = Detection(classes=2, objectness=True)
        factorized(Factorize(ratio=0.3), graph, ctx)
        results.append(to_proto(graph).SerializeToString(deterministic=True))
    assert results[0] == results[1]


@pytest.mark.parametrize("network", [attention, convnext])
def test_transformer_blocks_are_factorized(network: Any) -> None:
    model = network(0)
    graph, ctx = trial(model)
    run_pass(Simplify(), graph, ctx)
    run_pass(Fuse(), graph, ctx)
    refresh(graph)
    details = factorized(Factorize(ratio=0.3), graph, ctx)
    assert max(details["macs"], details["parameters"]) <= 0.71
    assert np.isfinite(error(model, graph))


def test_products_with_an_addition_move_its_bias() -> None:
    nodes = ["m: a = MatMul(x, w)", "p: y = Add(a, v)"]
    random = np.random.default_rng(0)
    low = (random.normal(size=(16, 3)) @ random.normal(size=(3, 12))).astype(np.float32)
    model = to_proto(build(nodes, {"w": low, "v": (12,)}, ["y"], [1, 5, 16]))
    graph, ctx = trial(model)
    factorized(Factorize(rank=3), graph, ctx)
    assert [node.op for node in graph.nodes] == ["MatMul", "MatMul", "Add"]
    assert error(model, graph) < 1e-9


@cache
def rough() -> tuple[bytes, Trial]:
    graph, ctx = trial(wide(), pictures=20)
    factorized(Factorize(rank=3), graph, ctx)
    return to_proto(graph).SerializeToString(), ctx


def test_a_pair_stays_a_pair() -> None:
    data, ctx = rough()
    graph = load(onnx.ModelProto.FromString(data))
    for step in (Simplify(), Fuse()):
        run_pass(step, graph, ctx)
        refresh(graph)
    assert sum(node.op == "Conv" for node in graph.nodes) == 8


def test_recovery_fits_both_layers_of_a_pair() -> None:
    graph, ctx = trial(wide(), pictures=20)
    factorized(Factorize(rank=3), graph, ctx)
    weights = {node.name: node.inputs[1].values for node in graph.nodes if node.op == "Conv"}
    before, names = error(wide(), graph), ("a", "b", "c", "last")
    assert run_pass(Recover(), graph, ctx) == 4
    refresh(graph)
    assert error(wide(), graph) < 0.9 * before
    changed = {
        node.name for node in graph.nodes if node.op == "Conv" and node.inputs[1].values is not weights[node.name]
    }
    assert changed == {*names, *(f"{name}_low_rank" for name in names)}
    assert all(node.inputs[1].shape == weights[node.name].shape for node in graph.nodes if node.op == "Conv")


def test_kernels_are_separated_where_that_loses_less() -> None:
    model = separable()
    graph, ctx = trial(model, pictures=20)
    details = factorized(Factorize(ratio=0.4), graph, ctx)
    assert {figures["form"] for figures in details["layers"].values()} & {"vertical", "horizontal"}
    assert error(model, graph) < 0.01
    rough, ctx = trial(model, pictures=20)
    details = factorized(Factorize(rank=8), rough, ctx)
    forms = {name: figures["form"] for name, figures in details["layers"].items()}
    assert set(forms.values()) - {"outputs"}
    before = error(model, rough)
    kernels = {node.name: node.inputs[1].values for node in rough.nodes if node.op == "Conv"}
    assert run_pass(Recover(), rough, ctx) == 4
    refresh(rough)
    assert verify.problems(rough) == []
    assert error(model, rough) < 0.95 * before
    for node in rough.nodes:
        if node.op == "Conv" and node.name != "last":
            assert node.inputs[1].values.shape == kernels[node.name].shape
            assert not np.array_equal(node.inputs[1].values, kernels[node.name])


@pytest.mark.slow
def test_what_follows_works_on_pairs() -> None:
    graph, ctx = trial(wide(), whole_graph(), pictures=20)
    factorized(Factorize(ratio=0.3, multiple=2), graph, ctx)
    for step in (Prune(ratio=0.2, criterion="effect", multiple=1), Recover(), Quantize()):
        assert run_pass(step, graph, ctx) > 0
        refresh(graph)
        assert verify.problems(graph) == []
    assert error(wide(), graph) < 0.7
    halved, other = trial(wide())
    factorized(Factorize(ratio=0.3), halved, other)
    assert run_pass(Fp16(), halved, other) > 0
    refresh(halved)
    assert error(wide(), halved) < 0.05


def test_pruning_may_come_first() -> None:
    graph, ctx = trial(wide(), pictures=20)
    run_pass(Prune(ratio=0.2, criterion="effect"), graph, ctx)
    refresh(graph)
    run_pass(Recover(), graph, ctx)
    factorized(Factorize(ratio=0.2), graph, ctx)
    before = error(wide(), graph)
    assert run_pass(Recover(), graph, ctx) > 0
    refresh(graph)
    assert error(wide(), graph) <= before


@pytest.mark.parametrize("opset", [OPSETS[0], *(pytest.param(opset, marks=pytest.mark.slow) for opset in OPSETS[1:])])
@pytest.mark.parametrize("batch", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_every_opset_and_batch_is_taken(opset: int, batch: int) -> None:
    model = small_detector(opset, batch=batch, auto_pad="SAME_LOWER")
    graph, ctx = trial(model, pictures=18)
    ctx.detection = Detection(classes=2, objectness=True)
    assert factorized(Factorize(ratio=0.3), graph, ctx)["by"] == "outputs"
    before = error(model, graph, smooth(model, 2))
    assert run_pass(Recover(points=64), graph, ctx) > 0
    refresh(graph)
    assert error(model, graph, smooth(model, 2)) < 1.05 * before


def test_measuring_once_serves_several_ratios() -> None:
    counts: list[str] = []
    memo = SharedMemo()

    def counted(items: Any, label: str, total: int | None = None) -> Any:  # noqa: ARG001 # the protocol's
        counts.append(label)
        return items

    for ratio in (0.2, 0.4):
        graph, ctx = trial(wide())
        ctx.memo, ctx.progress = memo, counted
        factorized(Factorize(ratio=ratio), graph, ctx)
        alone, other = trial(wide())
        factorized(Factorize(ratio=ratio), alone, other)
        assert to_proto(graph).SerializeToString() == to_proto(alone).SerializeToString()
    assert counts == ["effects", "outputs", "covariances"]


def test_it_has_a_text_form() -> None:
    text = "fuse,factorize{ratio=0.2},recover,factorize{rank=16}"
    assert str(Pipeline.parse(text)) == text


@pytest.mark.slow
@FEW
@given(random_graphs(max_steps=8))
def test_random_graphs_stay_sound(spec: RandomGraph) -> None:
    model = spec.build()
    graph = load(model)
    ctx = context(Target("test", channel_multiple=2), smooth(model, 3))
    try:
        count = run_pass(Factorize(ratio=0.2), graph, ctx)
    except PassError:
        return
    refresh(graph)
    assert verify.problems(graph) == []
    if count:
        Factorize(ratio=0.2).ensures(graph, ctx)
        assert np.isfinite(error(model, graph, smooth(model, 1)))


@pytest.mark.slow
def test_distillation_trains_both_layers_of_a_pair() -> None:
    pytest.importorskip("torch")
    graph, ctx = trial(wide(), pictures=20)
    factorized(Factorize(rank=3), graph, ctx)
    weights = {node.name: node.inputs[1].values for node in graph.nodes if node.op == "Conv"}
    assert run_pass(Distill(steps=8, batch=2, side=0), graph, ctx) > 0
    refresh(graph)
    changed = {node.name for node in graph.nodes if node.op == "Conv"} & weights.keys()
    assert all(
        not np.array_equal(node.inputs[1].values, weights[node.name]) for node in graph.nodes if node.name in changed
    )


@pytest.mark.parametrize("ratio", [0.2, 0.4])
def test_a_pair_that_the_table_has_as_slower_than_its_layer_is_not_taken(ratio: float) -> None:
    graph, ctx = trial(wide())
    layers, _ = find_layers(graph, concrete_shapes(graph))
    assert "c" in factorized(Factorize(ratio=ratio), *trial(wide()))["layers"]
    pairs = {
        name: tuple(
            PairTime(form, rank, 0.6 if name == "c" else 0.1, 0.5 if name == "c" else 0.1, 1.0)
            for form in layer.places
            for rank in (1, layer.most_rank(form))
        )
        for name, layer in layers.items()
    }
    ctx.latency = LatencyTable("a board", 1, 0.0, {name: (WidthTime(16, 16, 1.0),) for name in layers}, pairs)
    details = factorized(Factorize(ratio=ratio), graph, ctx)
    assert "c" not in details["layers"]
    assert details["layers"]
    assert details["skipped"]["c"] == "all its pairs are slower than it is by the table of a board"
