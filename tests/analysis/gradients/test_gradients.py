"""Every rule against finite differences of the model itself, both run by onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from tests.analysis.gradients.differences import POSITIVE, Case, check, floats, ints, model_of
from tests.analysis.gradients.rules import test_elementwise as elementwise
from tests.analysis.gradients.rules import test_linear as linear
from tests.analysis.gradients.rules import test_moving as moving
from tests.analysis.gradients.rules import test_reducing as reducing
from tests.passes.feeding import context
from tests.samples import strange_model
from yocc.analysis.gradients import flat_gram, gradient_graph
from yocc.analysis.gradients.rules import RULES
from yocc.compiler.graph import load
from yocc.compiler.graph.shapes import Shapes, concrete_shapes
from yocc.compiler.pipeline.passes import PassContext
from yocc.compiler.pipeline.target import Target
from yocc.errors import PassError

Array = np.ndarray[Any, Any]


def test_split_joins_what_its_outputs_get() -> None:
    check(model_of(Case("Split", (1, 5, 2), [ints(2, 3)], {"axis": 1}, outputs=2)))


def test_every_rule_has_a_case() -> None:
    covered = {case.op for kind in (elementwise, linear, moving, reducing) for case in kind.CASES.values()}
    # Swish is new in opset 24, which onnxruntime does not run yet; TopK has two outputs.
    assert set(RULES) - covered == {"Swish", "TopK"}


def test_top_k_hands_on_to_what_was_taken() -> None:
    nodes = [
        helper.make_node("Tanh", ["x"], ["t"]),
        helper.make_node("TopK", ["t", "k"], ["y", "places"], axis=2, sorted=0),
    ]
    check(two_paths(nodes, numpy_helper.from_array(ints(2), "k")))


def test_indices_that_depend_on_the_picture_have_no_gradient() -> None:
    nodes = [
        helper.make_node("Reshape", ["x", "flat"], ["r"]),
        helper.make_node("TopK", ["r", "k"], ["best", "places"]),
        helper.make_node("Sin", ["r"], ["s"]),
        helper.make_node("Gather", ["s", "places"], ["g"], axis=0),
        helper.make_node("Mul", ["g", "best"], ["y"]),
    ]
    check(two_paths(nodes, numpy_helper.from_array(ints(3), "k"), numpy_helper.from_array(ints(-1), "flat")))


def test_weights_that_are_computed_are_refused() -> None:
    nodes = [
        helper.make_node("Tanh", ["x"], ["t"]),
        helper.make_node("Conv", ["x", "t"], ["y"], name="tested"),
    ]
    graph = load(two_paths(nodes))
    with pytest.raises(PassError, match=r"gradient of Conv .*its weights are computed"):
        gradient_graph(graph, concrete_shapes(graph), ["y"], ["x"])


def test_half_precision_is_refused() -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["h"], to=10),
        helper.make_node("Tanh", ["h"], ["t"]),
        helper.make_node("Cast", ["t"], ["y"], to=1, name="tested"),
    ]
    graph = load(two_paths(nodes))
    with pytest.raises(PassError, match="its values are not float32") as error:
        gradient_graph(graph, concrete_shapes(graph), ["y"], ["x"])
    assert error.value.node == "tested"


def test_a_gradient_that_does_not_run_is_no_gradient() -> None:
    graph = load(model_of(Case("Sigmoid", (1, 2))))
    made = gradient_graph(graph, concrete_shapes(graph), ["y0"], ["v"])
    with pytest.raises(PassError, match="because it does not run"):
        made.runner([made.gradients["v"]], context())({"x": floats(1, 2), "seed_0": floats(1, 3)})
    odd = made.builder.emit("Add", made.gradients["v"], made.builder.constant(ints(1)))
    with pytest.raises(PassError, match="because it does not run"):
        made.runner([odd], context())


def test_a_network_of_a_newer_opset_has_gradients() -> None:
    check(model_of(Case("ReduceMean", (1, 2, 3), [ints(1)], opset=21)))


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
    graph = load(model_of(Case("Sigmoid", shape)))
    made = gradient_graph(graph, concrete_shapes(graph), ["y0"], ["v"])
    gram, gradient = flat_gram(made, "v", shape, axis), made.gradients["v"]
    found = made.runner([gram, gradient], context())({"x": floats(*shape), "seed_0": floats(*shape)})
    rows = np.moveaxis(found[gradient.name], axis, 0).reshape(shape[axis], -1)
    np.testing.assert_allclose(found[gram.name], rows @ rows.T, rtol=1e-5)


def test_nothing_asked_for_runs_nothing() -> None:
    graph = load(model_of(Case("Sigmoid", (1, 2))))
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
        ("Hardmax", (1, 2), [], {}),
        ("Pad", (1, 2), [ints(0, 0, 0, 1)], {"mode": "mirror"}),
        ("Einsum", (2, 2), [], {"equation": "ii->i"}),
        ("Einsum", (1, 2), [floats(3, 2)], {"equation": "ij,ij->ij"}),
        ("GatherND", (2, 3), [ints(0, 1).reshape(2, 1)], {"batch_dims": 1}),
        ("ScatterND", (3, 2), [ints(2, 0).reshape(2, 1), floats(2, 2)], {"reduction": "mul"}),
        ("LpNormalization", (2, 3), [], {"p": 1}),
        ("BatchNormalization", (1, 2, 3), [floats(2), floats(2), floats(2), -POSITIVE], {}),
        (
            "AveragePool",
            (1, 2, 6, 6),
            [],
            {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1, "count_include_pad": 1},
        ),
    ],
)
def test_what_has_no_rule_is_refused_by_name(
    op: str, shape: tuple[int, ...], others: list[Array | None], attributes: dict[str, Any]
) -> None:
    graph = load(model_of(Case(op, shape, others, attributes)))
    with pytest.raises(PassError, match=f"gradient of {op} .*because") as error:
        gradient_graph(graph, concrete_shapes(graph), ["y0"], ["x"])
    assert error.value.node == "tested"


def test_what_the_sources_do_not_depend_on_has_no_gradient() -> None:
    graph = load(model_of(Case("Sigmoid", (1, 2))))
    assert set(gradient_graph(graph, concrete_shapes(graph), ["s"], ["x", "y0"]).gradients) == {"x"}
