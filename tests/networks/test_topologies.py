from __future__ import annotations

import numpy as np
import onnx
import pytest

from tests.graph_facts import consumers, initializers, op_types
from tests.networks.topologies import TOPOLOGIES
from tests.oracles import random_feeds, run

# The structure each topology is there for.
EXPECTED_OPS = {
    "activations": {"HardSwish", "LeakyRelu", "Clip", "Tanh", "Sigmoid"},
    "attention": {"MatMul", "Softmax", "Split", "Reshape", "Transpose"},
    "bottleneck": {"MaxPool", "Add", "BatchNormalization"},
    "c2f": {"Split", "Concat", "Add"},
    "convnext": {"LayerNormalization", "MatMul", "Transpose"},
    "dense": {"Concat", "AveragePool"},
    "depth_multiplier": {"Conv", "BatchNormalization"},
    "flatten_gemm": {"Flatten", "Gemm"},
    "focus": {"Slice", "Concat"},
    "group_norm": {"InstanceNormalization", "Reshape", "Mul", "Add"},
    "instance_norm": {"InstanceNormalization"},
    "inverted_residual": {"Clip", "Add"},
    "padding": {"Pad", "AveragePool"},
    "prelu": {"PRelu", "Add"},
    "reduce_mean": {"ReduceMean", "Mul"},
    "residual": {"Add", "GlobalAveragePool", "Flatten", "Gemm", "BatchNormalization"},
    "shared_head": {"Resize", "Add"},
    "shuffle_groups": {"Reshape", "Transpose", "Add"},
    "shuffle_split": {"Split", "Concat", "Reshape", "Transpose"},
    "space_to_depth": {"Reshape", "Transpose"},
    "squeeze_excite": {"GlobalAveragePool", "Sigmoid", "Mul"},
    "squeeze_excite_gemm": {"GlobalAveragePool", "Gemm", "Reshape", "Mul"},
    "unet": {"ConvTranspose", "Concat", "MaxPool"},
    "yolov8": {"Softmax", "Split", "Concat", "Resize", "Sub", "Div"},
}

every = pytest.mark.parametrize("name", sorted(TOPOLOGIES))


def test_every_topology_is_described_here() -> None:
    assert set(EXPECTED_OPS) == set(TOPOLOGIES)


@every
def test_it_is_valid_and_small(name: str) -> None:
    model = TOPOLOGIES[name](0)
    onnx.checker.check_model(model, full_check=True)
    weights = [t for t in initializers(model).values() if t.dtype == np.float32]
    assert 1_000 < sum(w.size for w in weights) < 30_000


@every
def test_it_has_the_structure_it_is_there_for(name: str) -> None:
    assert EXPECTED_OPS[name] <= op_types(TOPOLOGIES[name](0))


@every
@pytest.mark.parametrize("seed", [0, 1])
def test_outputs_have_the_declared_shape_and_a_sane_scale(name: str, seed: int) -> None:
    model = TOPOLOGIES[name](seed)
    out = run(model, random_feeds(model, seed))
    for value in model.graph.output:
        array = out[value.name]
        assert array.shape == tuple(d.dim_value for d in value.type.tensor_type.shape.dim)
        scores = array[:, 4:] if name == "yolov8" else array
        assert scores.std() > 1e-3
        assert np.abs(scores).max() < 30


@every
def test_every_node_and_initializer_reaches_an_output(name: str) -> None:
    model = TOPOLOGIES[name](0)
    assert set(initializers(model)) <= set(consumers(model))
    used = set(consumers(model)) | {value.name for value in model.graph.output}
    assert [node.name for node in model.graph.node if not used & set(node.output)] == []


@every
def test_the_seed_decides_the_bytes(name: str) -> None:
    assert TOPOLOGIES[name](5).SerializeToString() == TOPOLOGIES[name](5).SerializeToString()
    assert TOPOLOGIES[name](5).SerializeToString() != TOPOLOGIES[name](6).SerializeToString()


def test_the_table_is_frozen() -> None:
    with pytest.raises(TypeError):
        TOPOLOGIES["other"] = TOPOLOGIES["residual"]


def test_depth_multiplier_is_two() -> None:
    groups = [a.i for node in TOPOLOGIES["depth_multiplier"](0).graph.node for a in node.attribute if a.name == "group"]
    weights = [w.shape for w in initializers(TOPOLOGIES["depth_multiplier"](0)).values() if w.ndim == 4]
    assert [(shape[0] // group, shape[1]) for shape, group in zip(weights, groups, strict=True) if group > 1] == [
        (2, 1),
        (2, 1),
    ]


def test_the_shared_head_uses_three_initializers_twice() -> None:
    model = TOPOLOGIES["shared_head"](0)
    shared = {name for name, nodes in consumers(model).items() if name in initializers(model) and len(nodes) > 1}
    assert shared == {"inner.weight", "inner.bias", "outer.weight"}


def test_the_yolov8_decode_is_the_expectation_of_its_bins() -> None:
    model = TOPOLOGIES["yolov8"](0)
    bins = next(node.input[0] for node in model.graph.node if node.op_type == "Softmax")
    out = run(model, random_feeds(model, 0), taps=[bins])
    logits = out[bins][0].astype(np.float64)  # [bins, side, cells]
    chance = np.exp(logits) / np.exp(logits).sum(axis=0)
    left, top, right, bottom = (np.arange(16)[:, None, None] * chance).sum(axis=0)
    cells = [(x + 0.5, y + 0.5, 32 / n) for n in (8, 4) for y in range(n) for x in range(n)]
    x, y, stride = np.array(cells).T
    expected = [(x + (right - left) / 2) * stride, (y + (bottom - top) / 2) * stride]
    expected += [(left + right) * stride, (top + bottom) * stride]
    np.testing.assert_allclose(out["output0"][0, :4], expected, rtol=1e-4, atol=1e-3)
    assert ((out["output0"][0, 4:] > 0) & (out["output0"][0, 4:] < 1)).all()
