from __future__ import annotations

import numpy as np
import pytest

from tests.oracles import random_feeds, run
from tests.passes.graphs import build
from yocc.compiler.graph import refresh, to_proto, verify
from yocc.passes.simplify.transposed import stated_pads


@pytest.mark.parametrize(
    "attributes",
    [
        "strides = [2, 2], output_shape = [16, 17]",
        "strides = [2, 3], output_shape = [15, 22]",
        'strides = [2, 2], auto_pad = "SAME_UPPER"',
        'strides = [2, 2], auto_pad = "SAME_LOWER"',
        'strides = [2, 1], auto_pad = "VALID"',
        'strides = [2, 2], output_shape = [14, 15], auto_pad = "SAME_UPPER"',
        "strides = [2, 2], dilations = [2, 2], output_shape = [16, 16]",
    ],
)
def test_stated_pads_give_the_same(attributes: str) -> None:
    graph = build([f"t: y = ConvTranspose<{attributes}>(x, w)"], {"w": (4, 5, 3, 4)}, ["y"])
    refresh(graph)
    before = to_proto(graph)
    assert stated_pads(graph) == 1
    refresh(graph)
    assert verify.problems(graph) == []
    assert not {"auto_pad", "output_shape"} & set(graph.nodes[0].attrs)
    feeds = random_feeds(before, 0)
    np.testing.assert_array_equal(run(to_proto(graph), feeds)["y"], run(before, feeds)["y"])
    assert stated_pads(graph) == 0


@pytest.mark.parametrize(
    ("attributes", "shape"),
    [
        ("strides = [2, 2], output_shape = [40, 40]", None),
        ('strides = [2, 2], auto_pad = "SAME_UPPER"', [1, 4, 8, "w"]),
        ("strides = [2, 2], pads = [1, 1, 1, 1]", None),
        ('strides = [2, 2], output_padding = [1, 0], auto_pad = "SAME_UPPER"', None),
    ],
)
def test_what_no_pads_say_stays(attributes: str, shape: list | None) -> None:
    graph = build([f"t: y = ConvTranspose<{attributes}>(x, w)"], {"w": (4, 5, 3, 3)}, ["y"], shape)
    refresh(graph)
    before = dict(graph.nodes[0].attrs)
    assert stated_pads(graph) == 0
    assert graph.nodes[0].attrs == before
