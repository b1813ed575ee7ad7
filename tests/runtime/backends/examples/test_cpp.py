"""The C++ programs beside artifacts, compiled, linked with their runtimes and run: they find what `run.py` finds."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.runtime.backends.examples.programs import Found, built, eager, printed
from yocc.models.shipped import shipped_detector
from yocc.models.street import SPLITS, draw_scene

INCLUDE = "YOCC_ONNXRUNTIME_INCLUDE"
NO_ONNXRUNTIME = f"onnxruntime's C++ headers are not in its wheel: set {INCLUDE} to the folder with them"
NO_NCNN = (
    "ncnn's C++ library is not in its wheel: build it and set ncnn_DIR to its lib/cmake/ncnn; docs/targets/ncnn.md has "
    "the lines"
)
WARNINGS = "-Wall -Wextra -Werror -Wno-unused-variable"


def _package(name: str) -> Path:
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        pytest.skip(f"{name} is not installed")
    return Path(spec.origin).parent


def _onnxruntime(folder: Path) -> list[str]:
    headers = os.environ.get(INCLUDE)
    if not headers:
        pytest.skip(NO_ONNXRUNTIME)
    (library,) = (_package("onnxruntime") / "capi").glob("libonnxruntime.so.*")
    # The wheel leaves out the link under which the loader looks for it.
    for name in ("libonnxruntime.so", "libonnxruntime.so.1"):
        (folder / name).symlink_to(library)
    return [f"-DONNXRUNTIME_INCLUDE={headers}", f"-DONNXRUNTIME_LIBRARY={folder / 'libonnxruntime.so'}"]


def _openvino(_: Path) -> list[str]:
    return [f"-DOpenVINO_DIR={_package('openvino') / 'cmake'}"]


def _tvm(_: Path) -> list[str]:
    return [f"-DTVM_FFI_ROOT={_package('tvm_ffi')}", f"-DTVM_ROOT={_package('tvm')}"]


def _ncnn(_: Path) -> list[str]:
    if "ncnn_DIR" not in os.environ:
        pytest.skip(NO_NCNN)
    return []


SETTINGS: dict[str, Callable[[Path], list[str]]] = {
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
    "tvm": _tvm,
    "ncnn": _ncnn,
}


def _require_tools(*tools: str) -> None:
    for tool in tools:
        if shutil.which(tool) is None:
            pytest.skip(f"there is no {tool}: apt install cmake g++")


def _made(folder: Path, settings: list[str]) -> Path:
    """The program of an artifact."""
    build = folder.parent / "build"
    flags = [f"-DCMAKE_CXX_FLAGS={WARNINGS}", "-DWITH_OPENCV=OFF"]
    for command in (["-S", folder / "cpp", "-B", build, *flags, *settings], ["--build", build]):
        done = subprocess.run(["cmake", *map(str, command)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    return build / "detect"


def _found(program: Path, folder: Path, *pictures: Path) -> list[list[tuple[str, float, list[float]]]]:
    """What the C++ program finds in each picture."""
    command = [program, folder, *pictures]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: list[list[tuple[str, float, list[float]]]] = []
    for line in done.stdout.splitlines():
        if not line.startswith(" "):
            found.append([])
            continue
        name, score, *box = line.strip().rsplit(None, 5)
        found[-1].append((name, float(score), list(map(float, box))))
    assert len(found) == len(pictures)
    return found


def _require_same(found: list[tuple[str, float, list[float]]], wanted: Found) -> None:
    assert [one[0] for one in found] == [one["class"] for one in wanted]
    np.testing.assert_allclose([one[1] for one in found], [one["score"] for one in wanted], rtol=0, atol=2e-3)
    boxes = np.array([one["box"] for one in wanted]).reshape(-1, 4)
    np.testing.assert_allclose(np.array([one[2] for one in found]).reshape(-1, 4), boxes, rtol=0, atol=0.3)


def _scenes(folder: Path) -> list[Path]:
    paths = []
    for number, seed in enumerate(SPLITS["test"][:3]):
        picture = Image.fromarray(draw_scene(seed, 256).picture)
        # One as large as the input, one to be shrunk and one to be enlarged.
        picture = [picture, picture.crop((0, 20, 256, 220)).resize((384, 300)), picture.resize((101, 190))][number]
        paths.append(folder / f"scene{number}.ppm")
        picture.save(paths[-1])
    return paths


def _noise(folder: Path) -> list[Path]:
    paths = [folder / f"noise{number}.ppm" for number in range(2)]
    for number, (path, size) in enumerate(zip(paths, [(56, 64, 3), (150, 200, 3)], strict=True)):
        Image.fromarray(np.random.default_rng(number).integers(0, 256, size, np.uint8)).save(path)
    return paths


@pytest.mark.slow
@pytest.mark.parametrize("target", SETTINGS)
def test_both_programs_find_the_same(target: str, tmp_path: Path) -> None:
    _require_tools("cmake", "g++")
    settings = SETTINGS[target](tmp_path)
    folder, pictures = built(shipped_detector(), tmp_path, target), _scenes(tmp_path)
    wanted = printed(folder, *pictures)
    assert sum(map(len, wanted)) >= 8
    for one, other in zip(_found(_made(folder, settings), folder, *pictures), wanted, strict=True):
        _require_same(one, other)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "target"),
    [("yolov8", "openvino"), ("yolov8", "ncnn"), ("yolox", "ncnn"), ("yolox decoded", "onnxruntime")],
)
def test_both_programs_read_every_layout(family: str, target: str, tmp_path: Path) -> None:
    _require_tools("cmake", "g++")
    settings = SETTINGS[target](tmp_path)
    model = eager(family)
    folder, pictures = built(model, tmp_path, target), _noise(tmp_path)
    wanted = printed(folder, *pictures)
    assert all(wanted)
    for one, other in zip(_found(_made(folder, settings), folder, *pictures), wanted, strict=True):
        _require_same(one, other)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["yolov5", "yolov8"])
def test_both_programs_read_raw_heads_of_ncnn(family: str, tmp_path: Path) -> None:
    _require_tools("cmake", "g++")
    settings = _ncnn(tmp_path)
    model: Any = shipped_detector() if family == "yolov5" else eager("yolov8")
    folder = built(model, tmp_path, "ncnn", options={"head": "raw"})
    pictures = _scenes(tmp_path) if family == "yolov5" else _noise(tmp_path)
    wanted = printed(folder, *pictures)
    assert all(wanted)
    for one, other in zip(_found(_made(folder, settings), folder, *pictures), wanted, strict=True):
        _require_same(one, other)


@pytest.mark.slow
def test_both_programs_read_what_ncnn_suppresses(tmp_path: Path) -> None:
    _require_tools("cmake", "g++")
    settings = _ncnn(tmp_path)
    options: dict[str, Any] = {"pipeline": None, "nms": True, "nms_confidence": 0.4}
    folder, pictures = built(shipped_detector(), tmp_path, "ncnn", **options), _scenes(tmp_path)
    blank = tmp_path / "blank.ppm"
    Image.new("RGB", (90, 60)).save(blank)
    wanted = printed(folder, *pictures, blank)
    assert sum(map(len, wanted)) >= 6
    assert wanted[-1] == []
    for one, other in zip(_found(_made(folder, settings), folder, *pictures, blank), wanted, strict=True):
        _require_same(one, other)


@pytest.mark.slow
def test_raw_heads_of_photographs(shared_data: Path, tmp_path: Path) -> None:
    _require_tools("cmake", "g++")
    settings = SETTINGS["openvino"](tmp_path)
    folder = built(shared_data / "models" / "yolov5n_raw_op12.onnx", tmp_path, "openvino")
    picture = tmp_path / "bus.ppm"
    with Image.open(shared_data / "images" / "bus.jpg") as file:
        file.save(picture)
    (found,), (wanted,) = _found(_made(folder, settings), folder, picture), printed(folder, picture)
    assert len(wanted) >= 3
    _require_same(found, wanted)


@pytest.mark.slow
def test_what_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    _require_tools("cmake", "g++")
    settings = SETTINGS["openvino"](tmp_path)
    folder = built(shipped_detector(), tmp_path, "openvino")
    program = _made(folder, settings)
    (tmp_path / "cut.ppm").write_bytes(b"P6\n# a comment\n20 20\n255\n" + bytes(100))
    (tmp_path / "text.ppm").write_text("no picture")
    cases = {"missing.ppm": "there is no picture", "cut.ppm": "is cut off", "text.ppm": "is no binary PPM picture"}
    for name, said in cases.items():
        command = [program, folder, tmp_path / name]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert said in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"nms": True}, {"outputs": "raw"}], ids=["nms", "raw"])
def test_both_programs_read_outputs_that_passes_change(options: dict[str, Any], tmp_path: Path) -> None:
    _require_tools("cmake", "g++")
    settings = SETTINGS["onnxruntime"](tmp_path)
    folder, pictures = built(eager("yolox"), tmp_path, pipeline=None, **options), _noise(tmp_path)
    wanted = printed(folder, *pictures)
    assert all(wanted)
    for one, other in zip(_found(_made(folder, settings), folder, *pictures), wanted, strict=True):
        _require_same(one, other)


@pytest.mark.slow
@pytest.mark.parametrize("nms", [False, True])
def test_both_programs_feed_bytes_of_any_size(nms: bool, tmp_path: Path) -> None:
    _require_tools("cmake", "g++")
    settings = SETTINGS["onnxruntime"](tmp_path)
    folder = built(shipped_detector(), tmp_path, pipeline=None, input="uint8,nhwc,bgr,letterbox", nms=nms)
    pictures = _scenes(tmp_path)
    wanted = printed(folder, *pictures)
    for one, other in zip(_found(_made(folder, settings), folder, *pictures), wanted, strict=True):
        _require_same(one, other)
