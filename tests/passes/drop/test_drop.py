from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from tests.networks.attention import attention
from tests.oracles import run
from tests.passes.drop.networks import residual
from tests.passes.factorize.networks import wide
from tests.passes.feeding import Pictures, Trial, context, run_pass, smooth, whole_graph
from tests.passes.graphs import build
from tests.passes.opsets import OPSETS
from yocc.compiler.graph import Graph, load, refresh, to_proto, verify
from yocc.compiler.graph.cost import layer_costs, totals
from yocc.compiler.graph.shapes import concrete_shapes
from yocc.compiler.pipeline.passes import Pass
from yocc.compiler.pipeline.pipeline import Pipeline
from yocc.compiler.pipeline.target import Target
from yocc.errors import BackendError, InternalError, OptionError, PassError
from yocc.passes.drop import Drop
from yocc.passes.factorize import Factorize
from yocc.passes.prune import Prune
from yocc.passes.quantize import Quantize
from yocc.passes.recover import Recover


def trial(model: onnx.ModelProto, pictures: int = 8, target: Target | None = None) -> tuple[Graph, Trial]:
    return load(model), context(target or Target("test", channel_multiple=1), smooth(model, pictures))


def after(step: Pass, graph: Graph, ctx: Trial) -> dict[str, Any]:
    assert run_pass(step, graph, ctx) > 0
    refresh(graph)
    assert verify.problems(graph) == []
    step.ensures(graph, ctx)
    return ctx.details[step.name]


def error(model: onnx.ModelProto, graph: Graph) -> float:
    """Mean squared error of the outputs on pictures that nothing was fitted to, as a share of their variance."""
    changed, found = to_proto(graph), []
    for arrays in list(smooth(model, 12))[8:]:
        for wanted, given in zip(run(model, arrays).values(), run(changed, arrays).values(), strict=True):
            found.append(np.square(given - wanted).mean() / wanted.var())
    return float(np.mean(found))


def test_the_branch_goes_that_matters_least() -> None:
    model = residual()
    graph, ctx = trial(model)
    details = after(Drop(branches=1), graph, ctx)
    assert [(each["name"], each["kind"], each["layers"]) for each in details["dropped"]] == [("b2/sum", "branch", 2)]
    assert error(model, graph) < 1e-5
    assert not {node.name for node in graph.nodes} & {"b2/one", "b2/two", "b2/sum"}
    parameters = 8 * 8 * 10 + 16
    assert details["dropped"][0]["parameters"] == parameters
    assert details["dropped"][0]["macs"] == 8 * 8 * 10 * 256
    assert details["parameters"] == pytest.approx(1 - parameters / details["parameters_before"])
    assert details["foreseen"] == details["dropped"][0]["foreseen"] < 1
    assert details["by"] == "outputs"
    assert details["pictures"] == 8


def test_a_branch_that_adds_nothing_is_dropped_exactly() -> None:
    model = residual(faint=0.0)
    graph, ctx = trial(model)
    assert after(Drop(branches=1), graph, ctx)["foreseen"] == 0
    arrays = next(iter(smooth(model, 1)))
    np.testing.assert_allclose(run(to_proto(graph), arrays)["y"], run(model, arrays)["y"], atol=1e-5)
    assert len(graph.nodes) == len(load(model).nodes) - 5


@pytest.mark.parametrize("ratio", [0.2, 0.5])
def test_at_least_the_share_is_saved(ratio: float) -> None:
    graph, ctx = trial(residual())
    details = after(Drop(ratio=ratio), graph, ctx)
    left = totals(layer_costs(graph, concrete_shapes(graph)))
    assert max(details["parameters"], details["macs"]) <= 1 - ratio
    assert left.macs == pytest.approx(details["macs"] * details["macs_before"])
    assert left.parameters == pytest.approx(details["parameters"] * details["parameters_before"])


def test_what_is_left_is_measured_again() -> None:
    """Two branches that cancel each other out: each alone matters, and the second one once the first is gone."""
    weights = {"w": (4, 4, 1, 1), "u": (4, 4, 1, 1), "z": (3, 4, 1, 1)}
    lines = ["stem: h = Conv(x, w)", "a: f = Conv(h, u)", "s: r = Add(h, f)", "b: g = Conv(r, v)", "t: q = Add(r, g)"]
    u = np.random.default_rng(sum(map(ord, "u"))).normal(size=(4, 4)).astype(np.float32)
    inverse = np.linalg.inv(np.eye(4) + u) - np.eye(4)
    undone = {**weights, "v": inverse.astype(np.float32).reshape(4, 4, 1, 1)}
    model = to_proto(build([*lines, "last: y = Conv(q, z)"], undone, ["y"]))
    graph, ctx = trial(model)
    details = after(Drop(blocks="s t"), graph, ctx)
    alone = after(Drop(blocks="t"), *trial(model))
    assert details["dropped"][1]["foreseen"] != alone["dropped"][0]["foreseen"]
    assert error(model, graph) < 1e-6


def test_the_mean_of_what_goes_stays() -> None:
    """What the next branch reads has another spread, but its first layer gives the mean that it gave."""
    model = residual(faint=1.0)
    graph, ctx = trial(model)
    after(Drop(blocks="b2/sum"), graph, ctx)
    means = [
        np.mean([run(each, arrays, ["a3"])["a3"] for arrays in smooth(model, 8)], axis=(0, 1, 3, 4))
        for each in (model, to_proto(graph))
    ]
    np.testing.assert_allclose(means[1], means[0], atol=1e-5)
    assert not any(node.name.endswith("_mean") for node in graph.nodes)


def test_names_stand_for_blocks_and_all_below_them() -> None:
    graph, ctx = trial(residual())
    details = after(Drop(blocks="b0 b3/sum"), graph, ctx)
    assert [each["name"] for each in details["dropped"]] == ["b0/sum", "b3/sum"]
    graph, ctx = trial(residual())
    with pytest.raises(OptionError, match="no branch or block 'b7'") as caught:
        Drop(blocks="b7").run(graph, ctx)
    assert caught.value.hint
    graph, ctx = trial(residual())
    after(Drop(blocks="b1/two"), graph, ctx)
    assert "b1/sum" in {node.name for node in graph.nodes}


def test_a_name_that_ends_no_branch_gets_its_reason() -> None:
    lines = ["stem: h = Conv(x, w)", "a: f = Conv(h, u)", "s: r = Add(h, f)", "l: y = Conv(r, z)", "e: o = Conv(f, z)"]
    graph, ctx = trial(to_proto(build(lines, {"w": (4, 4, 1, 1), "u": (4, 4, 1, 1), "z": (3, 4, 1, 1)}, ["y", "o"])))
    with pytest.raises(OptionError, match="'s' to leave out: 'e' reads 'f' inside it as well"):
        Drop(blocks="s").run(graph, ctx)
    details = after(Drop(branches=1), graph, ctx)
    assert details["skipped"] == {"s": "'e' reads 'f' inside it as well"}


def test_without_pictures_blocks_are_named() -> None:
    model = residual()
    for feeds in (None, Pictures([{"x": np.zeros((1, 3, 16, 16), np.float32)}] * 4)):
        graph, ctx = load(model), context()
        ctx.feeds = feeds
        with pytest.raises(PassError, match="Nothing says which branches matter least, because"):
            Drop(branches=1).run(graph, ctx)
        details = after(Drop(blocks="b2/sum"), graph, ctx)
        assert "foreseen" not in details
        assert "foreseen" not in details["dropped"][0]
        assert error(model, graph) < 1e-4
        assert any("on average is lost" in note.message for note in ctx.notes)


def test_a_model_that_does_not_run_here_is_not_measured() -> None:
    graph, ctx = trial(residual())

    def refuse(_: onnx.ModelProto) -> Any:
        raise BackendError("There is no kernel.", "Give one.")

    ctx.executor = refuse
    with pytest.raises(PassError, match="does not run here \\(There is no kernel\\)"):
        Drop(branches=1).run(graph, ctx)


def test_without_gradients_all_outputs_count_alike() -> None:
    lines = [
        "stem: h = Conv(x, w)",
        "a: f = Conv(h, u)",
        "s: r = Add(h, f)",
        "m: q = Mod<fmod = 1>(r, k)",
        "l: y = Conv(q, z)",
    ]
    weights = {"w": (4, 4, 1, 1), "u": (4, 4, 1, 1), "z": (3, 4, 1, 1), "k": np.array(2.0, np.float32)}
    graph, ctx = trial(to_proto(build(lines, weights, ["y"])))
    details = after(Drop(branches=1), graph, ctx)
    assert details["by"] == "variance"
    assert any("counts the same" in note.message for note in ctx.notes)


def test_limits_are_warnings() -> None:
    graph, ctx = trial(residual())
    details = after(Drop(branches=99), graph, ctx)
    assert any(f"Only {len(details['dropped'])} of 99" in note.message for note in ctx.notes)
    graph, ctx = trial(residual())
    ctx.feeds = smooth(residual(), 4)
    ctx.feeds.synthetic = True
    after(Drop(ratio=0.97), graph, ctx)
    assert any("nearest reachable" in note.message and note.level == "warning" for note in ctx.notes)
    assert any("synthetic" in note.message for note in ctx.notes)


def test_a_network_without_blocks_is_refused() -> None:
    model = to_proto(build(["l: y = Conv(x, z)"], {"z": (3, 4, 1, 1)}, ["y"]))
    with pytest.raises(PassError, match="no branch or block"):
        Drop(branches=1).run(*trial(model))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"branches": 1, "ratio": 0.1},
        {"branches": 0},
        {"ratio": 1.0},
        {"blocks": " "},
        {"ratio": 0.1, "pictures": 0},
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        Drop(**options)


def test_the_text_form() -> None:
    text = 'drop{blocks="/model.4/m b/sum"},drop{ratio=0.1,pictures=8},drop{branches=2},drop{blocks=/a/b.0/Add}'
    assert str(Pipeline.parse(text)) == text


def test_a_promise_that_was_not_kept_is_found() -> None:
    graph, ctx = trial(residual())
    details = Drop(branches=1)
    run_pass(details, graph, ctx)
    with pytest.raises(InternalError, match="not the share"):
        details.ensures(load(residual()), ctx)


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("batch", [1, 3])
def test_opsets_and_batches(opset: int, batch: int) -> None:
    model = residual(batch=batch, opset=opset)
    graph, ctx = trial(model)
    details = after(Drop(branches=1), graph, ctx)
    assert details["dropped"][0]["name"] == "b2/sum"
    assert error(model, graph) < 1e-5


def test_open_batches_stay_open() -> None:
    model = residual(batch="n")
    graph, ctx = trial(residual())
    graph = load(model)
    after(Drop(branches=2), graph, ctx)
    two = {"x": np.random.default_rng(0).random((2, 3, 16, 16)).astype(np.float32)}
    assert run(to_proto(graph), two)["y"].shape[0] == 2


def test_a_transformer_loses_a_branch() -> None:
    model = attention(0)
    graph, ctx = trial(model)
    details = after(Drop(branches=1), graph, ctx)
    assert len(details["dropped"]) == 1


@pytest.mark.parametrize("method", ["reconstruct", "statistics"])
def test_recovery_knows_what_reads_something_else(method: Any) -> None:
    model = residual(faint=1.0)
    graph, ctx = trial(model, pictures=8)
    after(Drop(blocks="b1/sum"), graph, ctx)
    before = error(model, graph)
    ctx.feeds = smooth(model, 8)
    details = after(Recover(method=method), graph, ctx)
    assert error(model, graph) < before
    # Only what stands behind the branch reads something else than it did.
    refitted = set(details["layers"] if method == "reconstruct" else details["shifted"])
    assert refitted == {"b2/one", "b2/two", "b3/one", "b3/two", "last"}


@pytest.mark.parametrize("first", [Prune(ratio=0.2, criterion="l2"), Factorize(ratio=0.2)])
@pytest.mark.parametrize("turned", [False, True])
def test_channels_and_ranks_go_before_or_after(first: Pass, turned: bool) -> None:
    model = residual()
    graph, ctx = trial(model)
    steps: list[Pass] = [first, Drop(branches=1)]
    for step in reversed(steps) if turned else steps:
        after(step, graph, ctx)
    assert ctx.teacher is not None
    assert len(ctx.teacher.graph.nodes) == len(load(model).nodes)
    before = error(model, graph)
    after(Recover(), graph, ctx)
    assert error(model, graph) < before


@pytest.mark.slow
def test_what_is_left_is_quantized() -> None:
    model = residual()
    graph, ctx = trial(model, target=whole_graph())
    after(Drop(branches=1), graph, ctx)
    after(Quantize(), graph, ctx)
    assert error(model, graph) < 0.01


def test_sequences_of_layers_without_branches_are_blocks() -> None:
    graph, ctx = trial(wide())
    details = after(Drop(branches=1), graph, ctx)
    assert details["dropped"][0]["kind"] == "block"
