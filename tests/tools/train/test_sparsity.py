from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the extra yocc[torch] is not installed")

from tools.train.network import YoloV5, to_graph
from tools.train.sparsity import doomed_channels, shrink
from yocc.compiler.graph import load
from yocc.compiler.graph.cost import layer_costs, totals
from yocc.compiler.graph.shapes import concrete_shapes
from yocc.compiler.pipeline.passes import PassContext
from yocc.compiler.pipeline.pipeline import Pipeline
from yocc.models.street import CLASSES
from yocc.runtime.backends.registry import find_backend

SIZE = 64


def test_pruning_by_scale_takes_the_doomed_and_changes_nothing() -> None:
    """Both budgets are met by channels that are dead, so the pruned network computes what the sparse one does."""
    torch.manual_seed(0)
    network = YoloV5(classes=len(CLASSES)).eval()
    doomed = doomed_channels(network, 0.4, SIZE)
    norms = {name for name, layer in network.named_modules() if isinstance(layer, torch.nn.BatchNorm2d)}
    assert set(doomed) <= norms
    shrink(network, doomed, 1e9)
    graph = load(to_graph(network, CLASSES, size=SIZE))
    nodes = {node.inputs[1].name.replace("conv.weight", "bn"): node.name for node in graph.nodes if node.op == "Conv"}
    before = totals(layer_costs(graph, concrete_shapes(graph, {})))
    ctx = PassContext(target=find_backend("onnxruntime").target({}))
    pruned, runs = Pipeline.parse("prune{ratio=0.4,criterion=bn_gamma}").run(graph, ctx, [])
    after = totals(layer_costs(pruned, concrete_shapes(pruned, {})))
    assert after.parameters / before.parameters == pytest.approx(0.6, abs=0.011)
    assert after.macs / before.macs == pytest.approx(0.6, abs=0.011)
    kept = runs[-1].details["layers"]
    assert {nodes[name] for name in doomed} <= set(kept)
    for name, channels in doomed.items():
        assert kept[nodes[name]]["kept"] == int((~channels).sum())


def test_shrinking_moves_doomed_channels_alone() -> None:
    norm = torch.nn.BatchNorm2d(3)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([0.5, -0.5, 0.05]))
        norm.bias.copy_(torch.tensor([-1.0, 1.0, 0.0]))
    shrink(torch.nn.ModuleDict({"bn": norm}), {"bn": torch.tensor([True, False, True])}, 0.1)
    assert norm.weight.tolist() == pytest.approx([0.4, -0.5, 0.0])
    assert norm.bias.tolist() == pytest.approx([-0.9, 1.0, 0.0])
