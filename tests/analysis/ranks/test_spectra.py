from __future__ import annotations

import numpy as np
import pytest

from tests.oracles import run
from tests.passes.feeding import context, smooth
from tests.passes.graphs import build
from yocc.analysis.ranks.layers import Form, find_layers
from yocc.analysis.ranks.spectra import LayerSpectrum, spectra_on_pictures
from yocc.compiler.graph import load, refresh, to_proto
from yocc.compiler.graph.shapes import concrete_shapes
from yocc.rewrites.low_rank import split_layer

NODES = ["c: a = Conv<pads = [1, 1, 1, 1]>(x, w, b)", "d: h = Mod<fmod = 1>(a, k)", "e: y = Conv(h, v)"]
"""Errors cannot be followed through Mod, so that all outputs of a layer count alike."""


def measured(count: int) -> tuple[bytes, LayerSpectrum]:
    weights = {"w": (8, 4, 3, 3), "b": (8,), "k": np.array(2.0, np.float32), "v": (4, 8, 1, 1)}
    graph = build(NODES, weights, ["y"])
    ctx = context(feeds=smooth(to_proto(graph), count))
    shapes = concrete_shapes(graph)
    layers, _ = find_layers(graph, shapes)
    assert ctx.feeds is not None
    spectra, by = spectra_on_pictures(graph, shapes, layers, ctx.feeds, ctx, count=count)
    assert by == "variance"
    return to_proto(graph).SerializeToString(), spectra["c"]


@pytest.mark.parametrize("form", ["outputs", "vertical", "horizontal"])
def test_the_foreseen_loss_is_what_the_layer_loses(form: Form) -> None:
    """On the pictures it was measured on, all of whose positions were looked at, and without a mean error."""
    data, found = measured(5)
    rank = 3
    graph = load(data)
    layers, _ = find_layers(graph, concrete_shapes(graph))
    split_layer(graph, layers["c"], found.split(form, rank))
    refresh(graph)
    whole, changed = load(data), to_proto(graph)
    pairs = [
        (run(to_proto(whole), arrays, ["a"])["a"], run(changed, arrays, ["a"])["a"]) for arrays in smooth(changed, 5)
    ]
    wanted, given = (np.concatenate(parts).astype(np.float64) for parts in zip(*pairs, strict=True))
    lost = np.square(given - wanted).mean(axis=(0, 2, 3)).sum() / wanted.var(axis=(0, 2, 3)).sum()
    assert found.losses()[form][rank] == pytest.approx(lost, rel=1e-3)
    np.testing.assert_allclose(given.mean(axis=(0, 2, 3)), wanted.mean(axis=(0, 2, 3)), atol=1e-5)


def test_more_components_lose_less() -> None:
    _, found = measured(3)
    for lost in found.losses().values():
        assert (np.diff(lost) <= 1e-9).all()
        assert lost[0] == pytest.approx(1)


def test_few_samples_do_not_hide_what_is_lost() -> None:
    """A classifier's last layers see one sample a picture, and four of them vary along three directions."""
    nodes = [
        "p: g = GlobalAveragePool(x)",
        "f: h = Flatten(g)",
        "d: k = Gemm<transB=1>(h, v)",
        "e: y = Gemm<transB=1>(k, u)",
    ]
    graph = build(nodes, {"v": (16, 12), "u": (16, 16)}, ["y"], [1, 12, 8, 8])
    shapes = concrete_shapes(graph)
    layers, _ = find_layers(graph, shapes)
    lost = {}
    for count in (4, 64):
        ctx = context(feeds=smooth(to_proto(graph), count))
        assert ctx.feeds is not None
        spectra, _ = spectra_on_pictures(graph, shapes, layers, ctx.feeds, ctx, count=count)
        losses = spectra["d"].losses()["outputs"]
        lost[count] = losses / losses[0]
    assert lost[4][4] > 0.2
    assert lost[4][4] == pytest.approx(lost[64][4], abs=0.2)
