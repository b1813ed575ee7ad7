"""Compilations to an input of bytes, from end to end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from PIL import Image

from tests.compiler.stages.reports import content_of
from tests.runtime.backends.examples.programs import built, expected, printed, require_same
from tests.runtime.backends.ncnn.running import needs_ncnn
from tests.runtime.backends.test_openvino import needs_openvino
from tests.runtime.backends.tvm.needs import needs_tvm
from tests.samples import tiny_model
from yocc.api.detecting import detect_pictures
from yocc.api.judging import against_original, time_against
from yocc.api.opening import examine_model, find_model
from yocc.api.verifying import verify_model
from yocc.compiler.stages.compiling import compile_model
from yocc.errors import OptionError
from yocc.models.shipped import shipped_detector
from yocc.models.street import SPLITS, draw_scene
from yocc.models.yolov5 import Scale, build_yolov5
from yocc.report.report import Report, schema_text
from yocc.runtime.data.letterbox import read_picture
from yocc.runtime.detection.boxes import Detections


def _compile(model: Path, data: Path, out: Path, target: str = "onnxruntime", how: str = "uint8,nhwc,bgr") -> Report:
    return compile_model(
        model, input=how, int8=True, calibration=data, target=target, out=out, html=False, threads=1, bench=False
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "target",
    [
        "onnxruntime",
        pytest.param("openvino", marks=needs_openvino),
        pytest.param("tvm", marks=needs_tvm),
        "tensorrt",
    ],
)
def test_bytes_give_what_floats_gave_on_every_target(
    detector: Path, pictures: Path, tmp_path: Path, target: str
) -> None:
    pytest.importorskip("tensorrt_rtx" if target == "tensorrt" else "numpy")
    report = _compile(detector, pictures, tmp_path / "out", target)
    content = content_of(report)
    assert content["inputs"] == [{"name": "images", "shape": [1, 96, 96, 3], "type": "uint8"}]
    assert content["resized"] is None
    fed = content["interface"]["preprocess"]
    assert [fed[key] for key in ("dtype", "layout", "color", "scale")] == ["uint8", "NHWC", "bgr", 1.0]
    assert content["input"]["color"] == "rgb"
    (whole,) = (each for each in content["fidelity"]["outputs"] if not each["label"])
    assert whole["snr_db"] > 25
    assert content["unmeasured"] == []


@pytest.mark.slow
def test_the_folder_is_run_by_what_its_report_says(detector: Path, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    _compile(detector, pictures, out)
    anatomy = examine_model(find_model(out))
    assert anatomy.shapes == {"images": (1, 96, 96, 3)}
    assert anatomy.profile is not None
    assert anatomy.profile.preprocess.colors == "bgr"
    assert all(check.passed is not False for check in verify_model(out))
    agreement = against_original(out, None, pictures, count=4, threads=1)
    (whole,) = (each for each in agreement.facts.outputs if not each.label)
    assert whole.snr_db is not None
    assert whole.snr_db > 25
    speed = time_against(out, None, data=pictures, rounds=2, threads=1)
    assert speed.same_runtime is not None


@pytest.mark.slow
def test_pictures_of_any_size(detector: Path, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = _compile(detector, pictures, out, how="uint8,nhwc,bgr,letterbox")
    content = content_of(report)
    assert ort.InferenceSession(report.model).get_inputs()[0].shape == [1, "height", "width", 3]
    assert content["interface"]["preprocess"]["in_graph"]
    (whole,) = (each for each in content["fidelity"]["outputs"] if not each["label"])
    assert whole["snr_db"] > 25
    assert all(check.passed is not False for check in verify_model(out))
    agreement = against_original(out, None, pictures, count=4, threads=1)
    (whole,) = (each for each in agreement.facts.outputs if not each.label)
    assert whole.snr_db is not None
    assert whole.snr_db > 25
    speed = time_against(out, None, rounds=2, threads=1)
    assert speed.same_runtime is not None


SHAPES = [(384, 300), (190, 401), (64, 64), (500, 90)]
"""Width and height."""


@pytest.mark.slow
def test_boxes_of_nms_are_those_of_the_picture(tmp_path: Path) -> None:
    pictures = []
    (tmp_path / "pictures").mkdir()
    for number, size in enumerate(SHAPES):
        scene = Image.fromarray(draw_scene(SPLITS["test"][number], 256).picture)
        pictures.append(tmp_path / "pictures" / f"{number}.png")
        scene.resize(size).save(pictures[-1])
    options = {"pipeline": None, "nms": True}
    (tmp_path / "plain").mkdir()
    plain = built(shipped_detector(), tmp_path / "plain", **options)
    folder = built(shipped_detector(), tmp_path, input="uint8,nhwc,bgr,letterbox", **options)
    decode = json.loads((folder / "decode.json").read_text())
    assert decode["suppression"]["boxes"] == "picture"
    session = ort.InferenceSession(folder / "model.onnx")
    names = [each.name for each in session.get_outputs()]
    wanted = detect_pictures(plain, pictures[0].parent, threads=1).found
    assert sum(map(len, wanted)) >= 8
    for path, expected_here in zip(pictures, wanted, strict=True):
        picture = read_picture(path)
        given = session.run(names, {session.get_inputs()[0].name: np.asarray(picture)[None, ..., ::-1]})
        count, boxes, scores, numbers = (array[0] for array in given)
        own = Detections(boxes[: count[0]], scores[: count[0]], numbers[: count[0]])
        require_same(_listed(own), expected_here, path, score=0.02)
        assert not boxes[count[0] :].any()
    # Readers follow the report and the JSON files, and do not undo the letterbox again.
    others = [
        list(map(_listed, detect_pictures(folder, pictures[0].parent, threads=1).found)),
        printed(folder, *pictures),
    ]
    for found in others:
        for one, expected_here, path in zip(found, wanted, pictures, strict=True):
            require_same(one, expected_here, path, score=0.02)
    assert all(check.passed is not False for check in verify_model(folder))


def _listed(found: Detections) -> list[dict[str, Any]]:
    """Detections as programs list them."""
    return [
        {"number": int(kind), "score": float(score), "box": list(map(float, box))}
        for kind, score, box in zip(found.classes, found.scores, found.boxes, strict=True)
    ]


@pytest.mark.slow
def test_boxes_in_the_picture_are_judged_by_every_command(detector: Path, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = compile_model(
        detector, input="uint8,nhwc,bgr,letterbox", nms=True, nms_confidence=0.05, calibration=pictures, out=out,
        html=False, threads=1, bench=False,
    )  # fmt: skip
    content = content_of(report)
    assert content["pipeline"].endswith("uint8_input{layout=nhwc,color=bgr,fit=true,boxes=picture}")
    before, after = content["fidelity"]["confident"]
    assert abs(before - after) <= 1
    agreement = against_original(out, None, pictures, count=4, threads=1)
    assert agreement.facts.samples == 4
    assert agreement.facts.detection is None or agreement.facts.detection.map50_95 > 0.9


def test_only_nms_gives_boxes_of_the_picture(detector: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="Only boxes of NMS in the graph"):
        compile_model(detector, pipeline="fuse,uint8_input{fit=true,boxes=picture}", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_arrays_are_measured_as_the_bytes_that_make_them(detector: Path, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (12, 3, 96, 96)).astype(np.float32) * np.float32(1 / 255)
    np.savez(tmp_path / "arrays.npz", images=pixels)
    content = content_of(_compile(detector, tmp_path / "arrays.npz", tmp_path / "out"))
    (whole,) = (each for each in content["fidelity"]["outputs"] if not each["label"])
    assert whole["snr_db"] > 25


@pytest.mark.slow
def test_with_another_size_and_batch(detector: Path, pictures: Path, tmp_path: Path) -> None:
    report = compile_model(
        detector,
        input="uint8,nhwc",
        input_size="64x96",
        batch=2,
        calibration=pictures,
        out=tmp_path / "out",
        html=False,
        threads=1,
    )
    content = content_of(report)
    assert ort.InferenceSession(report.model).get_inputs()[0].shape == [2, 64, 96, 3]
    assert content["resized"]["after"] == [2, 64, 96, 3]
    assert content["unmeasured"] == []
    assert all(check.passed is not False for check in verify_model(tmp_path / "out"))


@pytest.mark.slow
def test_without_pictures_noise_is_of_bytes(tmp_path: Path) -> None:
    onnx.save(build_yolov5(Scale(0.1, 0.05), size=64, classes=3), tmp_path / "m.onnx")
    report = compile_model(
        tmp_path / "m.onnx", input="uint8", out=tmp_path / "out", html=False, fidelity=False, threads=1
    )
    assert content_of(report)["measured"]["latency_ms"] is not None


@pytest.mark.slow
def test_report_fits_its_schema(detector: Path, pictures: Path, tmp_path: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    report = compile_model(
        detector, input="uint8", calibration=pictures, out=tmp_path / "out", fidelity=False, bench=False, html=False
    )
    jsonschema.validate(json.loads(report.to_json()), json.loads(schema_text()))


@needs_ncnn
def test_a_target_of_floats_is_refused_before_the_work(detector: Path, pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="'ncnn' takes pictures as float32 only"):
        compile_model(detector, input="uint8", pipeline=None, calibration=pictures, target="ncnn", out=tmp_path / "out")


def test_it_ends_a_pipeline(detector: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="stands among other passes"):
        compile_model(detector, pipeline="uint8_input,simplify", out=tmp_path / "out")


@pytest.mark.slow
@pytest.mark.parametrize("how", ["uint8,nhwc,bgr", "uint8,nhwc,bgr,letterbox"])
def test_the_program_beside_it_feeds_bytes(how: str, tmp_path: Path) -> None:
    picture = tmp_path / "scene.png"
    scene = Image.fromarray(draw_scene(SPLITS["test"][1], 256).picture)
    scene.crop((0, 20, 256, 220)).resize((384, 300)).save(picture)
    folder = built(shipped_detector(), tmp_path, pipeline=None, input=how)
    (found,), (wanted,) = printed(folder, picture), expected(shipped_detector(), [picture])
    assert len(wanted) >= 3
    require_same(found, wanted, picture, score=0.02)


def test_an_assumption_that_goes_into_the_graph_is_warned_of(tmp_path: Path) -> None:
    onnx.save(tiny_model(), tmp_path / "tiny.onnx")
    report = compile_model(
        tmp_path / "tiny.onnx", input="uint8", out=tmp_path / "out", fidelity=False, bench=False, html=False
    )
    assert any("How the model takes pictures was assumed" in text for text in report.warnings)
