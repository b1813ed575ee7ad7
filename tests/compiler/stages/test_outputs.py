"""Compilations that change what a detector puts out, from end to end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

from tests.compiler.stages.reports import content_of
from tests.outputs import DETECTORS
from tests.runtime.backends.ncnn.running import needs_ncnn
from tests.runtime.backends.test_openvino import needs_openvino
from tests.samples import tiny_model
from yocc.api.judging import against_labels, against_original, time_against
from yocc.api.opening import examine_model, find_model
from yocc.api.verifying import verify_model
from yocc.compiler.stages.compiling import compile_model
from yocc.errors import OptionError
from yocc.report.report import Report
from yocc.rewrites.suppressing import OUTPUTS

LOW = {"nms": True, "nms_confidence": 0.05, "nms_most": 100}
targets = pytest.mark.parametrize("target", ["onnxruntime", pytest.param("openvino", marks=needs_openvino)])


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for name, build in DETECTORS.items():
        onnx.save(build(), folder / f"{name}.onnx")
    return folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("set") / "images"
    folder.mkdir()
    (folder.parent / "labels").mkdir()
    for number in range(12):
        pixels = np.random.default_rng(number).integers(0, 255, (9, 12, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((160, 100 + number)).save(folder / f"{number:02}.png")
        (folder.parent / "labels" / f"{number:02}.txt").write_text("1 0.5 0.5 0.3 0.3\n")
    return folder


def _compile(model: Path, pictures: Path, out: Path, **options: Any) -> Report:
    values = {"calibration": pictures, "bench": False, "html": False, "threads": 1, "out": out} | options
    return compile_model(model, **values)


@pytest.mark.slow
def test_nms_finds_what_the_original_finds(models: Path, pictures: Path, tmp_path: Path) -> None:
    report = _compile(models / "yolox.onnx", pictures, tmp_path / "out", evaluate=pictures, **LOW)
    content = content_of(report)
    assert content["pipeline"].endswith("nms{confidence=0.05,most=100}")
    assert content["fidelity"]["confident"][0] == content["fidelity"]["confident"][1]
    assert content["fidelity"]["outputs"] == []
    assert content["accuracy"]["original"] == content["accuracy"]["compiled"]
    assert content["unmeasured"] == []
    assert content["interface"]["decode"]["layout"] == "detections"
    own = {"confidence": 0.05, "overlap": 0.45, "most": 100, "boxes": "input"}
    assert content["interface"]["decode"]["suppression"] == own


@pytest.mark.slow
@pytest.mark.parametrize(
    "target", ["onnxruntime", pytest.param("openvino", marks=needs_openvino), pytest.param("ncnn", marks=needs_ncnn)]
)
@pytest.mark.parametrize("name", ["yolov5", "yolov8", "yolox"])
def test_a_folder_with_nms_and_int8_is_judged_by_every_command(
    models: Path, pictures: Path, tmp_path: Path, target: str, name: str
) -> None:
    _compile(models / f"{name}.onnx", pictures, tmp_path / "out", int8=True, target=target, **LOW)
    folder = tmp_path / "out"
    assert all(check.passed is not False for check in verify_model(folder))
    assert against_labels(folder, pictures, None, threads=1).pictures == 12
    agreement = against_original(folder, None, pictures, count=4, threads=1)
    assert agreement.facts.outputs == ()
    assert agreement.facts.samples == 4
    speed = time_against(folder, None, rounds=2, threads=1)
    assert speed.same_runtime is not None
    assert [each["name"] for each in find_model(folder).report["outputs"]] == list(OUTPUTS)


@pytest.mark.slow
@targets
@pytest.mark.parametrize("name", ["yolov8", "yolox raw"])
def test_raw_outputs_are_decoded_by_yocc(models: Path, pictures: Path, tmp_path: Path, target: str, name: str) -> None:
    report = _compile(models / f"{name}.onnx", pictures, tmp_path / "out", outputs="raw", target=target)
    assert report.fidelity is not None
    assert report.fidelity["detection"] is None or report.fidelity["detection"].map50_95 > 0.999
    profile = examine_model(find_model(tmp_path / "out")).profile
    assert profile is not None
    assert [each.name for each in report.outputs] == list(profile.outputs)
    assert all(check.passed is not False for check in verify_model(tmp_path / "out"))


@pytest.mark.slow
@targets
def test_int8_heads_give_floats(models: Path, pictures: Path, tmp_path: Path, target: str) -> None:
    report = _compile(models / "yolox.onnx", pictures, tmp_path / "out", outputs="raw", int8=True, target=target)
    assert {each.type for each in report.outputs} == {"float32"}
    with find_model(tmp_path / "out").session(1) as session:
        assert {spec.dtype.name for spec in session.outputs} == {"float32"}


@pytest.mark.slow
@targets
def test_fewer_candidates(models: Path, pictures: Path, tmp_path: Path, target: str) -> None:
    report = _compile(models / "yolov8.onnx", pictures, tmp_path / "out", max_candidates=40, target=target)
    assert [(each.name, each.shape) for each in report.outputs] == [("output0", (1, 7, 40))]
    assert report.fidelity is not None
    assert report.fidelity["outputs"] == ()
    profile = examine_model(find_model(tmp_path / "out")).profile
    assert profile is not None
    assert profile.layout.name == "COLUMNS"


@pytest.mark.slow
def test_it_goes_with_another_input_size(models: Path, pictures: Path, tmp_path: Path) -> None:
    report = _compile(models / "yolov8.onnx", pictures, tmp_path / "out", side=96, **LOW)
    assert report.unmeasured == ()
    assert report.fidelity is not None
    assert report.fidelity["samples"] > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"nms": True}, "NMS takes a detector of a known family"),
        ({"outputs": "raw"}, "Raw outputs take a detector of a known family"),
        ({"max_candidates": 5}, "Candidates are those of a detector of a known family"),
        ({"pipeline": "nms,fuse"}, "nms stands before other passes"),
    ],
)
def test_other_networks_are_refused_before_anything_runs(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    onnx.save(tiny_model(), tmp_path / "tiny.onnx")
    with pytest.raises(OptionError, match=message):
        compile_model(tmp_path / "tiny.onnx", out=tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"nms": True}, "a fixed number of pictures"),
        ({"nms": True, "side": 64}, "a fixed number of pictures"),
        ({"nms": True, "batch": "n"}, "a fixed number of pictures"),
        ({"max_candidates": 5, "batch": "1"}, "that of this one is open"),
    ],
)
def test_open_shapes_are_refused_before_anything_runs(
    models: Path, options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    model = onnx.load(models / "yolox.onnx")
    for place in (0, 2, 3):
        model.graph.input[0].type.tensor_type.shape.dim[place].dim_param = f"size{place}"
    model.metadata_props.add(key="imgsz", value="[64, 64]")
    onnx.save(model, tmp_path / "open.onnx")
    with pytest.raises(OptionError, match=message):
        compile_model(tmp_path / "open.onnx", input_shapes={"images": (1, 3, 64, 64)}, out=tmp_path / "out", **options)


def test_targets_without_nms(models: Path, tmp_path: Path) -> None:
    pytest.importorskip("tvm")
    with pytest.raises(OptionError, match="'tvm' cannot run NMS"):
        compile_model(models / "yolov8.onnx", nms=True, target="tvm", out=tmp_path / "out")


@pytest.mark.parametrize("target", ["ncnn", "tvm"])
def test_targets_that_rank_nothing(models: Path, tmp_path: Path, target: str) -> None:
    pytest.importorskip(target)
    with pytest.raises(OptionError, match=f"{target!r} cannot choose the best candidates"):
        compile_model(models / "yolov8.onnx", max_candidates=5, target=target, out=tmp_path / "out")


@pytest.mark.slow
def test_tensorrt_ranks_so_many(models: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="3840 candidates at most, not 4000"):
        compile_model(models / "yolov8.onnx", nms=True, max_candidates=4000, target="tensorrt", out=tmp_path / "out")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"nms": True, "outputs": "raw"}, "NMS takes decoded boxes"),
        ({"max_candidates": 5, "outputs": "raw"}, "Raw outputs have all candidates"),
        ({"nms_overlap": 0.5}, "Without --nms"),
        ({"nms": True, "nms_confidence": 2.0}, "no thresholds"),
        ({"nms": True, "max_candidates": 5}, "300 detections cannot be chosen from 5"),
    ],
)
def test_contradictions(models: Path, options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=message):
        compile_model(models / "yolov8.onnx", out=tmp_path / "out", **options)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["yolov5", "yolov5 raw"])
def test_a_level_is_left_out_and_the_rest_is_read(name: str, models: Path, pictures: Path, tmp_path: Path) -> None:
    pipeline = "fp32,simplify,fuse,drop{level=8}"
    report = _compile(models / f"{name}.onnx", pictures, tmp_path / "out", pipeline=pipeline, evaluate=pictures)
    content = content_of(report)
    assert content["fidelity"]["samples"] > 0
    assert content["after"]["macs"] < content["before"]["macs"]
    assert against_labels(tmp_path / "out", pictures, None, threads=1).pictures == 12


@pytest.mark.slow
def test_a_level_is_not_left_out_of_what_chooses_detections(models: Path, pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="nms takes all levels of a detector"):
        _compile(models / "yolov5.onnx", pictures, tmp_path / "out", pipeline="drop{level=8},nms")
    with pytest.raises(OptionError, match="decodes its levels together"):
        _compile(models / "yolov8.onnx", pictures, tmp_path / "out", pipeline="drop{level=8}")
