"""What cannot be known is refused, and the node is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.passes.graphs import Value, build
from tests.passes.resize_input.resizing import resize
from yocc.errors import OptionError, PassError, YoccError

SIDE = [1, 3, 16, 16]
DOWN = "c: a = Conv<strides=[2,2], pads=[1,1,1,1]>(x, w)"
KERNEL: dict[str, Value] = {"w": (8, 3, 3, 3)}
THREE_QUARTERS = np.array([1, 1, 0.75, 0.75], np.float32)


def _refused(nodes: list[str], weights: dict[str, Value], spec: str, shape: list[int | str] | None = None) -> YoccError:
    with pytest.raises(YoccError) as caught:
        resize(build(nodes, {**KERNEL, **weights}, ["y"], shape or SIDE), spec)
    return caught.value


@pytest.mark.parametrize(
    ("nodes", "weights", "what"),
    [
        (["r: b = Flatten(a)", "bad: y = Gemm(b, v)"], {"v": (512, 5)}, "made for 512 inputs"),
        (["r: b = Reshape(a, s)", "bad: y = Gemm(b, v)"], {"s": [1, 512], "v": (512, 5)}, "made for 512 inputs"),
        (["r: b = Reshape(a, s)", "bad: y = MatMul(b, v)"], {"s": [1, 8, 64], "v": (64, 5)}, "made for 64 inputs"),
        (["bad: y = AveragePool<kernel_shape=[8,8]>(a)"], {}, "covers the whole map"),
        (["bad: y = Conv(a, v)"], {"v": (4, 8, 8, 8)}, "covers the whole map"),
        (["bad: y = Reshape(a, s)"], {"s": [1, 8, 4, 2, 8]}, "cuts an axis"),
        (["bad: y = Reshape(a, s)"], {"s": [1, 8, 4, -1, 8]}, "cuts an axis"),
        (["bad: y = Resize(a, , , s)"], {"s": [1, 8, 12, 12]}, "size of its own"),
        (["bad: y = Resize(a, , , s)"], {"s": [1, 8, 4, 4]}, "size of its own"),
        (["bad: y = Resize(a, , f)"], {"f": THREE_QUARTERS}, "size of its own"),
        (["bad: y = Slice(a, b, e, d)"], {"b": [0], "e": [5], "d": [2]}, "0 to 5 of 8"),
        (["bad: y = Slice(a, b, e, d)"], {"b": [3], "e": [8], "d": [2]}, "3 to 8 of 8"),
        (["bad: y, z = Split<axis=2>(a, s)"], {"s": [6, 2]}, "not how it was joined"),
        (["bad: y = Gather<axis=2>(a, i)"], {"i": [3]}, "by their number"),
        (["bad: y = LayerNormalization<axis=2>(a, g)"], {"g": (8, 8)}, "normalizes"),
        (["r: b = Reshape(a, s)", "bad: y, z = TopK<axis=2>(b, k)"], {"s": [1, 8, 64], "k": [64]}, "takes 64 of 64"),
        (["bad: y = Add(a, k)"], {"k": (1, 8, 8, 8)}, "no detector of a known family"),
        (["bad: y = Concat<axis=1>(a, k)"], {"k": (1, 2, 8, 8)}, "no detector of a known family"),
        (['bad: y = Einsum<equation="bchw,hwk->bck">(a, k)'], {"k": (8, 8, 2)}, "nothing is known of the operator"),
        (["r: b = Reshape(a, s)", "t: d = Transpose<perm=[0,2,1]>(b)", "bad: y = BatchNormalization(d, g, g, g, g)"],
         {"s": [1, 8, 64], "g": (64,)}, "into its channels"),
    ],
)  # fmt: skip
def test_a_node_made_for_one_size_is_named(nodes: list[str], weights: dict[str, Value], what: str) -> None:
    error = _refused([DOWN, *nodes], weights, "size=24")
    assert isinstance(error, PassError)
    assert error.node == "bad"
    assert what in error.message
    assert "Export the model" in error.hint


def test_numbers_that_may_be_the_size_in_pixels_are_refused() -> None:
    nodes = [DOWN, "s: b = Sigmoid(a)", "bad: y = Mul(b, k)"]
    error = _refused(nodes, {"k": np.array(128, np.float32)}, "size=96", [1, 3, 128, 128])
    assert error.node == "bad"
    assert "128 pixels" in error.message
    graph, _ = resize(build(nodes, {**KERNEL, "k": np.array(127.5, np.float32)}, ["y"], [1, 3, 128, 128]), "size=96")
    assert graph.inputs[0].shape == [1, 3, 96, 96]


@pytest.mark.parametrize(("size", "hint"), [("25", "Use 24 or 28."), ("3", "Use 4."), ("24x30", "Use 28 or 32.")])
def test_sides_are_multiples_of_the_largest_stride(size: str, hint: str) -> None:
    nodes = [DOWN, "d: y = MaxPool<kernel_shape=[2,2], strides=[2,2]>(a)"]
    error = _refused(nodes, {}, f"size={size}")
    assert isinstance(error, OptionError)
    assert "not a multiple of 4, the largest stride" in error.message
    assert error.hint == hint


def test_a_side_that_stays_need_not_be_a_multiple() -> None:
    graph, _ = resize(build([DOWN.replace("a =", "y =")], KERNEL, ["y"], [1, 3, 17, 16]), "size=17x32")
    assert graph.inputs[0].shape == [1, 3, 17, 32]


@pytest.mark.parametrize("shape", [[1, 7], [1, 5, 16, 16], [1, 3, 16]])
def test_a_model_without_pictures_has_no_size(shape: list[int]) -> None:
    error = _refused(["n: y = Neg(x)"], {}, "size=32", shape)
    assert isinstance(error, OptionError)
    assert f"takes 'x' {shape}" in error.message


def test_a_batch_that_is_picked_from_cannot_stay_open() -> None:
    error = _refused([DOWN, "bad: y = Gather<axis=0>(a, i)"], {"i": np.array(0)}, "batch=n")
    assert error.node == "bad"


def test_nothing_is_changed_by_an_open_size_that_does_not_fit() -> None:
    nodes = [DOWN, "r: y = Reshape(a, s)"]
    error = _refused(nodes, {"s": [1, 8, 64]}, "size=24", [1, 3, "height", "width"])
    assert error.node == "r"


def test_priors_of_an_unknown_family_are_refused(shared_data: Path) -> None:
    with pytest.raises(PassError, match="made for the old size"):
        resize(shared_data / "models" / "ultraface_rfb320_op9.onnx", "size=448x640")
