from __future__ import annotations

import importlib.util
from typing import Literal

import numpy as np
import onnx_graphsurgeon as gs
import pytest

from tests.networks.topologies import TOPOLOGIES
from tests.oracles import random_feeds, run
from tests.passes.feeding import Trial, context, run_pass, smooth, whole_graph
from yocc.analysis.heads import final_layers
from yocc.compiler.graph import Graph, clone, load, refresh, to_proto, verify
from yocc.compiler.graph.shapes import concrete_shapes
from yocc.compiler.pipeline.lineage import Teacher
from yocc.compiler.pipeline.passes import Detection, PassContext
from yocc.compiler.pipeline.target import Target, TensorScheme
from yocc.errors import OptionError
from yocc.passes.fuse import Fuse
from yocc.passes.prune import Prune
from yocc.passes.quantize import Quantize

pytestmark = pytest.mark.slow

needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="the extra yocc[torch] is not installed"
)
COARSE = Target("test", weights=TensorScheme(bits=4, per_channel=True))
"""Rounding to 4 bits leaves errors that only learning takes away."""


def prepared(
    target: Target, name: str = "yolov8", *, ratio: float | None = None, count: int = 16
) -> tuple[Graph, Trial]:
    """A fused small network, pruned before if there is a ratio."""
    model = TOPOLOGIES[name](seed=0)
    ctx = context(target, smooth(model, count))
    if name == "yolov8":
        ctx.detection = Detection(classes=3, objectness=False)
    graph = load(model)
    if ratio is not None:
        run_pass(Prune(ratio=ratio), graph, ctx)
        refresh(graph)
    run_pass(Fuse(), graph, ctx)
    refresh(graph)
    return graph, ctx


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    if importlib.util.find_spec("torch") is not None:
        import torch

        torch.set_num_threads(1)


@needs_torch
@pytest.mark.parametrize("rounding", ["gram", "nearest"])
def test_learning_through_the_rounding_brings_a_network_nearer(rounding: Literal["gram", "nearest"]) -> None:
    original, ctx = prepared(COARSE, "unet", count=24)
    errors = []
    for learn in (0, 150):
        graph = clone(original)
        run_pass(Quantize(learn=learn, rounding=rounding), graph, ctx)
        refresh(graph)
        assert verify.problems(graph) == []
        errors.append(error(original, graph))
    figures = ctx.details["quantize"]["learned"]
    assert figures["loss"] < 0.9 * figures["loss_before"]
    assert errors[1] < 0.9 * errors[0]


@needs_torch
def test_the_teacher_is_the_network_before_its_weights_were_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    from yocc.learning import training
    from yocc.learning.learner import Learner

    graph, ctx = prepared(COARSE, "unet")
    exact = run(to_proto(graph), random_feeds(to_proto(graph), 0))
    teachers = []
    make = training.make_learner

    def noted(graph: Graph, teacher: Teacher, ctx: PassContext) -> Learner:
        teachers.append(teacher)
        return make(graph, teacher, ctx)

    monkeypatch.setattr(training, "make_learner", noted)
    run_pass(Quantize(learn=1), graph, ctx)
    (teacher,) = teachers
    taught = run(to_proto(teacher.graph), random_feeds(to_proto(teacher.graph), 0))
    for name, values in exact.items():
        np.testing.assert_array_equal(taught[name], values)


@needs_torch
def test_scales_that_are_the_same_stay_the_same() -> None:
    import torch

    from yocc.learning.network import Network

    graph, ctx = prepared(whole_graph())
    run_pass(Quantize(), graph, ctx)
    refresh(graph)
    network = Network(
        graph, [node.outputs[0].name for node in final_layers(graph)], concrete_shapes(graph), learning=True
    )
    before = concatenated(graph)
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.1 * torch.rand(parameter.shape, generator=random))
    network.store(graph)
    after = concatenated(graph)
    assert len(before) > 3
    for scales, learned in zip(before, after, strict=True):
        assert scales != learned
        assert [scale == scales[0] for scale in scales] == [scale == learned[0] for scale in learned]


@needs_torch
def test_biases_have_the_scale_of_their_products() -> None:
    graph, ctx = prepared(whole_graph())
    run_pass(Quantize(learn=5), graph, ctx)
    layers = 0
    for node in graph.nodes:
        if node.op != "Conv" or len(node.inputs) < 3 or isinstance(node.inputs[2], gs.Constant):
            continue
        bias, weight, value = (scale_of(node.inputs[slot]) for slot in (2, 1, 0))
        np.testing.assert_allclose(bias, np.float32(value * weight), rtol=1e-6)
        layers += 1
    assert layers > 15


@needs_torch
def test_a_pruned_network_learns_from_the_one_before_pruning() -> None:
    graph, ctx = prepared(whole_graph(), ratio=0.3)
    run_pass(Quantize(learn=3), graph, ctx)
    refresh(graph)
    assert verify.problems(graph) == []
    assert ctx.details["quantize"]["learned"]["steps"] == 3


def test_a_negative_number_of_batches_is_refused() -> None:
    with pytest.raises(OptionError, match="-1 batches"):
        Quantize(learn=-1)


def test_learning_without_torch_is_refused_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else find(name))
    assert "torch" in (Quantize(learn=1).unavailable() or "")
    assert Quantize().unavailable() is None


def error(original: Graph, graph: Graph) -> float:
    """Mean squared difference of the outputs on other pictures than those it learned from."""
    before, after = to_proto(original), to_proto(graph)
    pairs = [(run(before, each), run(after, each)) for each in smooth(before, 32).arrays[24:]]
    return float(np.mean([np.square(found[name] - exact[name]).mean() for exact, found in pairs for name in exact]))


def concatenated(graph: Graph) -> list[list[float]]:
    """Scales of the inputs of each Concat of codes."""
    return [
        [float(scale_of(tensor)) for tensor in node.inputs]
        for node in graph.nodes
        if node.op == "Concat" and all(t.inputs and t.inputs[0].op == "DequantizeLinear" for t in node.inputs)
    ]


def scale_of(tensor: gs.Tensor) -> np.ndarray:
    maker = tensor.inputs[0]
    assert maker.op == "DequantizeLinear"
    return np.asarray(maker.inputs[1].values)
