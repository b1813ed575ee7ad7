from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.networks.topologies import TOPOLOGIES
from tests.oracles import run
from tests.passes.feeding import Pictures, context, run_pass, smooth
from tests.passes.graphs import build
from tests.samples import tiny_model
from yocc.compiler.graph import Graph, convert_opset, load, refresh, to_proto, verify
from yocc.compiler.pipeline.deadline import Deadline
from yocc.compiler.pipeline.passes import Arrays, PassContext
from yocc.compiler.pipeline.target import Target
from yocc.errors import BackendError, CalibrationError, OptionError, PassError
from yocc.passes.fuse import Fuse
from yocc.passes.prune import Prune
from yocc.passes.recover import Recover


def pictured(model: onnx.ModelProto, count: int = 32) -> PassContext:
    return context(Target("test", channel_multiple=1), smooth(model, count))


def pruned(model: onnx.ModelProto, ctx: PassContext, ratio: float = 0.3) -> Graph:
    graph = convert_opset(load(model), 13)
    run_pass(Prune(ratio=ratio), graph, ctx)
    refresh(graph)
    run_pass(Fuse(), graph, ctx)
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


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bottleneck", "c2f", "dense", "residual"])
def test_refitting_brings_the_outputs_nearer_to_the_originals(name: str) -> None:
    model = TOPOLOGIES[name](seed=0)
    ctx = pictured(model, 64)
    graph = pruned(model, ctx)
    before = error(model, graph)
    assert run_pass(Recover(pictures=64), graph, ctx) > 0
    refresh(graph)
    assert verify.problems(graph) == []
    assert error(model, graph) < 0.85 * before


def test_nothing_pruned_changes_nothing() -> None:
    model = TOPOLOGIES["residual"](seed=0)
    ctx = pictured(model)
    graph = pruned(model, ctx, ratio=1e-6)
    before = to_proto(graph).SerializeToString(deterministic=True)
    assert run_pass(Recover(), graph, ctx) == 0
    assert to_proto(graph).SerializeToString(deterministic=True) == before


@pytest.mark.slow
def test_two_runs_give_the_same_bytes() -> None:
    model = TOPOLOGIES["c2f"](seed=1)
    results = []
    for _ in range(2):
        ctx = pictured(model)
        graph = pruned(model, ctx)
        run_pass(Recover(), graph, ctx)
        refresh(graph)
        results.append(to_proto(graph).SerializeToString(deterministic=True))
    assert results[0] == results[1]


def test_the_report_has_the_error_of_each_layer() -> None:
    model = TOPOLOGIES["dense"](seed=0)
    ctx = pictured(model)
    graph = pruned(model, ctx)
    count = run_pass(Recover(pictures=20), graph, ctx)
    details = ctx.details["recover"]
    assert details["pictures"] == 20
    assert len(details["layers"]) == count
    assert all(layer["error"] <= layer["error_before"] * 1.001 for layer in details["layers"].values())


def test_without_pruning_before_there_is_nothing_to_recover() -> None:
    model = TOPOLOGIES["residual"](seed=0)
    with pytest.raises(PassError, match="no pass before it changed"):
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
    run_pass(Recover(), pruned(model, ctx), ctx)
    assert any(note.level == "warning" and "4 pictures" in note.message for note in ctx.notes)


@pytest.mark.parametrize("options", [{"pictures": 0}, {"points": -1}])
def test_counts_below_one_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(OptionError):
        Recover(**options)


def test_constant_pictures_recover_nothing_and_say_so() -> None:
    model = TOPOLOGIES["residual"](seed=0)
    ctx = pictured(model)
    graph = pruned(model, ctx)
    before = to_proto(graph).SerializeToString(deterministic=True)
    plain = {name: np.full_like(values, 0.5) for name, values in next(iter(smooth(model, 1))).items()}
    ctx.feeds = Pictures([plain] * 20)
    assert run_pass(Recover(), graph, ctx) == 0
    assert to_proto(graph).SerializeToString(deterministic=True) == before
    assert any("Nothing was recovered" in note.message for note in ctx.notes if note.level == "warning")


def test_too_few_samples_raise_the_ridge_and_that_is_said() -> None:
    model = TOPOLOGIES["residual"](seed=0)
    ctx = pictured(model, 4)
    run_pass(Recover(points=2), pruned(model, ctx), ctx)
    ridges = [layer["ridge"] for layer in ctx.details["recover"]["layers"].values()]
    assert all(ridge is None or ridge >= 1e-2 for ridge in ridges)
    assert any("ridge was raised" in note.message for note in ctx.notes)


def test_time_that_is_up_leaves_a_whole_network_and_says_what_it_did_not_reach() -> None:
    model = TOPOLOGIES["residual"](seed=0)
    ctx = pictured(model)
    graph = pruned(model, ctx)
    ctx.deadline = Deadline(0.0)
    assert run_pass(Recover(), graph, ctx) == 0
    refresh(graph)
    assert verify.problems(graph) == []
    said = " ".join(note.message for note in ctx.notes if note.level == "warning")
    assert "Time ran out before" in said
    assert "There was time for 4 pictures of 32" in said


@pytest.mark.slow
@pytest.mark.parametrize("granularity", ["kernel", "unstructured"])
def test_what_was_set_to_zero_stays_zero(granularity: str) -> None:
    model = TOPOLOGIES["residual"](seed=0)
    ctx = pictured(model, 64)
    graph = convert_opset(load(model), 13)
    run_pass(Fuse(), graph, ctx)
    refresh(graph)
    run_pass(Prune(ratio=0.4, granularity=granularity), graph, ctx)
    zeros = {node.name: node.inputs[1].values == 0 for node in graph.nodes if node.op == "Conv"}
    before = error(model, graph)
    assert run_pass(Recover(), graph, ctx) > 0
    refresh(graph)
    for node in graph.nodes:
        if node.op == "Conv":
            assert (node.inputs[1].values[zeros[node.name]] == 0).all()
    assert error(model, graph) < before


def broken(where: str) -> onnx.ModelProto:
    """A network that gives NaN: by a negative variance in the middle, or by a logarithm behind its last layer."""
    model = tiny_model()
    for tensor in model.graph.initializer:
        if tensor.name == "var":
            tensor.CopyFrom(numpy_helper.from_array(np.full(tensor.dims[0], -1, np.float32), "var"))
    if where == "output":
        norm, relu, last = model.graph.node[1:]
        relu.input[0], last.output[0] = "c1", "logits"
        norm.CopyFrom(onnx.helper.make_node("Log", ["logits"], ["y"], name="log"))
        ordered = [onnx.NodeProto.FromString(model.graph.node[place].SerializeToString()) for place in (0, 2, 3, 1)]
        del model.graph.node[:]
        model.graph.node.extend(ordered)
    return model


@pytest.mark.parametrize("criterion", ["effect", "reconstruction", "taylor", "activation"])
def test_a_network_that_gives_nan_is_refused_in_one_sentence(criterion: str) -> None:
    ctx = pictured(broken("middle"), 4)
    with pytest.raises(CalibrationError, match="gives NaN or infinity at"):
        run_pass(Prune(criterion=criterion, ratio=0.3), load(broken("middle")), ctx)


@pytest.mark.parametrize("method", ["reconstruct", "statistics"])
def test_recovery_of_a_network_that_gives_nan_is_refused_in_one_sentence(method: str) -> None:
    model = broken("middle")
    ctx = pictured(model, 4)
    graph = load(model)
    run_pass(Prune(ratio=0.3, criterion="l2"), graph, ctx)
    refresh(graph)
    assert ctx.teacher is not None
    teacher = ctx.teacher.graph
    node = next(node for node in teacher.nodes if node.name == "first")
    if method == "statistics":
        node.inputs[1].values = np.full_like(node.inputs[1].values, np.inf)
    with pytest.raises(CalibrationError, match="gives NaN or infinity at"):
        run_pass(Recover(method=method), graph, ctx)


def test_what_is_nan_behind_the_last_layer_does_no_harm() -> None:
    """What decoding makes of the last layers is not measured."""
    model = broken("output")
    ctx = pictured(model, 16)
    graph = pruned(model, ctx)
    assert run_pass(Recover(), graph, ctx) > 0


def foreign() -> onnx.ModelProto:
    """An operator that nothing here runs, with layers before and behind it that can be pruned."""
    random = np.random.default_rng(0)
    sizes = {"w0": (16, 3, 1, 1), "w1": (16, 16, 1, 1), "w2": (16, 16, 1, 1), "w3": (16, 16, 1, 1), "w4": (4, 16, 1, 1)}
    nodes = [
        onnx.helper.make_node("Conv", ["x", "w0"], ["c0"], name="before"),
        onnx.helper.make_node("Relu", ["c0"], ["r0"], name="relu0"),
        onnx.helper.make_node("Conv", ["r0", "w1"], ["c1"], name="between"),
        onnx.helper.make_node("Whiten", ["c1"], ["n"], name="foreign", domain="strange.kernels"),
        onnx.helper.make_node("Conv", ["n", "w2"], ["c2"], name="behind"),
        onnx.helper.make_node("Relu", ["c2"], ["r2"], name="relu2"),
        onnx.helper.make_node("Conv", ["r2", "w3"], ["c3"], name="next"),
        onnx.helper.make_node("Relu", ["c3"], ["r3"], name="relu3"),
        onnx.helper.make_node("Conv", ["r3", "w4"], ["y"], name="last"),
    ]
    graph = onnx.helper.make_graph(
        nodes,
        "foreign",
        [onnx.helper.make_tensor_value_info("x", 1, [1, 3, 8, 8])],
        [onnx.helper.make_tensor_value_info("y", 1, [1, 4, 8, 8])],
        [numpy_helper.from_array(random.normal(0, 0.3, size).astype(np.float32), name) for name, size in sizes.items()],
        value_info=[onnx.helper.make_tensor_value_info("n", 1, [1, 16, 8, 8])],
    )
    opsets = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("strange.kernels", 1)]
    return onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8)


@pytest.mark.parametrize("method", ["reconstruct", "statistics"])
@pytest.mark.parametrize("criterion", ["effect", "gauss_newton", "mutual_information"])
def test_what_does_not_run_here_is_pruned_by_weights_and_a_warning_says_so(criterion: str, method: str) -> None:
    model = foreign()
    ctx = pictured(model, 16)
    graph = load(model)
    run_pass(Prune(ratio=0.3, criterion=criterion), graph, ctx)
    refresh(graph)
    run_pass(Recover(method=method), graph, ctx)
    refresh(graph)
    assert verify.problems(graph) == []
    assert any("Whiten" in note.message and note.level == "warning" for note in ctx.notes)


def test_gradients_that_do_not_run_are_a_warning() -> None:
    """The model runs; that what is measured of it does not must not pass unnoticed, nor end the compilation."""
    model = tiny_model()
    ctx = pictured(model, 4)
    executor = ctx.executor
    assert executor is not None

    def picky(part: onnx.ModelProto) -> Callable[[Arrays], Arrays]:
        if any(node.name.startswith("gradient_node") for node in part.graph.node):
            raise BackendError("no gradients today")
        return executor(part)

    ctx.executor = picky
    assert run_pass(Prune(ratio=0.3, criterion="effect"), load(model), ctx) > 0
    assert any("no gradients today" in note.message and note.level == "warning" for note in ctx.notes)


def test_weights_that_layers_share_stay_shared() -> None:
    model = shared_head()
    ctx = pictured(model, 8)
    graph = pruned(model, ctx)
    heads = [node for node in graph.nodes if node.name in ("head0", "head1")]
    assert heads[0].inputs[1] is heads[1].inputs[1]
    run_pass(Recover(), graph, ctx)
    assert heads[0].inputs[1] is heads[1].inputs[1]
    refresh(graph)
    assert verify.problems(graph) == []


def shared_head() -> onnx.ModelProto:
    """Two levels whose convolutions share one weight."""
    nodes = [
        "c0: a = Conv<pads = [1, 1, 1, 1]>(x, w0)",
        "r0: b = Relu(a)",
        "p: c = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(b)",
    ]
    for level, source in enumerate("bc"):
        nodes += [
            f"head{level}: h{level} = Conv<pads = [1, 1, 1, 1]>({source}, shared)",
            f"q{level}: q{level} = Relu(h{level})",
            f"last{level}: y{level} = Conv(q{level}, last)",
        ]
    weights = {"w0": (16, 3, 3, 3), "shared": (16, 16, 3, 3), "last": (4, 16, 1, 1)}
    return to_proto(build(nodes, weights, ["y0", "y1"], [1, 3, 16, 16]))
