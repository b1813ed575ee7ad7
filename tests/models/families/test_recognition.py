"""Every family on every detector: each is recognized by its own family and by no other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from tests.networks.heads import HEADS
from tests.networks.yolov8 import yolov8
from tests.networks.yolox import yolox
from yocc.compiler.graph import Graph, load
from yocc.models.families.family import families, find_family
from yocc.models.families.reading import picture_input

BUILT: dict[str, tuple[str, Callable[[], onnx.ModelProto]]] = {
    **HEADS,
    "yolox": ("yolox", lambda: yolox(0)),
    "yolox decoded": ("yolox", lambda: yolox(0, decoded=True)),
    "yolov8": ("yolov8", lambda: yolov8(0, size=64, strides=(8, 16, 32))),
    "yolov8 masks": ("yolov8", lambda: yolov8(0, size=64, strides=(8, 16, 32), task="segment", more=6)),
    "yolov8 keypoints": ("yolov8", lambda: yolov8(0, size=64, strides=(8, 16, 32), task="pose", more=9)),
    "yolov8 angles": ("yolov8", lambda: yolov8(0, size=64, strides=(8, 16, 32), task="obb", more=1)),
}
PUBLISHED = {
    "yolov5n.onnx": "yolov5",
    "yolov5n_bn.onnx": "yolov5",
    "yolov5n_raw_op12.onnx": "yolov5",
    "yolov5n_dynamic.onnx": "yolov5",
    "yolov5n_fp16cast_op12.onnx": "yolov5",
    "yolox_nano.onnx": "yolox",
    "nanodet_m.onnx": "nanodet",
    "fastestv2.onnx": "yolo_fastestv2",
    "yunet.onnx": "yunet",
    "ultraface_rfb320_op9.onnx": "ssd",
    "squeezenet11.onnx": "",
}


def recognizing(graph: Graph) -> set[str]:
    """Every family that takes the graph for its own, asked one by one."""
    picture = picture_input(graph, graph.metadata)
    assert picture is not None
    asked = {
        name: plugin.loaded().recognize(graph, picture, graph.metadata)
        for name, plugin in families().items()
        if plugin.distribution == "yocc" and plugin.loaded is not None
    }
    return {name for name, profile in asked.items() if profile is not None}


@pytest.mark.parametrize("name", sorted(BUILT))
def test_built_detectors_are_of_one_family(name: str) -> None:
    family, build = BUILT[name]
    graph = load(build())
    assert recognizing(graph) == {family}
    found = find_family(graph)
    assert found.problems == ()
    assert found.profile is not None
    assert found.profile.protected <= set(graph.tensors())


@pytest.mark.slow
def test_published_detectors_are_of_one_family(shared_data: Path) -> None:
    found = {name: recognizing(load(shared_data / "models" / name)) for name in PUBLISHED}
    assert found == {name: {family} - {""} for name, family in PUBLISHED.items()}


@pytest.mark.parametrize("name", sorted(HEADS))
def test_nodes_and_tensors_may_have_any_name(name: str) -> None:
    family, build = HEADS[name]
    graph = load(build())
    for number, node in enumerate(graph.nodes):
        node.name = f"n{number}"
    for number, tensor in enumerate(graph.tensors().values()):
        tensor.name = f"t{number}"
    assert recognizing(graph) == {family}
