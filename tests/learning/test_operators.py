from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

torch = pytest.importorskip("torch", reason="the extra yocc[torch] is not installed")

from tests.oracles import run
from yocc.compiler.graph import load
from yocc.compiler.graph.shapes import concrete_shapes
from yocc.errors import PassError
from yocc.learning.network import Network
from yocc.learning.operators import RULES

RANDOM = np.random.default_rng(0)
PICTURE = (2, 4, 9, 8)


def weights(*shape: int) -> np.ndarray:
    return RANDOM.normal(size=shape).astype(np.float32)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


NO_ROI = np.zeros(0, np.float32)
DOUBLE = np.array([1, 1, 2, 2], np.float32)
HALF_PIXEL = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
NEAREST = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
# operator, constants after the input, attributes, shape of the input
CASES: list[tuple[str, list[np.ndarray], dict[str, Any], tuple[int, ...]]] = [
    ("Add", [weights(4, 1, 1)], {}, PICTURE),
    ("AveragePool", [], {"kernel_shape": [3, 2], "strides": [2, 2]}, PICTURE),
    ("AveragePool", [], {"kernel_shape": [3, 3], "pads": [1, 0, 1, 2]}, PICTURE),
    ("AveragePool", [], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}, PICTURE),
    ("BatchNormalization", [weights(4), weights(4), weights(4), np.abs(weights(4)) + 0.1], {"epsilon": 1e-3}, PICTURE),
    ("Clip", [np.float32(-0.5), np.float32(0.25)], {}, PICTURE),
    ("Clip", [np.float32(-0.5)], {}, PICTURE),
    ("Concat", [weights(2, 3, 9, 8)], {"axis": 1}, PICTURE),
    ("Conv", [weights(6, 4, 3, 3), weights(6)], {"pads": [1, 1, 1, 1], "strides": [2, 1]}, PICTURE),
    ("Conv", [weights(6, 2, 3, 2)], {"pads": [0, 1, 2, 0], "group": 2, "dilations": [2, 1]}, PICTURE),
    ("Conv", [weights(6, 4, 3, 3)], {"auto_pad": "SAME_UPPER", "strides": [2, 2]}, PICTURE),
    ("Conv", [weights(6, 4, 2, 2)], {"auto_pad": "SAME_LOWER"}, PICTURE),
    ("Conv", [weights(6, 4, 3)], {"pads": [1, 1]}, (2, 4, 9)),
    ("ConvTranspose", [weights(4, 3, 2, 2), weights(3)], {"strides": [2, 2]}, PICTURE),
    ("Div", [np.abs(weights(4, 1, 1)) + 1], {}, PICTURE),
    ("Dropout", [], {}, PICTURE),
    ("Elu", [], {"alpha": 0.7}, PICTURE),
    ("Exp", [], {}, PICTURE),
    ("Flatten", [], {}, PICTURE),
    ("Gather", [ints(2, -1, 0)], {"axis": 1}, PICTURE),
    ("Gather", [ints(1, -1).reshape(1, 2)], {"axis": -1}, PICTURE),
    ("Gather", [np.array(1)], {}, PICTURE),
    ("Gelu", [], {}, PICTURE),
    ("Gelu", [], {"approximate": "tanh"}, PICTURE),
    ("Gemm", [weights(5, 6), weights(5)], {"transB": 1, "alpha": 0.5, "beta": 2.0}, (3, 6)),
    ("Gemm", [weights(6, 5)], {}, (3, 6)),
    ("GlobalAveragePool", [], {}, PICTURE),
    ("HardSigmoid", [], {"alpha": 0.3, "beta": 0.4}, PICTURE),
    ("HardSwish", [], {}, PICTURE),
    ("Identity", [], {}, PICTURE),
    ("LeakyRelu", [], {"alpha": 0.2}, PICTURE),
    ("MatMul", [weights(6, 5)], {}, (2, 3, 6)),
    ("MaxPool", [], {"kernel_shape": [3, 3], "pads": [1, 0, 1, 2], "strides": [2, 1]}, PICTURE),
    ("MaxPool", [], {"kernel_shape": [2, 2], "auto_pad": "SAME_UPPER"}, PICTURE),
    ("MaxPool", [], {"kernel_shape": [3, 2], "strides": [2, 3], "ceil_mode": 1}, PICTURE),
    ("MaxPool", [], {"kernel_shape": [2, 3], "strides": [3, 3], "pads": [1, 1, 1, 1], "ceil_mode": 1}, PICTURE),
    ("Mish", [], {}, PICTURE),
    ("Mul", [weights(4, 1, 1)], {}, PICTURE),
    ("Neg", [], {}, PICTURE),
    ("PRelu", [weights(4, 1, 1)], {}, PICTURE),
    ("QuantizeLinear", [np.float32(0.02), np.uint8(100)], {}, PICTURE),
    ("QuantizeLinear", [np.abs(weights(4)) / 50 + 0.01, np.zeros(4, np.int8)], {"axis": 1}, PICTURE),
    ("ReduceMean", [ints(2, 3)], {"keepdims": 0}, PICTURE),
    ("ReduceMean", [], {}, PICTURE),
    ("Relu", [], {}, PICTURE),
    ("Reshape", [ints(2, 2, -1)], {}, PICTURE),
    ("Resize", [NO_ROI, DOUBLE], NEAREST, PICTURE),
    ("Resize", [NO_ROI, DOUBLE], HALF_PIXEL, PICTURE),
    ("Sigmoid", [], {}, PICTURE),
    ("Slice", [ints(1, -6), ints(100, -1), ints(1, 2), ints(2, 1)], {}, PICTURE),
    ("Softmax", [], {"axis": 1}, PICTURE),
    ("Softplus", [], {}, PICTURE),
    ("Split", [ints(1, 3)], {"axis": 1}, PICTURE),
    ("Sqrt", [], {}, PICTURE),
    ("Squeeze", [ints(1)], {}, (2, 1, 5)),
    ("Sub", [weights(4, 1, 1)], {}, PICTURE),
    ("Tanh", [], {}, PICTURE),
    ("Transpose", [], {"perm": [0, 2, 3, 1]}, PICTURE),
    ("Unsqueeze", [ints(1)], {}, PICTURE),
    ("Upsample", [DOUBLE], {"mode": "nearest"}, PICTURE),
]


def model_of(
    op: str, constants: list[np.ndarray], attributes: dict[str, Any], shape: tuple[int, ...]
) -> onnx.ModelProto:
    names = [f"c{place}" for place in range(len(constants))]
    outputs = ["y0", "y1"] if op == "Split" else ["y0"]
    node = helper.make_node(op, ["x", *names], outputs, name="node", **attributes)
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info("x", 1, shape)],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in zip(names, constants, strict=True)],
    )
    opset = {"Upsample": 9, "Gelu": 20}.get(op, 18)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def network_of(model: onnx.ModelProto) -> Network:
    graph = load(model)
    return Network(graph, [tensor.name for tensor in graph.outputs], concrete_shapes(graph), learning=False)


def test_every_operator_is_tried_here() -> None:
    # DequantizeLinear reads codes, which no float input is; it is tried behind QuantizeLinear.
    assert {case[0] for case in CASES} == set(RULES) - {"DequantizeLinear"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{'-'.join(case[2])}-{len(case[1])}")
def test_operators_give_what_onnxruntime_gives(
    case: tuple[str, list[np.ndarray], dict[str, Any], tuple[int, ...]],
) -> None:
    op, constants, attributes, shape = case
    model = model_of(op, constants, attributes, shape)
    values = RANDOM.normal(size=shape).astype(np.float32)
    values = np.abs(values) if op == "Sqrt" else values
    if op in ("ConvTranspose", "Conv", "MaxPool", "AveragePool", "Upsample", "Resize"):
        values = values[..., : shape[-1]]
    found = network_of(model)({"x": torch.from_numpy(values)})
    for name, wanted in run(model, {"x": values}).items():
        assert found[name].shape == wanted.shape
        np.testing.assert_allclose(found[name].numpy(), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("axis", [None, 1])
def test_codes_are_decoded_and_rounding_passes_gradients_on(axis: int | None) -> None:
    scale = np.float32(0.02) if axis is None else np.array([0.02, 0.05, 0.01, 0.04], np.float32)
    zero_point = np.full(scale.shape, 100, np.uint8)
    attributes = {} if axis is None else {"axis": axis}
    constants = {"scale": scale, "zero_point": zero_point}
    graph = helper.make_graph(
        [
            helper.make_node("QuantizeLinear", ["x", "scale", "zero_point"], ["codes"], name="code", **attributes),
            helper.make_node("DequantizeLinear", ["codes", "scale", "zero_point"], ["y"], name="decode", **attributes),
        ],
        "pair",
        [helper.make_tensor_value_info("x", 1, PICTURE)],
        [helper.make_tensor_value_info("y", 1, PICTURE)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=9)
    values = RANDOM.normal(size=PICTURE).astype(np.float32)
    picture = torch.from_numpy(values).requires_grad_()
    found = network_of(model)({"x": picture})["y"]
    np.testing.assert_allclose(found.detach().numpy(), run(model, {"x": values})["y"], atol=1e-6)
    found.sum().backward()
    assert picture.grad is not None
    spread = scale if axis is None else scale.reshape(1, -1, 1, 1)
    inside = (values > -100 * spread) & (values < 155 * spread)
    clear = np.abs(values / spread + 100.5) > 1
    clear &= np.abs(values / spread - 155.5) > 1
    np.testing.assert_allclose(picture.grad.numpy()[clear], inside[clear], atol=1e-5)


REFUSED = [
    ("Erf", [], {}, PICTURE),
    ("AveragePool", [], {"kernel_shape": [2, 2], "ceil_mode": 1, "strides": [2, 2]}, PICTURE),
    ("MaxPool", [], {"kernel_shape": [2, 2], "dilations": [2, 2]}, PICTURE),
    ("MaxPool", [], {"kernel_shape": [2]}, (2, 4, 9)),
    ("ConvTranspose", [weights(4, 3, 2, 2)], {"pads": [0, 0, 1, 1]}, PICTURE),
    ("Resize", [NO_ROI, DOUBLE], {"mode": "cubic"}, PICTURE),
    ("Resize", [NO_ROI, np.array([1, 2, 1, 1], np.float32)], NEAREST, PICTURE),
    ("Slice", [ints(5), ints(0), ints(2), ints(-1)], {}, PICTURE),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: f"{case[0]}-{'-'.join(case[2])}")
def test_what_is_not_known_is_refused_by_name(
    case: tuple[str, list[np.ndarray], dict[str, Any], tuple[int, ...]],
) -> None:
    op, constants, attributes, shape = case
    with pytest.raises(PassError, match=f"Distillation does not know .*{op}"):
        network_of(model_of(op, constants, attributes, shape))({"x": torch.zeros(shape)})
