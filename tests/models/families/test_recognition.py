"""Every family on every detector: each is recognized by its own family and by no other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import numpy_helper

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
    "yolov8 of a finer grid": ("yolov8", lambda: yolov8(0, size=64, strides=(4, 8, 16, 32))),
    "yolov8 of two coarse grids": ("yolov8", lambda: yolov8(0, size=64, strides=(16, 32))),
    "yolov8 masks of two grids": ("yolov8", lambda: yolov8(0, size=64, strides=(8, 16), task="segment", more=6)),
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


@pytest.mark.parametrize("strides", [(8, 16, 32), (8, 16, 32, 64), (4, 8, 16, 32), (16, 32)])
def test_rows_of_yolov5_tell_their_grids(strides: tuple[int, ...]) -> None:
    """The cells of strides 4 to 32 are four times those of 8 to 64: the number of anchors decides."""
    found = find_family(load(rows_of_anchors(strides, size=64))).profile
    assert found is not None
    assert (found.family, found.strides) == ("yolov5", strides)


def rows_of_anchors(strides: tuple[int, ...], size: int) -> onnx.ModelProto:
    """Three anchors and two classes, decoded by a sigmoid alone."""
    random, nodes, weights, rows = np.random.default_rng(0), [], {}, []
    for stride in strides:
        side = size // stride
        weights[f"w{stride}"] = random.normal(size=(21, 3, 1, 1)).astype(np.float32)
        weights[f"grid{stride}"], weights[f"rows{stride}"] = np.array([1, 3, 7, side * side]), np.array([1, -1, 7])
        nodes += [
            f"p{stride} = AveragePool<kernel_shape = [{stride}, {stride}], strides = [{stride}, {stride}]>(images)",
            f"c{stride} = Conv(p{stride}, w{stride})",
            f"g{stride} = Reshape(c{stride}, grid{stride})",
            f"t{stride} = Transpose<perm = [0, 1, 3, 2]>(g{stride})",
            f"s{stride} = Sigmoid(t{stride})",
            f"r{stride} = Reshape(s{stride}, rows{stride})",
        ]
        rows.append(f"r{stride}")
    nodes.append(f"output0 = Concat<axis = 1>({', '.join(rows)})")
    count = 3 * sum((size // stride) ** 2 for stride in strides)
    ports = f"(float[1, 3, {size}, {size}] images) => (float[1, {count}, 7] output0)"
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> g {ports} {{ {" ".join(nodes)} }}')
    model.graph.initializer.extend(numpy_helper.from_array(values, name) for name, values in weights.items())
    return model
