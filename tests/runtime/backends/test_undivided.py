from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import onnx_graphsurgeon as gs
import pytest

from tests import oracles
from yocc.compiler.graph import Graph, load, to_proto
from yocc.compiler.graph.verify import problems
from yocc.models.graph_writer import GraphWriter, Value
from yocc.models.yolov5 import build_yolov5
from yocc.runtime.backends.undivided import undivide

SHAPE = (1, 3, 4, 5, 7)
SIZES = (2, 2, 3)


def _ops(graph: Graph) -> list[str]:
    return [node.op for node in graph.nodes]


def _run(graph: Graph) -> np.ndarray:
    name, shape = graph.inputs[0].name, graph.inputs[0].shape
    feeds = {name: np.random.default_rng(0).normal(size=shape).astype(np.float32)}
    return next(iter(oracles.run(to_proto(graph), feeds).values()))


Change = Callable[[GraphWriter, Value], Value]


def _divided(
    *changes: Change, squash: str = "Sigmoid", axis: int = -1, shape: tuple[int, ...] = SHAPE, second: int | None = None
) -> Graph:
    """Squash, divide, change each part, join; the part numbered `second` is an output as well."""
    writer = GraphWriter(0)
    whole = writer.node(squash, [writer.input("x", shape)], shape)
    shapes = [tuple(size if place == axis % len(shape) else own for place, own in enumerate(shape)) for size in SIZES]
    parts = writer.nodes("Split", [whole, writer.constant(SIZES)], shapes, attributes={"axis": axis})
    changed = [change(writer, part) for change, part in zip(changes, parts, strict=True)]
    outputs = [writer.node("Concat", changed, shape, attributes={"axis": axis})]
    writer.output(*outputs, *([] if second is None else [parts[second]]))
    return load(writer.model())


def _with(op: str, constant: object) -> Change:
    return lambda writer, part: writer.node(op, [part, writer.constant(np.asarray(constant, np.float32))], part.shape)


def _then(*changes: Change) -> Change:
    return lambda writer, part: functools.reduce(lambda value, change: change(writer, value), changes, part)


def _same(writer: GraphWriter, part: Value) -> Value:  # noqa: ARG001 # a change that changes nothing
    return part


GRID = np.stack(np.meshgrid(np.arange(5.0), np.arange(4.0)), axis=-1).reshape(1, 1, 4, 5, 2)
ANCHORS = np.array([[1, 2], [3, 5], [7, 11]], np.float32).reshape(1, 3, 1, 1, 2)
CENTRES = _then(_with("Mul", 2), _with("Add", GRID), _with("Sub", 0.5), _with("Mul", 16))
SIDES = _then(_with("Mul", 2), _with("Pow", 2), _with("Mul", np.broadcast_to(ANCHORS, (1, 3, 4, 5, 2))))


def test_a_head_is_no_longer_divided() -> None:
    graph = load(build_yolov5("n", size=160))
    wanted = _run(graph)
    assert undivide(graph) == 3
    assert problems(graph) == []
    assert "Split" not in _ops(graph)
    np.testing.assert_allclose(_run(graph), wanted, rtol=1e-6, atol=1e-5)
    assert undivide(graph) == 0


@pytest.mark.slow
def test_the_real_network(shared_data: object) -> None:
    graph = load(f"{shared_data}/models/yolov5n.onnx")
    wanted, before = _run(graph), sum(t.values.nbytes for t in graph.tensors().values() if isinstance(t, gs.Constant))
    assert undivide(graph) == 3
    np.testing.assert_allclose(_run(graph), wanted, rtol=1e-6, atol=1e-3)
    # Grids become rows and columns, so that the file shrinks.
    assert sum(t.values.nbytes for t in graph.tensors().values() if isinstance(t, gs.Constant)) < before


def test_each_operator() -> None:
    graph = _divided(CENTRES, SIDES, _then(_with("Div", [2.0, 3.0, 4.0]), _with("Sub", 1)))
    wanted = _run(graph)
    assert undivide(graph) == 1
    np.testing.assert_allclose(_run(graph), wanted, rtol=1e-5, atol=1e-5)


def test_linear_parts_need_one_factor() -> None:
    graph = _divided(_with("Mul", 3), _with("Add", 1), _same)
    wanted = _run(graph)
    assert undivide(graph) == 1
    assert _ops(graph) == ["Sigmoid", "Mul", "Add"]
    np.testing.assert_allclose(_run(graph), wanted, rtol=1e-6)


@pytest.mark.parametrize(
    "graph",
    [
        _divided(CENTRES, _with("Pow", 3), _same),
        _divided(CENTRES, _then(_with("Pow", 2), _with("Pow", 2)), _same),
        _divided(CENTRES, SIDES, _with("Div", 0)),
        _divided(CENTRES, SIDES, _with("Max", 0)),
        _divided(CENTRES, SIDES, _same, squash="Identity"),
        _divided(_with("Mul", 2), _same, _same, axis=1, shape=(1, 7, 4, 5)),
        _divided(_with("Add", np.random.default_rng(1).random((1, 3, 4, 5, 2))), SIDES, _same),
    ],
    ids=["cube", "fourth power", "no quotient", "maximum", "unbounded", "another axis", "large constants"],
)
def test_others_stay(graph: Graph) -> None:
    before = to_proto(graph)
    assert undivide(graph) == 0
    assert to_proto(graph) == before


def test_parts_that_something_else_reads_stay() -> None:
    assert undivide(_divided(CENTRES, SIDES, _same, second=1)) == 0


def test_parts_in_another_order_stay() -> None:
    graph = _divided(_same, _same, _same)
    concat = next(node for node in graph.nodes if node.op == "Concat")
    concat.inputs[0], concat.inputs[1] = concat.inputs[1], concat.inputs[0]
    assert undivide(graph) == 0


def test_a_constant_among_the_parts_stays() -> None:
    graph = _divided(_same, _same, lambda writer, part: _constant(writer, part.shape))
    assert undivide(graph) == 0


def test_a_part_that_comes_from_elsewhere_stays() -> None:
    graph = _divided(_same, _same, lambda writer, part: writer.input("other", part.shape))
    assert undivide(graph) == 0


def _constant(writer: GraphWriter, shape: tuple[int, ...]) -> Value:
    return Value(writer.constant(np.ones(shape, np.float32)), shape)
