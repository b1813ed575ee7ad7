from __future__ import annotations

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest

from tests.oracles import run
from yocc.analysis.windows import (
    channel_axis,
    flat_weight,
    is_plain,
    outputs_at,
    positions,
    represented,
    windows_at,
)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(
    ("kernel", "stride", "pads", "dilation"),
    [
        ((1, 1), 1, [0, 0, 0, 0], 1),
        ((3, 3), 1, [1, 1, 1, 1], 1),
        ((6, 6), 2, [2, 2, 2, 2], 1),
        ((3, 1), 2, [1, 0, 0, 0], 2),
        ((3, 4), 2, "SAME_UPPER", 1),
        ((3, 4), 2, "SAME_LOWER", 1),
        ((3, 2), 1, "VALID", 1),
    ],
)
def test_windows_times_weights_are_the_outputs(
    kernel: tuple[int, int], stride: int, pads: list[int] | str, dilation: int, batch: int
) -> None:
    padding: dict[str, object] = {"auto_pad": pads} if isinstance(pads, str) else {"pads": pads}
    random = np.random.default_rng(0)
    weight = random.normal(size=(5, 4, *kernel)).astype(np.float32)
    attributes = {"strides": [stride] * 2, "dilations": [dilation] * 2, **padding}
    node = onnx.helper.make_node("Conv", ["x", "w"], ["y"], **attributes)
    graph = onnx.helper.make_graph(
        [node],
        "conv",
        [onnx.helper.make_tensor_value_info("x", 1, [batch, 4, 12, 10])],
        [onnx.helper.make_tensor_value_info("y", 1, None)],
        [onnx.numpy_helper.from_array(weight, "w")],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8)
    x = random.normal(size=(batch, 4, 12, 10)).astype(np.float32)
    y = run(model, {"x": x})["y"]
    chosen = positions(y.shape, 20, random)
    layer = gs.Node("Conv", "conv", attributes, [gs.Variable("x"), gs.Constant("w", weight)], [gs.Variable("y")])
    windows = windows_at(x, layer, y.shape[2:], chosen)
    product = windows.reshape(len(chosen), -1) @ weight.reshape(5, -1).T
    np.testing.assert_allclose(product, outputs_at(y, chosen), atol=1e-4)


@pytest.mark.parametrize(
    ("op", "attributes", "shape"),
    [
        ("Gemm", {"transB": 1, "alpha": 0.5}, (6, 4)),
        ("Gemm", {"transB": 0}, (6, 4)),
        ("MatMul", {}, (2, 3, 4)),
    ],
)
def test_rows_times_weights_are_the_products(op: str, attributes: dict[str, float], shape: tuple[int, ...]) -> None:
    random = np.random.default_rng(0)
    weight = random.normal(size=(5, 4) if attributes.get("transB") else (4, 5)).astype(np.float32)
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node(op, ["x", "w"], ["y"], **attributes)],
        "product",
        [onnx.helper.make_tensor_value_info("x", 1, shape)],
        [onnx.helper.make_tensor_value_info("y", 1, None)],
        [onnx.numpy_helper.from_array(weight, "w")],
    )
    x = random.normal(size=shape).astype(np.float32)
    opsets = [onnx.helper.make_opsetid("", 13)]
    y = run(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8), {"x": x})["y"]
    layer = gs.Node(op, "layer", attributes, [gs.Variable("x"), gs.Constant("w", weight)], [gs.Variable("y")])
    assert is_plain(layer)
    chosen = positions(y.shape, 5, random, axis=channel_axis(layer))
    product = windows_at(x, layer, (), chosen) @ flat_weight(layer)
    np.testing.assert_allclose(product, outputs_at(y, chosen, axis=channel_axis(layer)), atol=1e-5)


@pytest.mark.parametrize(
    ("op", "attributes", "shape"),
    [
        ("Gemm", {"transA": 1}, (4, 4)),
        ("MatMul", {}, (2, 4, 4)),
        ("Conv", {"group": 2}, (4, 2, 3, 3)),
        ("Relu", {}, (4, 4)),
    ],
)
def test_other_layers_are_not_plain(op: str, attributes: dict[str, int], shape: tuple[int, ...]) -> None:
    weight = gs.Constant("w", np.zeros(shape, np.float32))
    assert not is_plain(gs.Node(op, "layer", attributes, [gs.Variable("x"), weight], [gs.Variable("y")]))


def test_positions_are_distinct_and_no_more_than_there_are() -> None:
    chosen = positions((1, 8, 5, 5), 100, np.random.default_rng(0))
    assert chosen.tolist() == list(range(25))
    assert positions((3, 8, 5, 5), 100, np.random.default_rng(0)).tolist() == list(range(75))


@pytest.mark.parametrize("sharpness", [0.0, 1.0, 2.5])
def test_the_chosen_stand_for_all(sharpness: float) -> None:
    """Sums over drawn positions, each counted for as many as it stands for, are those over all on average."""
    random = np.random.default_rng(0)
    values = random.normal(size=400) + 2
    likelihood = np.exp(sharpness * random.normal(size=400)) + 0.05
    likelihood /= likelihood.sum()
    sums = []
    for _ in range(400):
        chosen = positions((1, 1, 400), 60, random, likelihood)
        sums.append(represented(400, 60, likelihood, chosen) @ values[chosen])
    assert np.mean(sums) == pytest.approx(values.sum(), rel=0.03)


def test_all_positions_stand_for_themselves() -> None:
    assert represented(5, 9, np.full(5, 0.2), np.arange(5)).tolist() == [1.0] * 5


def test_positions_drawn_alike_stand_for_the_same_number() -> None:
    assert represented(100, 20, None, np.arange(20)).tolist() == [5.0] * 20
