"""Every rule against finite differences of the model itself, both run by onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from tests.passes.feeding import context
from tests.samples import strange_model
from yocc.analysis.gradients import flat_gram, gradient_graph
from yocc.analysis.gradients.rules import RULES
from yocc.compiler.graph import load
from yocc.compiler.graph.shapes import Shapes, concrete_shapes
from yocc.compiler.pipeline.passes import PassContext
from yocc.compiler.pipeline.target import Target
from yocc.errors import PassError
from yocc.runtime.backends.onnxruntime import reference_executor

Array = np.ndarray[Any, Any]
STEP = 1e-2


def ints(*values: int) -> Array:
    return np.array(values, np.int64)


def floats(*shape: int) -> Array:
    return np.random.default_rng(5).normal(size=shape).astype(np.float32)


POSITIVE = np.abs(floats(2)) + 0.5
CASES: dict[str, tuple[str, tuple[int, ...], list[Array | None], dict[str, Any]]] = {
    "add a channel": ("Add", (1, 2, 3, 4), [floats(2, 1, 1)], {}),
    "subtract from": ("Sub", (1, 2, 3, 4), [floats(3, 1)], {}),
    "multiply": ("Mul", (1, 2, 3, 4), [floats(1, 2, 3, 4)], {}),
    "divide": ("Div", (1, 2, 3, 4), [POSITIVE.reshape(1, 2, 1, 1)], {}),
    "negate": ("Neg", (1, 2, 3), [], {}),
    "sigmoid": ("Sigmoid", (1, 2, 3, 4), [], {}),
    "tanh": ("Tanh", (1, 2, 3, 4), [], {}),
    "exp": ("Exp", (1, 2, 3, 4), [], {}),
    "softplus": ("Softplus", (1, 2, 3, 4), [], {}),
    "relu": ("Relu", (1, 2, 3, 4), [], {}),
    "leaky": ("LeakyRelu", (1, 2, 3, 4), [], {"alpha": 0.1}),
    "clip": ("Clip", (1, 2, 3, 4), [np.float32(-0.5), np.float32(0.5)], {}),
    "hard sigmoid": ("HardSigmoid", (1, 2, 3, 4), [], {"alpha": 0.6}),
    "hard swish": ("HardSwish", (1, 2, 3, 4), [], {}),
    "softmax": ("Softmax", (1, 4, 3), [], {"axis": 1}),
    "identity": ("Identity", (1, 2), [], {}),
    "dropout": ("Dropout", (1, 2), [], {}),
    "conv": ("Conv", (1, 2, 7, 6), [floats(4, 2, 3, 3), floats(4)], {"pads": [1, 1, 1, 1], "strides": [2, 2]}),
    "grouped": ("Conv", (1, 4, 6, 6), [floats(6, 2, 3, 3)], {"group": 2, "dilations": [2, 2]}),
    "uneven pads": ("Conv", (1, 2, 6, 6), [floats(3, 2, 3, 2)], {"pads": [0, 1, 2, 0], "strides": [2, 1]}),
    "same upper": ("Conv", (1, 2, 7, 8), [floats(3, 2, 3, 3)], {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    "same lower": ("Conv", (1, 2, 7, 8), [floats(3, 2, 3, 3)], {"auto_pad": "SAME_LOWER", "strides": [2, 2]}),
    "valid": ("Conv", (1, 2, 7, 8), [floats(3, 2, 3, 3)], {"auto_pad": "VALID", "strides": [2, 2]}),
    "batch": ("Conv", (3, 2, 4, 4), [floats(3, 2, 3, 3)], {"pads": [1, 1, 1, 1]}),
    "transposed": ("ConvTranspose", (1, 4, 3, 2), [floats(4, 2, 3, 3)], {"strides": [2, 2], "pads": [1, 0, 1, 1]}),
    "transposed groups": (
        "ConvTranspose",
        (2, 4, 3, 2),
        [floats(4, 3, 2, 2), floats(6)],
        {"strides": [2, 3], "output_padding": [1, 2], "group": 2},
    ),
    "norm": ("BatchNormalization", (1, 2, 3, 4), [floats(2), floats(2), floats(2), POSITIVE], {}),
    "gemm": ("Gemm", (2, 3), [floats(4, 3), floats(4)], {"transB": 1, "alpha": 0.5}),
    "matmul": ("MatMul", (1, 2, 3), [floats(3, 4)], {}),
    "max pool": ("MaxPool", (1, 2, 6, 6), [], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
    "max pool strided": ("MaxPool", (1, 2, 7, 6), [], {"kernel_shape": [3, 2], "strides": [2, 2]}),
    "average pool": ("AveragePool", (1, 2, 7, 6), [], {"kernel_shape": [3, 2], "strides": [2, 2]}),
    "average pool padded": ("AveragePool", (1, 2, 6, 6), [], {"kernel_shape": [3, 3], "pads": [1, 0, 1, 2]}),
    "average pool with margin": (
        "AveragePool",
        (1, 2, 6, 5),
        [],
        {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [2, 2], "count_include_pad": 1},
    ),
    "average pool same": (
        "AveragePool",
        (2, 1, 6, 5),
        [],
        {"kernel_shape": [2, 4], "auto_pad": "SAME_LOWER", "strides": [1, 2]},
    ),
    "max pool same": (
        "MaxPool",
        (2, 1, 5, 6),
        [],
        {"kernel_shape": [3, 2], "auto_pad": "SAME_UPPER", "strides": [2, 2]},
    ),
    "global pool": ("GlobalAveragePool", (1, 2, 3, 4), [], {}),
    "mean": ("ReduceMean", (1, 2, 3, 4), [], {"axes": [1, 3], "keepdims": 0}),
    "mean kept": ("ReduceMean", (1, 2, 3, 4), [], {"axes": [2], "keepdims": 1}),
    "resize": ("Resize", (1, 2, 3, 4), [None, np.array([1, 1, 2, 3], np.float32)], {}),
    "reshape": ("Reshape", (1, 2, 3, 4), [ints(1, -1, 4)], {}),
    "flatten": ("Flatten", (1, 2, 3), [], {}),
    "squeeze": ("Squeeze", (1, 2, 1), [ints(2)], {}),
    "unsqueeze": ("Unsqueeze", (1, 2), [ints(0)], {}),
    "transpose": ("Transpose", (1, 2, 3, 4), [], {"perm": [0, 3, 1, 2]}),
    "concat": ("Concat", (1, 2, 3), [floats(1, 4, 3)], {"axis": 1}),
    "slice": ("Slice", (1, 4, 5), [ints(1, -3), ints(3, 5), ints(1, 2)], {}),
}


def model_of(
    op: str, shape: tuple[int, ...], others: list[Array | None], attributes: dict[str, Any], outputs: int = 1
) -> onnx.ModelProto:
    """x times its own sigmoid, so that the gradient passes something else as well, then the operator."""
    names = [f"c{place}" if other is not None else "" for place, other in enumerate(others)]
    constants = [numpy_helper.from_array(other, name) for other, name in zip(others, names, strict=True) if name]
    nodes = [
        helper.make_node("Sigmoid", ["x"], ["s"]),
        helper.make_node("Mul", ["x", "s"], ["v"]),
        helper.make_node(op, ["v", *names], [f"y{place}" for place in range(outputs)], name="tested", **attributes),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", 1, shape)],
        [helper.make_tensor_value_info(f"y{place}", 1, None) for place in range(outputs)],
        constants,
    )
    opset = 17
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return onnx.shape_inference.infer_shapes(model)


def check(model: onnx.ModelProto) -> None:
    graph = load(model)
    shapes = concrete_shapes(graph)
    sources = [tensor.name for tensor in graph.outputs]
    random = np.random.default_rng(0)
    shape = shapes.shapes["x"]
    # No two values are near each other or a kink, so that a small step crosses none.
    x = (random.permutation(np.prod(shape)).reshape(shape) / np.prod(shape) * 6 - 2.93).astype(np.float32)
    seeds = {name: random.normal(size=shapes.shapes[name]).astype(np.float32) for name in sources}
    run = reference_executor()(model)

    def total(values: Array) -> float:
        found = run({"x": values.astype(np.float32)})
        return float(sum((found[name].astype(np.float64) * seeds[name]).sum() for name in sources))

    made = gradient_graph(graph, shapes, sources, ["x"])
    given = {made.seeds[name]: values for name, values in seeds.items()}
    (found,) = made.runner([made.gradients["x"]], context())({"x": x, **given}).values()
    expected = np.zeros(shape)
    for place in np.ndindex(*shape):
        step = np.zeros(shape)
        step[place] = STEP
        expected[place] = (total(x + step) - total(x - step)) / (2 * STEP)
    np.testing.assert_allclose(found, expected, atol=3e-2, rtol=3e-2)


@pytest.mark.parametrize("name", CASES)
def test_a_rule_gives_the_derivative(name: str) -> None:
    check(model_of(*CASES[name]))


def test_split_joins_what_its_outputs_get() -> None:
    check(model_of("Split", (1, 5, 2), [ints(2, 3)], {"axis": 1}, outputs=2))


def test_every_rule_has_a_case() -> None:
    covered = {op for op, *_ in CASES.values()}
    assert set(RULES) - covered == {"Upsample"}  # the old spelling of Resize, which conversion to opset 16 replaces


def two_paths(middle: list[onnx.NodeProto], *constants: onnx.TensorProto) -> onnx.ModelProto:
    graph = helper.make_graph(
        middle,
        "g",
        [helper.make_tensor_value_info("x", 1, [1, 2, 4, 4])],
        [helper.make_tensor_value_info("y", 1, None)],
        list(constants),
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return onnx.shape_inference.infer_shapes(model)


def test_gradients_of_several_paths_add_up() -> None:
    nodes = [
        helper.make_node("Sigmoid", ["x"], ["a"]),
        helper.make_node("Tanh", ["x"], ["b"]),
        helper.make_node("Mul", ["a", "b"], ["c"]),
        helper.make_node("Div", ["c", "d"], ["y"]),
        helper.make_node("Exp", ["a"], ["d"]),
    ]
    check(two_paths([nodes[0], nodes[1], nodes[2], nodes[4], nodes[3]]))


def test_matrix_products_of_two_activations() -> None:
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 1, 3, 2]),
        helper.make_node("MatMul", ["x", "t"], ["m"]),
        helper.make_node("Softmax", ["m"], ["s"], axis=-1),
        helper.make_node("MatMul", ["s", "x"], ["y"]),
    ]
    check(two_paths(nodes))


@pytest.mark.parametrize(("shape", "axis"), [((1, 2, 3, 4), 1), ((3, 2, 2, 2), 1), ((5, 3), 1), ((2, 4, 3), -1)])
def test_the_gram_sums_over_positions_and_samples(shape: tuple[int, ...], axis: int) -> None:
    graph = load(model_of("Sigmoid", shape, [], {}))
    made = gradient_graph(graph, concrete_shapes(graph), ["y0"], ["v"])
    gram, gradient = flat_gram(made, "v", shape, axis), made.gradients["v"]
    found = made.runner([gram, gradient], context())({"x": floats(*shape), "seed_0": floats(*shape)})
    rows = np.moveaxis(found[gradient.name], axis, 0).reshape(shape[axis], -1)
    np.testing.assert_allclose(found[gram.name], rows @ rows.T, rtol=1e-5)


def test_nothing_asked_for_runs_nothing() -> None:
    graph = load(model_of("Sigmoid", (1, 2), [], {}))
    made = gradient_graph(graph, concrete_shapes(graph), ["y0"], [])
    assert made.runner([], PassContext(Target("test")))({"x": floats(1, 2)}) == {}


def test_a_source_of_unknown_shape_is_refused() -> None:
    graph = load(strange_model())
    with pytest.raises(PassError, match="shape of 'y' depends on data"):
        gradient_graph(graph, concrete_shapes(graph), ["y"], ["c0"])


def test_what_a_subgraph_reads_is_not_taken_for_constant() -> None:
    bodies = [
        helper.make_graph([helper.make_node(op, ["x"], [op])], op, [], [helper.make_tensor_value_info(op, 1, [1, 2])])
        for op in ("Relu", "Neg")
    ]
    node = helper.make_node("If", ["c"], ["y"], name="choice", then_branch=bodies[0], else_branch=bodies[1])
    made = helper.make_graph(
        [helper.make_node("Sigmoid", ["z"], ["x"]), node],
        "g",
        [helper.make_tensor_value_info("z", 1, [1, 2]), helper.make_tensor_value_info("c", 9, [])],
        [helper.make_tensor_value_info("y", 1, [1, 2])],
    )
    graph = load(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
    shapes = concrete_shapes(graph)
    shapes = Shapes({**shapes.shapes, "y": (1, 2)}, shapes.values)
    with pytest.raises(PassError, match="gradient of If"):
        gradient_graph(graph, shapes, ["y"], ["z"])


@pytest.mark.parametrize(
    ("op", "shape", "others", "attributes"),
    [
        ("Erf", (1, 2), [], {}),
        ("Resize", (1, 2, 3, 4), [None, np.array([1, 1, 2, 2], np.float32)], {"mode": "linear"}),
        ("Slice", (1, 4, 5), [ints(0), ints(4), ints(1), ints(2)], {}),
        ("AveragePool", (1, 2, 6, 6), [], {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
        ("ConvTranspose", (1, 4, 3, 2), [floats(4, 2, 3, 3)], {"strides": [2, 2], "output_shape": [6, 4]}),
    ],
)
def test_what_has_no_rule_is_refused_by_name(
    op: str, shape: tuple[int, ...], others: list[Array | None], attributes: dict[str, Any]
) -> None:
    graph = load(model_of(op, shape, others, attributes))
    with pytest.raises(PassError, match=f"gradient of {op} .*because") as error:
        gradient_graph(graph, concrete_shapes(graph), ["y0"], ["x"])
    assert error.value.node == "tested"


def test_what_the_sources_do_not_depend_on_has_no_gradient() -> None:
    graph = load(model_of("Sigmoid", (1, 2), [], {}))
    assert set(gradient_graph(graph, concrete_shapes(graph), ["s"], ["x", "y0"]).gradients) == {"x"}
