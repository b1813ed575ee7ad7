from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from tests.compiler.graph.models import build, value, weight
from tests.passes.feeding import run_pass
from yocc.compiler.graph import load, to_proto
from yocc.compiler.graph.cost import layer_costs, totals
from yocc.compiler.graph.shapes import concrete_shapes
from yocc.compiler.pipeline.passes import PassContext
from yocc.compiler.pipeline.target import Target
from yocc.passes import Encode, Fuse, Simplify
from yocc.report.account import layer_states


@pytest.mark.parametrize("steps", [["Identity"], ["Cast", "Identity"], ["Cast"]])
def test_a_weight_behind_what_keeps_its_shape_is_counted(steps: list[str]) -> None:
    attributes = {"Cast": {"to": 1}}
    nodes, last = [], "w"
    for place, op in enumerate(steps):
        nodes.append(helper.make_node(op, [last], [f"w{place}"], **attributes.get(op, {})))
        last = f"w{place}"
    nodes.append(helper.make_node("Conv", ["x", last], ["y"], name="conv"))
    model = build(nodes, [value("x", [1, 3, 8, 8])], [value("y", None)], [weight("w", 4, 3, 3, 3)])
    graph = load(model)
    (layer,) = layer_costs(graph, concrete_shapes(graph))
    assert (layer.node, layer.parameters, layer.macs) == ("conv", 108, 108 * 36)


def test_a_weight_behind_several_identities_counts_once() -> None:
    nodes = [helper.make_node("Identity", ["w"], [f"w{place}"]) for place in range(2)]
    nodes += [helper.make_node("MatMul", ["x", f"w{place}"], [f"y{place}"]) for place in range(2)]
    matrix = numpy_helper.from_array(np.ones((8, 8), np.float32), "w")
    graph = load(build(nodes, [value("x", [1, 8])], [value("y0", [1, 8]), value("y1", [1, 8])], [matrix]))
    cost = totals(layer_costs(graph, concrete_shapes(graph)))
    assert (cost.parameters, cost.macs) == (64, 128)


@pytest.mark.parametrize(("op", "gates"), [("LSTM", 4), ("GRU", 3), ("RNN", 1)])
def test_recurrent_networks_are_counted(op: str, gates: int) -> None:
    """Both directions multiply both matrices at each of 5 steps of 2 sequences; initial states are not trained."""
    sizes = {"w": (2, gates * 4, 6), "r": (2, gates * 4, 4), "b": (2, gates * 8), "h": (2, 2, 4)}
    node = helper.make_node(
        op, ["x", "w", "r", "b", "", "h"], ["", "y"], name="rnn", hidden_size=4, direction="bidirectional"
    )
    weights = [weight(name, *shape) for name, shape in sizes.items()]
    graph = load(build([node], [value("x", [5, 2, 6])], [value("y", None)], weights))
    (layer,) = layer_costs(graph, concrete_shapes(graph))
    matrices = 2 * gates * 4 * (6 + 4)
    assert (layer.node, layer.op, layer.weight_shape) == ("rnn", op, sizes["w"])
    assert (layer.parameters, layer.macs) == (matrices + 2 * gates * 8, matrices * 10)
    ((_, state),) = layer_states(graph, concrete_shapes(graph)).items()
    assert (state.channels_in, state.channels_out, state.weights) == (6, 8, "float32")


def test_embeddings_are_counted() -> None:
    nodes = [helper.make_node("Gather", ["table", "x"], ["e"], name="words")]
    nodes += [helper.make_node("Gather", ["e", "two"], ["y"], axis=1)]
    two = numpy_helper.from_array(np.array([1, 0], np.int64), "two")
    inputs = [helper.make_tensor_value_info("x", onnx.TensorProto.INT64, [1, 7])]
    graph = load(build(nodes, inputs, [value("y", None)], [weight("table", 100, 8), two]))
    (layer,) = layer_costs(graph, concrete_shapes(graph))
    assert (layer.node, layer.parameters, layer.macs, layer.weight_shape) == ("words", 800, 0, (100, 8))
    ((_, state),) = layer_states(graph, concrete_shapes(graph)).items()
    assert state.weights == "float32"


def test_weights_computed_from_constants_count_before_they_are_folded() -> None:
    """A weight norm: direction times length, which `simplify` folds into one weight."""
    nodes = [
        helper.make_node("Mul", ["direction", "length"], ["w"]),
        helper.make_node("Transpose", ["m"], ["mt"], perm=[1, 0]),
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv"),
        helper.make_node("MatMul", ["c", "mt"], ["y"], name="product"),
    ]
    weights = [weight("direction", 4, 3, 3, 3), weight("length", 4, 1, 1, 1), weight("m", 5, 6)]
    graph = load(build(nodes, [value("x", [1, 3, 8, 8])], [value("y", None)], weights))
    layers = layer_costs(graph, concrete_shapes(graph))
    assert [(layer.parameters, layer.macs) for layer in layers] == [(108, 108 * 36), (30, 30 * 24)]
    simplified = load(to_proto(graph))
    run_pass(Simplify(), simplified, PassContext(Target("test")))
    after = layer_costs(simplified, concrete_shapes(simplified))
    assert totals(after) == totals(layers)


_NODE = helper.make_node
_ADD = _NODE("Add", ["m", "b"], ["y"])
_UNFOLDED = {
    "product": ([_NODE("MatMul", ["x", "w"], ["m"]), _ADD], [2, 8], {"w": (8, 5), "b": (5,)}, 45, 80),
    "bias first": (
        [_NODE("MatMul", ["x", "w"], ["m"]), _NODE("Add", ["b", "m"], ["y"])],
        [2, 8],
        {"w": (8, 5), "b": (5,)},
        45,
        80,
    ),
    "bias of one row": ([_NODE("MatMul", ["x", "w"], ["m"]), _ADD], [2, 8], {"w": (8, 5), "b": (1, 5)}, 45, 80),
    "bias by row": ([_NODE("MatMul", ["x", "w"], ["m"]), _ADD], [2, 8], {"w": (8, 5), "b": (2, 5)}, 50, 80),
    "one number is no bias": ([_NODE("MatMul", ["x", "w"], ["m"]), _ADD], [2, 8], {"w": (8, 5), "b": (1,)}, 40, 80),
    "sequence": ([_NODE("MatMul", ["x", "w"], ["m"]), _ADD], [2, 4, 8], {"w": (8, 5), "b": (5,)}, 45, 320),
    "weight on the left": ([_NODE("MatMul", ["w", "x"], ["m"]), _ADD], [5, 3], {"w": (8, 5), "b": (3,)}, 43, 120),
    "stack of weights": ([_NODE("MatMul", ["x", "w"], ["y"])], [2, 3, 4, 8], {"w": (3, 8, 5)}, 120, 960),
    "one weight for a batch": ([_NODE("MatMul", ["w", "x"], ["y"])], [2, 8, 3], {"w": (4, 8)}, 32, 192),
    "vector": ([_NODE("MatMul", ["x", "w"], ["y"])], [2, 8], {"w": (8,)}, 8, 16),
    "Gemm": ([_NODE("Gemm", ["x", "w"], ["m"]), _ADD], [2, 8], {"w": (8, 5), "b": (5,)}, 45, 80),
    "Gemm of a weight on the left": (
        [_NODE("Gemm", ["w", "x", "b"], ["y"])],
        [8, 5],
        {"w": (3, 8), "b": (5,)},
        29,
        120,
    ),
    "Conv": ([_NODE("Conv", ["x", "w"], ["m"]), _ADD], [1, 3, 8, 8], {"w": (4, 3, 3, 3), "b": (1, 4, 1, 1)}, 112, 3888),
    "bias behind a factor": (
        [_NODE("Conv", ["x", "w"], ["c"]), _NODE("Mul", ["c", "s"], ["m"]), _ADD],
        [1, 3, 8, 8],
        {"w": (4, 3, 3, 3), "s": (1, 4, 1, 1), "b": (1, 4, 1, 1)},
        112,
        3888,
    ),
    "transposed weight": (
        [_NODE("Transpose", ["w"], ["t"], perm=[1, 0]), _NODE("Einsum", ["x", "t"], ["m"], equation="bc,cd->bd"), _ADD],
        [2, 8],
        {"w": (5, 8), "b": (5,)},
        45,
        80,
    ),
}


def _einsum(equation: str, inputs: list[str]) -> list[onnx.NodeProto]:
    return [_NODE("Einsum", inputs, ["y"], equation=equation)]


_EINSUMS = {
    "bsc,cd->bsd": ([2, 3, 8], (8, 5), 240),
    "bsc,dc->bsd": ([2, 3, 8], (5, 8), 240),
    "... c , cd -> ... d": ([2, 3, 8], (8, 5), 240),
    "bc,cd": ([2, 8], (8, 5), 80),
    "bchw,oc->bohw": ([1, 8, 4, 4], (5, 8), 640),
    "bshd,hde->bse": ([2, 3, 4, 8], (4, 8, 6), 1152),
    "bsd,dhk->bshk": ([2, 3, 8], (8, 4, 2), 384),
    "b...d,...d->b...": ([2, 3, 8], (3, 8), 48),
}


@pytest.mark.parametrize(("nodes", "shape", "weights", "parameters", "macs"), _UNFOLDED.values(), ids=_UNFOLDED)
def test_folding_changes_no_cost(
    nodes: list[onnx.NodeProto], shape: list[int], weights: dict[str, tuple[int, ...]], parameters: int, macs: int
) -> None:
    constants = [weight(name, *sizes) for name, sizes in weights.items()]
    _check_costs(build(nodes, [value("x", shape)], [value("y", None)], constants), parameters, macs)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("equation", _EINSUMS)
def test_an_einsum_multiplies_for_each_combination_of_its_indices(equation: str, turned: bool) -> None:
    shape, matrix, macs = _EINSUMS[equation]
    inputs = ["x", "w"]
    if turned:
        terms, arrow, result = equation.partition("->")
        equation, inputs = ",".join(reversed(terms.split(","))) + arrow + result, ["w", "x"]
    model = build(_einsum(equation, inputs), [value("x", shape)], [value("y", None)], [weight("w", *matrix)])
    _check_costs(model, int(np.prod(matrix)), macs)


def test_an_einsum_of_activations_costs_nothing_as_a_product_of_activations_does() -> None:
    nodes = [_NODE("Einsum", ["x", "x"], ["y"], equation="bqd,bkd->bqk")]
    _check_costs(build(nodes, [value("x", [1, 4, 8])], [value("y", None)], []), 0, 0)


def test_a_bias_that_a_reader_goes_without_is_no_bias() -> None:
    """Both readers see another value: nothing is folded, and the constant is as any other."""
    nodes = [_NODE("MatMul", ["x", "w"], ["m"]), _ADD, _NODE("Relu", ["m"], ["z"])]
    model = build(
        nodes, [value("x", [2, 8])], [value("y", None), value("z", None)], [weight("w", 8, 5), weight("b", 5)]
    )
    _check_costs(model, 40, 80)


def _check_costs(model: onnx.ModelProto, parameters: int, macs: int) -> None:
    graph = load(model)
    assert vars(totals(layer_costs(graph, concrete_shapes(graph)))) == {"parameters": parameters, "macs": macs}
    for step in (Simplify(), Fuse()):
        run_pass(step, graph, PassContext(Target("test")))
        assert vars(totals(layer_costs(graph, concrete_shapes(graph)))) == {"parameters": parameters, "macs": macs}
    layer_states(graph, concrete_shapes(graph))


@pytest.mark.parametrize("bits", [3, 4, 5, 6, 8])
def test_packed_codes_count_as_the_weights_they_are_of(bits: int) -> None:
    """Tables that take codes apart are shared by all weights."""
    nodes = [_NODE("Conv", ["x", "v"], ["m"], pads=[1] * 4), _NODE("Conv", ["m", "w"], ["y"], pads=[1] * 4)]
    weights = [weight("v", 32, 32, 3, 3), weight("w", 32, 32, 3, 3)]
    graph = load(build(nodes, [value("x", [1, 32, 8, 8])], [value("y", None)], weights))
    run_pass(Encode(bits=bits, rounding="nearest"), graph, PassContext(Target("test")))
    assert [layer.parameters for layer in layer_costs(graph, concrete_shapes(graph))] == [9216, 9216]
