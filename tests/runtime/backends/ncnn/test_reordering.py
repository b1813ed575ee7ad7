"""Reshape, Transpose, Reshape: with more axes in between than a blob of ncnn has."""

from __future__ import annotations

from pathlib import Path
from random import Random

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from tests.runtime.backends.ncnn.running import assert_same, needs_ncnn
from yocc.compiler.graph import load
from yocc.runtime.backends.ncnn.backend import NcnnBackend
from yocc.runtime.backends.ncnn.format import read_network


def _model(
    before: tuple[int, ...], between: list[int], order: list[int], behind: list[int], *, seen: bool = False
) -> onnx.ModelProto:
    """x viewed as `between`, transposed, viewed as `behind`; `seen` makes what is in between an output too."""
    nodes = [
        helper.make_node("Reshape", ["x", "between"], ["viewed"], name="view"),
        helper.make_node("Transpose", ["viewed"], ["moved"], name="move", perm=order),
        helper.make_node("Reshape", ["moved", "behind"], ["y"], name="join"),
    ]
    graph = helper.make_graph(
        nodes,
        "reordering",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, before)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ["y", *["moved"] * seen]],
        [numpy_helper.from_array(np.array(v, np.int64), n) for n, v in (("between", between), ("behind", behind))],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _feeds(*shape: int) -> dict[str, np.ndarray]:
    return {"x": np.arange(np.prod(shape), dtype=np.float32).reshape(shape)}


def _types(model: onnx.ModelProto, folder: Path) -> list[str]:
    backend = NcnnBackend()
    artifact = backend.build(load(model), backend.target({}), folder)
    network = read_network(artifact.model.read_text(), artifact.model.with_suffix(".bin").read_bytes())
    return [layer.type for layer in network.layers[1:]]


SPACE_TO_DEPTH = ((1, 3, 6, 8), [1, 3, 3, 2, 4, 2], [1, 12, 3, 4])
BLOCKS = {
    # YOLOv5's Contract, and pixel_unshuffle.
    "contract": (*SPACE_TO_DEPTH[:2], [0, 3, 5, 1, 2, 4], SPACE_TO_DEPTH[2], "Reorg"),
    "unshuffle": (*SPACE_TO_DEPTH[:2], [0, 1, 3, 5, 2, 4], SPACE_TO_DEPTH[2], "Reorg"),
    # YOLOv5's Expand, and pixel_shuffle.
    "expand": ((1, 12, 3, 4), [1, 2, 2, 3, 3, 4], [0, 3, 4, 1, 5, 2], [1, 3, 6, 8], "PixelShuffle"),
    "shuffle": ((1, 12, 3, 4), [1, 3, 2, 2, 3, 4], [0, 1, 4, 2, 5, 3], [1, 3, 6, 8], "PixelShuffle"),
}


@needs_ncnn
@pytest.mark.parametrize(("before", "between", "order", "behind", "layer"), BLOCKS.values(), ids=BLOCKS)
def test_moves_between_space_and_channels_are_one_layer(
    before: tuple[int, ...], between: list[int], order: list[int], behind: list[int], layer: str, tmp_path: Path
) -> None:
    model = _model(before, between, order, behind)
    assert _types(model, tmp_path) == [layer]
    assert_same(model, _feeds(*before), 0.0)


OTHERS = {
    # The focus of YOLOv5 writes columns before rows.
    "columns_first": (*SPACE_TO_DEPTH[:2], [0, 5, 3, 1, 2, 4], SPACE_TO_DEPTH[2]),
    # What YOLOv2's reorg begins with.
    "reorg": ((1, 3, 6, 8), [1, 3, 3, 2, 4, 2], [0, 1, 2, 4, 3, 5], [1, 3, 12, 4]),
    "oblong_blocks": ((1, 2, 6, 8), [1, 2, 3, 2, 2, 4], [0, 3, 5, 1, 2, 4], [1, 16, 3, 2]),
    "windows": ((1, 2, 6, 8), [1, 2, 3, 2, 4, 2], [0, 2, 4, 3, 5, 1], [1, 12, 8]),
    "seven_axes": ((1, 12, 6, 8), [1, 3, 4, 3, 2, 4, 2], [0, 4, 6, 2, 1, 3, 5], [1, 48, 3, 4]),
    "batch_moves": (*SPACE_TO_DEPTH[:2], [3, 0, 5, 1, 2, 4], SPACE_TO_DEPTH[2]),
    "without_batch": ((1, 3, 6, 8), [3, 3, 2, 4, 2], [2, 4, 0, 1, 3], [12, 12]),
    "axes_of_one": ((1, 3, 6, 8), [1, 3, 1, 6, 8, 1, 1], [0, 4, 5, 3, 6, 2, 1], [1, 8, 6, 3]),
}


@needs_ncnn
@pytest.mark.parametrize(("before", "between", "order", "behind"), OTHERS.values(), ids=OTHERS)
def test_other_orders_are_moves_of_at_most_four_axes(
    before: tuple[int, ...], between: list[int], order: list[int], behind: list[int], tmp_path: Path
) -> None:
    model = _model(before, between, order, behind)
    assert set(_types(model, tmp_path)) == {"Reshape", "Permute"}
    assert_same(model, _feeds(*before), 0.0)


@pytest.mark.slow
@needs_ncnn
@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from([1, 2, 3]), min_size=5, max_size=6), st.randoms(use_true_random=False))
def test_any_order_of_axes_is_kept(sizes: list[int], random: Random) -> None:
    order = list(range(1, len(sizes) + 1))
    random.shuffle(order)
    count = int(np.prod(sizes))
    shape = (1, sizes[0], count // sizes[0])
    assert_same(_model(shape, [1, *sizes], [0, *order], [1, -1, sizes[-1]]), _feeds(*shape), 0.0)


@needs_ncnn
@pytest.mark.parametrize(
    ("between", "order", "behind"),
    [
        ([1, 2, 6, 4, 5], [0, 2, 1, 3, 4], [1, 12, 4, 5]),
        ([6, 2, 20], [1, 0, 2], [1, 12, 4, 5]),
        ([3, 4, 20], [1, 0, 2], [4, 1, 3, 4, 5]),
    ],
    ids=["five_axes", "three_axes", "in_groups"],
)
def test_shuffled_channels_are_one_layer_however_they_are_exported(
    between: list[int], order: list[int], behind: list[int], tmp_path: Path
) -> None:
    model = _model((1, 12, 4, 5), between, order, behind)
    assert _types(model, tmp_path) == ["ShuffleChannel", "Reshape"][: 1 + (len(behind) > 4)]
    assert_same(model, _feeds(1, 12, 4, 5), 0.0)


@needs_ncnn
def test_halves_of_shuffled_channels_are_cut_out(tmp_path: Path) -> None:
    """The end of a ShuffleNetV2 block: both halves are picked by their index along the first axis."""
    model = _model((1, 16, 4, 5), [8, 2, 20], [1, 0, 2], [2, 1, 8, 4, 5])
    for place, name in enumerate(("first", "second")):
        model.graph.initializer.append(numpy_helper.from_array(np.array(place, np.int64), f"{name}_index"))
        model.graph.node.append(helper.make_node("Gather", ["y", f"{name}_index"], [name], name=f"{name}_half", axis=0))
    del model.graph.output[:]
    model.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("first", "second")
    )
    assert_same(model, _feeds(1, 16, 4, 5), 0.0)
    assert "Permute" not in _types(model, tmp_path)


REFUSED = {
    "read_elsewhere": _model((1, 3, 6, 8), [1, 3, 3, 2, 4, 2], [0, 3, 5, 1, 2, 4], [1, 12, 3, 4], seen=True),
    "too_many_axes": _model((1, 32, 16, 8), [1, 2, 4, 4, 2, 8, 2, 4], [0, 7, 6, 5, 4, 3, 2, 1], [1, 64, 64]),
}


@pytest.mark.parametrize("model", REFUSED.values(), ids=REFUSED)
def test_what_has_no_such_moves_is_refused_with_the_way_out(model: onnx.ModelProto) -> None:
    backend = NcnnBackend()
    rejects = backend.validate(load(model), backend.target({}))
    assert rejects[0].node == "view"
    assert "axes, and ncnn's blobs have at most 4" in rejects[0].reason
    assert "one Transpose and one Reshape" in rejects[0].hint
