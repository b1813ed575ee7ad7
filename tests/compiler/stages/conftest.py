"""A detector and pictures for tests that compile."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from yocc.models.yolov5 import Scale, build_yolov5


@pytest.fixture(scope="package")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small YOLOv5 with random weights, 96 pixels wide."""
    path = tmp_path_factory.mktemp("model") / "detector.onnx"
    onnx.save(build_yolov5(Scale(0.1, 0.05), size=96, classes=3), path)
    return path


@pytest.fixture(scope="package")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of pictures of random colors in a dozen sizes."""
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(12):
        pixels = np.random.default_rng(number).integers(0, 256, (9, 12, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((160, 100 + number)).save(folder / f"{number:02}.png")
    return folder
