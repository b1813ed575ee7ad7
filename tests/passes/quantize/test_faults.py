"""Tests of the tests: each fault of a quantizer must be caught by comparing the quantized graph with the float one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pytest
from onnx.shape_inference import InferenceError
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, InvalidGraph, RuntimeException

from tests.oracles import run
from tests.passes.feeding import context, drawn, run_pass, whole_graph
from tests.passes.graphs import build
from yocc.compiler.graph import clone, refresh, to_proto, verify
from yocc.passes import quantize
from yocc.passes.quantize import Quantize, activations, placement
from yocc.passes.quantize import weights as weight_codes
from yocc.rewrites import qdq

Patch = pytest.MonkeyPatch
CAUGHT = (AssertionError, IndexError, ValueError, InferenceError, Fail, InvalidArgument, InvalidGraph, RuntimeException)
LEAST = 27.0
"""Signal-to-noise ratio in dB that 8 bits reach on the graph below, with 2 dB to spare."""


def weight_scale_on_the_wrong_axis(patch: Patch) -> None:
    right = weight_codes._channel_axis
    patch.setattr(weight_codes, "_channel_axis", lambda node: None if (axis := right(node)) is None else 1 - axis)


def zero_point_off_by_one(patch: Patch) -> None:
    """Codes are made with one zero point and read with the next."""
    right = quantize.insert_qdq

    def faulty(graph: Any, *given: Any) -> int:
        pairs = right(graph, *given)
        for node in graph.nodes:
            zero_point = node.inputs[-1]
            if node.op == "DequantizeLinear" and zero_point.values.dtype == np.uint8:
                node.inputs[-1] = type(zero_point)(f"{node.name}_next", np.asarray(zero_point.values + np.uint8(1)))
        return pairs

    patch.setattr(quantize, "insert_qdq", faulty)


def one_code_too_few(patch: Patch) -> None:
    rewrite(
        patch,
        "range_params",
        lambda params: dataclasses.replace(params, scale=np.asarray(params.scale / np.float32(2))),
    )


def rewrite(patch: Patch, name: str, change: Callable[[Any], Any]) -> None:
    place = activations if hasattr(activations, name) else quantize
    original = getattr(place, name)
    patch.setattr(place, name, lambda *given: change(original(*given)))


def broken_shared_scale(patch: Patch) -> None:
    right = placement._share
    patch.setattr(placement, "_share", lambda *given: tuple((name,) for group in right(*given) for name in group))


def bias_with_the_old_scale(patch: Patch) -> None:
    """The scale the bias was quantized with is not the one its layer multiplies with in the end."""
    right = qdq.quantize_bias

    def faulty(graph: Any, node: Any, input_scale: Any, weight_scale: Any) -> bool:
        done = right(graph, node, input_scale, weight_scale)
        if done:
            constant = node.inputs[2].inputs[0].inputs[1]
            constant.values = constant.values * np.float32(1.5)
        return done

    patch.setattr(weight_codes, "quantize_bias", faulty)


def swapped_clip_range(patch: Patch) -> None:
    original = activations.range_params
    patch.setattr(activations, "range_params", lambda low, high, scheme: original(-high, -low, scheme))


def bias_correction_of_the_wrong_sign(patch: Patch) -> None:
    right = quantize.correct_biases

    def faulty(graph: Any, layers: Any, *given: Any) -> int:
        before = {node.name: node.inputs[2].values for node in graph.nodes if node.name in layers}
        done = right(graph, layers, *given)
        for node in graph.nodes:
            if node.name in before:
                node.inputs[2].values = before[node.name] - 100 * (node.inputs[2].values - before[node.name])
        return done

    patch.setattr(quantize, "correct_biases", faulty)


def last_layer_quantized(patch: Patch) -> None:
    patch.setattr(placement, "final_layers", lambda _: [])


FAULTS = {
    "weight scale on the wrong axis": weight_scale_on_the_wrong_axis,
    "zero point off by one": zero_point_off_by_one,
    "scale of half the range": one_code_too_few,
    "shared scale broken": broken_shared_scale,
    "bias left with the old scale": bias_with_the_old_scale,
    "clip range swapped": swapped_clip_range,
    "bias correction of the wrong sign": bias_correction_of_the_wrong_sign,
    "last layer quantized": last_layer_quantized,
}


def check(bias_correction: Literal["empirical", "analytic", "none"] = "none") -> None:
    """Three quantized convolutions with a Concat and a pooling between them, and a last one."""
    lines = [
        "c1: a = Conv<pads=[1,1,1,1]>(x, w1, b1)",
        "r1: d = Relu(a)",
        "c2: e = Conv<pads=[1,1,1,1]>(d, w2, b2)",
        "p: f = MaxPool<kernel_shape=[3,3], pads=[1,1,1,1]>(d)",
        "j: g = Concat<axis=1>(e, f)",
        "c3: h = Conv(g, w3, b3)",
        "c4: y = Conv(h, w4, b4)",
    ]
    graph = build(lines, weights(), ["y"])
    refresh(graph)
    exact = to_proto(clone(graph))
    ctx = context(whole_graph(), drawn(exact, 8))
    run_pass(Quantize(bias_correction=bias_correction, rounding="nearest"), graph, ctx)
    refresh(graph)
    assert verify.problems(graph) == []
    assert_one_scale_where_codes_only_move(graph)
    layers = {node.name: node for node in graph.nodes}
    assert layers["c4"].inputs[1].name == "w4", "the last layer is float"
    for arrays in ctx.feeds or ():
        taps = [*"aehy", *(layers[name].inputs[1].name for name in ("c1", "c2", "c3"))]
        a = run(exact, arrays, taps=[*"aehy"])
        b = run(to_proto(graph), arrays, taps=taps)
        for tensor in "aehy":
            assert signal_to_noise(a[tensor], b[tensor]) > LEAST, tensor
        for name, stored in weights().items():
            if f"{name}_dequantized" in b:
                for channel, row in enumerate(stored):
                    assert signal_to_noise(row, b[f"{name}_dequantized"][channel]) > 30, (name, channel)


def weights() -> dict[str, Any]:
    """Square where they can be, so that a wrong axis still fits; output channels of very different size."""
    rng = np.random.default_rng(0)
    shapes = {"w1": (4, 4, 3, 3), "w2": (4, 4, 3, 3), "w3": (8, 8, 1, 1), "w4": (4, 8, 1, 1)}
    found: dict[str, Any] = {}
    for name, shape in shapes.items():
        sizes = 2.0 ** -np.arange(shape[0]) if name != "w4" else np.ones(4)
        found[name] = (rng.normal(size=shape) * sizes.reshape(-1, 1, 1, 1)).astype(np.float32)
        found[name.replace("w", "b")] = (rng.normal(size=shape[0]) * sizes).astype(np.float32)
    return found


def signal_to_noise(exact: np.ndarray, quantized: np.ndarray) -> float:
    """In dB; without noise as good as infinite."""
    exact = exact.astype(np.float64)
    return float(10 * np.log10(np.square(exact).mean() / max(np.square(quantized - exact).mean(), 1e-30)))


def assert_one_scale_where_codes_only_move(graph: Any) -> None:
    for node in graph.nodes:
        if node.op not in ("Concat", "MaxPool"):
            continue
        makers = [tensor.inputs[0] for tensor in node.inputs]
        readers = [reader for tensor in node.outputs for reader in tensor.outputs]
        scales = {float(pair.inputs[1].values) for pair in [*makers, *readers]}
        assert len(scales) == 1, f"{node.name} moves codes between scales {scales}"


@pytest.mark.parametrize("bias_correction", ["none", "analytic", "empirical"])
def test_without_a_fault_nothing_is_caught(bias_correction: Literal["empirical", "analytic", "none"]) -> None:
    check(bias_correction)


@pytest.mark.parametrize("name", FAULTS)
def test_the_fault_is_caught(name: str, monkeypatch: Patch) -> None:
    FAULTS[name](monkeypatch)
    with pytest.raises(CAUGHT):
        check("empirical" if "correction" in name else "none")
