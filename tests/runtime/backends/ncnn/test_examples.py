"""The programs beside an artifact: the Python one runs and finds what yocc finds, the C++ one is sound C++."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from tests import oracles
from tests.networks.yolov8 import yolov8
from tests.runtime.backends.ncnn.running import needs_ncnn
from yocc.compiler.graph import load
from yocc.models.families.family import find_profile
from yocc.models.yolov5 import build_yolov5
from yocc.runtime.backends.ncnn.backend import NcnnBackend
from yocc.runtime.backends.onnxruntime import session_of
from yocc.runtime.data.letterbox import read_picture
from yocc.runtime.detection.boxes import SHOWING
from yocc.runtime.detection.metrics import detections


def _built(model: onnx.ModelProto | Path, folder: Path, head: str) -> None:
    backend = NcnnBackend()
    target = backend.target({"head": head})
    graph = load(model)
    assert backend.validate(graph, target) == []
    backend.build(graph, target, folder)


def _columns() -> onnx.ModelProto:
    """Decoded columns of three classes, as YOLOv8 lays them out, from one convolution for each stride."""
    random = np.random.default_rng(0)
    weights = {f"w{s}": random.normal(0, 0.05, (7, 3, s, s)).astype(np.float32) for s in (8, 16, 32)}
    weights["cells"] = np.array([1, 7, -1], np.int64)
    weights["parts"] = np.array([4, 3], np.int64)
    nodes = []
    for s in (8, 16, 32):
        nodes.append(helper.make_node("Conv", ["images", f"w{s}"], [f"c{s}"], strides=[s, s]))
        nodes.append(helper.make_node("Reshape", [f"c{s}", "cells"], [f"r{s}"]))
    nodes += [
        helper.make_node("Concat", ["r8", "r16", "r32"], ["all"], axis=2),
        helper.make_node("Split", ["all", "parts"], ["boxes", "logits"], axis=1),
        helper.make_node("Sigmoid", ["logits"], ["scores"]),
        helper.make_node("Concat", ["boxes", "scores"], ["output0"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "columns",
        [helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, [1, 3, 64, 64])],
        [helper.make_tensor_value_info("output0", onnx.TensorProto.FLOAT, [1, 7, 84])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _printed(folder: Path, *pictures: Path) -> dict[str, list[list[str]]]:
    run = subprocess.run(
        [sys.executable, folder / "detect.py", *map(str, pictures)], capture_output=True, text=True, check=True
    )
    found: dict[str, list[list[str]]] = {}
    for line in run.stdout.splitlines():
        if not line.startswith(" "):
            found[line] = current = []
        else:
            current.append([line[:18].strip(), *line[18:].split()])
    return found


@pytest.mark.slow
@needs_ncnn
@pytest.mark.parametrize("head", ["raw", "decoded"])
def test_python_example_finds_what_yocc_finds(head: str, shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "models" / "yolov5n.onnx"
    pictures = [shared_data / "images" / name for name in ("bus.jpg", "zidane.jpg")]
    _built(path, tmp_path, head)
    profile = find_profile(load(path))
    assert profile is not None
    with session_of(onnx.load(path)) as session:
        wanted = detections(session, profile, pictures, SHOWING).found
    for picture, (_, found), expected in zip(pictures, _printed(tmp_path, *pictures).items(), wanted, strict=True):
        assert [one[0] for one in found] == [profile.classes[label] for label in expected.classes]
        np.testing.assert_allclose([float(one[1]) for one in found], expected.scores, rtol=0, atol=0.01)
        boxes = np.array([[float(side) for side in one[2:]] for one in found])
        width, height = read_picture(picture).size
        limits = np.array([width, height, width, height])
        # Rounded to pixels, and cut off at the edges of the picture.
        np.testing.assert_allclose(boxes, np.clip(expected.boxes, 0, limits), rtol=0, atol=2.5)


@pytest.mark.slow
@needs_ncnn
@pytest.mark.parametrize("kind", ["raw", "rows", "columns"])
def test_python_example_runs_on_every_layout(kind: str, tmp_path: Path) -> None:
    from PIL import Image

    model = _columns() if kind == "columns" else build_yolov5("n", size=64)
    _built(model, tmp_path, "raw" if kind == "raw" else "decoded")
    assert json.loads((tmp_path / "decode.json").read_text())["layout"] == kind
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (50, 90, 3), np.uint8)).save(tmp_path / "a.png")
    assert list(_printed(tmp_path, tmp_path / "a.png")) == [str(tmp_path / "a.png")]


@needs_ncnn
@pytest.mark.parametrize("head", ["raw", "decoded"])
def test_python_example_decodes_distances(head: str, tmp_path: Path) -> None:
    model = yolov8(0, 3, 64, (8, 16, 32))
    _built(model, tmp_path, head)
    spec = importlib.util.spec_from_file_location("detect", tmp_path / "detect.py")
    assert spec is not None
    assert spec.loader is not None
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    array = np.random.default_rng(0).random((3, 64, 64), dtype=np.float32)
    boxes, scores = program.candidates(program.run(program.load(), array))
    wanted = oracles.run(model, {"images": array[None]})["output0"][0].T
    np.testing.assert_allclose(boxes, wanted[:, :4], rtol=0, atol=1e-2)
    np.testing.assert_allclose(scores, wanted[:, 4:], rtol=0, atol=1e-4)


def test_header_and_json_say_the_same(tmp_path: Path) -> None:
    _built(build_yolov5("n", size=64), tmp_path, "raw")
    facts, header = json.loads((tmp_path / "decode.json").read_text()), (tmp_path / "decode.h").read_text()
    assert [head["stride"] for head in facts["heads"]] == [8, 16, 32]
    assert facts["heads"][0]["anchors"] == [[10.0, 13.0], [16.0, 30.0], [33.0, 23.0]]
    assert "{10.0f, 13.0f}, {16.0f, 30.0f}, {33.0f, 23.0f}" in header
    assert "static const int HEAD_COUNT = 3;" in header
    assert all(f'"{head["blob"]}"' in header for head in facts["heads"])
    assert all(f'"{name}"' in header for name in facts["classes"])


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler")
def test_header_is_sound_cpp(tmp_path: Path) -> None:
    """In full the program needs ncnn's headers, which its wheel does not bring."""
    distances = yolov8(0, 3, 64, (8, 16, 32))
    cases = [("raw", build_yolov5("n", size=64)), ("decoded", build_yolov5("n", size=64)), ("raw", distances)]
    for number, (head, model) in enumerate(cases):
        folder = tmp_path / str(number)
        folder.mkdir()
        _built(model, folder, head)
        (folder / "all.cpp").write_text('#include "decode.h"\n')
        flags = ["-std=c++11", "-Wall", "-Werror", "-Wno-unused", "-fsyntax-only"]
        subprocess.run(["g++", *flags, folder / "all.cpp"], check=True, capture_output=True)


def test_networks_that_are_no_detectors_get_no_examples(tmp_path: Path) -> None:
    from tests.samples import tiny_model

    _built(tiny_model(), tmp_path, "decoded")
    assert {path.name for path in tmp_path.iterdir()} == {"model.param", "model.bin", "model.json"}
