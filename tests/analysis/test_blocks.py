from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from tests.networks.attention import attention, convnext
from tests.passes.graphs import Value, build
from yocc.analysis.blocks import Block, find_blocks
from yocc.compiler.graph import Graph, load
from yocc.compiler.graph.shapes import concrete_shapes

SQUARE = (4, 4, 1, 1)
WEIGHTS: dict[str, Value] = {"w": SQUARE, "u": SQUARE, "v": SQUARE, "t": SQUARE, "z": (3, 4, 1, 1)}
LAST = "last: y = Conv(r, z)"
BRANCH = [
    "stem: h = Conv(x, w)",
    "one: a = Conv(h, u)",
    "act: b = Relu(a)",
    "two: c = Conv(b, v)",
    "sum: r = Add(h, c)",
]


def blocks(lines: Sequence[str], outputs: Sequence[str] = ("y",), **more: Value) -> dict[str, Block]:
    return found(build([*lines, LAST], {**WEIGHTS, **more}, outputs))[0]


def found(graph: Graph, fixed: Sequence[str] = ()) -> tuple[dict[str, Block], dict[str, str]]:
    known, reasons = find_blocks(graph, [concrete_shapes(graph)], fixed)
    return dict(known), dict(reasons)


def test_a_residual_branch_and_the_layers_in_it() -> None:
    known = blocks(BRANCH)
    assert known["sum"] == Block("sum", "branch", "h", "r", ("one", "act", "two", "sum"), ("one", "two"))
    assert {name: block.layers for name, block in known.items()} == {
        "stem": ("stem",), "sum": ("one", "two"), "act": ("one",), "two": ("two",),
    }  # fmt: skip
    assert {block.kind for name, block in known.items() if name != "sum"} == {"block"}


def test_the_order_of_the_sum_does_not_matter() -> None:
    known = blocks([*BRANCH[:4], "sum: r = Add(c, h)"])
    assert known["sum"].kind == "branch"
    assert known["sum"].entry == "h"


def test_a_block_ends_behind_its_activation() -> None:
    gated = ["one: a = Conv(x, w)", "gate: g = Sigmoid(a)", "silu: r = Mul(a, g)"]
    known = blocks(gated)
    assert list(known) == ["silu"]
    assert known["silu"].nodes == ("one", "gate", "silu")


def test_a_branch_ends_at_its_sum_although_an_activation_follows() -> None:
    known = blocks([*BRANCH[:4], "sum: q = Add(h, c)", "relu: r = Relu(q)"])
    assert known["sum"].kind == "branch"
    assert "relu" not in known


def test_a_sum_of_two_layers_is_a_block() -> None:
    both = ["stem: h = Conv(x, w)", "one: a = Conv(h, u)", "two: b = Conv(h, v)", "sum: r = Add(a, b)"]
    assert blocks(both)["sum"].kind == "block"


@pytest.mark.parametrize("inner", ["a", "b", "c"])
def test_a_branch_that_is_read_twice_stays(inner: str) -> None:
    graph = build([*BRANCH, LAST, f"other: e = Conv({inner}, z)"], WEIGHTS, ["y", "e"])
    known, reasons = found(graph)
    assert "sum" not in known
    assert reasons["sum"] == f"'other' reads {inner!r} inside it as well"


def test_a_branch_whose_middle_is_an_output_stays() -> None:
    known, reasons = found(build([*BRANCH, LAST], WEIGHTS, ["y", "b"]))
    assert "sum" not in known
    assert reasons["sum"] == "'b' inside it must stay"


def test_outputs_and_what_must_stay_end_no_block() -> None:
    graph = build([*BRANCH], WEIGHTS, ["r"])
    assert found(graph)[1] == {"sum": "its output must stay"}
    graph = build([*BRANCH, LAST], WEIGHTS, ["y"])
    assert found(graph, ["r"])[1] == {"sum": "its output must stay"}
    assert found(graph, ["c"])[1] == {"sum": "'c' inside it must stay"}


def test_what_a_subgraph_reads_stays() -> None:
    branch = (
        "If(on) <then_branch = g1 () => (o1) {{ o1 = Relu({0}) }}, else_branch = g2 () => (o2) {{ o2 = Neg({0}) }}>"
    )
    for read in ("r", "b"):
        lines = [*BRANCH, f"if: q = {branch.format(read)}", "last: y = Conv(q, z)"]
        assert "sum" not in found(build(lines, {**WEIGHTS, "on": np.array(True)}, ["y"]))[0]


def test_a_branch_that_reads_another_tensor_stays() -> None:
    lines = ["stem: h = Conv(x, w)", "one: a = Conv(x, u)", "sum: r = Add(h, a)", LAST]
    graph = build([*lines, "other: e = Conv(h, z)"], WEIGHTS, ["y", "e"])
    assert found(graph)[1]["sum"].startswith("'other' reads 'h'")
    widened = build(["one: a = Conv(x, big)", "two: b = Conv(x, big)", "sum: r = Add(a, b)", "last: y = Conv(r, t)"],
                    {"big": (6, 4, 1, 1), "t": (3, 6, 1, 1)}, ["y"])  # fmt: skip
    assert found(widened)[1]["sum"] == "it begins at more than one tensor, or at one of another shape"


def test_shapes_that_are_equal_at_one_size_only_are_no_block() -> None:
    """A grid that is always brought to 8 x 8."""
    lines = ["stem: h = Conv(x, w)", "small: a = Conv<strides = [2, 2]>(h, u)", "fixed: r = Resize(a, , , sizes)", LAST]
    graph = build(lines, {**WEIGHTS, "sizes": [1, 4, 8, 8]}, ["y"], shape=[1, 4, "h", "w"])
    sizes = [concrete_shapes(graph, {"x": (1, 4, side, side)}) for side in (8, 16)]
    assert "fixed" in find_blocks(graph, sizes[:1])[0]
    assert "fixed" not in find_blocks(graph, sizes)[0]
    assert "stem" in find_blocks(graph, sizes)[0]


def test_arithmetic_and_integers_are_no_blocks() -> None:
    lines = ["stem: h = Conv(x, w)", "act: g = Relu(h)", "sum: r = Add(h, g)"]
    assert set(blocks(lines)) == {"sum"}
    assert blocks(lines)["sum"].layers == ("stem",)
    constant = ["shape: n = Shape(x)", "made: a = ConstantOfShape(n)", "one: r = Conv(a, w)"]
    assert blocks(constant) == {"one": Block("one", "block", "a", "r", ("one",), ("one",))}


def test_transformers_and_channels_last() -> None:
    known, _ = found(load(attention(0)))
    assert [block.kind for block in known.values()].count("branch") >= 2
    known, _ = found(load(convnext(0)))
    assert [len(block.layers) for block in known.values() if block.kind == "branch"] == [3, 3]
