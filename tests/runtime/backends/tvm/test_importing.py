from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.passes.graphs import build
from tests.runtime.backends.tvm.needs import needs_tvm
from yocc.errors import BackendError
from yocc.runtime.backends.tvm.backend import TvmBackend
from yocc.runtime.backends.tvm.files import read_facts

SIX = {"lo": np.float32(0), "hi": np.float32(6), "three": np.float32(3), "six": np.float32(6)}


def _agrees(tmp_path: Path, nodes: list[str], weights: dict[str, Any], opset: int = 17, side: int = 9) -> None:
    """A library of `x` [1, 4, side, side] through a convolution `c` and these nodes to `y` equals onnxruntime."""
    size = [1, 4, side, side]
    graph = build(["c0: c = Conv(x, w)", *nodes], {"w": (8, 4, 1, 1), **weights}, ["y"], size, opset)
    backend = TvmBackend()
    (check,) = backend.verify(backend.build(graph, backend.target({}), tmp_path))
    assert check.passed, check.message


@needs_tvm
@pytest.mark.parametrize(
    ("nodes", "weights", "opset"),
    [
        (["a: y = Clip(c, lo, hi)"], SIX, 17),
        (["a: y = Clip(c, , hi)"], SIX, 17),
        (["a: y = Clip<min = 0.0, max = 6.0>(c)"], {}, 10),
        (["a: d = Add(c, three)", "b: e = Clip(d, lo, hi)", "m: f = Mul(c, e)", "v: y = Div(f, six)"], SIX, 17),
        (["a: y = HardSwish(c)"], {}, 17),
        (["a: y = HardSigmoid<alpha = 0.25>(c)"], {}, 17),
        (["r: r = Relu(c)", "n: n = Neg(c)", "a: y = Sum(c, r, n)"], {}, 17),
        (["r: r = Relu(c)", "n: n = Neg(c)", "a: y = Mean(c, r, n)"], {}, 17),
        (["r: r = Relu(c)", "n: n = Neg(c)", "a: y = Max(n, r, three)"], SIX, 17),
        (["a: y = Min(c, three)"], SIX, 17),
    ],
    ids=["relu6", "upper", "attributes", "swish", "hard_swish", "hard_sigmoid", "sum", "mean", "max", "min"],
)
def test_elementwise_operators_compute_what_onnx_defines(
    tmp_path: Path, nodes: list[str], weights: dict[str, Any], opset: int
) -> None:
    _agrees(tmp_path, nodes, weights, opset)


@needs_tvm
@pytest.mark.parametrize(
    ("nodes", "weights", "opset"),
    [
        (["a: y = Pad(c, p)"], {"p": [0, 0, 0, 0, 0, 0, 1, 1]}, 17),
        (["a: y = Pad(c, p, six)"], {"p": [0, 1, 2, 0, 0, 3, 0, 1], **SIX}, 17),
        (['a: y = Pad<mode = "reflect">(c, p)'], {"p": [0, 0, 2, 1, 0, 0, 1, 2]}, 17),
        (['a: y = Pad<mode = "edge">(c, p)'], {"p": [0, 0, 2, 1, 0, 0, 1, 2]}, 17),
        (["a: y = Pad(c, p)"], {"p": [0, 0, -1, 1, 0, 0, 2, -2]}, 17),
        (["a: y = Pad(c, p, , axes)"], {"p": [1, 2, 3, 0], "axes": [3, -2]}, 18),
        (["a: y = Pad<pads = [0, 0, 1, 2, 0, 0, 2, 1], value = 2.0>(c)"], {}, 10),
    ],
    ids=["zeros", "channels", "reflect", "edge", "negative", "axes", "attributes"],
)
def test_pads_of_every_kind_are_computed(tmp_path: Path, nodes: list[str], weights: dict[str, Any], opset: int) -> None:
    _agrees(tmp_path, nodes, weights, opset)


@needs_tvm
@pytest.mark.parametrize(
    ("nodes", "weights", "opset"),
    [
        (["u: d = Unsqueeze(c, last)", "s: y = Squeeze(d, ends)"], {"last": [-1], "ends": [0, -1]}, 17),
        (["a: b = Abs(c)", "p: y = Pow(b, n)"], {"n": np.array(3, np.int64)}, 17),
        (["n: y = LayerNormalization<axis = 1>(c, s, b)"], {"s": (8, 9, 9), "b": (8, 9, 9)}, 17),
        (["n: y = LayerNormalization<axis = -2, epsilon = 0.5>(c, s)"], {"s": (9, 9)}, 17),
        (["n: y = LayerNormalization(c, s, b)"], {"s": (9,), "b": (9,)}, 17),
        (["n: y = RMSNormalization(c, s)"], {"s": (9,)}, 23),
        (["n: y = MeanVarianceNormalization(c)"], {}, 17),
    ],
    ids=["squeeze", "integer power", "layers", "layers without bias", "last", "root", "variance"],
)
def test_operators_that_the_importer_reads_otherwise_are_computed(
    tmp_path: Path, nodes: list[str], weights: dict[str, Any], opset: int
) -> None:
    _agrees(tmp_path, nodes, weights, opset)


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        (["n: y = CumSum(x, axis)"], "no kernel"),
        (["n: y, places = TopK(x, most)"], "sorts"),
        (["n: y, places = MaxPool<kernel_shape = [2, 2]>(x)"], "does not tell where"),
    ],
)
def test_operators_without_kernels_are_named(nodes: list[str], words: str) -> None:
    graph = build(nodes, {"axis": np.array(2, np.int64), "most": [2]}, ["y"])
    (reject,) = TvmBackend().validate(graph, TvmBackend().target({}))
    assert (reject.node, words in reject.reason) == ("n", True)


@pytest.mark.slow
@needs_tvm
@pytest.mark.parametrize("automatic", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize(
    "node",
    [
        'a: y = MaxPool<kernel_shape = [3, 2], strides = [2, 2], auto_pad = "{}">(c)',
        'a: y = AveragePool<kernel_shape = [2, 3], strides = [2, 2], auto_pad = "{}">(c)',
        'a: y = Conv<strides = [2, 2], auto_pad = "{}">(c, v)',
    ],
    ids=["max", "average", "convolution"],
)
def test_windows_that_pad_themselves_are_computed(tmp_path: Path, node: str, automatic: str) -> None:
    _agrees(tmp_path, [node.format(automatic)], {"v": (8, 8, 4, 3)})


@pytest.mark.slow
@needs_tvm
@pytest.mark.parametrize("coordinates", ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"])
@pytest.mark.parametrize("rounding", ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
def test_the_nearest_neighbor_is_that_of_onnx(tmp_path: Path, coordinates: str, rounding: str) -> None:
    modes = f'mode = "nearest", coordinate_transformation_mode = "{coordinates}", nearest_mode = "{rounding}"'
    nodes = [f"a: d = Resize<{modes}>(c, , s)", f"b: y = Resize<{modes}>(d, , , t)"]
    weights = {"s": np.array([1, 1, 1.5, 2], np.float32), "t": [1, 8, 7, 5]}
    _agrees(tmp_path, nodes, weights, side=8)


@needs_tvm
@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_upsample_is_computed(tmp_path: Path, mode: str) -> None:
    _agrees(tmp_path, [f'a: y = Upsample<mode = "{mode}">(c, s)'], {"s": np.array([1, 1, 2, 3], np.float32)}, opset=9)


@needs_tvm
def test_clips_between_convolutions_leave_no_kernel_without_a_schedule(tmp_path: Path) -> None:
    nodes = ["c0: c = Conv(x, w)", "a: d = Clip(c, lo, hi)", "p: e = Pad(d, pads)", "c1: y = Conv(e, v)"]
    weights = {"w": (8, 4, 1, 1), "v": (8, 8, 3, 3), "pads": [0, 0, 0, 0, 0, 0, 1, 1], **SIX}
    backend = TvmBackend()
    backend.build(build(nodes, weights, ["y"]), backend.target({}), tmp_path)
    assert read_facts(tmp_path).unscheduled == ()


@needs_tvm
def test_a_node_that_cannot_be_imported_is_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    graph = build(['twist: y = Einsum<equation = "abcd,abcd->abcd">(x, x)'], {}, ["y"])
    graph.nodes[0].attrs["equation"] = "nonsense"
    backend = TvmBackend()
    with pytest.raises(BackendError, match="TVM cannot import the Einsum 'twist'") as caught:
        backend.build(graph, backend.target({}), tmp_path)
    assert caught.value.node == "twist"
    assert "onnxruntime" in caught.value.hint
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ('mode = "linear", antialias = 1', "does not smooth"),
        ('mode = "linear", axes = [2, 3]', "axes"),
        ('mode = "linear", coordinate_transformation_mode = "half_pixel_symmetric"', "half_pixel_symmetric"),
        ('mode = "linear"', "other factors"),
    ],
)
def test_forms_of_resize_that_tvm_reads_otherwise_are_rejected(attributes: str, words: str) -> None:
    scales = np.array([2, 1.3] if "axes" in attributes else [1, 1, 2, 1.3], np.float32)
    graph = build([f"r: y = Resize<{attributes}>(x, , s)"], {"s": scales}, ["y"], opset=19)
    (reject,) = TvmBackend().validate(graph, TvmBackend().target({}))
    assert (reject.node, words in reject.reason) == ("r", True)
    assert "onnxruntime" in reject.hint
