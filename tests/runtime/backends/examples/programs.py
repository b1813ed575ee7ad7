"""Building artifacts with their programs, and running those."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import yocc
from tests.networks.yolov8 import yolov8
from tests.networks.yolox import yolox
from yocc.compiler.graph import load
from yocc.models.families.family import find_profile
from yocc.runtime.backends.examples import example_of, write_examples
from yocc.runtime.backends.onnxruntime import OnnxRuntimeSession, session_of
from yocc.runtime.data.letterbox import read_picture
from yocc.runtime.detection.boxes import SHOWING, Detections
from yocc.runtime.detection.metrics import detections

QUIET: dict[str, Any] = {"fidelity": False, "bench": False, "html": False, "pipeline": "simplify,fuse"}
Found = list[dict[str, Any]]


def built(model: onnx.ModelProto | Path, folder: Path, target: str = "onnxruntime", **options: Any) -> Path:
    """The output folder of a compilation that changes nothing; skips where the target's package is not installed."""
    pytest.importorskip(target)
    if isinstance(model, onnx.ModelProto):
        path = folder / "original.onnx"
        onnx.save(model, path)
        model = path
    yocc.compile(model, target=target, out=folder / "out", **{**QUIET, **options})
    return folder / "out"


def eager(family: str) -> onnx.ModelProto:
    """A small detector of random weights and three classes whose scores are around one half."""
    model = yolov8(0, 3, 64, (8, 16, 32)) if family == "yolov8" else yolox(0, decoded=family == "yolox decoded")
    for constant in model.graph.initializer:
        values = numpy_helper.to_array(constant)
        # Biases of classes and objectness; the score of a YOLOX is a product of the two.
        if values.dtype == np.float32 and values.shape in ((3,), (1,)):
            rise = 4.0 if values.shape == (1,) else 3.0 if family == "yolov8" else 1.0
            constant.CopyFrom(numpy_helper.from_array(values + np.float32(rise), constant.name))
    return model


def run(folder: Path, *arguments: Any, status: int = 0) -> subprocess.CompletedProcess[str]:
    """Run the Python program of an artifact from elsewhere, without yocc."""
    command = [sys.executable, "-W", "error", str(folder / "run.py"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder.parent, check=False)
    assert done.returncode == status, done.stderr
    return done


def printed(folder: Path, *pictures: Path) -> list[Found]:
    """What the Python program finds in each picture."""
    listed = json.loads(run(folder, "--json", *pictures).stdout)
    assert [each["picture"] for each in listed] == list(map(str, pictures))
    return [each["detections"] for each in listed]


def expected(model: onnx.ModelProto | Path, pictures: list[Path]) -> list[Detections]:
    """What yocc finds with the original in onnxruntime."""
    profile = find_profile(load(model))
    assert profile is not None
    session = OnnxRuntimeSession(model) if isinstance(model, Path) else session_of(model)
    with session:
        return list(detections(session, profile, pictures, SHOWING).found)


def require_same(found: Found, wanted: Detections, picture: Path, pixels: float = 1.0, score: float = 0.005) -> None:
    """Hold what a program found against yocc's detections, which are rounded to pixels and may leave the picture."""
    size = read_picture(picture).size
    boxes = np.clip(wanted.boxes, 0, np.array([*size, *size]))
    rest = list(range(len(wanted)))
    assert len(found) == len(rest)
    for one in found:
        fits = [
            place
            for place in rest
            if wanted.classes[place] == one["number"]
            and abs(wanted.scores[place] - one["score"]) <= score
            and np.abs(boxes[place] - one["box"]).max() <= pixels
        ]
        assert fits, (one, wanted)
        rest.remove(fits[0])


def program(folder: Path, preprocess: dict[str, Any] | None = None, decode: dict[str, Any] | None = None) -> ModuleType:
    """`run.py` for onnxruntime as a module."""
    write_examples(folder, example_of("onnxruntime", ""), preprocess, decode)
    return imported(folder / "run.py")


def imported(path: Path) -> ModuleType:
    """A program as a module."""
    spec = importlib.util.spec_from_file_location("run", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
