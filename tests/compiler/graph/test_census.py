from __future__ import annotations

import numpy as np
import pytest

from tests.passes.graphs import build
from tests.samples import tiny_model
from yocc.compiler.graph import load
from yocc.compiler.graph.census import take_census
from yocc.compiler.graph.shapes import concrete_shapes

CODED = {
    "s": np.asarray(np.float32(0.1)),
    "z": np.asarray(np.int8(0)),
    "w1": np.ones((4, 4, 1, 1), np.int8),
    "w2": (4, 4, 3, 3),
}


def test_macs_are_counted_by_type_with_the_reason_for_what_is_left() -> None:
    nodes = [
        "q: c = QuantizeLinear(x, s, z)",
        "d: xd = DequantizeLinear(c, s, z)",
        "w: wd = DequantizeLinear(w1, s, z)",
        "first: r = Conv(xd, wd)",
        "second: y = Conv<pads = [1, 1, 1, 1]>(r, w2)",
    ]
    graph = build(nodes, CODED, ["y"])
    census = take_census(graph, concrete_shapes(graph), {"second": "it is late"})
    assert census.macs_shares == pytest.approx({"int8": 0.1, "fp16": 0.0, "fp32": 0.9})
    assert census.layers == {"int8": 1, "fp16": 0, "fp32": 1}
    ((name, left),) = census.not_int8.items()
    assert (name, left.kind, left.reason) == ("second", "fp32", "it is late")
    assert left.macs_share == pytest.approx(0.9)


def test_half_precision_is_read_from_what_is_written() -> None:
    nodes = ["a: h = Cast<to = 10>(x)", "c: r = Conv(h, w)", "b: y = Cast<to = 1>(r)"]
    graph = build(nodes, {"w": np.ones((4, 4, 1, 1), np.float16)}, ["y"])
    census = take_census(graph, concrete_shapes(graph), {})
    assert census.macs_shares["fp16"] == 1.0
    assert census.not_int8["c"].reason == "the model was not quantized"


def test_a_float_model_and_one_without_convolutions() -> None:
    graph = load(tiny_model())
    assert take_census(graph, concrete_shapes(graph), {}).layers == {"int8": 0, "fp16": 0, "fp32": 2}
    graph = build(["r: y = Relu(x)"], {}, ["y"])
    assert sum(take_census(graph, concrete_shapes(graph), {}).macs_shares.values()) == 0
