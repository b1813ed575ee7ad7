from __future__ import annotations

import numpy as np
import pytest

from tests.oracles import assert_same_function
from tests.passes.graphs import Value, build
from yocc.compiler.graph import refresh, to_proto, verify
from yocc.compiler.graph.nops import remove_nops

FALSE, TRUE = np.array(False), np.array(True)

REMOVED: dict[str, tuple[list[str], dict[str, Value]]] = {
    "identity": (["n: a = Identity(x)"], {}),
    "dropout": (["n: a = Dropout(x)"], {}),
    "dropout not training": (["n: a = Dropout(x, r, t)"], {"r": np.float32(0.5), "t": FALSE}),
    "cast to the same type": (["n: a = Cast<to=1>(x)"], {}),
    "cast there and back": (["n: b = Cast<to=11>(x)", "m: a = Cast<to=1>(b)"], {}),
    "reshape to the same shape": (["n: a = Reshape(x, s)"], {"s": [1, 4, 8, 8]}),
    "reshape that keeps and infers": (["n: a = Reshape(x, s)"], {"s": [0, 4, -1, 8]}),
    "transpose in order": (["n: a = Transpose<perm=[0, 1, 2, 3]>(x)"], {}),
    "transpose there and back": (
        ["n: b = Transpose<perm=[0, 2, 3, 1]>(x)", "m: a = Transpose<perm=[0, 3, 1, 2]>(b)"],
        {},
    ),
    "concat of one": (["n: a = Concat<axis=1>(x)"], {}),
    "pad of zero": (["n: a = Pad(x, p)"], {"p": [0] * 8}),
    "slice of everything": (
        ["n: a = Slice(x, s, e, i)"],
        {"s": [0, -8], "e": [2**63 - 1, 8], "i": [1, 2]},
    ),
}

KEPT: dict[str, tuple[list[str], dict[str, Value]]] = {
    "dropout in training": (["n: a = Dropout(x, r, t)"], {"r": np.float32(0.0), "t": TRUE}),
    "cast through a narrower type": (["n: b = Cast<to=10>(x)", "m: a = Cast<to=1>(b)"], {}),
    "reshape that moves": (["n: a = Reshape(x, s)"], {"s": [1, 8, 4, 8]}),
    "reshape to another rank": (["n: a = Reshape(x, s)"], {"s": [1, 4, 64]}),
    "transpose of equal sides": (["n: a = Transpose<perm=[0, 1, 3, 2]>(x)"], {}),
    "transpose of a transpose that does not undo it": (
        ["n: b = Transpose<perm=[0, 2, 3, 1]>(x)", "m: a = Transpose<perm=[0, 2, 3, 1]>(b)"],
        {},
    ),
    "pad of one side": (["n: a = Pad(x, p)"], {"p": [0] * 7 + [1]}),
    "slice that skips": (["n: a = Slice(x, s, e, i, t)"], {"s": [0], "e": [8], "i": [3], "t": [2]}),
    "slice that starts late": (["n: a = Slice(x, s, e, i)"], {"s": [-7], "e": [8], "i": [3]}),
    "slice that ends early": (["n: a = Slice(x, s, e, i)"], {"s": [0], "e": [-1], "i": [3]}),
}


@pytest.mark.parametrize("what", REMOVED)
def test_removes(what: str) -> None:
    nodes, weights = REMOVED[what]
    graph = build([*nodes, "r: y = Relu(a)"], weights, ["y"])
    before = to_proto(graph)
    assert remove_nops(graph) > 0
    refresh(graph)
    assert [node.op for node in graph.nodes] == ["Relu"]
    assert verify.problems(graph) == []
    assert_same_function(before, to_proto(graph), tolerance=0)


@pytest.mark.parametrize("what", KEPT)
def test_keeps(what: str) -> None:
    nodes, weights = KEPT[what]
    graph = build([*nodes, "r: y = Relu(a)"], weights, ["y"])
    before = to_proto(graph).SerializeToString(deterministic=True)
    assert remove_nops(graph) == 0
    assert to_proto(graph).SerializeToString(deterministic=True) == before


def test_output_keeps_its_name_when_the_node_that_made_it_goes() -> None:
    graph = build(["c: a = Relu(x)", "n: y = Identity(a)", "s: z = Sigmoid(a)"], {}, ["y", "z"])
    before = to_proto(graph)
    assert remove_nops(graph) == 1
    refresh(graph)
    assert [tensor.name for tensor in graph.outputs] == ["y", "z"]
    assert [node.op for node in graph.nodes] == ["Relu", "Sigmoid"]
    assert_same_function(before, to_proto(graph), tolerance=0)


@pytest.mark.parametrize(
    "nodes",
    [["n: y = Identity(x)"], ["c: z = Relu(x)", "n: y = Identity(z)"]],
    ids=["from a graph input", "from another output"],
)
def test_identity_that_gives_an_output_its_name_stays(nodes: list[str]) -> None:
    graph = build(nodes, {}, ["y", "z"][: len(nodes)])
    assert remove_nops(graph) == 0


def test_dropout_whose_mask_is_read_stays() -> None:
    graph = build(["n: y, mask = Dropout(x)", "c: z = Cast<to=1>(mask)"], {}, ["y", "z"])
    assert remove_nops(graph) == 0


def test_reshape_of_open_dimensions_is_kept_when_two_are_inferred() -> None:
    graph = build(["n: a = Reshape(x, s)", "r: y = Relu(a)"], {"s": [-1, 4, 0, 8]}, ["y"], shape=["n", 4, "h", 8])
    assert remove_nops(graph) == 1, "0 copies the height and -1 is then the batch"
    graph = build(["n: a = Reshape(x, s)", "r: y = Relu(a)"], {"s": [-1, 4, 8, 8]}, ["y"], shape=["n", 4, "h", 8])
    assert remove_nops(graph) == 0, "batch and height may change places"


def test_a_node_goes_alone_where_another_has_its_name() -> None:
    graph = build(["a: b = Identity(x)", "c: y = Relu(b)"], {}, ["y"])
    graph.nodes[1].name = "a"
    assert remove_nops(graph) == 1
    assert [node.op for node in graph.nodes] == ["Relu"]
