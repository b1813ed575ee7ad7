"""Cutting what a pass changed out of a graph, and putting it into another."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from tests.api.debugging.faults import plain_inputs, plain_network
from tests.oracles import run
from yocc.api.debugging.channels import layer_before, without_channels
from yocc.api.debugging.parts import changed_parts, hybrid, local_name, side_by_side, standing_alone
from yocc.compiler.graph import Graph, load, to_proto
from yocc.compiler.pipeline.lineage import Teacher
from yocc.compiler.pipeline.passes import PassContext
from yocc.compiler.pipeline.pipeline import Pipeline
from yocc.runtime.backends.onnxruntime import OnnxRuntimeBackend


def _pair(pipeline: str) -> tuple[Graph, Graph]:
    """A network before and after passes."""
    after, _ = Pipeline.parse(pipeline).run(load(plain_network()), PassContext(OnnxRuntimeBackend().target({})))
    return load(plain_network()), after


def _feeds() -> dict[str, np.ndarray]:
    return {"x": plain_inputs()["x"][0]}


def test_all_parts_together_are_the_graph_after_the_pass() -> None:
    before, after = _pair("encode{bits=4,rounding=nearest}")
    parts = changed_parts(before, after)
    assert [part.node for part in parts] == [f"conv{number}" for number in range(6)]
    mixed = hybrid(before, after, parts)
    np.testing.assert_array_equal(run(to_proto(mixed), _feeds())["y"], run(to_proto(after), _feeds())["y"])
    none = hybrid(before, after, [])
    np.testing.assert_array_equal(run(to_proto(none), _feeds())["y"], run(to_proto(before), _feeds())["y"])


def test_one_part_changes_one_layer_only() -> None:
    before, after = _pair("encode{bits=4,rounding=nearest}")
    part = changed_parts(before, after)[3]
    mixed = hybrid(before, after, [part])
    taps = ["c2", "c3"]
    was, now = (run(to_proto(graph), _feeds(), taps) for graph in (before, mixed))
    np.testing.assert_array_equal(was["c2"], now["c2"])
    assert not np.array_equal(was["c3"], now["c3"])
    assert changed_parts(before, before) == []


def test_parts_side_by_side_read_what_they_read_before() -> None:
    before, after = _pair("encode{bits=4,rounding=nearest}")
    parts = changed_parts(before, after)
    local = side_by_side(before, after, parts)
    reads = [tensor.name for tensor in local.inputs]
    values = run(to_proto(before), _feeds(), [name for name in reads if name != "x"])
    found = run(to_proto(local), {**{name: values[name] for name in reads if name != "x"}, **_feeds()})
    alone = run(to_proto(hybrid(before, after, parts[2:3])), _feeds(), ["c2"])["c2"]
    np.testing.assert_array_equal(found[local_name("c2")], alone)


def test_a_part_of_another_type_is_cast() -> None:
    before, after = _pair("fp16")
    parts = changed_parts(before, after)
    assert parts
    mixed = run(to_proto(hybrid(before, after, parts)), _feeds())["y"]
    np.testing.assert_allclose(mixed, run(to_proto(after), _feeds())["y"], atol=2e-3)
    was, now = standing_alone(before, after, parts[0])
    assert [tensor.name for tensor in was.inputs] == [tensor.name for tensor in now.inputs] == ["x"]
    one, other = (run(to_proto(graph), _feeds())[parts[0].tensor] for graph in (was, now))
    assert one.dtype == other.dtype == np.float32
    np.testing.assert_allclose(one, other, atol=0.1)


def test_what_depends_on_a_changed_input_is_left_out() -> None:
    before, after = load(plain_network()), load(plain_network())
    after.inputs[0].dtype = np.dtype(np.float16)
    for node in after.nodes:
        if node.op == "Conv":
            node.inputs[1] = gs.Constant(node.inputs[1].name, node.inputs[1].values * 2)
    assert [part.node for part in changed_parts(before, after)] == [f"conv{number}" for number in range(1, 6)]


def test_removed_channels_are_zero() -> None:
    graph = load(plain_network())
    kept = np.array([0, 3])
    masked = without_channels(graph, Teacher(graph, {"conv1": kept, "conv2": np.arange(8)}), None)
    assert masked is not None
    values = run(to_proto(masked), _feeds(), ["c1", "c2"])
    assert set(np.flatnonzero(np.abs(values["c1"]).sum((0, 2, 3)))) == {0, 3}
    assert [part.node for part in changed_parts(graph, masked)] == ["conv1"]
    assert without_channels(graph, Teacher(graph, {"conv1": np.arange(8)}), None) is None
    assert without_channels(graph, None, None) is None


def test_channels_go_behind_what_makes_something_of_zero() -> None:
    graph = load(plain_network())
    relu = next(node for node in graph.nodes if node.name == "relu1")
    relu.op = "Sigmoid"
    earlier = Teacher(graph, {"conv1": np.array([1, 2, 4, 5, 6, 7, 8, 9])})
    masked = without_channels(graph, Teacher(graph, {"conv1": np.array([2, 9])}), earlier)
    assert masked is not None
    values = run(to_proto(masked), _feeds(), ["r1"])["r1"]
    assert set(np.flatnonzero(np.abs(values).sum((0, 2, 3)))) == {1, 7}
    assert layer_before(relu).name == "conv1"
