"""What `run.py` computes before and after the network: the same as yocc."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests import oracles
from tests.networks.yolov8 import yolov8
from tests.runtime.backends.examples.programs import program
from yocc.compiler.graph import load
from yocc.models.families.interface import decode_facts, preprocess_facts
from yocc.models.families.profile import ModelProfile, OutputLayout
from yocc.runtime.backends.ncnn.backend import NcnnBackend
from yocc.runtime.backends.ncnn.description import read_description
from yocc.runtime.data.letterbox import read_picture
from yocc.runtime.data.preprocess import InputSpec, Preprocess, prepare
from yocc.runtime.detection.boxes import SHOWING, candidates, suppress_candidates

HOW = {
    "yolov5": Preprocess(letterbox=True),
    "yolox": Preprocess("bgr", 1.0, letterbox=True, alignment="top_left"),
    "bytes": Preprocess("bgr", 1.0, letterbox=True),
    "any size": Preprocess("bgr", 1.0, letterbox=True, in_graph=True),
    "classifier": Preprocess("rgb", 1 / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "cut": Preprocess(crop=True),
    "gray": Preprocess("gray", 1 / 128, (1.0,), (1.0,), pad_value=0),
}


@pytest.fixture(scope="module")
def run_py(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    return program(tmp_path_factory.mktemp("program"))


@pytest.mark.parametrize("how", HOW.values(), ids=HOW)
@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((1, 3, 64, 96), "float32"), ((2, 64, 96, 3), "uint8"), ((1, 3, 64, 64), "float16"), ((1, 1, 32, 32), "float32")],
)
@pytest.mark.parametrize("size", [(50, 90), (96, 64), (300, 111), (1, 700)])
def test_pictures_become_the_same_input(
    how: Preprocess, shape: tuple[int, ...], dtype: str, size: tuple[int, int], run_py: ModuleType
) -> None:
    spec = InputSpec("images", shape, np.dtype(dtype))
    if spec.channels == 1 and len(how.mean) == 3:
        how = Preprocess("gray", how.scale)
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), np.uint8))
    wanted, placement = prepare(picture, how, spec)
    found, scale, offset = run_py.prepare(picture, preprocess_facts(spec, how))
    assert found.dtype == wanted.dtype
    assert found.flags["C_CONTIGUOUS"]
    np.testing.assert_array_equal(found, wanted)
    assert (scale[::-1], offset[::-1]) == (placement.scale, placement.offset)


@pytest.mark.parametrize("kind", ["turned", "deep", "palette", "transparent"])
def test_pictures_are_read_the_same(kind: str, run_py: ModuleType, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 4), np.uint8)
    picture = Image.fromarray(pixels)
    if kind == "turned":
        exif = Image.Exif()
        exif[0x0112] = 6
        picture.convert("RGB").save(tmp_path / "a.png", exif=exif)
    else:
        made = {
            "deep": Image.fromarray(pixels[..., 0].astype(np.uint16) * 257),
            "palette": picture.convert("RGB").convert("P"),
        }
        made.get(kind, picture).save(tmp_path / "a.png")
    found, wanted = run_py.read_picture(tmp_path / "a.png"), read_picture(tmp_path / "a.png")
    np.testing.assert_array_equal(np.asarray(found), np.asarray(wanted))


def _profile(family: str, layout: OutputLayout, **facts: Any) -> ModelProfile:
    spec = InputSpec("images", (1, 3, 64, 96), np.dtype(np.float32))
    names = tuple(f"out{place}" for place in range(3 if layout is OutputLayout.RAW_HEADS else 1))
    return ModelProfile(family, layout, names, ("a", "b", "c"), (8, 16, 32), spec, Preprocess(letterbox=True), **facts)


def _grid(stride: int) -> tuple[int, int]:
    return 64 // stride, 96 // stride


def output_cases() -> dict[str, tuple[ModelProfile, list[np.ndarray]]]:
    """Outputs of each layout, for an input of 64 x 96 and three classes."""
    random = np.random.default_rng(0)
    cells = sum(height * width for height, width in map(_grid, (8, 16, 32)))
    anchors = tuple(tuple((float(w), float(w + 3)) for w in (4 * s, 5 * s, 6 * s)) for s in (1, 2, 4))
    heads = [random.normal(0, 2, (1, 24, *_grid(stride))) for stride in (8, 16, 32)]
    cubes = [1 / (1 + np.exp(-head.reshape(1, 3, 8, *head.shape[2:]).transpose(0, 1, 3, 4, 2))) for head in heads]
    sure = np.concatenate([random.uniform(0, 96, (1, cells, 4)), random.uniform(0, 1, (1, cells, 4))], axis=2)
    undecoded = np.concatenate([random.normal(0, 1, (1, cells, 4)), sure[..., 4:]], axis=2)
    broken = sure.copy()
    broken[0, :5, 0], broken[0, 5:9, 4] = np.inf, np.nan
    return {
        "rows": (_profile("yolov5", OutputLayout.ROWS), [sure]),
        "overflowed": (_profile("yolov5", OutputLayout.ROWS), [broken]),
        "nothing": (_profile("yolov5", OutputLayout.ROWS), [sure * 0]),
        "columns": (_profile("yolov8", OutputLayout.COLUMNS), [sure[..., :7].transpose(0, 2, 1)]),
        "raw": (_profile("yolov5", OutputLayout.RAW_HEADS, anchors=anchors), heads),
        "squashed": (_profile("yolov5", OutputLayout.RAW_HEADS, anchors=anchors, squashed=True), cubes),
        "yolox": (_profile("yolox", OutputLayout.OWN), [undecoded]),
    }


@pytest.mark.parametrize("name", output_cases())
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_outputs_are_read_the_same(name: str, dtype: type, run_py: ModuleType) -> None:
    profile, arrays = output_cases()[name]
    outputs = {key: array.astype(dtype) for key, array in zip(profile.outputs, arrays, strict=True)}
    wanted = suppress_candidates(candidates(outputs, profile, SHOWING), SHOWING)
    facts = decode_facts(profile)
    assert run_py.decodes(facts)
    with np.errstate(over="ignore", invalid="ignore"):
        feeding = preprocess_facts(profile.input, profile.preprocess)
        boxes, scores, classes = run_py.select(*run_py.candidates(outputs, facts, feeding))
    np.testing.assert_array_equal(classes, wanted.classes)
    np.testing.assert_allclose(scores, wanted.scores, rtol=1e-6)
    np.testing.assert_allclose(boxes, wanted.boxes, rtol=1e-5, atol=1e-4)
    assert (len(boxes) > 0) == (name != "nothing")


def test_a_layout_only_its_family_knows_is_left_alone(run_py: ModuleType) -> None:
    assert not run_py.decodes({"layout": "own", "family": "mine"})
    assert not run_py.decodes({"layout": "unheard of", "family": "yolov5"})


def test_distances_are_read_as_the_graph_does(run_py: ModuleType, tmp_path: Path) -> None:
    model = yolov8(0, 3, 64, (8, 16, 32))
    backend = NcnnBackend()
    artifact = backend.build(load(model), backend.target({"head": "raw"}), tmp_path)
    assert artifact.decode == read_description(tmp_path).raw
    assert artifact.decode is not None
    array = np.random.default_rng(0).random((1, 3, 64, 64), dtype=np.float32)
    outputs = oracles.run(model, {"images": array}, artifact.decode["outputs"])
    boxes, scores = run_py.candidates(outputs, artifact.decode, {})
    wanted = oracles.run(model, {"images": array})["output0"][0].T
    np.testing.assert_allclose(boxes, wanted[:, :4], rtol=0, atol=1e-3)
    np.testing.assert_allclose(scores, wanted[:, 4:], rtol=0, atol=1e-5)


def test_detections_of_a_network_that_suppresses_are_taken_as_they_are(run_py: ModuleType) -> None:
    boxes = np.array([[[0, 32, 96, 64], [1, 33, 96, 64], [5, 5, 9, 9], [1, 1, 2, 2]]], np.float32)
    outputs = {
        "num_dets": np.array([[3]], np.int32),
        "det_boxes": boxes,
        "det_scores": np.array([[0.9, 0.8, 0.1, 0.7]], np.float32),
        "det_classes": np.array([[1, 1, 0, 0]], np.int32),
    }

    class Paper:
        @staticmethod
        def run(feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            assert feeds["images"].shape == (1, 3, 64, 96)
            return outputs

    feeding = preprocess_facts(InputSpec("images", (1, 3, 64, 96), np.dtype(np.float32)), Preprocess(letterbox=True))
    facts: dict[str, Any] = {
        "layout": "detections", "family": "yolov5", "outputs": list(outputs), "classes": ["a", "b"], "strides": [],
    }  # fmt: skip
    found = run_py.detect(Paper, Image.new("RGB", (192, 64)), feeding, facts)
    assert [one[:2] for one in found] == [("b", 1), ("b", 1), ("a", 0)]
    # 192 x 64 in 96 x 64 is 96 x 32, sixteen pixels from the top.
    np.testing.assert_allclose(found[0][3], [0, 32, 192, 64])
    facts["suppression"] = {"confidence": 0.1, "overlap": 0.45, "most": 4, "boxes": "picture"}
    found = run_py.detect(Paper, Image.new("RGB", (192, 64)), feeding, facts)
    assert [one[3] for one in found] == boxes[0, :3].tolist()


def test_rows_of_detection_output_are_read(run_py: ModuleType) -> None:
    facts = {"layout": "detection_output", "family": "yolov5", "outputs": ["detection_out"]}
    rows = np.array([[[2, 0.9, 0, 32, 96, 64], [1, 0.1, 5, 5, 9, 9]]], np.float32)
    assert run_py.decodes(facts)
    boxes, scores, classes = run_py.finished({"detection_out": rows}, facts)
    np.testing.assert_array_equal(boxes, rows[0, :, 2:])
    np.testing.assert_array_equal(scores, rows[0, :, 1])
    assert classes.tolist() == [1, 0]
    assert [len(each) for each in run_py.finished({"detection_out": np.zeros((1, 0))}, facts)] == [0, 0, 0]


def test_raw_heads_of_yolox_are_read_as_its_rows(run_py: ModuleType) -> None:
    facts, heads = raw_yolox()
    rows = [
        np.concatenate([box, 1 / (1 + np.exp(-there)), 1 / (1 + np.exp(-scores))], axis=1)
        for box, there, scores in heads
    ]
    joined = np.concatenate([each.reshape(8, -1).T for each in rows])[None]
    outputs = dict(zip(facts["outputs"], [array for head in heads for array in head], strict=True))
    wanted = run_py.candidates({"rows": joined}, {**facts, "layout": "own", "outputs": ["rows"]}, _FEEDING)
    found = run_py.candidates(outputs, facts, _FEEDING)
    assert len(found[0]) > 3
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


_FEEDING = {"height": 64, "width": 96}


def raw_yolox() -> tuple[dict[str, Any], list[tuple[np.ndarray, np.ndarray, np.ndarray]]]:
    """Raw heads of a YOLOX of three classes, and how they are read."""
    random = np.random.default_rng(1)
    heads = [
        tuple(random.normal(0, 1.5, (1, count, *_grid(stride))).astype(np.float32) for count in (4, 1, 3))
        for stride in (8, 16, 32)
    ]
    names = [f"{name}{stride}" for stride in (8, 16, 32) for name in ("box", "there", "scores")]
    profile = _profile("yolox", OutputLayout.RAW_HEADS)
    return {**decode_facts(profile), "outputs": names}, heads
