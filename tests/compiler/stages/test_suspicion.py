"""Pictures that are scaled otherwise than in training are told from the first layer."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from PIL import Image

import yocc
from yocc.compiler.graph import load
from yocc.compiler.pipeline.passes import Arrays
from yocc.compiler.stages.elsewhere import found_elsewhere
from yocc.compiler.stages.inputs import open_inputs
from yocc.compiler.stages.subject import examine
from yocc.compiler.stages.suspicion import suspicion
from yocc.models.families.family import Recognition, find_profile
from yocc.models.families.profile import ModelProfile
from yocc.models.yolov5 import build_yolov5
from yocc.runtime.backends.backend import Session
from yocc.runtime.backends.onnxruntime import session_of
from yocc.runtime.data.feeds import open_feeds

DOUBT = "Pictures are most likely scaled otherwise than in training"
ASSUMED = "How the model takes pictures was assumed"
QUIET: dict[str, Any] = {"bench": False, "html": False, "examples": False, "threads": 1}


FAMILIES = {"yolox_nano": "yolox", "yunet": "yunet"}


class _Bright(Session):
    """One box, as sure as the picture is bright beyond 1."""

    def run(self, feeds: Arrays) -> Arrays:
        sure = float(feeds["images"].mean() > 50)
        return {"output0": np.array([[[32, 32, 16, 16, sure, 1, 0]]], np.float32)}


@pytest.fixture
def shared_profile() -> ModelProfile:
    profile = find_profile(load(build_yolov5("n", classes=2, size=64)))
    assert profile is not None
    return replace(profile, outputs=("output0",))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(3):
        Image.fromarray(random.integers(0, 256, (16, 16, 3), np.uint8)).save(folder / f"{number}.png")
    return folder


def _model(scale: float, kind: int = onnx.TensorProto.FLOAT, variance: float | None = None) -> onnx.ModelProto:
    """A convolution that is biased as one trained on pixels times `scale` is; perhaps with a BatchNormalization."""
    random = np.random.default_rng(0)
    weights = random.normal(0, 1, (8, 3, 3, 3)).astype(np.float32)
    weights -= weights.mean(axis=(1, 2, 3), keepdims=True)
    constants = {"w": (weights / (255 * scale)).astype(np.float32), "b": random.choice([-1.0, 1.0], 8)}
    nodes = [helper.make_node("Conv", ["x", "w", "b"], ["c"], "first")]
    if variance is not None:
        constants |= {"g": np.ones(8), "o": np.zeros(8), "m": constants["b"], "v": np.full(8, variance)}
        nodes.append(helper.make_node("BatchNormalization", ["c", "g", "o", "m", "v"], ["n"]))
    nodes.append(helper.make_node("Relu", [nodes[-1].output[0]], ["y"]))
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    graph = helper.make_graph(
        nodes, "small",
        [helper.make_tensor_value_info("x", kind, [1, 3, 16, 16])],
        [helper.make_tensor_value_info("y", kind, None)],
        [numpy_helper.from_array(value.astype(dtype), name) for name, value in constants.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _warnings(model: onnx.ModelProto | Path, pictures: Path | None, **options: Any) -> yocc.Report:
    return yocc.compile(model, pipeline="simplify", calibration=pictures, **{**QUIET, **options})


def test_a_layer_that_hardly_responds_is_an_alarm(pictures: Path, tmp_path: Path) -> None:
    report = _warnings(_model(1.0), pictures, out=tmp_path / "out")
    (doubt,) = [text for text in report.warnings if text.startswith(DOUBT)]
    assert "the first layer 'first' hardly responds" in doubt
    assert "--preprocess rgb-255" in doubt
    assert doubt in report.alarms
    assert report.wrong
    assert any(text.startswith(ASSUMED) for text in report.warnings)


def test_a_normalization_of_other_values_is_an_alarm(pictures: Path, tmp_path: Path) -> None:
    values = _model(1 / 255, variance=27 * 0.29**2)
    right = _warnings(values, pictures, out=tmp_path / "right")
    wrong = _warnings(_model(1 / 255, variance=4 * 27 * 0.29**2), pictures, out=tmp_path / "wrong")
    assert not any(text.startswith(DOUBT) for text in right.warnings)
    (doubt,) = [text for text in wrong.warnings if text.startswith(DOUBT)]
    assert "BatchNormalization behind 'first'" in doubt
    assert "with rgb-signed" in doubt


@pytest.mark.parametrize("options", [{"preprocess": "rgb"}, {"input_scale": 1, "input_color": "bgr"}, {}])
def test_nothing_is_said_where_scaling_is_stated_or_fits(
    options: dict[str, Any], pictures: Path, tmp_path: Path
) -> None:
    scale = 1.0 if options else 1 / 255
    report = _warnings(_model(scale), pictures, out=tmp_path / "out", **options)
    assert not any(text.startswith(DOUBT) for text in report.warnings)


def test_nothing_is_said_of_synthetic_pictures(tmp_path: Path) -> None:
    report = _warnings(_model(1.0), None, out=tmp_path / "out")
    assert not any(text.startswith(DOUBT) for text in report.warnings)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "doubted"),
    [
        ("yolox_nano", "rgb-255"), ("nanodet_m", "imagenet"), ("yunet", "rgb-255"),
        ("ultraface_rfb320_op9", "rgb-signed"), ("fastestv2", ""), ("yolov5n", ""), ("yolov5n_bn", ""),
    ],
)  # fmt: skip
def test_published_detectors_whose_family_is_not_recognized(
    name: str, doubted: str, shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scaling they were trained on is named; of YOLO-Fastest V2 only the color order is assumed wrongly."""
    monkeypatch.setattr("yocc.compiler.stages.anatomy.find_family", lambda _: Recognition(None))
    path = shared_data / "models" / f"{name}.onnx"
    graph = load(path)
    subject = examine(graph, path, None)
    assert subject.description is not None
    assert subject.description.warning.startswith(ASSUMED)
    folder = shared_data / "images" / "calib178"
    inputs = open_inputs(folder, subject.specs, subject.description.preprocess, count=4, seed=0)
    found = suspicion(graph, subject, inputs, 1)
    assert (found is not None) == bool(doubted)
    assert found is None or f"--preprocess {doubted}" in found.text


@pytest.mark.slow
@pytest.mark.parametrize("name", ["yolox_nano", "yunet"])
def test_an_original_that_finds_much_when_fed_otherwise_is_told(name: str, shared_data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for picture in ("bus.jpg", "zidane.jpg"):
        shutil.copy(shared_data / "images" / picture, folder)
    report = yocc.compile(
        shared_data / "models" / f"{name}.onnx", pipeline="fuse", calibration=folder, preprocess="rgb",
        out=tmp_path / "out", **QUIET,
    )  # fmt: skip
    (text,) = [text for text in report.warnings if "original itself finds nothing" in text]
    assert "-255, it finds" in text
    fed = yocc.compile(
        shared_data / "models" / f"{name}.onnx", pipeline="fuse", calibration=folder, preprocess=FAMILIES[name],
        out=tmp_path / "fed", **QUIET,
    )  # fmt: skip
    assert not any("finds nothing" in text for text in fed.warnings)


def test_nothing_is_looked_for_where_there_are_no_pictures(shared_profile: ModelProfile) -> None:
    feeds = open_feeds(None, [shared_profile.input], shared_profile.preprocess, 2, 0)
    session = session_of(build_yolov5("n", classes=2, size=64), threads=1)
    assert found_elsewhere(session, shared_profile, feeds) is None


def test_objects_everywhere_are_no_sign(shared_profile: ModelProfile, pictures: Path) -> None:
    session = session_of(build_yolov5("n", classes=2, size=64), threads=1)
    feeds = open_feeds(pictures, [shared_profile.input], shared_profile.preprocess, None, 0)
    assert found_elsewhere(session, shared_profile, feeds) is None


def test_the_way_in_which_most_is_found_is_named(shared_profile: ModelProfile, pictures: Path) -> None:
    """A detector whose objectness is the brightness of the picture finds most in pixels."""
    feeds = open_feeds(pictures, [shared_profile.input], shared_profile.preprocess, None, 0)
    found = found_elsewhere(_Bright(), shared_profile, feeds)
    assert found is not None
    assert found.name.endswith("-255")
    assert (found.found, found.pictures) == (3, 3)
