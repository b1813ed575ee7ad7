from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from tests.passes.feeding import context, run_pass, smooth
from yocc.analysis.coupling.channels import map_channels
from yocc.analysis.effect import effects, fisher
from yocc.compiler.graph import Graph, load
from yocc.compiler.graph.shapes import concrete_shapes
from yocc.compiler.pipeline.passes import Detection
from yocc.compiler.pipeline.target import Target
from yocc.errors import PassError
from yocc.passes.prune import Prune
from yocc.passes.prune.reconstruction import rank_by_reconstruction

TWO_CLASSES = Detection(classes=2, objectness=True)


def detector(last: np.ndarray, activation: str = "Sigmoid") -> onnx.ModelProto:
    """Two hidden channels, then one anchor with two classes."""
    nodes = [
        helper.make_node("Conv", ["x", "first"], ["hidden"], name="first"),
        helper.make_node(activation, ["hidden"], ["active"], name="activation"),
        helper.make_node("Conv", ["active", "middle"], ["mixed"], name="middle"),
        helper.make_node("Conv", ["mixed", "last"], ["y"], name="last"),
    ]
    random = np.random.default_rng(0)
    weights = {"first": random.normal(size=(2, 3, 1, 1)), "middle": random.normal(size=(2, 2, 1, 1)), "last": last}
    graph = helper.make_graph(
        nodes,
        "detector",
        [helper.make_tensor_value_info("x", 1, [1, 3, 4, 4])],
        [helper.make_tensor_value_info("y", 1, [1, len(last), 4, 4])],
        [numpy_helper.from_array(values.astype(np.float32), name) for name, values in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def measure(model: onnx.ModelProto, detection: Detection | None = TWO_CLASSES) -> dict[str, np.ndarray]:
    graph: Graph = load(model)
    ctx = context(Target("test"), smooth(model, 32))
    ctx.detection = detection
    assert ctx.feeds is not None
    return effects(graph, concrete_shapes(graph), ["first", "middle", "last"], ctx.feeds, ctx)


def test_an_error_costs_what_the_layers_behind_make_of_it() -> None:
    """Behind a linear layer W, J' F J is W' F W, and F is known from the outputs."""
    last = np.random.default_rng(1).normal(size=(7, 2, 1, 1))
    model = detector(last)
    found = measure(model)
    ctx = context(Target("test"), smooth(model, 32))
    assert ctx.executor is not None
    assert ctx.feeds is not None
    run = ctx.executor(model)
    matrix = last.reshape(7, 2)
    expected = np.zeros((2, 2))
    for arrays in ctx.feeds:
        information = fisher({"y": run(arrays)["y"]}, TWO_CLASSES)["y"].reshape(7, -1)
        expected += matrix.T @ np.diag(information.sum(axis=1)) @ matrix / 32
    np.testing.assert_allclose(found["middle"], expected, rtol=0.2, atol=0.05 * np.abs(expected).max())


def test_what_no_output_reads_costs_nothing() -> None:
    last = np.random.default_rng(1).normal(size=(7, 2, 1, 1))
    last[:, 1] = 0
    found = measure(detector(last))
    assert found["middle"][0, 0] > 0
    assert not found["middle"][1].any()


def test_effects_are_symmetric_and_never_negative() -> None:
    for matrix in measure(detector(np.random.default_rng(1).normal(size=(7, 2, 1, 1)))).values():
        np.testing.assert_allclose(matrix, matrix.T, rtol=1e-5)
        assert np.linalg.eigvalsh(matrix).min() > -1e-4 * np.abs(matrix).max()


def test_effects_are_the_same_again() -> None:
    model = detector(np.random.default_rng(1).normal(size=(7, 2, 1, 1)))
    for one, other in zip(measure(model).values(), measure(model).values(), strict=True):
        assert np.array_equal(one, other)


def test_other_networks_count_every_output_by_its_variance() -> None:
    values = np.random.default_rng(0).normal(size=(1, 10))
    np.testing.assert_allclose(fisher({"y": values}, None)["y"], 1 / values.var())
    assert measure(detector(np.random.default_rng(1).normal(size=(7, 2, 1, 1))), None)["first"].any()


def test_nothing_there_leaves_only_objectness() -> None:
    logits = np.zeros((1, 7, 1, 2))
    logits[0, 4] = [-20, 20]
    information = fisher({"y": logits}, TWO_CLASSES)["y"]
    assert information[0, :, 0, 0].max() < 1e-6
    np.testing.assert_allclose(information[0, :4, 0, 1], 0.25, rtol=1e-6)
    np.testing.assert_allclose(information[0, 5:, 0, 1], 0.25, rtol=1e-6)


def test_boxes_without_objectness_count_by_their_likeliest_class() -> None:
    detection = Detection(classes=2, objectness=False)
    classes = np.array([[-20, 20], [-20, 0]], float).reshape(1, 2, 1, 2)
    information = fisher({"boxes": np.zeros((1, 64, 1, 2)), "classes": classes}, detection)
    np.testing.assert_allclose(information["boxes"][0, :, 0, 1], 0.25, rtol=1e-6)
    assert information["boxes"][0, :, 0, 0].max() < 1e-6
    assert information["classes"][0, 1, 0, 1] == pytest.approx(0.25)


def test_a_layer_of_classes_and_boxes_counts_as_two_layers_do() -> None:
    values = np.random.default_rng(0).normal(size=(1, 2 + 8, 3, 4))
    apart = fisher({"classes": values[:, :2], "boxes": values[:, 2:]}, Detection(classes=2, objectness=False))
    joined = fisher({"both": values}, Detection(classes=2, objectness=False, behind=8))["both"]
    np.testing.assert_allclose(joined, np.concatenate([apart["classes"], apart["boxes"]], axis=1))


def test_boxes_count_as_far_as_a_softmax_leaves_the_background() -> None:
    detection = Detection(classes=2, objectness=False, background=frozenset({6}))
    scores = np.zeros((1, 2, 3, 1, 2))
    scores[0, :, 0, 0, 0] = 40
    scores[0, 1, 1, 0, 1] = 40
    information = fisher({"scores": scores.reshape(1, 6, 1, 2), "boxes": np.zeros((1, 8, 1, 2))}, detection)
    np.testing.assert_allclose(information["boxes"][0, :, 0, 1], 0.25, rtol=1e-6)
    assert information["boxes"][0, :, 0, 0].max() < 1e-6
    found = information["scores"].reshape(2, 3, 2)
    np.testing.assert_allclose(found[0, :, 1], 2 / 9, rtol=1e-6)
    assert found[:, :, 0].max() < 1e-6
    assert found[1, :, 1].max() < 1e-6


def test_several_scores_of_a_cell_for_an_object_weigh_its_classes_and_boxes() -> None:
    detection = Detection(classes=2, objectness=True, decoupled=True, candidates=3)
    there = np.array([[-20.0, -20.0], [-20.0, 20.0], [-20.0, -20.0]]).reshape(1, 3, 1, 2)
    outputs = {"boxes": np.zeros((1, 12, 1, 2)), "there": there, "classes": np.zeros((1, 2, 1, 2))}
    for name in ("boxes", "classes"):
        found = fisher(outputs, detection)[name]
        np.testing.assert_allclose(found[0, :, 0, 1], 0.25, rtol=1e-6)
        assert found[0, :, 0, 0].max() < 1e-6


def test_classes_that_compete_matter_by_their_softmax() -> None:
    detection = Detection(classes=3, objectness=True, decoupled=True, candidates=2, competing=True)
    values = {name: np.zeros((1, count, 1, 1), np.float32) for name, count in (("o", 2), ("c", 3))}
    values["c"][0, :, 0, 0] = [100.0, 100.0, 90.0]
    found = fisher(values, detection)["c"][0, :, 0, 0]
    np.testing.assert_allclose(found, [0.125, 0.125, 0.0], atol=1e-4)


def test_a_decoupled_objectness_weighs_classes_and_boxes() -> None:
    detection = Detection(classes=2, objectness=True, decoupled=True)
    there = np.array([-20.0, 20.0]).reshape(1, 1, 1, 2)
    outputs = {"boxes": np.zeros((1, 4, 1, 2)), "there": there, "classes": np.zeros((1, 2, 1, 2))}
    information = fisher(outputs, detection)
    for name in ("boxes", "classes"):
        np.testing.assert_allclose(information[name][0, :, 0, 1], 0.25, rtol=1e-6)
        assert information[name][0, :, 0, 0].max() < 1e-6
    assert information["there"].max() < 1e-6
    assert fisher({"there": 0 * there}, detection)["there"] == pytest.approx(0.25)


def test_a_channel_the_outputs_do_not_need_goes_first() -> None:
    """It is the larger one by far, and the layer that reads it makes much of it, but what it makes is not read."""
    last = np.random.default_rng(1).normal(size=(7, 2, 1, 1))
    last[:, 1] = 0
    model = detector(last)
    graph = load(model)
    middle = next(node for node in graph.nodes if node.name == "middle").inputs[1]
    middle.values = np.array([[1.0, 0.01], [0.0, 100.0]], np.float32).reshape(2, 2, 1, 1)
    shapes = concrete_shapes(graph)
    channels = map_channels(graph, shapes)
    ctx = context(Target("test", channel_multiple=1), smooth(model, 32))
    ctx.detection = TWO_CLASSES
    assert ctx.feeds is not None
    atoms = [int(atom) for atom in channels.atoms["hidden"].ravel()]
    first = {}
    for criterion, weights in (
        ("reconstruction", None),
        ("effect", effects(graph, shapes, ["first", "middle", "last"], ctx.feeds, ctx)),
    ):
        rankings = rank_by_reconstruction(graph, shapes, channels, ctx.feeds, ctx, effects=weights)
        ranking = next(ranking for ranking in rankings if atoms[0] in ranking.classes)
        first[criterion] = atoms.index(int(ranking.classes[-1]))
    assert first == {"reconstruction": 0, "effect": 1}


def test_where_gradients_do_not_reach_all_layers_count_alike_and_it_is_said() -> None:
    model = detector(np.random.default_rng(1).normal(size=(7, 2, 1, 1)), "Hardmax")
    graph = load(model)
    ctx = context(Target("test", channel_multiple=1), smooth(model, 16))
    assert run_pass(Prune(ratio=0.3, criterion="effect"), graph, ctx) > 0
    assert any("gradient of Hardmax" in note.message and note.level == "warning" for note in ctx.notes)
    with pytest.raises(PassError, match="Hardmax"):
        measure(model)


def test_errors_are_weighed_by_another_networks_outputs() -> None:
    """A detector that sees nothing any more is still compared with what it saw."""
    last = np.random.default_rng(1).normal(size=(7, 2, 1, 1))
    model, blind = detector(last), detector(np.where(np.arange(7)[:, None, None, None] == 4, 0.0, last))
    for graph in (model.graph, blind.graph):
        graph.node[-1].input.append("bias")
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(7, np.float32), "bias"))
    unsure = np.where(np.arange(7) == 4, -20, 0).astype(np.float32)
    blind.graph.initializer.append(numpy_helper.from_array(unsure, "bias"))
    graph, ctx = load(blind), context(Target("test"), smooth(blind, 4))
    ctx.detection = TWO_CLASSES
    assert ctx.feeds is not None
    shapes = concrete_shapes(graph)
    alone = effects(graph, shapes, ["first"], ctx.feeds, ctx)["first"]
    compared = effects(graph, shapes, ["first"], ctx.feeds, ctx, original=load(model))["first"]
    assert np.trace(compared) > 100 * np.trace(alone)


def test_channels_lie_where_it_is_stated() -> None:
    graph = load(detector(np.random.default_rng(1).normal(size=(7, 2, 1, 1))))
    ctx = context(Target("test"), smooth(detector(np.ones((7, 2, 1, 1))), 4))
    assert ctx.feeds is not None
    shapes = concrete_shapes(graph)
    found = effects(graph, shapes, ["first", "middle"], ctx.feeds, ctx, axes={"middle": 3})
    assert [found[name].shape for name in ("first", "middle")] == [(2, 2), (4, 4)]
