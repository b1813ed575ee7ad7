from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest

from tests.networks.topologies import TOPOLOGIES
from tests.passes.feeding import context, run_pass
from tests.passes.graphs import build
from tests.passes.prune.planning import counted
from yocc.compiler.graph import Graph, convert_opset, load, refresh, to_proto, verify
from yocc.compiler.pipeline.passes import PassContext
from yocc.errors import InternalError, OptionError, PassError
from yocc.models.yolov5 import build_yolov5
from yocc.passes.prune import PROMISE, Prune


def prepared(model: onnx.ModelProto) -> tuple[Graph, PassContext]:
    graph = convert_opset(load(model), 13)
    refresh(graph)
    ctx = context()
    ctx.origin = "prune"
    return graph, ctx


def pruned(model: onnx.ModelProto, prune: Prune) -> tuple[Graph, PassContext]:
    graph, ctx = prepared(model)
    assert run_pass(prune, graph, ctx) > 0
    refresh(graph)
    prune.ensures(graph, ctx)
    assert verify.problems(graph) == []
    return graph, ctx


def warnings(ctx: PassContext) -> list[str]:
    return [note.message for note in ctx.notes if note.level == "warning"]


@pytest.mark.slow
@pytest.mark.parametrize("ratio", [0.1, 0.4, 0.7])
@pytest.mark.parametrize("batch_norm", ["kept", "fused"])
def test_parameters_and_macs_of_the_detector_meet_their_targets(batch_norm: str, ratio: float) -> None:
    model = build_yolov5("n", size=64, batch_norm=batch_norm)
    before = counted(prepared(model)[0])
    graph, ctx = pruned(model, Prune(ratio=ratio))
    after = counted(graph)
    assert after.parameters / before.parameters == pytest.approx(1 - ratio, abs=PROMISE)
    assert after.macs / before.macs == pytest.approx(1 - ratio, abs=PROMISE)
    assert warnings(ctx) == []


@pytest.mark.slow
def test_details_are_what_is_left() -> None:
    model = build_yolov5("n", size=64)
    before = counted(prepared(model)[0])
    graph, ctx = pruned(model, Prune(ratio=0.4))
    details = ctx.details["prune"]
    after = counted(graph)
    assert (details["parameters_before"], details["macs_before"]) == (before.parameters, before.macs)
    assert details["parameters"] == pytest.approx(after.parameters / before.parameters, abs=1e-9)
    assert details["macs"] == pytest.approx(after.macs / before.macs, abs=1e-9)
    nodes = {node.name: node for node in graph.nodes}
    for name, layer in details["layers"].items():
        assert nodes[name].inputs[1].shape[0] == layer["kept"] <= layer["channels"]
        assert layer["kept"] == layer["channels"] or layer["kept"] % details["multiple"] == 0
        assert (layer.get("saliency_kept", 1.0) < 1.0) == (layer["kept"] < layer["channels"])
        assert layer.get("saliency_kept", 1.0) > layer["kept"] / layer["channels"] - 0.01, "the least salient go"
    assert set(details["skipped"]) == {f"/model.24/m.{level}/Conv" for level in range(3)}


@pytest.mark.slow
def test_details_of_layers_are_since_the_first_round() -> None:
    graph, ctx = prepared(build_yolov5("n", size=64))
    once = {}
    for _ in range(2):
        run_pass(Prune(ratio=0.2), graph, ctx)
        refresh(graph)
        once = once or dict(ctx.details["prune"]["layers"])
    layers = ctx.details["prune"]["layers"]
    assert {name: layer["channels"] for name, layer in layers.items()} == {
        name: layer["channels"] for name, layer in once.items()
    }
    assert all(layer["kept"] <= once[name]["kept"] for name, layer in layers.items())
    twice = [name for name, layer in layers.items() if layer["kept"] < once[name]["kept"] < layer["channels"]]
    assert twice
    for name in twice:
        assert layers[name]["saliency_kept"] < once[name]["saliency_kept"]


def test_every_layer_left_alone_is_noted_with_its_reason() -> None:
    _, ctx = pruned(TOPOLOGIES["attention"](0), Prune(ratio=0.2))
    noted = {note.node: note.message for note in ctx.notes if note.message.startswith("Output channels stay")}
    assert noted == {
        layer: f"Output channels stay: {reason}." for layer, reason in ctx.details["prune"]["skipped"].items()
    }
    assert any("outputs of the model" in message for message in noted.values())
    assert {note.origin for note in ctx.notes} == {"prune"}


def test_a_finer_multiple_is_noted() -> None:
    _, ctx = pruned(TOPOLOGIES["residual"](0), Prune(ratio=0.4, multiple=64))
    assert ctx.details["prune"]["multiple"] < 64
    assert any("not reachable in steps of 64" in note.message for note in ctx.notes)


def test_an_unreachable_target_warns_with_the_nearest() -> None:
    """Almost all parameters are in a last layer that must stay."""
    lines = [
        "c: a = Conv(x, w)",
        "r: b = Relu(a)",
        "p: d = GlobalAveragePool(b)",
        "f: e = Flatten(d)",
        "g: y = Gemm(e, v)",
    ]
    graph = build(lines, {"w": (2, 4, 1, 1), "v": (2, 4000)}, ["y"])
    refresh(graph)
    _, ctx = pruned(to_proto(graph), Prune(ratio=0.9))
    (warning,) = warnings(ctx)
    details = ctx.details["prune"]
    assert "Asked to leave 10% of parameters and MACs" in warning
    assert f"{details['parameters']:.1%} of the parameters and {details['macs']:.1%} of the MACs" in warning
    assert "of the parameters are in 'g', whose output channels stay, as its channels are outputs" in warning


def test_channels_that_cannot_all_go_are_a_budget_that_cannot_be_met() -> None:
    lines = ["c: a = Conv(x, w)", "r: b = Relu(a)", "e: y = Conv(b, v)"]
    graph = build(lines, {"w": (3, 4, 1, 1), "v": (2, 3, 1, 1)}, ["y"])
    refresh(graph)
    _, ctx = pruned(to_proto(graph), Prune(ratio=0.9, budget="channels"))
    (warning,) = warnings(ctx)
    assert warning == (
        "Asked to leave 10% of channels that may go; the nearest reachable is 33.3% of the channels that may go: "
        "every group of coupled channels keeps one."
    )


@pytest.mark.slow
@pytest.mark.parametrize("budget", ["parameters", "macs", "channels"])
def test_a_budget_of_one_kind_is_met_and_the_others_are_free(budget: str) -> None:
    model = build_yolov5("n", size=64, batch_norm="fused")
    before = counted(prepared(model)[0])
    graph, ctx = pruned(model, Prune(ratio=0.4, budget=budget))
    after, details = counted(graph), ctx.details["prune"]
    shares = {
        "parameters": after.parameters / before.parameters,
        "macs": after.macs / before.macs,
        "channels": details["channels"],
    }
    assert warnings(ctx) == []
    assert shares.pop(budget) == pytest.approx(0.6, abs=PROMISE)
    assert all(abs(share - 0.6) > 2 * PROMISE for share in shares.values())


def test_the_share_of_channels_counts_those_that_may_go() -> None:
    lines = ["c: a = Conv(x, w)", "r: b = Relu(a)", "e: y = Conv(b, v)"]
    graph = build(lines, {"w": (16, 4, 1, 1), "v": (2, 16, 1, 1)}, ["y"])
    refresh(graph)
    left, ctx = pruned(to_proto(graph), Prune(ratio=0.25, budget="channels", multiple=4))
    assert left.nodes[0].inputs[1].shape[0] == 12
    assert ctx.details["prune"]["channels"] == 0.75


def test_gamma_decides_where_batch_normalization_was_kept() -> None:
    """Channels with small gamma but large weights: gone by `auto`, kept by `l2`."""
    lines = ["c: a = Conv(x, w)", "n: b = BatchNormalization(a, g, s, m, v)", "r: d = Relu(b)", "e: y = Conv(d, u)"]
    gamma = np.ones(16, np.float32)
    gamma[::2] = 0.01
    w = np.random.default_rng(0).normal(size=(16, 4, 3, 3)).astype(np.float32)
    w[::2] *= 100
    weights = {"w": w, "g": gamma, "s": (16,), "m": (16,), "v": np.ones(16, np.float32), "u": (3, 16, 1, 1)}
    graph = build(lines, weights, ["y"])
    refresh(graph)
    left = {}
    for criterion in ("auto", "bn_gamma", "l2"):
        after, _ = pruned(to_proto(graph), Prune(ratio=0.5, criterion=criterion))
        left[criterion] = next(node for node in after.nodes if node.op == "BatchNormalization").inputs[1].values
    assert (left["auto"] == 1).all()
    assert (left["bn_gamma"] == 1).all()
    assert (left["l2"] < 1).all()


def test_gamma_is_refused_where_there_is_none() -> None:
    graph, ctx = prepared(build_yolov5("n", size=64, batch_norm="fused"))
    with pytest.raises(PassError, match="needs batch normalization"):
        run_pass(Prune(criterion="bn_gamma"), graph, ctx)


def test_a_model_of_which_nothing_can_go_is_refused() -> None:
    graph, ctx = prepared(TOPOLOGIES["group_norm"](0))
    with pytest.raises(PassError, match="No channel of this model can be removed") as caught:
        run_pass(Prune(), graph, ctx)
    assert "yocc inspect" in caught.value.hint


def test_layers_that_are_quantized_already_are_named_with_a_remedy() -> None:
    nodes = ["s: b = Conv(x, v)", "d: w = DequantizeLinear(codes, scale)", "c: y = Conv(b, w)"]
    codes = np.random.default_rng(0).integers(-99, 99, (4, 4, 1, 1)).astype(np.int8)
    graph = build(nodes, {"v": (4, 4, 1, 1), "codes": codes, "scale": np.array(0.01, np.float32)}, ["y"])
    refresh(graph)
    with pytest.raises(PassError, match="Conv has a weight that is quantized already, 'c' for one") as caught:
        run_pass(Prune(), graph, context())
    assert "--prune and --int8" in caught.value.hint


@pytest.mark.parametrize("ratio", [0.0, 1.0, -0.1, 1.2, float("nan"), float("inf")])
def test_a_ratio_that_means_nothing_is_refused(ratio: float) -> None:
    with pytest.raises(OptionError, match="is out of range"):
        Prune(ratio=ratio)


def test_other_options_are_checked() -> None:
    with pytest.raises(OptionError, match="no budget 'time'"):
        Prune(budget="time")
    with pytest.raises(OptionError, match="multiple of 0"):
        Prune(multiple=0)
    with pytest.raises(OptionError, match="no criterion 'taylors'"):
        Prune(criterion="taylors")


def test_a_broken_promise_is_an_error_of_ours() -> None:
    graph, ctx = pruned(TOPOLOGIES["residual"](0), Prune(ratio=0.4))
    result = ctx.results["prune"]
    figures = replace(result.figures, parameters=result.figures.parameters + 0.01)
    ctx.results = {"prune": replace(result, figures=figures)}
    with pytest.raises(InternalError, match="Pruning left"):
        Prune().ensures(graph, ctx)


@pytest.mark.parametrize("name", ["residual", "c2f", "shuffle_split"])
def test_the_same_model_gives_the_same_bytes(name: str) -> None:
    written = {
        to_proto(pruned(TOPOLOGIES[name](0), Prune(ratio=0.4))[0]).SerializeToString(deterministic=True)
        for _ in range(2)
    }
    assert len(written) == 1


@pytest.mark.slow
def test_the_multiple_is_the_targets_unless_stated() -> None:
    _, ctx = pruned(build_yolov5("n", size=64), Prune(ratio=0.4))
    assert ctx.details["prune"]["multiple"] == 8
    _, ctx = pruned(build_yolov5("n", size=64), Prune(ratio=0.4, multiple=4))
    assert ctx.details["prune"]["multiple"] == 4
