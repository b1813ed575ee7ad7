from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import yocc
from tests.passes.feeding import context, run_pass
from tests.passes.graphs import build
from yocc.compiler.graph import Graph, load
from yocc.compiler.graph.sparsity import sparse_layers
from yocc.compiler.pipeline.passes import PassContext
from yocc.compiler.pipeline.target import Target
from yocc.compiler.stages.recipe import recipe_pipeline
from yocc.errors import InternalError, OptionError
from yocc.models.yolov5 import build_yolov5
from yocc.options import CompileOptions, CompressionRecipe
from yocc.passes.sparsify import Sparsify, mask


def run(graph: Graph) -> tuple[int, PassContext]:
    ctx = context(Target("t"))
    ctx.origin = "sparsify"
    step = Sparsify()
    count = run_pass(step, graph, ctx)
    step.ensures(graph, ctx)
    return count, ctx


@given(seed=st.integers(0, 1000), axis=st.integers(0, 3))
@settings(max_examples=30, deadline=None)
def test_the_two_larger_of_each_four_stay(seed: int, axis: int) -> None:
    shape = [2, 3, 2, 1]
    shape[axis] = 8
    weight = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    masked = mask(weight, axis)
    assert masked.shape == weight.shape
    for before, after in zip(_fours(weight, axis), _fours(masked, axis), strict=True):
        large = set(np.argsort(np.abs(before))[2:])
        assert {index for index in range(4) if after[index]} == large
        assert all(after[index] == before[index] for index in large)


def _fours(weight: np.ndarray[Any, Any], axis: int) -> np.ndarray[Any, Any]:
    return np.moveaxis(weight, axis, -1).reshape(-1, 4)


def test_of_equal_weights_the_first_stay() -> None:
    np.testing.assert_array_equal(mask(np.ones((1, 4), np.float32), 1), [[1, 1, 0, 0]])


def test_layers_of_a_detector_become_sparse_but_the_last() -> None:
    graph = load(build_yolov5("n", size=64, batch_norm="fused"))
    count, ctx = run(graph)
    assert len(sparse_layers(graph)) == count == 56
    reasons = {note.node: note.message for note in ctx.notes}
    assert sorted(name for name, text in reasons.items() if "last layer" in text) == [
        f"/model.24/m.{level}/Conv" for level in range(3)
    ]
    assert "not a multiple of 4" in reasons["/model.0/conv/Conv"]
    assert 0 < ctx.details["sparsify"]["removed_energy"] < 0.5
    assert 0.8 < ctx.details["sparsify"]["macs_share"] < 0.9


def test_a_weight_that_two_layers_read_is_masked_for_each() -> None:
    nodes = ["f: f1 = Flatten(x)", "a: g = Gemm(f1, w)", "b: h = Gemm<transB = 1>(g, w)", "l: y = Gemm(h, v)"]
    graph = build(nodes, {"w": (64, 64), "v": (64, 8)}, ["y"], [1, 1, 8, 8])
    assert run(graph)[0] == 2
    assert set(sparse_layers(graph)) == {"a", "b"}


def test_nothing_to_do_is_a_warning() -> None:
    count, ctx = run(build(["c: y = Conv(x, w)"], {"w": (4, 4, 1, 1)}, ["y"]))
    assert count == 0
    assert [note.level for note in ctx.notes] == ["info", "warning"]


def test_a_promise_that_is_not_kept_is_an_error_of_ours() -> None:
    graph = load(build_yolov5("n", size=64, batch_norm="fused"))
    _, ctx = run(graph)
    layer = next(node for node in graph.nodes if node.name == ctx.details["sparsify"]["layers"][0])
    layer.inputs[1].values = np.ones_like(layer.inputs[1].values)
    with pytest.raises(InternalError, match=layer.name):
        Sparsify().ensures(graph, ctx)


def test_other_patterns_are_refused() -> None:
    with pytest.raises(OptionError, match="1:2"):
        Sparsify(pattern="1:2")


def test_the_option_stands_for_the_pass() -> None:
    spec = str(recipe_pipeline(CompressionRecipe(int8=True, sparsity="2:4")))
    assert spec == "fp32,simplify,fuse,sparsify,quantize,quantize_weights"
    with pytest.raises(OptionError, match="A pipeline states every pass"):
        CompileOptions.of(pipeline="simplify", sparsity="2:4")


@pytest.mark.slow
def test_zeros_survive_quantization(tmp_path: Any) -> None:
    report = yocc.compile(
        build_yolov5("n", size=32), int8=True, sparsity="2:4", target="tensorrt", count=2, out=tmp_path / "out",
        bench=False, fidelity=False,
    )  # fmt: skip
    assert len(sparse_layers(load(report.model))) == 56
    assert "--sparsity=enable" in (tmp_path / "out" / "build.sh").read_text()


def test_a_weight_that_layers_share_stays_shared() -> None:
    nodes = ["c0: a = Conv(x, w)", "c1: b = Conv(x, w)", "m: c = Add(a, b)", "c2: y = Conv(c, v)"]
    graph = build(nodes, {"w": (8, 8, 1, 1), "v": (4, 8, 1, 1)}, ["y"], [1, 8, 4, 4])
    run_pass(Sparsify(), graph, PassContext(Target("test")))
    first, second = (node.inputs[1] for node in graph.nodes if node.name in ("c0", "c1"))
    assert first is second
    assert np.count_nonzero(first.values) == 32
