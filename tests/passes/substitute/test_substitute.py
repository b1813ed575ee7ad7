from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from tests.oracles import run
from tests.passes.drop.networks import residual
from tests.passes.feeding import Trial, context, smooth
from tests.passes.graphs import build
from yocc.compiler.graph import Graph, load, to_proto, verify
from yocc.compiler.pipeline.passes import PassContext
from yocc.compiler.pipeline.pipeline import PassRun, Pipeline
from yocc.errors import BackendError, OptionError
from yocc.fitting.activations import Activation
from yocc.passes.fuse import Fuse
from yocc.passes.recover import Recover
from yocc.passes.substitute import WORTH, Substitute

ALL: tuple[Activation, ...] = ("hardswish", "gelu", "relu")
OPS = {"hardswish": "HardSwish", "gelu": "Gelu", "relu": "Clip"}
PICTURES = 16


def after(text: str, model: onnx.ModelProto, ctx: PassContext | None = None) -> tuple[Graph, list[PassRun]]:
    graph, runs = Pipeline.parse(text).run(load(model), ctx or context(feeds=smooth(model, PICTURES)))
    assert verify.problems(graph) == []
    return graph, runs


def error(model: onnx.ModelProto, graph: Graph) -> float:
    """Mean squared error of the output on pictures that nothing was fitted to, as a share of its variance."""
    changed, found = to_proto(graph), []
    for arrays in list(smooth(model, PICTURES + 8))[PICTURES:]:
        wanted, given = run(model, arrays)["y"], run(changed, arrays)["y"]
        found.append(np.square(given - wanted).mean() / wanted.var())
    return float(np.mean(found))


@pytest.mark.parametrize("activation", ALL)
def test_the_network_computes_the_formula(activation: Activation) -> None:
    """The Mul and Add around the activation hold its numbers, and folded into the layer they compute the same."""
    model = residual()
    substitute = f"substitute{{activation={activation}}}"
    graph, runs = after(substitute, model)
    assert runs[0].rewrites == 4
    assert [node.op for node in graph.nodes].count(OPS[activation]) == 4
    assert not any(node.op == "Sigmoid" for node in graph.nodes)
    arrays = next(iter(smooth(model, 1)))
    values = run(to_proto(graph), arrays, ["a0", "s0"])
    nodes = {node.name: node for node in graph.nodes}
    prefix = f"b0/act_{OPS[activation]}"
    numbers = {each: nodes[f"{prefix}_{each}"].inputs[1].values for each in "abcd" if f"{prefix}_{each}" in nodes}
    assert numbers["a"].shape == numbers["b"].shape == (1, 8, 1, 1)
    inner = numbers["a"] * values["a0"] + numbers["b"]
    if activation == "hardswish":
        assert numbers["d"].shape == ()
        wanted = numbers["c"] * inner * np.clip(inner / 6 + 0.5, 0, 1) + numbers["d"]
        np.testing.assert_allclose(values["s0"], wanted, atol=1e-5)
    if activation == "relu":  # c is 1, and d is in b and in the bound
        np.testing.assert_allclose(values["s0"], np.maximum(inner, nodes[prefix].inputs[1].values), atol=1e-5)
        assert -0.3 < nodes[prefix].inputs[1].values < 0
    folded, _ = after(f"{substitute},fuse", model)
    assert not any(node.name.endswith(("_a", "_b")) for node in folded.nodes)
    np.testing.assert_allclose(run(to_proto(folded), arrays)["y"], run(to_proto(graph), arrays)["y"], atol=1e-5)


def test_a_nearer_function_loses_less() -> None:
    model = residual()
    errors = [
        error(model, after(f"substitute{{activation={each}}}", model)[0]) for each in ("gelu", "hardswish", "relu")
    ]
    assert errors[0] < errors[1] < errors[2]
    assert errors[0] < 1e-3


@pytest.mark.parametrize("method", ["reconstruct", "statistics"])
def test_recovery_lowers_the_error(method: str) -> None:
    model = residual(faint=1.0)
    before, _ = after("substitute{activation=relu}", model)
    graph, runs = after(f"substitute{{activation=relu}},recover{{method={method}}},fuse", model)
    assert runs[1].rewrites
    # The first layer with SiLU reads what it did; the layers behind it do not.
    assert "b0/one" not in runs[1].details.get("layers", {})
    assert error(model, graph) < (0.5 if method == "reconstruct" else 0.95) * error(model, before)


def test_layers_are_compared_with_what_they_gave_in_front_of_the_activation() -> None:
    """Factors are folded last, so that a refitted layer gives in front of them what it gave."""
    model = residual()
    graph, _ = after("substitute{activation=relu},recover", model)
    before, _ = after("substitute{activation=relu}", model)
    wrong = []
    for each in (graph, before):
        pairs = [(run(to_proto(each), x, ["a3"])["a3"], run(model, x, ["a3"])["a3"]) for x in smooth(model, PICTURES)]
        wrong.append(np.mean([np.square(given - wanted).mean() / wanted.var() for given, wanted in pairs]))
    assert wrong[0] < 0.01
    assert wrong[0] < 0.5 * wrong[1]


def test_a_share_takes_what_loses_least_for_each_value() -> None:
    model = residual(faint=1e-3)
    whole = after("substitute", model)[1][0].details
    some = after("substitute{share=0.5}", model)[1][0].details
    order = sorted(whole["layers"], key=lambda name: whole["layers"][name]["foreseen"])
    assert order[0] == "b2/one"  # what is in front of the faint layer
    assert set(some["layers"]) == set(order[:2])
    assert some["skipped"] == dict.fromkeys((name for name in whole["layers"] if name in order[2:]), WORTH)
    assert some["values"] == 0.5
    assert some["foreseen"] < whole["foreseen"]
    assert some["by"] == "outputs"


def test_the_rest_may_become_something_else() -> None:
    model = residual(faint=1e-3)
    graph, runs = after("substitute{share=0.5,rest=gelu}", model)
    details = runs[0].details
    hard = after("substitute{share=0.5}", model)[1][0].details
    named = {name: figures["activation"] for name, figures in details["layers"].items()}
    assert set(named) == {f"b{place}/one" for place in range(4)}
    assert {name for name, activation in named.items() if activation == "hardswish"} == set(hard["layers"])
    assert details["values"] == 0.5
    assert "skipped" not in details
    assert sorted(node.op for node in graph.nodes if node.op in OPS.values()) == ["Gelu"] * 2 + ["HardSwish"] * 2
    whole, _ = after("substitute", model)
    assert error(model, graph) < error(model, whole)


def test_the_opset_rises_as_far_as_the_function_needs() -> None:
    model = residual(opset=13)
    for activation, opset in {"hardswish": 14, "gelu": 20, "relu": 13}.items():
        assert after(f"substitute{{activation={activation}}}", model)[0].opset == opset


def test_reasons_are_reported_and_nothing_else_changes() -> None:
    lines = ["c: a = Conv(x, w)", "s: g = Sigmoid(a)", "p: h = Mul(a, g)", "d: y = Conv(h, z)", "n: q = Neg(g)"]
    model = to_proto(build(lines, {"w": (6, 4, 3, 3), "z": (3, 6, 1, 1)}, ["y", "q"]))
    ctx = context(feeds=smooth(model, 4))
    graph, runs = after("substitute", model, ctx)
    assert runs[0].rewrites == 0
    assert runs[0].details["skipped"] == {"c": "something else reads the result of 's' as well"}
    assert any("No SiLU was replaced" in note.message for note in ctx.notes)
    assert [node.name for node in graph.nodes] == [line[0] for line in lines]


def test_a_tensor_read_elsewhere_gets_one_number_for_all_channels() -> None:
    lines = ["c: a = Conv(x, w)", "s: g = Sigmoid(a)", "p: h = Mul(a, g)", "d: y = Conv(h, z)"]
    model = to_proto(build(lines, {"w": (6, 4, 3, 3), "z": (3, 6, 1, 1)}, ["y", "a"]))
    graph, _ = after("substitute,fuse", model)
    arrays = next(iter(smooth(model, 1)))
    np.testing.assert_array_equal(run(to_proto(graph), arrays)["a"], run(model, arrays)["a"])
    nodes = {node.name: node for node in graph.nodes}
    assert nodes["p_HardSwish_a"].inputs[1].values.shape == ()


def test_without_pictures_values_are_assumed() -> None:
    model = residual()
    ctx = context()
    graph, runs = after("substitute", model, ctx)
    assert runs[0].details["pictures"] == 0
    assert any("assumed values, as there are no pictures" in note.message for note in ctx.notes)
    assert error(model, graph) < 0.2
    foreseen = Substitute().foresee(load(model), context(), exact=True)
    assert foreseen.result.details["layers"] == runs[0].details["layers"]
    assert not Substitute().foresee(load(model), context(feeds=smooth(model, 2)), exact=True).done


def test_a_model_that_does_not_run_here_gets_assumed_values_too() -> None:
    model = residual()
    ctx: Trial = context(feeds=smooth(model, 4))

    def refuse(_: onnx.ModelProto) -> Any:
        raise BackendError("There is no kernel.", "Give one.")

    ctx.executor = refuse
    assert after("substitute", model, ctx)[1][0].rewrites == 4
    assert any("does not run here (There is no kernel)" in note.message for note in ctx.notes)


def test_the_same_pictures_give_the_same_bytes() -> None:
    first, second = (to_proto(after("substitute,recover,fuse", residual())[0]).SerializeToString() for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    "options",
    [{"activation": "mish"}, {"share": 0.0}, {"share": 1.1}, {"rest": "silu"}, {"pictures": 0}, {"points": 0}],
)
def test_options_that_make_no_sense(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        Substitute(**options)


def test_passes_behind_it_see_the_original() -> None:
    """What is refitted is compared with the network before the first change, whatever came first."""
    model = residual()
    ctx = context(feeds=smooth(model, PICTURES))
    graph, runs = Pipeline((Substitute(), Substitute(activation="gelu"), Recover(), Fuse())).run(load(model), ctx)
    assert [done.rewrites > 0 for done in runs] == [True, False, True, True]
    assert runs[0].result.lineage is not None
    assert sum(node.op == "Sigmoid" for node in runs[0].result.lineage.graph.nodes) == 4
    assert sum(node.op == "Sigmoid" for node in graph.nodes) == 0
