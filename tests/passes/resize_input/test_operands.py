"""Sizes that nodes are given as values, on graphs of a few nodes."""

from __future__ import annotations

import numpy as np
import pytest

from tests.passes.graphs import Value, build
from tests.passes.resize_input.resizing import outputs_of, resize

SIDE = [1, 3, 16, 16]


def _shapes(nodes: list[str], weights: dict[str, Value], spec: str, new: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of the first output, which onnxruntime gives and the graph states."""
    graph, _ = resize(build(nodes, weights, ["y"], SIDE), spec)
    (found, *_) = outputs_of(graph, new)
    assert list(found.shape) == list(graph.outputs[0].shape)
    return found.shape


DOWN = "c: a = Conv<strides=[2,2], pads=[1,1,1,1]>(x, w)"
KERNEL: dict[str, Value] = {"w": (8, 3, 3, 3)}
FLAT = ["r: d = Reshape(b, s)", "m: y = Gemm(d, v)"]


@pytest.mark.parametrize(
    ("nodes", "weights", "wanted"),
    [
        (["r: y = Reshape(a, s)"], {"s": [1, 8, 64]}, (1, 8, 12 * 16)),
        (["r: y = Reshape(a, s)"], {"s": [1, -1, 64]}, (1, 8, 12 * 16)),
        (["r: y = Reshape(a, s)"], {"s": [0, 8, -1]}, (1, 8, 12 * 16)),
        (["r: y = Reshape(a, s)"], {"s": [1, 2, 4, 8, 8]}, (1, 2, 4, 12, 16)),
        (["r: b = Reshape(a, s)", "q: y = Reshape(b, t)"], {"s": [1, 8, 64], "t": [1, 8, 8, 8]}, (1, 8, 12, 16)),
        (["r: y = Resize(a, , , s)"], {"s": [1, 8, 16, 16]}, (1, 8, 24, 32)),
        (["r: y = Resize(a, , f)"], {"f": np.array([1, 1, 2, 2], np.float32)}, (1, 8, 24, 32)),
        (["r: y = Slice(x, b, e, d, t)"], {"b": [0, 1], "e": [16, 16], "d": [2, 3], "t": [2, 2]}, (1, 3, 12, 16)),
        (["r: y = Slice(x, b, e, d)"], {"b": [0], "e": [2**31 - 1], "d": [2]}, (1, 3, 24, 32)),
        (["r: y = Slice(x, b, e, d)"], {"b": [0], "e": [-2], "d": [3]}, (1, 3, 24, 30)),
        (["r: y = Slice(x, b, e, d, t)"], {"b": [15], "e": [-99], "d": [3], "t": [-1]}, (1, 3, 24, 32)),
        (["f: y = Flatten<axis=2>(a)"], {}, (8, 12 * 16)),
        (["g: y = GlobalAveragePool(a)"], {}, (1, 8, 1, 1)),
        (["g: b = GlobalAveragePool(a)", "h: y = Mul(a, b)"], {}, (1, 8, 12, 16)),
        (["g: b = GlobalAveragePool(a)", *FLAT], {"s": [1, 8], "v": (8, 5)}, (1, 5)),
        (["g: b = ReduceMean<axes=[2,3], keepdims=0>(a)", "m: y = Gemm(b, v)"], {"v": (8, 5)}, (1, 5)),
        (["d: y = SpaceToDepth<blocksize=2>(a)"], {}, (1, 32, 6, 8)),
        (["t: b = Transpose<perm=[0,2,3,1]>(a)", "r: y = Reshape(b, s)"], {"s": [1, 64, 8]}, (1, 12 * 16, 8)),
        (
            ["g: b = GlobalAveragePool(a)", "e: d = Expand(b, s)", "h: y = Concat<axis=1>(a, d)"],
            {"s": [1, 8, 8, 8]}, (1, 16, 12, 16),
        ),
        (["e: b = Expand(a, s)", "h: y = Add(a, b)"], {"s": [1, 8, 8, 8]}, (1, 8, 12, 16)),
    ],
)  # fmt: skip
def test_values_that_follow_from_the_size_are_rewritten(
    nodes: list[str], weights: dict[str, Value], wanted: tuple[int, ...]
) -> None:
    assert _shapes([DOWN, *nodes], {**KERNEL, **weights}, "size=24x32", (1, 3, 24, 32)) == wanted


@pytest.mark.parametrize(
    ("nodes", "weights", "wanted"),
    [
        # 8 equals the grid's height and width by chance: what follows multiplies by 8 rows.
        (
            ["g: b = GlobalAveragePool(a)", "e: d = Expand(b, s)", "m: y = MatMul(d, v)"],
            {"s": [1, 8, 8, 8], "v": (1, 8, 8, 5)}, (1, 8, 8, 5),
        ),
        (["g: b = GlobalAveragePool(a)", "e: y = Expand(b, s)"], {"s": [1, 8, 8, 8]}, (1, 8, 8, 8)),
        # One by chance, and one because it is joined with the grid.
        (
            ["g: b = GlobalAveragePool(a)", "e: d = Expand(b, s)", "m: q = MatMul(d, v)", "u: p = ReduceMean(q)",
             "k: h = Expand(b, s)", "i: j = Relu(h)", "l: n = Concat<axis=1>(a, j)", "o: y = Add(n, p)"],
            {"s": [1, 8, 8, 8], "v": (1, 8, 8, 5)}, (1, 16, 12, 16),
        ),
    ],
)  # fmt: skip
def test_an_expanded_size_changes_only_where_what_follows_needs_it(
    nodes: list[str], weights: dict[str, Value], wanted: tuple[int, ...]
) -> None:
    assert _shapes([DOWN, *nodes], {**KERNEL, **weights}, "size=24x32", (1, 3, 24, 32)) == wanted


ROWS = [
    DOWN,
    "e: b = Conv<strides=[2,2], pads=[1,1,1,1]>(a, v)",
    "r: f = Reshape(a, s)",
    "q: g = Reshape(b, t)",
    "j: h = Concat<axis=2>(f, g)",
]
ROW_WEIGHTS: dict[str, Value] = {**KERNEL, "v": (8, 8, 3, 3), "s": [1, 8, 64], "t": [1, 8, 16]}


def test_what_was_joined_is_split_where_it_was_joined() -> None:
    nodes = [*ROWS, "p: y, z = Split<axis=2>(h, sizes)"]
    graph, _ = resize(build(nodes, {**ROW_WEIGHTS, "sizes": [64, 16]}, ["y", "z"], SIDE), "size=24x32")
    assert [found.shape for found in outputs_of(graph, (1, 3, 24, 32))] == [(1, 8, 192), (1, 8, 48)]


def test_what_was_joined_is_cut_where_it_was_joined() -> None:
    nodes = [*ROWS, "p: y = Slice(h, begin, end, axis)"]
    weights = {**ROW_WEIGHTS, "begin": [64], "end": [80], "axis": [2]}
    assert _shapes(nodes, weights, "size=24x32", (1, 3, 24, 32)) == (1, 8, 48)


def test_shapes_that_the_graph_computes_are_left_alone() -> None:
    nodes = [
        DOWN,
        "s: b = Shape(a)",
        "g: n = Gather<axis=0>(b, first)",
        "u: m = Unsqueeze(n, axes)",
        "j: f = Concat<axis=0>(m, rest)",
        "r: y = Reshape(a, f)",
    ]
    weights: dict[str, Value] = {**KERNEL, "first": np.array(0), "axes": [0], "rest": [8, -1]}
    graph, done = resize(build(nodes, weights, ["y"], SIDE), "size=24x32")
    assert done.details["rewritten"] == 0
    assert outputs_of(graph, (1, 3, 24, 32))[0].shape == (1, 8, 12 * 16)


def test_channels_are_shuffled_in_groups_at_any_size() -> None:
    nodes = [DOWN, "r: b = Reshape(a, s)", "t: d = Transpose<perm=[0,2,1,3,4]>(b)", "q: y = Reshape(d, u)"]
    weights: dict[str, Value] = {**KERNEL, "s": [1, 2, 4, 8, 8], "u": [1, -1, 8, 8]}
    graph, _ = resize(build(nodes, weights, ["y"], SIDE), "size=24x32")
    (shuffled,) = outputs_of(graph, (1, 3, 24, 32))
    plain, _ = resize(build([DOWN.replace("a =", "y =")], KERNEL, ["y"], SIDE), "size=24x32")
    (whole,) = outputs_of(plain, (1, 3, 24, 32))
    np.testing.assert_array_equal(shuffled, whole[:, [0, 4, 1, 5, 2, 6, 3, 7]])


@pytest.mark.parametrize(
    ("nodes", "weights", "wanted"),
    [
        (["r: y = Reshape(a, s)"], {"s": [1, 8, 64]}, (3, 8, 64)),
        (["r: y = Reshape(a, s)"], {"s": [1, 8, -1]}, (3, 8, 64)),
        (["r: y = Reshape(a, s)"], {"s": [8, 64]}, (24, 64)),
        (["r: y = Resize(a, , , s)"], {"s": [1, 8, 16, 16]}, (3, 8, 16, 16)),
        (["g: b = GlobalAveragePool(a)", *FLAT], {"s": [1, 8], "v": (8, 5)}, (3, 5)),
    ],
)  # fmt: skip
def test_an_open_batch_takes_any_number(nodes: list[str], weights: dict[str, Value], wanted: tuple[int, ...]) -> None:
    graph, _ = resize(build([DOWN, *nodes], {**KERNEL, **weights}, ["y"], SIDE), "batch=n")
    assert graph.inputs[0].shape == ["n", 3, 16, 16]
    assert not isinstance(graph.outputs[0].shape[0], int)
    for count in (1, 3):
        (found,) = outputs_of(graph, (count, 3, 16, 16))
        assert found.shape == (wanted[0] // 3 * count, *wanted[1:])


def test_pictures_with_channels_last_are_resized_on_their_own_axes() -> None:
    nodes = ["t: b = Transpose<perm=[0,3,1,2]>(x)", DOWN.replace("(x,", "(b,"), "r: y = Reshape(a, s)"]
    graph, _ = resize(build(nodes, {**KERNEL, "s": [1, 8, 64]}, ["y"], [1, 16, 16, 3]), "size=24x32")
    assert graph.inputs[0].shape == [1, 24, 32, 3]
    assert outputs_of(graph, (1, 24, 32, 3))[0].shape == (1, 8, 12 * 16)


def test_the_same_size_changes_nothing() -> None:
    graph, done = resize(build([DOWN, "r: y = Reshape(a, s)"], {**KERNEL, "s": [1, 8, 64]}, ["y"], SIDE), "size=16")
    assert done.rewrites == 0
    assert graph.inputs[0].shape == SIDE
