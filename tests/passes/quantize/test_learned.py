from __future__ import annotations

import importlib.util

import numpy as np
import onnx_graphsurgeon as gs
import pytest

from tests.oracles import run
from tests.passes.feeding import Pictures, context, run_pass, whole_graph
from yocc.analysis.heads import final_layers
from yocc.compiler.graph import Graph, clone, load, refresh, to_proto, verify
from yocc.compiler.graph.shapes import concrete_shapes
from yocc.compiler.pipeline.passes import Detection, PassContext
from yocc.compiler.pipeline.pipeline import Pipeline
from yocc.compiler.pipeline.target import Target
from yocc.errors import OptionError
from yocc.models.shipped import shipped_detector
from yocc.models.street import SPLITS, draw_scene
from yocc.models.yolov5 import build_yolov5
from yocc.passes.fuse import Fuse
from yocc.passes.prune import Prune
from yocc.passes.quantize import Quantize
from yocc.runtime.backends.tensorrt.backend import TensorRtBackend

pytestmark = pytest.mark.slow

needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="the extra yocc[torch] is not installed"
)
MODEL = build_yolov5("n", classes=2, size=64)


def pictures(count: int, first: int = 0) -> Pictures:
    made = []
    for seed in range(first, first + count):
        coarse = np.kron(np.random.default_rng(seed).random((1, 3, 8, 8)), np.ones((1, 1, 8, 8)))
        made.append({"images": (np.round(coarse * 255) / 255).astype(np.float32)})
    return Pictures(made)


def prepared(target: Target, *, ratio: float | None = None) -> tuple[Graph, PassContext]:
    ctx = context(target, pictures(16))
    ctx.detection = Detection(classes=2, objectness=True)
    graph = load(MODEL)
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
def test_learning_through_the_rounding_brings_a_detector_nearer() -> None:
    def drawn(split: str, count: int) -> list[dict[str, np.ndarray]]:
        seeds = SPLITS[split][:count]
        pixels = (draw_scene(seed, 256).picture.transpose(2, 0, 1)[None] for seed in seeds)
        return [{"images": each.astype(np.float32) / 255} for each in pixels]

    original = load(shipped_detector())
    ctx = context(TensorRtBackend().target({}), Pictures(drawn("calibration", 24)))
    ctx.detection = Detection(classes=8, objectness=True)
    original, _ = Pipeline.parse("fp32,simplify,fuse").run(original, ctx)
    errors = []
    for learn in (0, 60):
        graph = clone(original)
        run_pass(Quantize(learn=learn), graph, ctx)
        refresh(graph)
        assert verify.problems(graph) == []
        before, after = to_proto(original), to_proto(graph)
        differences = [np.abs(scores(run(after, scene)) - scores(run(before, scene))) for scene in drawn("test", 8)]
        errors.append(float(np.mean(differences)))
    figures = ctx.details["quantize"]["learned"]
    assert figures["loss"] < 0.9 * figures["loss_before"]
    assert errors[1] < 1.1 * errors[0]


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
    assert len(before) > 5
    for scales, learned in zip(before, after, strict=True):
        assert scales != learned
        assert [scale == scales[0] for scale in scales] == [scale == learned[0] for scale in learned]


@pytest.mark.slow
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
    assert layers > 40


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


def scores(outputs: dict[str, np.ndarray]) -> np.ndarray:
    rows = outputs["output0"]
    return rows[..., 4:5] * rows[..., 5:]


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
