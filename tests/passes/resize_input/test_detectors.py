from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.networks.yolov8 import yolov8
from tests.networks.yolox import yolox
from tests.oracles import run
from tests.passes.resize_input.resizing import outputs_of, resize
from yocc.compiler.graph import load, to_proto
from yocc.errors import PassError
from yocc.models.families.family import find_profile
from yocc.models.yolov5 import Scale, build_yolov5

SIZES = [(320, 320), (480, 480), (384, 640)]
STATIC = ["yolov5n", "yolov5n_bn", "yolov5n_raw_op12"]


def _v5(size: int) -> onnx.ModelProto:
    return build_yolov5(Scale(0.1, 0.05), size=size, classes=3)


def _v5_raw(size: int) -> onnx.ModelProto:
    return build_yolov5(Scale(0.1, 0.05), size=size, classes=3, decoded=False)


def _v8(size: int) -> onnx.ModelProto:
    return yolov8(1, size=size, strides=(8, 16, 32))


def _x(size: int) -> onnx.ModelProto:
    return yolox(1, size=size)


def _x_decoded(size: int) -> onnx.ModelProto:
    return yolox(1, size=size, decoded=True)


DETECTORS = [_v5, _v5_raw, _v8, _x, _x_decoded]
SLOW = [pytest.param(build, marks=pytest.mark.slow) for build in DETECTORS]


@pytest.mark.parametrize("build", DETECTORS)
@pytest.mark.parametrize(
    ("old", "new"),
    [(64, 96), *(pytest.param(*sizes, marks=pytest.mark.slow) for sizes in ((64, 128), (128, 64), (96, 32)))],
)
def test_a_resized_detector_is_the_one_built_at_that_size(
    build: Callable[[int], onnx.ModelProto], old: int, new: int
) -> None:
    graph, _ = resize(build(old), f"size={new}")
    for ours, theirs in zip(outputs_of(graph, (1, 3, new, new)), outputs_of(build(new), (1, 3, new, new)), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    before, after = find_profile(load(build(old))), find_profile(graph)
    assert before is not None
    assert after is not None
    assert (after.size, after.family, after.strides) == ((new, new), before.family, before.strides)


@pytest.mark.slow
@pytest.mark.parametrize("build", DETECTORS)
def test_rectangles_say_how_many_cells_they_have(build: Callable[[int], onnx.ModelProto]) -> None:
    graph, done = resize(build(64), "size=64x96")
    found = outputs_of(graph, (1, 3, 64, 96))
    assert [list(each.shape) for each in found] == [list(tensor.shape) for tensor in graph.outputs]
    assert sum(each.size for each in found) % (96 + 24 + 6) == 0
    assert done.details["stride"] == 32


@pytest.mark.slow
@pytest.mark.parametrize("build", [*SLOW[:-1], _x_decoded])
def test_pictures_of_a_batch_do_not_mix(build: Callable[[int], onnx.ModelProto]) -> None:
    for spec, count in (("batch=2", 2), ("batch=n", 3), ("size=96,batch=n", 2)):
        graph, _ = resize(build(64), spec)
        side = 96 if "96" in spec else 64
        pixels = np.random.default_rng(1).random((count, 3, side, side), dtype=np.float32)
        single, _ = resize(build(64), f"size={side}")
        together = run(to_proto(graph), {"images": pixels})
        for number in range(count):
            alone = run(to_proto(single), {"images": pixels[number : number + 1]})
            for name, values in alone.items():
                np.testing.assert_allclose(together[name][number], values[0], rtol=1e-5, atol=1e-5)


def test_a_constant_that_is_nearly_a_grid_is_refused() -> None:
    model = _x_decoded(64)
    for tensor in model.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.shape == (1, 84, 2) and values[0, 1, 0] == 1:
            changed = values.copy()
            changed[0, 3, 0] += 0.25
            tensor.CopyFrom(onnx.numpy_helper.from_array(changed, tensor.name))
    with pytest.raises(PassError, match="follows no formula of the detector's family"):
        resize(model, "size=96")


@pytest.mark.parametrize("name", STATIC)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.slow
def test_yolov5n_is_the_open_export_at_that_size(shared_data: Path, name: str, size: tuple[int, int]) -> None:
    models = shared_data / "models"
    graph, _ = resize(models / f"{name}.onnx", f"size={size[0]}x{size[1]}")
    (ours,) = outputs_of(graph, (1, 3, *size))
    (theirs,) = outputs_of(onnx.load(models / "yolov5n_dynamic.onnx"), (1, 3, *size))
    # Coordinates are in pixels, and BatchNorms that are not fused round otherwise.
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.slow
def test_open_export_gets_a_shape_and_stays_what_it_is(shared_data: Path, size: tuple[int, int]) -> None:
    source = shared_data / "models" / "yolov5n_dynamic.onnx"
    graph, _ = resize(source, f"size={size[0]}x{size[1]},batch=1")
    (ours,) = outputs_of(graph, (1, 3, *size))
    (theirs,) = outputs_of(onnx.load(source), (1, 3, *size))
    np.testing.assert_array_equal(ours, theirs)
    assert list(graph.outputs[0].shape) == list(ours.shape)


@pytest.mark.slow
def test_half_precision_export_follows_within_its_precision(shared_data: Path) -> None:
    models = shared_data / "models"
    graph, _ = resize(models / "yolov5n_fp16cast_op12.onnx", "size=320")
    (ours,) = outputs_of(graph, (1, 3, 320, 320))
    (theirs,) = outputs_of(onnx.load(models / "yolov5n_dynamic.onnx"), (1, 3, 320, 320))
    np.testing.assert_allclose(ours, theirs, rtol=4e-3, atol=0.3)


@pytest.mark.parametrize("size", [(320, 320), (384, 640)])
@pytest.mark.slow
def test_yolox_nano_computes_what_its_graph_computes_at_that_size(shared_data: Path, size: tuple[int, int]) -> None:
    source = shared_data / "models" / "yolox_nano.onnx"
    graph, _ = resize(source, f"size={size[0]}x{size[1]}")
    # Nothing in this export depends on the size, so that it runs at any once its input says so.
    opened = onnx.load(source)
    for value in (*opened.graph.input, *opened.graph.output):
        for dim in list(value.type.tensor_type.shape.dim)[1:]:
            if dim.dim_value not in (3, 85):
                dim.dim_param = "open"
    del opened.graph.value_info[:]
    opened.graph.input[0].type.tensor_type.shape.dim[3].dim_param = "wide"
    (ours,) = outputs_of(graph, (1, 3, *size), 255.0)
    (theirs,) = outputs_of(opened, (1, 3, *size), 255.0)
    np.testing.assert_array_equal(ours, theirs)
    assert list(graph.outputs[0].shape) == list(ours.shape)


@pytest.mark.slow
def test_channel_shuffles_and_pyramids_of_nanodet_follow(shared_data: Path) -> None:
    graph, done = resize(shared_data / "models" / "nanodet_m.onnx", "size=320x448,batch=n")
    found = outputs_of(graph, (2, 3, 320, 448))
    cells = [40 * 56, 20 * 28, 10 * 14]
    assert [each.shape for each in found] == [(2, count, width) for width in (80, 32) for count in cells]
    assert done.details["stride"] == 32
