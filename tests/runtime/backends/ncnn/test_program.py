"""The C++ program beside an artifact, compiled, linked with ncnn and run: it finds what the Python one finds."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.networks.yolov8 import yolov8
from tests.runtime.backends.ncnn.running import needs_ncnn
from yocc.compiler.graph import load
from yocc.models.shipped import shipped_detector
from yocc.models.street import SPLITS, draw_scene
from yocc.runtime.backends.ncnn.backend import NcnnBackend

INSTALL = (
    "ncnn's C++ library is not installed: build it with -DNCNN_SIMPLEOCV=ON and set ncnn_DIR to its lib/cmake/ncnn; "
    "docs/targets/ncnn.md has the lines"
)
Found = list[tuple[str, float, tuple[float, ...]]]


def _distances() -> onnx.ModelProto:
    """A YOLOv8 of random weights whose scores are around one half."""
    model = yolov8(0, 3, 64, (8, 16, 32))
    for constant in model.graph.initializer:
        values = numpy_helper.to_array(constant)
        if values.shape == (3,) and values.dtype == np.float32:
            constant.CopyFrom(numpy_helper.from_array(values + np.float32(3.0), constant.name))
    return model


def _built(model: onnx.ModelProto | Path, folder: Path, head: str) -> None:
    backend = NcnnBackend()
    backend.build(load(model), backend.target({"head": head}), folder)


def _compile(folder: Path) -> None:
    """Build the program, or skip where ncnn's library is not there."""
    for tool in ("cmake", "g++"):
        if shutil.which(tool) is None:
            pytest.skip(f"there is no {tool}: apt install cmake g++")
    configure = ["cmake", "-S", folder, "-B", folder / "build", "-DUSE_SIMPLEOCV=ON", "-DCMAKE_BUILD_TYPE=Release"]
    configured = subprocess.run(configure, capture_output=True, text=True)
    if "ncnnConfig.cmake" in configured.stderr:
        pytest.skip(INSTALL)
    assert configured.returncode == 0, configured.stderr
    made = subprocess.run(["cmake", "--build", folder / "build"], capture_output=True, text=True)
    assert made.returncode == 0, made.stdout + made.stderr


def _printed(command: list, folder: Path) -> Found:
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    words = [line.strip().rsplit(None, 5) for line in run.stdout.splitlines() if not line.endswith(".png")]
    found = [(name, float(score), tuple(map(float, box))) for name, score, *box in words]
    return sorted(found, key=lambda one: (one[0], one[2]))


@needs_ncnn
@pytest.mark.parametrize("head", ["raw", "decoded"])
@pytest.mark.parametrize("family", ["yolov5", "yolov8"])
@pytest.mark.slow
def test_both_programs_find_the_same(family: str, head: str, tmp_path: Path) -> None:
    from PIL import Image

    _built(shipped_detector() if family == "yolov5" else _distances(), tmp_path, head)
    _compile(tmp_path)
    if family == "yolov5":
        pictures = [Image.fromarray(draw_scene(seed, 256).picture) for seed in SPLITS["test"][:4]]
    else:
        random = np.random.default_rng(0)
        # Cut to 64 x 56, so that the program has to letterbox; no picture is scaled, which both do in their own ways.
        pictures = [Image.fromarray(random.integers(0, 255, (56, 64, 3), np.uint8)) for _ in range(2)]
    total = 0
    for number, picture in enumerate(pictures):
        path = tmp_path / f"{number}.png"
        picture.save(path)
        wanted = _printed([sys.executable, "detect.py", path], tmp_path)
        found = _printed([tmp_path / "build" / "detect", path], tmp_path)
        assert [one[0] for one in found] == [one[0] for one in wanted]
        np.testing.assert_allclose([one[1] for one in found], [one[1] for one in wanted], rtol=0, atol=2e-3)
        np.testing.assert_allclose([one[2] for one in found], [one[2] for one in wanted], rtol=0, atol=0.2)
        total += len(found)
    assert total >= 8
