"""What a compilation would do."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from PIL import Image

import yocc
from tests.samples import tiny_model
from yocc.cli import cli
from yocc.models.yolov5 import Scale, build_yolov5


@pytest.fixture(name="folder", autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    onnx.save(tiny_model(), tmp_path / "model.onnx")
    (tmp_path / "pictures").mkdir()
    for number in range(12):
        pixels = np.random.default_rng(number).integers(0, 256, (9, 12, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "pictures" / f"{number:02}.png")
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["compile", "model.onnx", *arguments, "--dry-run"], prog_name="yocc")


def test_the_plan_says_what_is_read_done_and_written(folder: Path) -> None:
    before = files(folder)
    plan = yocc.plan("model.onnx", int8=True, prune=0.3, recover="none", calibration="pictures", out="out")
    assert files(folder) == before
    assert plan.pipeline == "fp32,simplify,prune{ratio=0.3},fuse,quantize,quantize_weights"
    assert plan.passes[2].options["budget"] == "both"
    assert plan.passes[3].parameters is not None
    assert plan.passes[3].parameters < plan.before.parameters
    assert plan.passes[4].layers == len([each for each in plan.layers if "quantize" in each.figures])
    assert plan.passes[4].skipped >= 1
    last = next(each for each in plan.layers if each.name == "last")
    assert last.skipped["quantize"].startswith("a last layer")
    assert last.before is not None
    assert last.after is not None
    assert (last.after.channels_in or 0) < (last.before.channels_in or 0)
    assert plan.calibration is not None
    assert plan.comparison is not None
    read = {*plan.calibration.pictures, *plan.comparison.pictures}
    assert read == {f"pictures/{number:02}.png" for number in range(12)}
    assert plan.held_out
    assert plan.fed is not None
    assert "color" in plan.fed["assumed"]
    assert any("was assumed" in text for text in plan.warnings)
    assert plan.output.folder == "out"
    assert not plan.output.replaces
    assert plan.command[:4] == ("yocc", "compile", "model.onnx", "--prune")
    with pytest.raises(dataclasses.FrozenInstanceError):
        plan.target = "ncnn"


@pytest.mark.slow
def test_it_is_what_the_compilation_then_does() -> None:
    asked: Any = {"int8": True, "prune": 0.3, "recover": "none", "calibration": "pictures", "bench": False}
    plan = yocc.plan("model.onnx", **asked)
    report = yocc.compile("model.onnx", **asked, html=False)
    assert plan.pipeline == report.pipeline
    widths = {each.name: each.after and (each.after.channels_in, each.after.channels_out) for each in plan.layers}
    assert widths == {
        each.name: each.after and (each.after.channels_in, each.after.channels_out) for each in report.layers
    }
    assert {each.name for each in plan.layers if "quantize" in each.figures} == {
        each.name for each in report.layers if "quantize" in each.figures
    }
    assert yocc.plan("model.onnx", **asked).output.replaces


def test_nothing_given_is_synthetic_and_warned_of() -> None:
    plan = yocc.plan("model.onnx", int8=True, count=2, fidelity=False, bench=False)
    assert plan.calibration is not None
    assert (plan.calibration.synthetic, plan.calibration.pictures) == (True, ())
    assert plan.comparison is None
    assert not plan.timed
    assert any("synthetic ones would be used" in text for text in plan.warnings)
    assert any("No compression was asked for" in text for text in yocc.plan("model.onnx", count=2).warnings)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"calibration": "missing"}, "missing"),
        ({"gates": ["nonsense"]}, "nonsense"),
        ({"gates": ["map50 >= 0.1"]}, "map50"),
        ({"out": "pictures"}, "files that yocc did not write"),
        ({"out": "model.onnx/out"}, "Not a directory"),
        ({"out": "out.onnx"}, "named like a file"),
        ({"evaluate": "pictures"}, "Only a detector"),
        ({"pipeline": "recover"}, "nothing to recover"),
        ({"statistics": ["missing.npz"], "int8": True}, "missing.npz"),
        ({"input_shapes": {"nothing": (1,)}}, "nothing"),
    ],
)
def test_what_ends_the_compilation_ends_it(folder: Path, asked: Mapping[str, Any], message: str) -> None:
    before = files(folder)
    with pytest.raises(yocc.YoccError, match=message) as planned:
        yocc.plan("model.onnx", **asked)
    with pytest.raises(yocc.YoccError) as compiled:
        yocc.compile("model.onnx", **asked)
    assert (type(planned.value), str(planned.value)) == (type(compiled.value), str(compiled.value))
    assert files(folder) == before


def test_a_damaged_picture_is_found() -> None:
    Path("pictures/03.png").write_bytes(Path("pictures/03.png").read_bytes()[:60])
    with pytest.raises(yocc.YoccError, match=r"03\.png"):
        yocc.plan("model.onnx", int8=True, calibration="pictures")


def test_a_folder_that_cannot_be_written_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "locked").mkdir(mode=0o500)
    if os.getuid() == 0:  # who may write anywhere
        monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(yocc.YoccError, match="Permission denied"):
        yocc.plan("model.onnx", out="locked/out")


def test_a_dry_run_is_no_compilation(folder: Path) -> None:
    with pytest.raises(yocc.YoccError, match=r"Call yocc\.plan"):
        yocc.compile("model.onnx", dry_run=True)
    with pytest.raises(yocc.YoccError, match="Give either"):
        yocc.plan("model.onnx", yocc.CompileOptions(), int8=True)
    assert not (folder / "model_yocc").exists()


@pytest.mark.slow
def test_the_command_prints_it(folder: Path) -> None:
    before = files(folder)
    result = run("--int8", "--prune", "0.3", "--recover", "none", "--calib", "pictures", "--gate", "size_ratio <= 1")
    assert result.exit_code == 0, result.stderr
    assert files(folder) == before
    for word in (
        "a dry run, nothing is written",
        "prune{ratio=0.3}",
        "are found when it runs",
        "Left as they are by quantize",
        "a last layer",
        "calibration: 10 of 12 pictures from pictures",
        "gate: size_ratio <= 1",
        "writes: model_yocc: the model for onnxruntime, report.json",
    ):
        assert word in result.stdout
    assert "Warning: " in result.stderr


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "(assumed)"),
        (["--input-color", "bgr"], "(color: as given; scaling and fit: assumed)"),
        (
            ["--input-color", "bgr", "--preprocess", "imagenet"],
            "(color: as given; scaling: --preprocess imagenet; fit: assumed)",
        ),
    ],
)
def test_what_is_assumed_about_pictures_is_said_once(options: list[str], said: str) -> None:
    result = run("--int8", "--count", "2", *options)
    words = " ".join(result.stdout.split())
    assert said in words
    assert words.count("assumed") == 1


def test_the_command_prints_json() -> None:
    result = run("--int8", "--count", "2", "--json", "-q", "--threads", "1")
    content = json.loads(result.stdout)
    assert content["pipeline"].startswith("fp32,simplify,fuse,quantize")
    assert content["passes"][3]["options"]["observer"] == "mse"
    assert content["threads"] == 1


@pytest.mark.slow
def test_a_detector_its_labels_and_its_outputs_are_shown(folder: Path) -> None:
    onnx.save(build_yolov5(Scale(0.1, 0.05), size=96, classes=3), folder / "model.onnx")
    (folder / "images").mkdir()
    (folder / "labels").mkdir()
    Image.new("RGB", (32, 32)).save(folder / "images" / "0.png")
    (folder / "labels" / "0.txt").write_text("0 0.5 0.5 1 1")
    result = run("--weights", "log2:4", "--nms", "--eval", "images", "--count", "4", "--threads", "1")
    assert result.exit_code == 0, result.stderr
    for word in (
        "encode{bits=4,wide=8}",
        "weights are rounded when it runs",
        "new -> ",
        "detector: yolov5",
        "scored on: labeled pictures of images (1 sample): images/0.png",
        "timed: both models, 1 thread",
    ):
        assert word in result.stdout
    assert len([line for line in result.stdout.splitlines() if line.split()[:2] == ["layer", "op"]]) == 1


def test_open_sizes_and_arrays_are_shown(folder: Path) -> None:
    model = tiny_model()
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "n"
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "n"
    onnx.save(model, folder / "model.onnx")
    np.savez("data.npz", x=np.zeros((3, 3, *_size(model)), np.float32))
    result = run("--int8", "--calib", "data.npz", "--no-bench", "--no-html", "--no-examples")
    assert result.exit_code == 0, result.stderr
    assert "(size assumed; state it with --input-shape)" in " ".join(result.stdout.split())
    assert "pictures: " not in result.stdout
    assert "(3 samples)" in result.stdout
    assert result.stdout.rstrip().endswith("report.json")


def _size(model: onnx.ModelProto) -> tuple[int, int]:
    height, width = (each.dim_value for each in model.graph.input[0].type.tensor_type.shape.dim[2:])
    return height, width


def test_what_is_chosen_on_pictures_is_said_to_be() -> None:
    result = run("--prune", "0.3", "--calib", "pictures")
    assert result.exit_code == 0, result.stderr
    assert "shrink{ratio=0.3}" in result.stdout
    assert "are chosen when it runs" in " ".join(result.stdout.split())


def test_an_error_ends_the_command() -> None:
    result = run("--int8", "--calib", "missing")
    assert result.exit_code == 4
    assert result.stderr.count("\n") == 1
