from __future__ import annotations

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch", reason="the extra yocc[torch] is not installed")

from tests.networks.topologies import TOPOLOGIES
from tests.oracles import random_feeds, run
from yocc.compiler.graph import Graph, convert_opset, load, to_proto
from yocc.compiler.graph.shapes import concrete_shapes
from yocc.errors import PassError
from yocc.learning.network import Network
from yocc.models.yolov5 import build_yolov5

KNOWN = ("residual", "bottleneck", "squeeze_excite", "c2f", "dense", "unet", "prelu", "shuffle_groups", "activations")


def network_of(graph: Graph, *, learning: bool = True) -> Network:
    return Network(graph, [tensor.name for tensor in graph.outputs], concrete_shapes(graph), learning=learning)


@pytest.mark.parametrize("name", KNOWN)
def test_networks_give_what_onnxruntime_gives(name: str) -> None:
    model = TOPOLOGIES[name](seed=0)
    network = network_of(convert_opset(load(model), 13))
    feeds = random_feeds(model, 0)
    with torch.no_grad():
        found = network({key: torch.from_numpy(values) for key, values in feeds.items()})
    for key, wanted in run(model, feeds).items():
        np.testing.assert_allclose(found[key].numpy(), wanted, rtol=1e-3, atol=1e-4 * np.abs(wanted).max())


def test_nothing_learned_leaves_every_bit() -> None:
    graph = load(TOPOLOGIES["residual"](seed=0))
    before = to_proto(graph).SerializeToString(deterministic=True)
    assert network_of(graph).store(graph) == 0
    assert to_proto(graph).SerializeToString(deterministic=True) == before


def test_what_is_learned_is_stored_under_its_name_in_units_of_its_row() -> None:
    graph = load(TOPOLOGIES["residual"](seed=0))
    network = network_of(graph)
    before = {name: np.array(tensor.values) for name, tensor in constants(graph).items()}
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(0.5)
    changed = network.store(graph)
    assert changed == len(list(network.parameters()))
    after = {name: np.array(tensor.values) for name, tensor in constants(graph).items()}
    assert set(after) == set(before)
    node = next(node for node in graph.nodes if node.op == "Conv")
    weight = node.inputs[1].name
    rows = np.sqrt(np.square(before[weight]).mean((1, 2, 3)))
    np.testing.assert_allclose((after[weight] - before[weight]).mean((1, 2, 3)), 0.5 * rows, rtol=1e-4)
    norm = next(node for node in graph.nodes if node.op == "BatchNormalization")
    for tensor in norm.inputs[1:]:
        assert np.array_equal(after[tensor.name], before[tensor.name])


def test_the_stored_graph_gives_what_the_network_gave() -> None:
    model = TOPOLOGIES["c2f"](seed=0)
    graph = convert_opset(load(model), 13)
    network = network_of(graph)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(0, 0.1)
    feeds = random_feeds(model, 0)
    with torch.no_grad():
        wanted = network({key: torch.from_numpy(values) for key, values in feeds.items()})
    network.store(graph)
    for key, found in run(to_proto(graph), feeds).items():
        np.testing.assert_allclose(found, wanted[key].numpy(), rtol=1e-3, atol=1e-3)


def test_a_detector_up_to_its_raw_outputs_takes_pictures_of_any_size() -> None:
    from yocc.analysis.heads import final_layers

    graph = load(build_yolov5("n", classes=3, size=64))
    ends = [node.outputs[0].name for node in final_layers(graph)]
    network = Network(graph, ends, concrete_shapes(graph), learning=False)
    assert network.size_free
    assert [network({"images": torch.zeros(2, 3, 96, 128)})[end].shape[2:] for end in ends] == [
        (12, 16), (6, 8), (3, 4),
    ]  # fmt: skip


def test_a_classifier_that_flattens_takes_one_size_only() -> None:
    assert not network_of(load(TOPOLOGIES["flatten_gemm"](seed=0))).size_free


def test_a_channel_shuffle_across_the_first_axis_keeps_pictures_apart() -> None:
    shapes = {"apart": [4, 2, 6], "whole": [2, -1, 4, 2, 3]}
    nodes = [
        onnx.helper.make_node("Reshape", ["x", "apart"], ["pairs"]),
        onnx.helper.make_node("Transpose", ["pairs"], ["halves"], perm=[1, 0, 2]),
        onnx.helper.make_node("Reshape", ["halves", "whole"], ["both"]),
        onnx.helper.make_node("Gather", ["both", "second"], ["y"], axis=0),
    ]
    info = [onnx.helper.make_tensor_value_info(name, 1, [1, side, 2, 3]) for name, side in (("x", 8), ("y", 4))]
    arrays = {**shapes, "second": 1}
    graph = onnx.helper.make_graph(
        nodes, "shuffle", info[:1], info[1:],
        [onnx.numpy_helper.from_array(np.array(value, np.int64), name) for name, value in arrays.items()],
    )  # fmt: skip
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8)
    network = network_of(load(model))
    pictures = torch.from_numpy(np.random.default_rng(0).random((3, 8, 2, 3), np.float32))
    np.testing.assert_array_equal(network({"x": pictures})["y"].numpy(), pictures[:, 1::2].numpy())
    assert not network.size_free


def test_a_silu_gate_read_by_others_is_computed() -> None:
    sigmoid = onnx.helper.make_node("Sigmoid", ["x"], ["gate"], name="sigmoid")
    product = onnx.helper.make_node("Mul", ["x", "gate"], ["y"], name="product")
    info = [onnx.helper.make_tensor_value_info(name, 1, [1, 2]) for name in ("x", "y", "gate")]
    model = onnx.helper.make_model(
        onnx.helper.make_graph([sigmoid, product], "silu", info[:1], info[1:]),
        opset_imports=[onnx.helper.make_opsetid("", 13)],
    )
    found = network_of(load(model))({"x": torch.tensor([[1.0, -2.0]])})
    np.testing.assert_allclose(found["gate"].numpy(), 1 / (1 + np.exp([[-1.0, 2.0]])), rtol=1e-5)
    np.testing.assert_allclose(found["y"].numpy(), [[1.0, -2.0]] / (1 + np.exp([[-1.0, 2.0]])), rtol=1e-5)


def test_unknown_operators_are_refused_before_anything_runs() -> None:
    with pytest.raises(PassError, match="InstanceNormalization"):
        network_of(load(TOPOLOGIES["instance_norm"](seed=0)))


def constants(graph: Graph) -> dict[str, object]:
    import onnx_graphsurgeon as gs

    return {name: tensor for name, tensor in graph.tensors().items() if isinstance(tensor, gs.Constant)}
