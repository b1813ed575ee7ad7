from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from tests.networks.topologies import TOPOLOGIES
from tests.oracles import run
from tests.passes.feeding import context, run_pass, smooth, whole_graph
from tests.passes.graphs import build
from yocc.analysis.layouts import _notable
from yocc.compiler.graph import Graph, clone, convert_opset, load, refresh, to_proto, verify
from yocc.compiler.pipeline.target import Target, TensorScheme
from yocc.passes.fuse import Fuse
from yocc.passes.quantize import Quantize
from yocc.passes.quantize.refit import can_refit


def fused(name: str) -> Graph:
    graph = convert_opset(load(TOPOLOGIES[name](seed=0)), 13)
    run_pass(Fuse(), graph, context())
    refresh(graph)
    return graph


def error(graph: Graph, target: Target, rounding: str) -> float:
    """Squared error of the outputs on pictures that nothing was fitted to."""
    result = clone(graph)
    run_pass(Quantize(rounding=rounding), result, context(target, smooth(to_proto(graph), 32)))
    refresh(result)
    assert verify.problems(result) == []
    exact, quantized = to_proto(graph), to_proto(result)
    pictures = list(smooth(exact, 40))[32:]
    pairs = [(run(exact, one), run(quantized, one)) for one in pictures]
    return float(sum(np.square(b[name] - a[name], dtype=np.float64).sum() for a, b in pairs for name in a))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["residual", "c2f"])
def test_fitting_to_the_float_network_lowers_the_error(name: str) -> None:
    """With coarse weights, so that their errors are not hidden behind those of the activations."""
    target = dataclasses.replace(Target("inputs"), weights=TensorScheme(bits=4, per_channel=True))
    graph = fused(name)
    assert error(graph, target, "gram") < 0.8 * error(graph, target, "nearest")


@pytest.mark.slow
def test_biases_of_fitted_layers_have_the_scale_of_their_products() -> None:
    graph = fused("residual")
    run_pass(Quantize(rounding="gram"), graph, context(whole_graph(), smooth(to_proto(graph), 16)))
    refresh(graph)
    checked = 0
    for node in (node for node in graph.nodes if node.op == "Conv"):
        weight, bias = (node.inputs[slot].inputs for slot in (1, 2))
        if weight and bias and weight[0].op == bias[0].op == "DequantizeLinear":
            scale = node.inputs[0].inputs[0].inputs[1].values * weight[0].inputs[1].values
            np.testing.assert_allclose(bias[0].inputs[1].values, scale, rtol=1e-6)
            checked += 1
    assert checked


@pytest.mark.parametrize(
    ("line", "weights", "fits"),
    [
        ("c: y = Conv(x, w, b)", {"w": (6, 4, 3, 3), "b": (6,)}, True),
        ("c: y = Conv(x, w)", {"w": (6, 4, 3, 3)}, True),
        ("c: y = Conv<group=4>(x, w)", {"w": (4, 1, 3, 3)}, False),
        ("c: y = ConvTranspose(x, w)", {"w": (4, 6, 2, 2)}, False),
        ("c: y = MatMul(x, w)", {"w": (8, 6)}, False),
        ('c: y = Conv<auto_pad="SAME_UPPER">(x, w)', {"w": (6, 4, 3, 3)}, True),
    ],
)
def test_layers_that_are_a_matrix_of_samples_can_be_fitted(line: str, weights: dict, fits: bool) -> None:
    assert can_refit(build([line], weights, ["y"]).nodes[0]) is fits


def test_positions_of_objects_are_drawn_more_often() -> None:
    outputs = np.zeros((3, 1000), np.float32)
    outputs[:, 10:20] = 5
    chosen = _notable(outputs, 40, np.random.default_rng(0))
    assert len(chosen) <= 40
    assert (np.diff(chosen) >= 0).all()
    assert np.count_nonzero((chosen >= 10) & (chosen < 20)) >= 9


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_constant_outputs_are_sampled_alike(value: float) -> None:
    chosen = _notable(np.full((2, 100), value, np.float32), 10, np.random.default_rng(0))
    assert 5 <= len(chosen) <= 10


@pytest.mark.slow
def test_weights_are_fitted_on_pictures_but_not_on_drawn_ones() -> None:
    graph = fused("residual")

    def quantized(*, synthetic: bool, **options: Any) -> bytes:
        result = clone(graph)
        pictures = smooth(to_proto(graph), 16)
        pictures.synthetic = synthetic
        run_pass(Quantize(**options), result, context(Target("inputs"), pictures))
        refresh(result)
        return to_proto(result).SerializeToString(deterministic=True)

    assert quantized(synthetic=False) == quantized(synthetic=False, rounding="gram")
    assert quantized(synthetic=False) != quantized(synthetic=False, rounding="nearest")
    assert quantized(synthetic=True) == quantized(synthetic=True, rounding="nearest")
