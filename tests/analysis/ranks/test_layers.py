from __future__ import annotations

import pytest

from tests.passes.graphs import build
from yocc.analysis.ranks.layers import find_layers
from yocc.compiler.graph import Graph
from yocc.compiler.graph.cost import layer_costs
from yocc.compiler.graph.shapes import concrete_shapes


def found(graph: Graph) -> tuple[set[str], dict[str, str]]:
    layers, reasons = find_layers(graph, concrete_shapes(graph))
    return set(layers), reasons


@pytest.mark.parametrize(
    ("node", "weight", "shape"),
    [
        ("c: y = Conv(x, w)", (6, 4, 3, 3), [1, 4, 8, 8]),
        ("c: y = Conv<strides = [2, 2], pads = [1, 1, 1, 1]>(x, w)", (6, 4, 3, 3), [3, 4, 8, 8]),
        ("c: y = Conv(x, w)", (6, 4, 3), [2, 4, 8]),
        ("c: y = ConvTranspose<strides = [2, 2]>(x, w)", (4, 6, 2, 2), [1, 4, 8, 8]),
        ("c: y = Gemm(x, w)", (4, 6), [5, 4]),
        ("c: y = Gemm<transB = 1>(x, w)", (6, 4), [5, 4]),
        ("c: y = MatMul(x, w)", (4, 6), [2, 5, 4]),
    ],
)
def test_layers_are_known_with_their_costs(node: str, weight: tuple[int, ...], shape: list[int | str]) -> None:
    graph = build([node], {"w": weight}, ["y"], shape)
    layers, reasons = find_layers(graph, concrete_shapes(graph))
    assert not reasons
    (cost,) = layer_costs(graph, concrete_shapes(graph))
    assert (layers["c"].cost.parameters, layers["c"].cost.macs) == (cost.parameters, cost.macs)
    assert layers["c"].matrix().shape == (layers["c"].outputs, layers["c"].inputs)


@pytest.mark.parametrize(
    ("nodes", "weights", "reason"),
    [
        (["c: y = Conv<group = 2>(x, w)"], {"w": (4, 2, 3, 3)}, "grouped"),
        (["c: y = Conv<group = 4>(x, w)"], {"w": (4, 1, 3, 3)}, "grouped"),
        (["c: a = Conv(x, w)", "d: y = Conv(a, w)"], {"w": (4, 4, 1, 1)}, "share"),
        (["e: v = Relu(w)", "c: y = Conv(x, v)"], {"w": (4, 4, 1, 1)}, "computed"),
        (["m: y = MatMul(w, x)"], {"w": (8, 8)}, "on the left"),
        (["m: y = MatMul(x, w)"], {"w": (4, 8, 8)}, "no matrix"),
        (["e: b = Relu(v)", "c: y = Conv(x, w, b)"], {"w": (4, 4, 1, 1), "v": (4,)}, "bias is computed"),
    ],
)
def test_others_stay_whole_with_a_reason(nodes: list[str], weights: dict, reason: str) -> None:
    layers, reasons = found(build(nodes, weights, ["y"]))
    assert not layers
    assert all(reason in text for text in reasons.values())
    assert reasons


def test_products_of_two_tensors_are_no_layers() -> None:
    assert found(build(["m: y = MatMul(x, x)"], {}, ["y"])) == (set(), {})


def test_the_addition_behind_a_product_is_its_bias() -> None:
    graph = build(["m: a = MatMul(x, w)", "p: y = Add(v, a)"], {"w": (8, 6), "v": (6,)}, ["y"])
    layers, _ = find_layers(graph, concrete_shapes(graph))
    assert layers["m"].has_bias
    read_twice = build(
        ["m: a = MatMul(x, w)", "p: y = Add(a, v)", "n: z = Neg(a)"], {"w": (8, 6), "v": (6,)}, ["y", "z"]
    )
    layers, _ = find_layers(read_twice, concrete_shapes(read_twice))
    assert not layers["m"].has_bias
