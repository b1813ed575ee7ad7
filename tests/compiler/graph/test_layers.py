from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs
import pytest

from tests.passes.graphs import build
from yocc.compiler.graph.layers import is_weighted, output_axis

HALF = np.ones((4, 4, 1, 1), np.float16)
CASES = {
    "a convolution": (["l: y = Conv(x, w)"], {"w": (4, 4, 1, 1)}, True),
    "weights behind a cast": (["c: v = Cast<to=1>(w)", "l: y = Conv(x, v)"], {"w": HALF}, True),
    "a matrix product": (["l: y = MatMul(x, w)"], {"w": (8, 3)}, True),
    "a product of computed tensors": (["l: y = MatMul(x, x)"], {}, False),
    "an activation": (["l: y = Relu(x)"], {}, False),
    "the mean of a distribution": (["s: p = Softmax<axis=1>(x)", "l: y = Conv(p, w)"], {"w": (1, 4, 1, 1)}, False),
    "one channel without a distribution": (["s: p = Relu(x)", "l: y = Conv(p, w)"], {"w": (1, 4, 1, 1)}, True),
    "channels of a distribution": (
        ["s: p = Softmax<axis=1>(x)", "l: y = Conv(p, w)"],
        {"w": (2, 4, 1, 1)},
        True,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_layer_has_weights_and_is_no_decoding(name: str) -> None:
    lines, weights, expected = CASES[name]
    graph = build(lines, weights, ["y"])
    assert is_weighted(next(node for node in graph.nodes if node.name == "l")) == expected


@pytest.mark.parametrize(
    ("op", "attributes", "rank", "axis"),
    [
        ("Conv", {}, 4, 0),
        ("ConvTranspose", {"group": 2}, 4, 1),
        ("Gemm", {}, 2, 1),
        ("Gemm", {"transB": 1}, 2, 0),
        ("MatMul", {}, 2, 1),
        ("MatMul", {}, 3, 2),
    ],
)
def test_output_channels_lie_where_the_operator_keeps_them(
    op: str, attributes: dict[str, int], rank: int, axis: int
) -> None:
    assert output_axis(gs.Node(op, "l", attributes), rank) == axis
