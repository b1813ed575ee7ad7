"""Quantized graphs that start from bytes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests.oracles import run
from tests.passes.feeding import Pictures, context, run_pass, whole_graph
from tests.passes.graphs import build
from tests.passes.uint8_input.taking import PLAIN, float_input, laid_out, picture, take_bytes
from yocc.compiler.graph import Graph, to_proto
from yocc.compiler.pipeline.pixels import Pixels
from yocc.passes.quantize import Quantize

LINES = [
    "q: i = QuantizeLinear(x, scale, zero)",
    "d: a = DequantizeLinear(i, scale, zero)",
    "dw: w = DequantizeLinear<axis=0>(w8, ws, wz)",
    "c: y = Conv<pads=[1,1,1,1]>(a, w)",
]


def _quantized(scale: float, zero: int, *more: str, kind: type = np.uint8) -> Graph:
    weights = {
        "scale": np.float32(scale),
        "zero": np.array(zero, kind),
        "w8": np.random.default_rng(0).integers(-127, 128, (4, 3, 3, 3)).astype(np.int8),
        "ws": np.full(4, 0.01, np.float32),
        "wz": np.zeros(4, np.int8),
    }
    return build([*LINES, *more], weights, ["y", *(["z"] if more else [])], [1, 3, 16, 16])


def _outputs(before: Graph, after: Graph, spec: str, how: Pixels) -> tuple[np.ndarray, np.ndarray]:
    pixels = picture(16, 16)
    wanted = run(to_proto(before), {"x": float_input(pixels, how)})
    found = run(to_proto(after), {"x": laid_out(pixels, spec)})
    return wanted["y"], found["y"]


@pytest.mark.parametrize("spec", ["", "layout=nhwc", "layout=nhwc,color=bgr"])
@pytest.mark.parametrize(("how", "zero"), [(PLAIN, 0), (Pixels("rgb", 1.0), 0), (Pixels("rgb", 1 / 128, (1.0,)), 128)])
def test_bytes_are_the_quantized_values_where_the_scale_is_that_of_pixels(spec: str, how: Pixels, zero: int) -> None:
    graph = _quantized(how.scale, zero)
    taken, done = take_bytes(graph, spec, how)
    assert done.details["identities"] == 1
    assert not {"Cast", "QuantizeLinear", "Mul", "Sub", "Gather"} & {node.op for node in taken.nodes}
    wanted, found = _outputs(graph, taken, spec, how)
    # Reversed channels are added up in another order.
    assert np.array_equal(wanted, found) or ("bgr" in spec and np.allclose(wanted, found, atol=1e-4))


@pytest.mark.parametrize(
    ("scale", "zero", "how"),
    [
        (1 / 254, 0, PLAIN),
        (1 / 255, 1, PLAIN),
        (2 / 255, 0, PLAIN),
        (1 / 255, 0, Pixels("rgb", 1 / 255, (0.0, 0.1, 0.0))),
        (1 / 255, 0, Pixels("rgb", 1 / 255, std=(1.0, 1.0, 1.01))),
    ],
)
def test_other_scales_are_quantized_as_before(scale: float, zero: int, how: Pixels) -> None:
    graph = _quantized(scale, zero)
    taken, done = take_bytes(graph, "", how)
    assert done.details["identities"] == 0
    wanted, found = _outputs(graph, taken, "", how)
    assert np.abs(wanted - found).max() < 0.02 * np.abs(wanted).max()


def test_signed_quantization_is_no_identity() -> None:
    graph = _quantized(1 / 255, 0, kind=np.int8)
    taken, done = take_bytes(graph)
    assert done.details["identities"] == 0
    wanted, found = _outputs(graph, taken, "", PLAIN)
    assert np.abs(wanted - found).max() < 0.01


def test_who_else_reads_the_input_gets_floats() -> None:
    graph = _quantized(1 / 255, 0, "n: z = Abs(x)")
    taken, done = take_bytes(graph, "layout=nhwc,color=bgr")
    assert done.details["identities"] == 1
    assert done.details["operators"] == ["Transpose", "Gather", "Cast", "Mul"]
    pixels = picture(16, 16)
    wanted = run(to_proto(graph), {"x": float_input(pixels, PLAIN)})
    found = run(to_proto(taken), {"x": laid_out(pixels, "nhwc,bgr")})
    assert np.array_equal(wanted["y"], found["y"])
    assert np.allclose(wanted["z"], found["z"], atol=1e-6)


@pytest.mark.parametrize(("share", "expected"), [(1.0, 1 / 255), (0.99, 1 / 255), (0.5, 0.5 / 255), (1.2, 1.2 / 255)])
def test_pictures_are_quantized_so_that_each_pixel_value_has_a_level(share: float, expected: float) -> None:
    lines = ["c1: a = Conv(x, w1)", "r: b = Relu(a)", "c2: y = Conv(b, w2)"]
    graph = build(lines, {"w1": (4, 3, 3, 3), "w2": (2, 4, 1, 1)}, ["y"], [1, 3, 16, 16])
    pixels = float_input(picture(16, 16), PLAIN) * np.float32(share)
    ctx = dataclasses.replace(context(whole_graph(), Pictures([{"x": pixels}])), pixels=PLAIN)
    run_pass(Quantize(), graph, ctx)
    (node,) = (node for node in graph.nodes if node.op == "QuantizeLinear" and node.inputs[0].name == "x")
    assert float(node.inputs[1].values) == pytest.approx(expected, rel=1e-3)
    _, done = take_bytes(graph)
    assert done.details["identities"] == (expected == 1 / 255)
