"""Pruning, recovery, distillation and quantization at every opset, batch size and kind of padding they meet."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from tests.oracles import run
from tests.passes.feeding import context, run_pass, smooth, whole_graph
from tests.passes.opsets import CODED_OPSETS, OPSETS, small_detector
from yocc.compiler.graph import Graph, convert_opset, load, refresh, to_proto, verify
from yocc.compiler.pipeline.passes import Detection, PassContext
from yocc.compiler.pipeline.target import Target
from yocc.passes.fuse import Fuse
from yocc.passes.prune import Prune
from yocc.passes.quantize import Quantize
from yocc.passes.recover import Recover

TWO_CLASSES = Detection(classes=2, objectness=True)
FIXED: dict[str, dict[str, Any]] = {
    "batch of 3": {"batch": 3},
    **{pad: {"auto_pad": pad} for pad in ("SAME_UPPER", "SAME_LOWER")},
}


def warnings(ctx: PassContext) -> str:
    return " ".join(note.message for note in ctx.notes if note.level == "warning" or "gradient" in note.message)


def prepared(model: onnx.ModelProto, target: Target | None = None, pictures: int = 18) -> tuple[Graph, PassContext]:
    ctx = context(target or Target("test", channel_multiple=1), smooth(model, pictures))
    ctx.detection = TWO_CLASSES
    return load(model), ctx


def pruned(model: onnx.ModelProto, criterion: str = "effect", ratio: float = 0.3) -> tuple[Graph, PassContext]:
    graph, ctx = prepared(model)
    assert run_pass(Prune(ratio=ratio, criterion=criterion), graph, ctx) > 0
    refresh(graph)
    run_pass(Fuse(), graph, ctx)
    refresh(graph)
    return graph, ctx


def error(model: onnx.ModelProto, graph: Graph) -> float:
    changed, feeds = to_proto(graph), list(smooth(model, 21))[18:]
    squares = []
    for arrays in feeds:
        wanted, found = run(model, arrays), run(changed, arrays)
        squares += [np.square(found[name] - wanted[name]).mean() for name in wanted]
    return float(np.mean(squares))


@cache
def recovered(opset: int, **options: Any) -> tuple[onnx.ModelProto, float, float, PassContext]:
    """What recovery makes of a detector pruned by effect, and the errors before and after."""
    model = small_detector(opset, **options)
    graph, ctx = pruned(model)
    before = error(model, graph)
    assert run_pass(Recover(points=64), graph, ctx) > 0
    refresh(graph)
    assert verify.problems(graph) == []
    return to_proto(graph), before, error(model, graph), ctx


def check_recovery(opset: int, **options: Any) -> None:
    _, before, after, ctx = recovered(opset, **options)
    assert after < 0.9 * before
    assert "gradient" not in warnings(ctx)
    assert any("loss" in figures for figures in ctx.details["recover"]["layers"].values())


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.slow
def test_channels_chosen_by_effect_are_recovered(opset: int) -> None:
    check_recovery(opset)


@pytest.mark.parametrize("name", FIXED)
def test_batches_and_automatic_pads_are_recovered(name: str) -> None:
    check_recovery(18, **FIXED[name])


@pytest.mark.slow
def test_opsets_are_chosen_and_recovered_alike() -> None:
    """What is computed does not depend on how the opset writes it."""
    arrays = next(iter(smooth(small_detector(17), 1)))
    results = [list(run(recovered(opset)[0], arrays).values()) for opset in OPSETS]
    for result in results[1:]:
        for found, wanted in zip(result, results[0], strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("opset", OPSETS)
def test_gradients_of_gates_are_had(opset: int) -> None:
    _, ctx = pruned(small_detector(opset), "gauss_newton")
    assert "reconstruction" not in warnings(ctx)


@pytest.mark.parametrize("name", FIXED)
@pytest.mark.parametrize("criterion", ["taylor", "gauss_newton", "mutual_information", "hrank", "activation"])
def test_every_criterion_takes_batches_and_automatic_pads(criterion: str, name: str) -> None:
    _, ctx = pruned(small_detector(17, **FIXED[name]), criterion)
    assert "reconstruction" not in warnings(ctx)


@pytest.mark.parametrize(("opset", "batch"), [*((opset, 1) for opset in OPSETS), (17, 3)])
def test_statistics_are_restored(opset: int, batch: int) -> None:
    model = small_detector(opset, batch=batch)
    graph, ctx = pruned(model, "l2", 0.4)
    before = error(model, graph)
    assert run_pass(Recover(method="statistics"), graph, ctx) > 0
    refresh(graph)
    assert error(model, graph) < before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("opset", "options"), [*((o, {}) for o in CODED_OPSETS), *((18, value) for value in FIXED.values())]
)
def test_codes_are_chosen_by_what_the_outputs_lose(opset: int, options: dict[str, Any]) -> None:
    model = small_detector(opset, **options)
    graph, ctx = prepared(model, whole_graph(), 4)
    assert run_pass(Quantize(observer="outputs"), graph, ctx) > 0
    refresh(graph)
    assert verify.problems(graph) == []
    assert "gradient" not in warnings(ctx)
    assert error(model, graph) < 0.05


def test_an_open_batch_is_measured_at_the_size_that_is_given() -> None:
    graph, ctx = prepared(small_detector(17, batch="n"))
    ctx.feeds = smooth(small_detector(17, batch=3), 20)
    ctx.input_shapes = {"x": (3, 3, 32, 32)}
    run_pass(Prune(ratio=0.3, criterion="effect"), graph, ctx)
    refresh(graph)
    assert run_pass(Recover(points=64), graph, ctx) > 0
    assert "gradient" not in warnings(ctx)


def classifier(batch: int = 1) -> onnx.ModelProto:
    """Flatten, MatMul with Add, Tanh, and two Gemm, of which one is scaled."""
    random = np.random.default_rng(0)
    nodes = [
        helper.make_node("Flatten", ["x"], ["f"], name="flatten"),
        helper.make_node("MatMul", ["f", "w"], ["a"], name="first"),
        helper.make_node("Add", ["a", "b"], ["c"], name="bias"),
        helper.make_node("Tanh", ["c"], ["t"], name="tanh"),
        helper.make_node("Gemm", ["t", "v", "d"], ["h"], name="second", transB=1, alpha=0.5, beta=2.0),
        helper.make_node("Relu", ["h"], ["r"], name="relu"),
        helper.make_node("Gemm", ["r", "u"], ["y"], name="last"),
    ]
    sizes = {"w": (48, 32), "b": (32,), "v": (24, 32), "d": (1, 24), "u": (24, 6)}
    weights = [
        numpy_helper.from_array(random.normal(0, size[-1] ** -0.5, size).astype(np.float32), name)
        for name, size in sizes.items()
    ]
    ports = [helper.make_tensor_value_info(*port) for port in (("x", 1, [batch, 3, 4, 4]), ("y", 1, [batch, 6]))]
    graph = helper.make_graph(nodes, "classifier", ports[:1], ports[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


@pytest.mark.parametrize("batch", [1, 4])
def test_a_network_without_convolutions_is_pruned_by_effect_and_recovered(batch: int) -> None:
    model = classifier(batch)
    graph, ctx = prepared(model, pictures=160)
    ctx.detection = None
    run_pass(Prune(ratio=0.3, criterion="effect"), graph, ctx)
    refresh(graph)
    assert not any("Ranked by its weights" in note.message for note in ctx.notes)
    before = error(model, graph)
    assert run_pass(Recover(pictures=160), graph, ctx) == 2
    refresh(graph)
    assert verify.problems(graph) == []
    assert error(model, graph) < 0.7 * before


def test_a_matrix_product_that_cannot_be_refitted_is_said() -> None:
    model = classifier()
    for node in [node for node in model.graph.node if node.op_type == "Gemm"]:
        node.op_type = "MatMul"
        node.ClearField("attribute")
        del node.input[2:]
    for tensor in model.graph.initializer:
        if tensor.name == "v":
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).T.copy(), "v"))
    graph, ctx = prepared(model)
    ctx.detection = None
    run_pass(Prune(ratio=0.3, criterion="effect"), graph, ctx)
    refresh(graph)
    assert run_pass(Recover(), graph, ctx) == 0
    assert any("Nothing was refitted" in note.message for note in ctx.notes)
    assert verify.problems(graph) == []


@pytest.mark.slow
def test_the_real_detector_is_pruned_by_effect_at_a_newer_opset(shared_data: Path) -> None:
    source = shared_data / "models" / "yolov5n_dynamic.onnx"
    if not source.exists():
        pytest.skip(f"no {source}")
    graph = convert_opset(load(source), 20)
    name = graph.inputs[0].name
    ports = [helper.make_tensor_value_info(name, 1, [1, 3, 64, 64])]
    ctx = context(Target("test"), smooth(helper.make_model(helper.make_graph([], "inputs", ports, [])), 4))
    ctx.input_shapes = {name: (1, 3, 64, 64)}
    run_pass(Prune(ratio=0.2, criterion="effect"), graph, ctx)
    refresh(graph)
    assert run_pass(Recover(pictures=4, points=16), graph, ctx) > 40
    assert "gradient" not in warnings(ctx)
