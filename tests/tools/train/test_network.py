from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

torch = pytest.importorskip("torch", reason="the extra yocc[torch] is not installed")

from tools.train.network import YoloV5, initializers, to_graph
from yocc.errors import InternalError

NAMES = ("a", "b", "c")


def _network(variant: str = "n") -> YoloV5:
    torch.manual_seed(0)
    network = YoloV5(variant, classes=len(NAMES))
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.5, 2)
            layer.weight.data.uniform_(0.5, 1.5)
            layer.bias.data.normal_(0, 0.3)
    return network.eval()


@pytest.mark.parametrize("variant", ["n", "s"])
def test_the_graph_computes_what_the_network_does(variant: str) -> None:
    network = _network(variant)
    model = to_graph(network, NAMES, size=64, variant=variant, decoded=False)
    pictures = np.random.default_rng(0).random((1, 3, 64, 64), np.float32)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    outputs = session.run(None, {"images": pictures})
    with torch.no_grad():
        logits = network(torch.from_numpy(pictures))
    for output, wanted in zip(outputs, logits, strict=True):
        np.testing.assert_allclose(output, wanted.numpy(), atol=1e-4, rtol=0)


def test_every_weight_of_the_graph_is_the_networks() -> None:
    network = _network()
    tensors = {tensor.name: tensor for tensor in to_graph(network, NAMES, size=64).graph.initializer}
    own = initializers(network)
    assert {name for name in tensors if name.startswith("model.")} == set(own)
    for name, values in own.items():
        np.testing.assert_array_equal(np.frombuffer(tensors[name].raw_data, np.float32), values.ravel(), name)


def test_the_graph_knows_the_classes_names() -> None:
    from yocc.compiler.graph import load
    from yocc.models.families.family import find_profile

    profile = find_profile(load(to_graph(_network(), NAMES, size=64).SerializeToString()))
    assert profile is not None
    assert profile.classes == NAMES


def test_a_network_of_another_size_is_refused() -> None:
    with pytest.raises(InternalError, match=r"model\.0\.conv\.weight"):
        to_graph(_network("s"), NAMES, size=64, variant="n")
