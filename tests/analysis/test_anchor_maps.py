from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.passes.graphs import build
from yocc.analysis.anchor_maps import AnchorMaps, anchor_maps
from yocc.compiler.graph import load, refresh
from yocc.models.yolov5 import Scale, build_yolov5

HEAD = ("r: b = Reshape(a, split)", "t: c = Transpose<perm=[0, 1, 3, 4, 2]>(b)", "s: y = Sigmoid(c)")
CODES: dict[str, Any] = {
    "w": np.zeros((10, 4, 1, 1), np.int8),
    "s": np.ones(10, np.float32),
    "z": np.zeros(10, np.int8),
}


def found(*lines: str, outputs: tuple[str, ...] = ("y",), **constants: Any) -> list[AnchorMaps]:
    graph = build([*lines, *HEAD], {"split": np.array([1, 2, 5, 8, 8]), **constants}, list(outputs))
    refresh(graph)
    return list(anchor_maps(graph))


def test_the_levels_of_a_detector() -> None:
    graph = load(build_yolov5(Scale(depth=0.33, width=0.125), classes=3, size=64, batch_norm="fused"))
    maps = list(anchor_maps(graph))
    assert [each.conv.name for each in maps] == [f"/model.24/m.{level}/Conv" for level in range(3)]
    assert [each.shape for each in maps] == [(1, 3, 8, side, side) for side in (8, 4, 2)]
    assert all(each.is_divisible and each.is_product for each in maps)


def test_quantized_weights_can_be_divided_along_their_outputs() -> None:
    (maps,) = found("d: k = DequantizeLinear<axis=0>(w, s, z)", "c: a = Conv(x, k)", **CODES)
    assert maps.is_product
    (maps,) = found(
        "d: k = DequantizeLinear<axis=1>(w, s, z)",
        "c: a = Conv(x, k)",
        w=CODES["w"],
        s=np.ones(4, np.float32),
        z=np.zeros(4, np.int8),
    )
    assert not maps.is_divisible


@pytest.mark.parametrize(
    ("line", "shape"),
    [
        ("c: a = Conv<pads=[1, 1, 1, 1]>(x, w)", (10, 4, 3, 3)),
        ('c: a = Conv<auto_pad="SAME_UPPER">(x, w)', (10, 4, 1, 1)),
    ],
)
def test_other_convolutions_are_no_product(line: str, shape: tuple[int, ...]) -> None:
    (maps,) = found(line, w=shape)
    assert maps.is_divisible
    assert not maps.is_product


def test_what_others_read_or_groups_divide_stays_whole() -> None:
    (maps,) = found("c: a = Conv(x, w)", "e: z = Relu(a)", outputs=("y", "z"), w=(10, 4, 1, 1))
    assert not maps.is_divisible
    (maps,) = found("c: a = Conv<group=2>(x, w)", w=(10, 2, 1, 1))
    assert not maps.is_divisible


def test_what_splits_more_than_channels_is_none() -> None:
    graph = build(["c: a = Conv(x, w)", *HEAD], {"split": np.array([1, 10, 8, 4, 2]), "w": (10, 4, 1, 1)}, ["y"])
    refresh(graph)
    assert list(anchor_maps(graph)) == []
