from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs
import pytest
from onnx import helper

from tests.compiler.graph.models import build, conv_model, if_model, loop_model, run, value, weight
from tests.passes import graphs as nodes
from yocc.compiler.graph import Graph, from_proto, load, refresh, to_proto
from yocc.compiler.graph.misfits import misfits
from yocc.compiler.graph.verify import problems
from yocc.errors import ModelError


@pytest.mark.parametrize("make", [conv_model, if_model, loop_model])
def test_sound_graphs_have_no_problems(make: object) -> None:
    assert callable(make)
    assert problems(load(make())) == []


def test_a_stale_output_shape_is_a_problem() -> None:
    graph = load(conv_model())
    graph.outputs[0].shape = [1, 64, 7, 7]
    assert len(problems(graph)) == 1


def test_a_tensor_produced_twice_is_a_problem() -> None:
    graph = load(conv_model())
    graph.nodes.append(gs.Node("Neg", "neg", inputs=[graph.inputs[0]], outputs=[gs.Variable("c", np.float32)]))
    assert any("'c' is produced twice, the second time by 'neg'" in line for line in problems(graph))


def test_a_tensor_nothing_produces_is_a_problem() -> None:
    graph = load(conv_model())
    graph.nodes[0].inputs[0] = gs.Variable("ghost", np.float32)
    assert any("ghost" in line for line in problems(graph))


def test_an_unknown_operator_and_attribute_are_problems() -> None:
    graph = load(conv_model())
    graph.nodes[1].op = "Rellu"
    assert any("Rellu" in line for line in problems(graph))
    graph = load(conv_model())
    graph.nodes[1].attrs["slope"] = 1.0
    assert any("slope" in line for line in problems(graph))


def test_every_problem_is_one_line() -> None:
    graph = load(conv_model())
    graph.outputs[0].shape = [1, 64, 7, 7]
    graph.nodes[1].op = "Rellu"
    assert all("\n" not in line for line in problems(graph))


def _graph(op: str, weights: dict[str, tuple[int, ...]], channels: int = 8, group: int = 1) -> Graph:
    attributes = {"group": group} if op.startswith("Conv") else {}
    node = helper.make_node(op, ["x", *weights], ["y"], name="it", **attributes)
    tensors = [weight(name, *shape) for name, shape in weights.items()]
    return from_proto(build([node], [value("x", [1, channels, 5, 5])], [value("y", None)], tensors))


@pytest.mark.parametrize(
    ("op", "weights", "group"),
    [
        ("Conv", {"w": (16, 8, 3, 3), "b": (16,)}, 1),
        ("Conv", {"w": (16, 2, 3, 3), "b": (16,)}, 4),
        ("Conv", {"w": (8, 1, 3, 3), "b": (8,)}, 8),
        ("ConvTranspose", {"w": (8, 4, 3, 3), "b": (4,)}, 1),
        ("ConvTranspose", {"w": (8, 2, 3, 3), "b": (8,)}, 4),
        ("BatchNormalization", {"s": (8,), "b": (8,), "m": (8,), "v": (8,)}, 1),
        ("InstanceNormalization", {"s": (8,), "b": (8,)}, 1),
    ],
)
def test_weights_that_fit_are_found_sound_and_run(op: str, weights: dict[str, tuple[int, ...]], group: int) -> None:
    graph = _graph(op, weights, group=group)
    assert problems(graph) == []
    run(to_proto(graph), x=np.zeros((1, 8, 5, 5), np.float32))


@pytest.mark.parametrize(
    ("op", "weights", "group", "culprit"),
    [
        ("Conv", {"w": (16, 7, 3, 3), "b": (16,)}, 1, "w"),
        ("Conv", {"w": (16, 8, 3, 3), "b": (15,)}, 1, "b"),
        ("Conv", {"w": (16, 8, 3, 3)}, 4, "w"),
        ("Conv", {"w": (6, 1, 3, 3)}, 6, "w"),
        ("ConvTranspose", {"w": (7, 4, 3, 3)}, 1, "w"),
        ("ConvTranspose", {"w": (8, 2, 3, 3), "b": (2,)}, 4, "b"),
        ("InstanceNormalization", {"s": (8,), "b": (7,)}, 1, "b"),
    ],
)
def test_weights_that_do_not_fit_are_named(
    op: str, weights: dict[str, tuple[int, ...]], group: int, culprit: str
) -> None:
    assert any(f"'it': {culprit!r} is made for" in line for line in problems(_graph(op, weights, group=group)))


def test_a_pruned_producer_and_a_forgotten_consumer_are_caught_after_refresh() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"], name="first"),
        helper.make_node("Conv", ["a", "w2"], ["y"], name="second"),
    ]
    weights = [weight("w1", 8, 3, 1, 1), weight("w2", 4, 8, 1, 1)]
    graph = load(build(nodes, [value("x", [1, 3, 5, 5])], [value("y", [1, 4, 5, 5])], weights))
    first = graph.tensors()["w1"]
    first.values = first.values[:6]
    refresh(graph)
    assert problems(graph) == ["Conv 'second': 'w2' is made for 8 channels and meets 6"]


@pytest.mark.parametrize(
    ("node", "weights", "problem"),
    [
        ("y = Conv<kernel_shape = [1099511627776, 3]>(x, w)", {"w": (4, 8, 3, 3)}, "is no kernel of"),
        ("y = ConvTranspose<kernel_shape = [2, 2]>(x, w)", {"w": (8, 4, 3, 3)}, "is no kernel of"),
        ("y = Concat<axis = 4611686018427387904>(x, x)", {}, "has no axis 4611686018427387904"),
        ("y = Gather<axis = 1>(x, i)", {"i": [0, 4611686018427387904]}, "axis 1 of 8 has no index 4611686018427387904"),
        ("y = Gather<axis = 1>(x, i)", {"i": [-9]}, "axis 1 of 8 has no index -9"),
        ("y = Transpose<perm = [0, 1]>(x)", {}, r"rank 4 has no order of axes \[0, 1\]"),
        ("y = DepthToSpace<blocksize = 3>(x)", {}, "a size of 8 is no multiple of 9, as a block size of 3 needs"),
        ("y = SpaceToDepth<blocksize = 2>(x)", {}, "a size of 5 is no multiple of 2"),
        ("y, z = Split<axis = 1>(x, s)", {"s": [-1, 9]}, "a part cannot have -1 values"),
        ("y = PRelu(x, s)", {"s": (3, 1, 1)}, r"'s' of shape \[3, 1, 1\] cannot be stretched"),
        ("y = PRelu(x, s)", {"s": (1, 1, 8, 1, 1)}, "cannot be stretched"),
        ("y = Conv(x, w)", {"w": (0, 8, 1, 1)}, r"'w' is no kernel, as its shape is \[0, 8, 1, 1\]"),
        ("y = MatMul(x, w)", {"w": (5, 0)}, r"'w' is no weight, as its shape is \[5, 0\]"),
    ],
)
def test_attributes_and_indices_out_of_range_are_rejected(node: str, weights: dict, problem: str) -> None:
    with pytest.raises(ModelError, match=problem):
        nodes.build([f"it: {node}"], weights, ["y"], shape=["batch", 8, 5, 5])


@pytest.mark.parametrize("shape", [(), (4,), (4, 8)])
def test_a_convolution_of_something_of_unknown_shape_needs_a_kernel(shape: tuple[int, ...]) -> None:
    data, weight, result = gs.Variable("x", np.float32), gs.Constant("w", np.zeros(shape)), gs.Variable("y", np.float32)
    node = gs.Node("Conv", "it", inputs=[data, weight], outputs=[result])
    assert misfits(gs.Graph([node], [data], [result])) == [
        f"Conv 'it': 'w' is no kernel, as its shape is {list(shape)}"
    ]


@pytest.mark.parametrize(
    ("node", "weights"),
    [
        ("y = Transpose(x)", {}),
        ("y = Transpose<perm = [0, 2, 3, 1]>(x)", {}),
        ("y = DepthToSpace<blocksize = 2>(x)", {}),
        ("y = PRelu(x, s)", {"s": (8, 1, 1)}),
        ("y = PRelu(x, s)", {"s": (1,)}),
        ("y, z = Split<axis = 1>(x, s)", {"s": [8, 0]}),
    ],
)
def test_what_fits_is_accepted(node: str, weights: dict) -> None:
    assert problems(nodes.build([f"it: {node}"], weights, ["y"], shape=["batch", 8, 5, 5])) == []


@pytest.mark.parametrize("index", [-8, 7])
def test_indices_in_range_are_accepted(index: int) -> None:
    assert problems(nodes.build(["it: y = Gather<axis = 1>(x, i)"], {"i": [index]}, ["y"], shape=[1, 8, 5, 5])) == []
