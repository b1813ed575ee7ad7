from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings

from tests.oracles import assert_same_function
from tests.passes.graphs import build
from tests.strategies import RandomGraph, random_graphs
from yocc.analysis.ranks.layers import Form, find_layers
from yocc.analysis.ranks.spectra import LayerSpectrum, Split, spectra_of_weights
from yocc.compiler.graph import Graph, load, refresh, to_proto, verify
from yocc.compiler.graph.cost import layer_costs, totals
from yocc.compiler.graph.shapes import concrete_shapes
from yocc.fitting.separable import Separable
from yocc.rewrites.low_rank import split_layer

FEW = settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
EVERY = [
    ("c: y = Conv(x, w)", (6, 4, 3, 3), [1, 4, 8, 8]),
    ('c: y = Conv<strides = [2, 2], auto_pad = "SAME_UPPER">(x, w, b)', (6, 4, 3, 3), [2, 4, 9, 9]),
    ("c: y = Conv<dilations = [2]>(x, w, b)", (6, 4, 3), [2, 4, 8]),
    ("c: y = ConvTranspose<strides = [2, 2]>(x, w, b)", (4, 6, 3, 3), [1, 4, 8, 8]),
    ("c: y = ConvTranspose(x, w)", (4, 6, 2, 2), [1, 4, 8, 8]),
    ("c: y = Gemm<alpha = 0.5, beta = 2.0>(x, w, b)", (4, 6), [5, 4]),
    ("c: y = Gemm<transB = 1>(x, w)", (6, 4), [5, 4]),
    ("c: y = MatMul(x, w)", (4, 6), [2, 5, 4]),
]


def split(graph: Graph, rank: int | None = None, form: Form = "outputs") -> Graph:
    """Every layer that can be becomes two, of a rank or the full one, in a form if it has that."""
    layers, _ = find_layers(graph, concrete_shapes(graph))
    spectra = spectra_of_weights(layers)
    for name, layer in layers.items():
        own = form if form in layer.places else "outputs"
        split_layer(graph, layer, spectra[name].split(own, rank or layer.full_rank(own)))
    refresh(graph)
    assert verify.problems(graph) == []
    return graph


@pytest.mark.parametrize(("node", "weight", "shape"), EVERY)
def test_full_rank_computes_the_same(node: str, weight: tuple[int, ...], shape: list[int | str]) -> None:
    graph = build([node], {"w": weight, "b": (6,)}, ["y"], shape)
    assert_same_function(to_proto(graph), to_proto(split(graph)), tolerance=1e-5)


@pytest.mark.parametrize(("node", "weight", "shape"), EVERY)
def test_two_layers_cost_what_was_foreseen(node: str, weight: tuple[int, ...], shape: list[int | str]) -> None:
    graph = build([node], {"w": weight, "b": (6,)}, ["y"], shape)
    layers, _ = find_layers(graph, concrete_shapes(graph))
    wanted = layers["c"].cost_at("outputs", 2)
    found = totals(layer_costs(split(graph, 2), concrete_shapes(graph)))
    assert (found.parameters, found.macs) == (wanted.parameters, wanted.macs)


SEPARABLE = [
    ("c: y = Conv<pads = [1, 1, 1, 1]>(x, w, b)", (6, 4, 3, 3)),
    ("c: y = Conv<strides = [2, 1], pads = [0, 1, 2, 0]>(x, w, b)", (6, 4, 3, 2)),
    ('c: y = Conv<strides = [2, 2], auto_pad = "SAME_LOWER">(x, w)', (6, 4, 3, 3)),
    ("c: y = Conv<dilations = [1, 2]>(x, w)", (6, 4, 3, 3)),
]


@pytest.mark.parametrize("form", ["vertical", "horizontal"])
@pytest.mark.parametrize(("node", "weight"), SEPARABLE)
def test_separated_kernels_compute_the_same_at_full_rank(form: Form, node: str, weight: tuple[int, ...]) -> None:
    graph = build([node], {"w": weight, "b": (6,)}, ["y"], [2, 4, 9, 8])
    layers, _ = find_layers(graph, concrete_shapes(graph))
    kernel = layers["c"].kernel()
    taps = kernel.shape[2 if form == "vertical" else 3] * kernel.shape[1]
    found = spectra_of_weights(layers)["c"]
    whole = Separable.of(*_given(found, form), most=taps)
    first, second = whole.factors(min(taps, layers["c"].full_rank(form)))
    parts = Split(form, first.reshape(len(first), kernel.shape[1], -1), second, np.zeros(6))
    before = to_proto(graph)
    split_layer(graph, layers["c"], parts)
    refresh(graph)
    assert verify.problems(graph) == []
    assert_same_function(before, to_proto(graph), tolerance=1e-5)


def _given(found: LayerSpectrum, form: Form) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    kernel = found.layer.kernel()
    kernel = kernel if form == "vertical" else kernel.transpose(0, 1, 3, 2)
    return kernel, np.eye(kernel[0].size), found.spectrum.root


@pytest.mark.parametrize("form", ["vertical", "horizontal"])
@pytest.mark.parametrize(("node", "weight"), SEPARABLE)
def test_separated_kernels_cost_what_was_foreseen(form: Form, node: str, weight: tuple[int, ...]) -> None:
    graph = build([node], {"w": weight, "b": (6,)}, ["y"], [2, 4, 9, 8])
    layers, _ = find_layers(graph, concrete_shapes(graph))
    wanted = layers["c"].cost_at(form, 1)
    found = totals(layer_costs(split(graph, 1, form), concrete_shapes(graph)))
    assert (found.parameters, found.macs) == (wanted.parameters, wanted.macs)


def test_names_that_are_taken_are_not_taken_again() -> None:
    nodes = ["c: c_low_rank = Conv(x, w)", "d: y = Relu(c_low_rank)"]
    graph = build(nodes, {"w": (6, 4, 3, 3)}, ["y"])
    split(split(graph, 3), 2)
    names = [node.name for node in graph.nodes]
    assert len(names) == len(set(names))


def test_the_second_layer_keeps_name_and_output() -> None:
    graph = split(build(["c: y = Conv(x, w)"], {"w": (6, 4, 3, 3)}, ["y"]), 2)
    first, second = graph.nodes
    assert (second.name, second.outputs[0].name, first.inputs[0].name) == ("c", "y", "x")
    assert first.inputs[1].shape == (2, 4, 3, 3)
    assert second.inputs[1].shape == (6, 2, 1, 1)


def test_weights_that_something_else_holds_are_not_written_to() -> None:
    graph = build(["m: a = MatMul(x, w)", "p: y = Add(a, v)"], {"w": (8, 6), "v": (6,)}, ["y"])
    held = {name: tensor.values.copy() for name, tensor in graph.tensors().items() if name in ("w", "v")}
    arrays = {name: graph.tensors()[name].values for name in held}
    split(graph, 2)
    for name, values in held.items():
        np.testing.assert_array_equal(arrays[name], values)


@pytest.mark.slow
@FEW
@given(random_graphs())
def test_random_graphs_compute_the_same_at_full_rank(spec: RandomGraph) -> None:
    model: onnx.ModelProto = spec.build()
    assert_same_function(model, to_proto(split(load(model))), tolerance=1e-5)
