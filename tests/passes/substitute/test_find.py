from __future__ import annotations

import pytest

from tests.passes.graphs import build
from yocc.compiler.graph import Graph
from yocc.compiler.graph.shapes import concrete_shapes
from yocc.passes.substitute.find import Silu, chosen, find_silus

WEIGHTS = {"w": (6, 4, 3, 3), "z": (3, 6, 1, 1), "m": (8, 5)}
CONV, GATE = "c: a = Conv(x, w)", "s: g = Sigmoid(a)"


def found(
    lines: list[str], outputs: tuple[str, ...] = ("y",), opset: int = 17
) -> tuple[dict[str, Silu], dict[str, str]]:
    graph: Graph = build(lines, WEIGHTS, list(outputs), opset=opset)
    return find_silus(graph, concrete_shapes(graph))


@pytest.mark.parametrize("product", ["p: h = Mul(a, g)", "p: h = Mul(g, a)"])
def test_both_orders_of_a_product(product: str) -> None:
    silus, reasons = found([CONV, GATE, product, "d: y = Conv(h, z)"])
    assert silus == {"p": Silu("p", "c", "a", 6 * 6 * 6, 1)}
    assert reasons == {}


def test_swish_is_silu_where_its_factor_is_one() -> None:
    silus, reasons = found([CONV, "p: h = Swish(a)", "q: y = Swish<alpha = 1.5>(h)"], opset=24)
    assert list(silus) == ["p"]
    assert reasons == {"q": "its factor alpha is 1.5, not 1"}


def test_a_gate_that_is_read_elsewhere_stays() -> None:
    lines = [CONV, GATE, "p: h = Mul(a, g)", "d: y = Conv(h, z)"]
    silus, reasons = found([*lines, "n: q = Neg(g)"], ("y", "q"))
    assert (silus, reasons) == ({}, {"c": "something else reads the result of 's' as well"})
    silus, reasons = found(lines, ("y", "g"))
    assert (silus, reasons) == ({}, {"c": "something else reads the result of 's' as well"})


def test_other_products_are_no_silu() -> None:
    silus, reasons = found([CONV, GATE, "n: b = Neg(a)", "p: h = Mul(b, g)", "d: y = Conv(h, z)"])
    assert (silus, reasons) == ({}, {})


@pytest.mark.parametrize(
    ("lines", "outputs", "axis"),
    [
        ([CONV, GATE, "p: y = Mul(a, g)"], ("y", "a"), None),
        ([CONV, GATE, "p: y = Mul(a, g)", "n: q = Neg(a)"], ("y", "q"), None),
        (["s: g = Sigmoid(x)", "p: y = Mul(x, g)"], ("y",), None),
        (["c: a = MatMul(x, m)", GATE, "p: y = Mul(a, g)"], ("y",), None),
        ([CONV, GATE, "p: y = Mul(a, g)"], ("y",), 1),
    ],
)
def test_channels_count_where_a_layer_gives_to_nothing_else(
    lines: list[str], outputs: tuple[str, ...], axis: int | None
) -> None:
    assert found(lines, outputs)[0]["p"].axis == axis


def test_those_go_that_lose_least_for_each_value() -> None:
    silus = {name: Silu(name, name, name, size, 1) for name, size in {"a": 100, "b": 50, "c": 50}.items()}
    losses = {"a": 4.0, "b": 1.0, "c": 3.0}  # 0.04, 0.02 and 0.06 for each value
    assert chosen(silus, losses, 1.0) == ["a", "b", "c"]
    assert chosen(silus, losses, 0.75) == ["a", "b"]
    assert chosen(silus, losses, 0.5) == ["b", "c"]  # what does not fit is passed over
    assert chosen(silus, losses, 0.1) == []
