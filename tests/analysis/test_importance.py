from __future__ import annotations

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest
from onnx import TensorProto, helper, numpy_helper

from yocc.analysis.importance import SHARE, Importance
from yocc.compiler.graph import Graph, load
from yocc.compiler.graph.shapes import concrete_shapes
from yocc.compiler.pipeline.partial import run_until
from yocc.compiler.pipeline.passes import Arrays, PassContext
from yocc.compiler.pipeline.target import Target
from yocc.errors import PassError
from yocc.runtime.backends.onnxruntime import reference_executor


def model(middle: str = "Relu") -> onnx.ModelProto:
    """Two convolutions; of the first's answers to negative values nothing reaches the second."""
    random = np.random.default_rng(0)
    weights = [random.uniform(0.1, 1, size=(4, 3, 1, 1)), random.normal(size=(2, 4, 1, 1))]
    constants = [numpy_helper.from_array(each.astype(np.float32), f"w{place}") for place, each in enumerate(weights)]
    nodes = [
        helper.make_node("Conv", ["x", "w0"], ["a"], name="first"),
        helper.make_node(middle, ["a"], ["b"], name="middle"),
        helper.make_node("Conv", ["b", "w1"], ["y"], name="last"),
    ]
    sizes = {"x": [1, 3, 4, 4], "y": [1, 2, 4, 4]}
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, size) for name, size in sizes.items()]
    graph = helper.make_graph(nodes, "two", ports[:1], ports[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def layers(graph: Graph) -> list[gs.Node]:
    return [node for node in graph.nodes if node.op == "Conv"]


def likelihoods(arrays: Arrays) -> dict[str, np.ndarray]:
    graph = load(model())
    ctx = PassContext(Target("any"), executor=reference_executor(threads=1, optimize=True))
    importance = Importance(graph, concrete_shapes(graph), layers(graph), ctx)
    return importance.of(arrays, run_until(graph, importance.sources, ctx)(arrays))


def test_every_position_has_a_likelihood_and_they_sum_to_one() -> None:
    found = likelihoods({"x": np.random.default_rng(1).normal(size=(1, 3, 4, 4)).astype(np.float32)})
    assert set(found) == {"first", "last"}
    for likelihood in found.values():
        assert likelihood.shape == (16,)
        assert likelihood.min() >= (1 - SHARE) / 16 * 0.999
        assert likelihood.sum() == pytest.approx(1.0)


def test_positions_that_cannot_reach_the_outputs_matter_least() -> None:
    picture = np.ones((1, 3, 4, 4), np.float32)
    picture[0, :, :, :2] = -1
    found = likelihoods({"x": picture})["first"].reshape(4, 4)
    np.testing.assert_allclose(found[:, :2], (1 - SHARE) / 16, rtol=1e-6)
    assert found[:, 2:].sum() > SHARE


def test_the_same_picture_gives_the_same() -> None:
    arrays = {"x": np.random.default_rng(3).normal(size=(1, 3, 4, 4)).astype(np.float32)}
    one, other = likelihoods(arrays), likelihoods(arrays)
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])


def test_a_layer_that_matters_nowhere_is_left_out() -> None:
    found = likelihoods({"x": -np.ones((1, 3, 4, 4), np.float32)})
    assert "first" not in found


def test_an_operator_without_a_gradient_is_refused() -> None:
    graph = load(model("Hardmax"))
    ctx = PassContext(Target("any"), executor=reference_executor(threads=1, optimize=True))
    with pytest.raises(PassError, match="gradient of Hardmax"):
        Importance(graph, concrete_shapes(graph), layers(graph)[:1], ctx)
