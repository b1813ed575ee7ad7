"""Gradients against finite differences of the model itself, both run by onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from tests.passes.feeding import context
from yocc.analysis.gradients import gradient_graph
from yocc.compiler.graph import load
from yocc.compiler.graph.shapes import concrete_shapes
from yocc.runtime.backends.onnxruntime import reference_executor

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Case:
    """An operator of one activation.

    Attributes:
        op: the operator.
        shape: of the activation.
        others: its other inputs in order: constants, None for none.
        attributes: of the node.
        opset: of the model.
        outputs: how many the node has.
        lifted: whether the activation is made positive first.
        slot: which input the activation is.
    """

    op: str
    shape: tuple[int, ...]
    others: Sequence[Any] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    opset: int = 17
    outputs: int = 1
    lifted: bool = False
    slot: int = 0


STEP = 1e-2


def ints(*values: int) -> Array:
    return np.array(values, np.int64)


def floats(*shape: int) -> Array:
    return np.random.default_rng(5).normal(size=shape).astype(np.float32)


def factors(*values: float) -> Array:
    """Scales of a Resize."""
    return np.array(values, np.float32)


POSITIVE = np.abs(floats(2)) + 0.5
POSITIVE = np.abs(floats(2)) + 0.5


def model_of(case: Case) -> onnx.ModelProto:
    """x times its own sigmoid, so that the gradient passes something else as well, then the operator."""
    names = [f"c{place}" if other is not None else "" for place, other in enumerate(case.others)]
    constants = [
        numpy_helper.from_array(np.asarray(other), name) for other, name in zip(case.others, names, strict=True) if name
    ]
    lift = helper.make_node("Exp", ["w"], ["v"]) if case.lifted else helper.make_node("Identity", ["w"], ["v"])
    outputs = [f"y{place}" for place in range(case.outputs)]
    nodes = [
        helper.make_node("Sigmoid", ["x"], ["s"]),
        helper.make_node("Mul", ["x", "s"], ["w"]),
        lift,
        helper.make_node(
            case.op, [*names[: case.slot], "v", *names[case.slot :]], outputs, name="tested", **case.attributes
        ),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", 1, case.shape)],
        [helper.make_tensor_value_info(name, 1, None) for name in outputs],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", case.opset)], ir_version=10)
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
    found = np.zeros(shape, np.float32)
    if "x" in made.gradients:
        (found,) = made.runner([made.gradients["x"]], context())({"x": x, **given}).values()
    expected = np.zeros(shape)
    for place in np.ndindex(*shape):
        step = np.zeros(shape)
        step[place] = STEP
        expected[place] = (total(x + step) - total(x - step)) / (2 * STEP)
    np.testing.assert_allclose(found, expected, atol=3e-2, rtol=3e-2)
