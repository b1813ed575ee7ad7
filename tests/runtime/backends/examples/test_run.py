"""`run.py` beside artifacts of every target, in a process of its own: it finds what yocc finds."""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests import oracles
from tests.networks.blocks import classify, conv_norm_act
from tests.runtime.backends.examples.programs import built, eager, expected, imported, printed, require_same, run
from tests.runtime.backends.tensorrt.test_probe import driver, needs_compiler
from tests.runtime.backends.tensorrt.test_runner import PaperEngine, paper_tensorrt
from tests.samples import tiny_feed, tiny_model
from yocc.models.layers import LayerWriter, Window
from yocc.models.shipped import shipped_detector
from yocc.models.street import SPLITS, draw_scene
from yocc.runtime.backends.backend import Artifact
from yocc.runtime.backends.examples import write_examples
from yocc.runtime.backends.tensorrt.backend import TensorRtBackend

RUNNING = ["onnxruntime", "openvino", "ncnn", pytest.param("tvm", marks=pytest.mark.slow)]
"""Targets whose runtime computes here."""
TVM_FACTS = {"mcpu": "", "mtriple": "", "padded": [], "unscheduled": [], "integer": 0}


def _scenes(folder: Path, count: int = 3) -> list[Path]:
    """Street scenes, the second of which has to be scaled and letterboxed."""
    paths = []
    for number, seed in enumerate(SPLITS["test"][:count]):
        picture = Image.fromarray(draw_scene(seed, 256).picture)
        paths.append(folder / f"scene{number}.png")
        (picture.crop((0, 20, 256, 220)).resize((384, 300)) if number == 1 else picture).save(paths[-1])
    return paths


@pytest.mark.slow
@pytest.mark.parametrize("target", RUNNING)
def test_it_finds_what_yocc_finds(target: str, tmp_path: Path) -> None:
    pictures = _scenes(tmp_path)
    folder = built(shipped_detector(), tmp_path, target)
    wanted = expected(shipped_detector(), pictures)
    assert sum(map(len, wanted)) >= 6
    for picture, found, detected in zip(pictures, printed(folder, *pictures), wanted, strict=True):
        require_same(found, detected, picture)


@pytest.mark.slow
@pytest.mark.parametrize("target", RUNNING)
@pytest.mark.parametrize("name", ["yolov5n", "yolov5n_raw_op12", "yolox_nano"])
def test_it_finds_what_yocc_finds_on_photographs(name: str, target: str, shared_data: Path, tmp_path: Path) -> None:
    model = shared_data / "models" / f"{name}.onnx"
    pictures = [shared_data / "images" / picture for picture in ("bus.jpg", "zidane.jpg")]
    folder = built(model, tmp_path, target)
    wanted = expected(model, pictures)
    assert min(map(len, wanted)) >= 2
    for picture, found, detected in zip(pictures, printed(folder, *pictures), wanted, strict=True):
        require_same(found, detected, picture)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"fp16": True}], ids=["fp32", "fp16"])
def test_what_ncnn_suppresses_on_photographs(options: dict[str, Any], shared_data: Path, tmp_path: Path) -> None:
    model, blank = shared_data / "models" / "yolov5n.onnx", tmp_path / "blank.png"
    pictures = [shared_data / "images" / picture for picture in ("bus.jpg", "zidane.jpg")]
    Image.new("RGB", (90, 60)).save(blank)
    folder = built(model, tmp_path, "ncnn", pipeline=None, nms=True, **options)
    decode = json.loads((folder / "decode.json").read_text())
    assert (decode["layout"], decode["outputs"]) == ("detection_output", ["detection_out"])
    assert decode["suppression"]["boxes"] == "input"
    *found, nothing = printed(folder, *pictures, blank)
    assert nothing == []
    for picture, one, detected in zip(pictures, found, expected(model, pictures), strict=True):
        require_same(one, detected, picture, score=0.01 if options else 0.005)


@pytest.mark.slow
def test_raw_heads_of_ncnn_on_photographs(shared_data: Path, tmp_path: Path) -> None:
    model, picture = shared_data / "models" / "yolov5n.onnx", shared_data / "images" / "bus.jpg"
    folder = built(model, tmp_path, "ncnn", options={"head": "raw"})
    (wanted,) = expected(model, [picture])
    (found,) = printed(folder, picture)
    require_same(found, wanted, picture)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "target", "options"),
    [
        *itertools.product(["yolov8", "yolox", "yolox decoded"], ["onnxruntime", "openvino", "ncnn"], [{}]),
        ("yolov8", "ncnn", {"head": "raw"}),
    ],
)
def test_every_family_on_every_runtime(family: str, target: str, options: dict[str, str], tmp_path: Path) -> None:
    model = eager(family)
    path = tmp_path / "a.png"
    Image.fromarray(np.random.default_rng(3).integers(0, 256, (50, 90, 3), np.uint8)).save(path)
    folder = built(model, tmp_path, target, options=options)
    decode = json.loads((folder / "decode.json").read_text(encoding="utf-8"))
    assert decode["layout"] == {"yolov8": "columns", "yolox": "own"}.get(family, "rows") if not options else "raw_heads"
    (found,), (wanted,) = printed(folder, path), expected(model, [path])
    assert found
    require_same(found, wanted, path)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [{"nms": True}, {"outputs": "raw"}, {"max_candidates": 200}], ids=["nms", "raw", "few"]
)
@pytest.mark.parametrize("family", ["yolov8", "yolox"])
def test_outputs_that_passes_change(family: str, options: dict[str, Any], tmp_path: Path) -> None:
    model, path = eager(family), tmp_path / "a.png"
    Image.fromarray(np.random.default_rng(3).integers(0, 256, (50, 90, 3), np.uint8)).save(path)
    folder = built(model, tmp_path, pipeline=None, **options)
    (found,), (wanted,) = printed(folder, path), expected(model, [path])
    assert found
    require_same(found, wanted, path)


@pytest.mark.slow
def test_a_size_the_target_fixes_is_the_one_pictures_are_brought_to(shared_data: Path, tmp_path: Path) -> None:
    model, picture = shared_data / "models" / "yolov5n_dynamic.onnx", shared_data / "images" / "bus.jpg"
    (tmp_path / "plain").mkdir()
    folder = built(model, tmp_path, "ncnn", options={"input_size": "320"})
    plain = built(model, tmp_path / "plain", side=320, pipeline=None)
    facts = json.loads((folder / "preprocess.json").read_text(encoding="utf-8"))
    assert facts == json.loads((folder / "report.json").read_text(encoding="utf-8"))["interface"]["preprocess"]
    assert (facts["height"], facts["width"]) == (320, 320)
    (found,), (wanted,) = printed(folder, picture), printed(plain, picture)
    assert len(found) >= 3
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one["box"], other["box"], rtol=0, atol=1)


def _pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture)


@pytest.mark.slow
def test_boxes_are_printed_and_drawn(tmp_path: Path) -> None:
    folder = built(shipped_detector(), tmp_path)
    one, other, _ = _scenes(tmp_path)
    lines = run(folder, one, other, "-o", tmp_path / "drawn").stdout.splitlines()
    assert [line for line in lines if not line.startswith(" ")] == [str(one), str(other)]
    name, score, *box = lines[1].rsplit(None, 5)
    assert name.strip() in json.loads((folder / "decode.json").read_text())["classes"]
    assert float(score) > 0.25
    assert len(list(map(float, box))) == 4
    for picture in (one, other):
        before, after = map(_pixels, (picture, tmp_path / "drawn" / picture.name))
        assert before.shape == after.shape
        assert (before != after).any()
    run(folder, one, "--output", tmp_path / "single.jpg", "--rounds", 2)
    with Image.open(tmp_path / "single.jpg") as drawn:
        assert drawn.size == (256, 256)


@pytest.mark.slow
def test_a_classifier_shows_its_five_best(tmp_path: Path) -> None:
    writer = LayerWriter(0)
    x = conv_norm_act(writer, writer.input("images", (1, 3, 32, 32)), 8, Window(3, 2, pads=1), act="Relu")
    model = classify(writer, x, classes=10)
    folder = built(model, tmp_path, input_mean="0.485,0.456,0.406", input_std="0.2")
    assert not (folder / "decode.json").exists()
    picture = tmp_path / "a.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)).save(picture)
    ((output,),) = [each["outputs"] for each in json.loads(run(folder, "--json", picture).stdout)]
    pixels = _pixels(picture).astype(np.float32).transpose(2, 0, 1)[None] / 255
    array = (pixels - np.array([0.485, 0.456, 0.406], np.float32).reshape(3, 1, 1)) / np.float32(0.2)
    values = oracles.run(model, {"images": array.astype(np.float32)})[output["name"]][0]
    assert [place for place, _ in output["top"]] == np.argsort(-values)[:5].tolist()
    np.testing.assert_allclose([value for _, value in output["top"]], np.sort(values)[::-1][:5], rtol=1e-4)
    shown = run(folder, picture).stdout.splitlines()
    assert shown[1].startswith(f"{output['name']}: float32 [1, 10]")
    assert len(shown) == 7


@pytest.mark.slow
@pytest.mark.parametrize("target", RUNNING)
def test_arrays_go_in_and_come_out(target: str, tmp_path: Path) -> None:
    folder = built(tiny_model(), tmp_path, target)
    np.save(tmp_path / "x.npy", tiny_feed()["x"])
    done = run(folder, "--input", tmp_path / "x.npy", "--output", tmp_path / "y.npz", "--rounds", 2, "--threads", 1)
    assert "median" in done.stderr
    wanted = oracles.run(tiny_model(), tiny_feed())["y"]
    np.testing.assert_allclose(np.load(tmp_path / "y.npz")["y"], wanted, rtol=0, atol=1e-4)
    assert run(folder).stdout.startswith("y: float32 [1, 4, 16, 16]")


@pytest.mark.slow
def test_what_cannot_be_done_is_one_sentence(tmp_path: Path) -> None:
    folder = built(shipped_detector(), tmp_path)
    assert "missing.png" in run(folder, tmp_path / "missing.png", status=1).stderr
    (tmp_path / "text.png").write_text("no picture")
    assert "cannot identify" in run(folder, tmp_path / "text.png", status=1).stderr
    (folder / "preprocess.json").unlink()
    assert "takes no pictures" in run(folder, tmp_path / "text.png", status=2).stderr


@pytest.mark.parametrize("target", ["onnxruntime", "openvino", "ncnn", "tensorrt", "tvm"])
def test_a_missing_runtime_is_one_sentence(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from yocc.runtime.backends.registry import find_backend

    monkeypatch.setitem(sys.modules, target, None)
    monkeypatch.setattr(sys, "argv", ["run.py"])
    (tmp_path / "model.json").write_text(json.dumps({"inputs": [], "outputs": [], "half": False, **TVM_FACTS}))
    artifact = Artifact(target, tmp_path, tmp_path / "model")
    write_examples(tmp_path, find_backend(target).example(artifact), None, None)
    assert imported(tmp_path / "run.py").main() == 6
    assert f"pip install {'apache-' if target == 'tvm' else ''}{target} numpy pillow" in capsys.readouterr().err


@needs_compiler
def test_an_engine_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """On a GPU that is plain memory and an engine of paper that doubles its input."""
    write_examples(
        tmp_path, TensorRtBackend().example(Artifact("tensorrt", tmp_path, tmp_path / "model.onnx")), None, None
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "engine", raising=False)
    monkeypatch.setitem(sys.modules, "tensorrt", paper_tensorrt(PaperEngine()))
    program = imported(tmp_path / "run.py")
    engine = __import__("engine")
    monkeypatch.setattr(engine.Cuda.__init__, "__defaults__", (driver(tmp_path),))
    np.save(tmp_path / "x.npy", np.ones((2, 3), np.float32))
    command = ["run.py", "--input", tmp_path / "x.npy", "--output", tmp_path / "y.npz", "--rounds", 1]
    monkeypatch.setattr(sys, "argv", list(map(str, command)))
    with pytest.raises(SystemExit, match=r"sh build\.sh"):
        program.main()
    (tmp_path / "model.engine").write_bytes(b"plan")
    assert program.main() == 0
    np.testing.assert_array_equal(np.load(tmp_path / "y.npz")["y"], np.full((2, 3), 2, np.float32))
    assert "y: float32 [2, 3], 2 to 2" in capsys.readouterr().out
    monkeypatch.delitem(sys.modules, "engine")
