from __future__ import annotations

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch", reason="the extra yocc[torch] is not installed")

from tools.train.network import YoloV5, to_graph
from tools.train.sparsity import doomed_channels, shrink
from yocc.compiler.graph import load, to_proto
from yocc.compiler.graph.cost import layer_costs, totals
from yocc.compiler.graph.shapes import concrete_shapes
from yocc.compiler.pipeline.passes import PassContext
from yocc.compiler.pipeline.pipeline import Pipeline
from yocc.models.street import CLASSES
from yocc.runtime.backends.onnxruntime import reference_executor
from yocc.runtime.backends.registry import find_backend

SIZE = 64


@pytest.mark.slow
def test_pruning_by_scale_takes_the_doomed_and_changes_nothing() -> None:
    """Both budgets are met by channels that are dead, so the pruned network computes what the sparse one does."""
    torch.manual_seed(0)
    network = YoloV5(classes=len(CLASSES)).eval()
    doomed = doomed_channels(network, 0.4, SIZE)
    norms = {name for name, layer in network.named_modules() if isinstance(layer, torch.nn.BatchNorm2d)}
    assert set(doomed) <= norms
    shrink(network, doomed, 1e9)
    sparse = to_graph(network, CLASSES, size=SIZE)
    graph = load(sparse)
    nodes = {node.inputs[1].name.replace("conv.weight", "bn"): node.name for node in graph.nodes if node.op == "Conv"}
    before = totals(layer_costs(graph, concrete_shapes(graph, {})))
    ctx = PassContext(target=find_backend("onnxruntime").target({}))
    pruned, runs = Pipeline.parse("prune{ratio=0.4,criterion=bn_gamma}").run(graph, ctx, [])
    after = totals(layer_costs(pruned, concrete_shapes(pruned, {})))
    assert after.parameters / before.parameters == pytest.approx(0.6, abs=0.011)
    assert after.macs / before.macs == pytest.approx(0.6, abs=0.011)
    # Which of the dead channels go is open: they are all free, and the two searches need not choose alike.
    layers = runs[-1].details["layers"]
    alive = {nodes[name]: int((~channels).sum()) for name, channels in doomed.items()}
    assert {name: layer["kept"] for name, layer in layers.items() if layer["kept"] < alive.get(name, 0)} == {}
    picture = np.random.default_rng(0).random((1, 3, SIZE, SIZE), dtype=np.float32)
    wanted, found = (run(model, picture) for model in (sparse, to_proto(pruned)))
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


def run(model: onnx.ModelProto, picture: np.ndarray) -> np.ndarray:
    return reference_executor()(model)({model.graph.input[0].name: picture})[model.graph.output[0].name]


def test_shrinking_moves_doomed_channels_alone() -> None:
    norm = torch.nn.BatchNorm2d(3)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([0.5, -0.5, 0.05]))
        norm.bias.copy_(torch.tensor([-1.0, 1.0, 0.0]))
    shrink(torch.nn.ModuleDict({"bn": norm}), {"bn": torch.tensor([True, False, True])}, 0.1)
    assert norm.weight.tolist() == pytest.approx([0.4, -0.5, 0.0])
    assert norm.bias.tolist() == pytest.approx([-0.9, 1.0, 0.0])
