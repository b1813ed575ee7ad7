"""The same model, options and pictures give the same bytes in any process, folder, hash seed and number of cores."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

from tests.installed import as_if_installed
from tests.samples import tiny_model
from yocc.models.yolov5 import build_yolov5

CASES = {
    "detector, pruned by weights, int8": ("detector.onnx", ["--prune", "0.4", "--recover", "none", "--int8"]),
    "reconstructed, int8, fp16": ("tiny.onnx", ["--prune", "0.3", "--recover", "reconstruct", "--int8", "--fp16"]),
}
AROUND = [
    {"PYTHONHASHSEED": "1"},
    {"PYTHONHASHSEED": "2", "OMP_NUM_THREADS": "1", "LANG": "tr_TR.UTF-8", "TZ": "Asia/Tokyo"},
    {"OPENBLAS_NUM_THREADS": "2", "LC_ALL": "C"},
]


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("material")
    onnx.save(build_yolov5("n", size=64, seed=3), folder / "detector.onnx")
    onnx.save(tiny_model(), folder / "tiny.onnx")
    (folder / "pictures").mkdir()
    random = np.random.default_rng(0)
    for number in range(6):
        pixels = random.integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(pixels).resize((90, 70), Image.Resampling.BICUBIC).save(folder / "pictures" / f"{number}.png")
    return folder


def _on_one_core() -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def _result(folder: Path) -> tuple[dict[str, bytes], dict[str, Any]]:
    report = json.loads((folder / "report.json").read_text())
    del report["measured"]
    return {entry["path"]: (folder / entry["path"]).read_bytes() for entry in report["files"]}, report


@pytest.mark.slow
@pytest.mark.parametrize(("model", "options"), CASES.values(), ids=CASES)
def test_bytes_depend_on_nothing_around(model: str, options: list[str], material: Path, tmp_path: Path) -> None:
    results = []
    for number, variables in enumerate(AROUND):
        folder = tmp_path / str(number) / ("deeper" * number or "here")
        shutil.copytree(material, folder)
        environment = as_if_installed(tmp_path / f"site{number}")
        environment.pop("PYTHONHASHSEED", None)
        done = subprocess.run(
            ["yocc", "compile", model, *options, "--calib", "pictures", "--threads", "2", "--no-bench", "-o", "out"],
            cwd=folder, env=environment | variables, capture_output=True, text=True, check=False,
            preexec_fn=_on_one_core if number else None,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        results.append(_result(folder / "out"))
    for around, (files, report) in zip(AROUND[1:], results[1:], strict=True):
        assert files == results[0][0], around
        assert report == results[0][1], around
