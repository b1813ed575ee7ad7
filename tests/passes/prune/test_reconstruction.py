from __future__ import annotations

import numpy as np
import onnx
import pytest

from tests.passes.feeding import context, run_pass, smooth
from yocc.analysis.coupling.channels import ChannelMap, map_channels
from yocc.compiler.graph import load
from yocc.compiler.graph.shapes import concrete_shapes
from yocc.compiler.pipeline.passes import PassContext
from yocc.compiler.pipeline.target import Target
from yocc.errors import CalibrationError
from yocc.passes.prune import Prune
from yocc.passes.prune.ranking import Ranking
from yocc.passes.prune.reconstruction import rank_by_reconstruction


def pictured(model: onnx.ModelProto, count: int = 32) -> PassContext:
    return context(Target("test", channel_multiple=1), smooth(model, count))


def two_layers(second: np.ndarray, first: np.ndarray) -> onnx.ModelProto:
    nodes = [
        onnx.helper.make_node("Conv", ["x", "first"], ["hidden"], name="first"),
        onnx.helper.make_node("Conv", ["hidden", "second"], ["y"], name="second"),
    ]
    weights = {"first": first, "second": second}
    graph = onnx.helper.make_graph(
        nodes,
        "two_layers",
        [onnx.helper.make_tensor_value_info("x", 1, [1, 3, 8, 8])],
        [onnx.helper.make_tensor_value_info("y", 1, [1, second.shape[0], 8, 8])],
        [onnx.numpy_helper.from_array(values.astype(np.float32), name) for name, values in weights.items()],
    )
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8)


def ranking_of(model: onnx.ModelProto) -> tuple[Ranking, ChannelMap]:
    graph = load(model)
    shapes = concrete_shapes(graph)
    channels = map_channels(graph, shapes)
    ctx = pictured(model)
    assert ctx.feeds is not None
    (ranking,) = rank_by_reconstruction(graph, shapes, channels, ctx.feeds, ctx)
    return ranking, channels


def rank(model: onnx.ModelProto) -> tuple[list[int], np.ndarray]:
    ranking, channels = ranking_of(model)
    position = {int(number): place for place, number in enumerate(channels.atoms["hidden"].ravel())}
    return [position[int(number)] for number in ranking.classes], ranking.losses


def test_a_channel_nobody_needs_goes_first_and_costs_nothing() -> None:
    random = np.random.default_rng(0)
    second = random.normal(size=(4, 3, 1, 1))
    second[:, 1] = 0
    order, losses = rank(two_layers(second, random.normal(size=(3, 3, 1, 1))))
    assert order[-1] == 1
    assert losses[2] == pytest.approx(0, abs=1e-6)
    assert losses[1] > 0.01


def test_of_two_channels_that_replace_each_other_one_goes_for_nothing_and_the_other_stays() -> None:
    random = np.random.default_rng(1)
    first = random.normal(size=(3, 3, 1, 1))
    first[2] = 2 * first[0]
    order, losses = rank(two_layers(3 * random.normal(size=(4, 3, 1, 1)), first))
    assert order[-1] in (0, 2)
    assert losses[2] < 0.01
    assert losses[1] > 10 * losses[2]


def test_what_is_left_is_a_share_of_what_could_be_lost() -> None:
    random = np.random.default_rng(4)
    ranking, _ = ranking_of(two_layers(random.normal(size=(4, 8, 1, 1)), random.normal(size=(8, 3, 1, 1))))
    np.testing.assert_allclose(ranking.left[1:], 1 - ranking.losses[1:] / ranking.losses[1], atol=1e-12)
    assert (ranking.left[0], ranking.left[-1]) == (0, 1)


def test_losses_grow_with_what_is_removed_and_end_at_everything() -> None:
    random = np.random.default_rng(2)
    _, losses = rank(two_layers(random.normal(size=(4, 8, 1, 1)), random.normal(size=(8, 3, 1, 1))))
    assert losses[0] == np.inf
    assert losses[-1] == 0
    assert (np.diff(losses[1:]) <= 1e-12).all()
    assert losses[1] < 1.01


def test_the_loss_is_the_share_of_variance_that_refitting_leaves() -> None:
    """With three inputs and one removed the best refit can be computed directly."""
    random = np.random.default_rng(3)
    first, second = np.eye(3).reshape(3, 3, 1, 1), random.normal(size=(2, 3, 1, 1))
    model = two_layers(second, first)
    order, losses = rank(model)
    ctx = pictured(model)
    assert ctx.feeds is not None
    x = np.concatenate([arrays["x"][0].reshape(3, -1).T for arrays in ctx.feeds]).astype(np.float64)
    x -= x.mean(axis=0)
    y = x @ second.reshape(2, 3).T
    kept = x[:, order[:2]]
    residual = y - kept @ np.linalg.lstsq(kept, y, rcond=None)[0]
    assert losses[2] == pytest.approx((residual**2).sum() / (y**2).sum(), rel=0.1)


def test_without_pictures_the_criterion_says_so() -> None:
    random = np.random.default_rng(4)
    model = two_layers(random.normal(size=(4, 8, 1, 1)), random.normal(size=(8, 3, 1, 1)))
    ctx = pictured(model)
    ctx.feeds = None
    with pytest.raises(CalibrationError, match="needs pictures"):
        run_pass(Prune(ratio=0.5, criterion="reconstruction"), load(model), ctx)
