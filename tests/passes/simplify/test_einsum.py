from __future__ import annotations

import pytest

from tests.oracles import assert_same_function
from tests.passes.graphs import build
from yocc.compiler.graph import refresh, to_proto
from yocc.passes.simplify.einsum import products_from_einsum


@pytest.mark.parametrize(
    ("equation", "shape"),
    [
        ("abcd,de->abce", (8, 5)),
        ("bihw, ow -> biho", (5, 8)),
        ("...c,cd->...d", (8, 5)),
        ("...x,yx->...y", (5, 8)),
    ],
)
def test_products_with_a_matrix_are_matmul(equation: str, shape: tuple[int, int]) -> None:
    graph = build([f'n: y = Einsum<equation="{equation}">(x, w)'], {"w": shape}, ["y"], shape=[1, 4, 6, 8])
    before = to_proto(graph)
    assert products_from_einsum(graph) == 1
    refresh(graph)
    assert [node.op for node in graph.nodes] == ["MatMul"]
    assert_same_function(before, to_proto(graph), tolerance=1e-5)
    assert products_from_einsum(graph) == 0


@pytest.mark.parametrize(
    ("equation", "shape"),
    [
        ("abcd,be->aecd", (4, 5)),
        ("abcd,de->abec", (8, 5)),
        ("abcd,de->abc", (8, 5)),
        ("abcd,dd->abcd", (8, 8)),
        ("abcd,cd->abcd", (6, 8)),
        ("abcd,de", (8, 5)),
        ("abcd,ebd->abce", (5, 4, 8)),
    ],
)
def test_other_equations_stay(equation: str, shape: tuple[int, ...]) -> None:
    graph = build([f'n: y = Einsum<equation="{equation}">(x, w)'], {"w": shape}, ["y"], shape=[1, 4, 6, 8])
    assert products_from_einsum(graph) == 0


def test_products_of_activations_stay() -> None:
    graph = build(['n: y = Einsum<equation="abcd,abed->abce">(x, x)'], {}, ["y"], shape=[1, 4, 6, 8])
    assert products_from_einsum(graph) == 0
