"""How pictures are fed, as the command line and the configuration state it."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from jsonschema import Draft202012Validator
from PIL import Image

from tests.samples import tiny_model
from yocc.cli import cli
from yocc.models.yolov5 import build_yolov5
from yocc.report.report import schema_text

ASSUMED = "How the model takes pictures was assumed"
OPTIONS = ["--input-color", "bgr", "--input-scale", "1", "--input-mean", "1,2,3", "--input-std", "1/2"]

pytestmark = pytest.mark.usefixtures("sample_passes")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    onnx.save(tiny_model(), tmp_path / "tiny.onnx")
    (tmp_path / ".git").mkdir()
    (tmp_path / "pictures").mkdir()
    random = np.random.default_rng(0)
    for number in range(2):
        pixels = random.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "pictures" / f"{number}.png")
    np.savez(tmp_path / "arrays.npz", x=random.random((2, 3, 16, 16), dtype=np.float32))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments), prog_name="yocc")


def _compile(*arguments: str, pipeline: str = "look") -> tuple[dict[str, Any], str]:
    result = _run("compile", "tiny.onnx", "--pipeline", pipeline, "--no-bench", "-o", "out", *arguments)
    assert result.exit_code == 0, result.stderr
    content: dict[str, Any] = json.loads(Path("out/report.json").read_text())
    Draft202012Validator(json.loads(schema_text())).validate(content)
    return content, result.stderr


def test_what_was_assumed_is_a_warning_and_in_the_report() -> None:
    content, said = _compile("--calib", "pictures")
    assert f"Warning: {ASSUMED}" in said
    assert any(text.startswith(ASSUMED) for text in content["warnings"])
    assert (content["input"]["color"], content["input"]["scale"]) == ("rgb", 1 / 255)
    assert content["input"]["origin"] == "assumed"
    assert ASSUMED in Path("out/report.html").read_text()


def test_what_is_stated_is_used_and_no_warning() -> None:
    content, said = _compile("--calib", "pictures", *OPTIONS)
    assert ASSUMED not in said
    pictures = content["input"].pop("pictures")
    assert content["input"] == {
        "name": "x", "color": "bgr", "scale": 1.0, "mean": [1.0, 2.0, 3.0], "std": [0.5], "letterbox": False,
        "fit": "stretch", "pad": 114, "origin": "given", "reason": "color and scaling: as given; fit: assumed",
        "assumed": ["fit"], "shape": [1, 3, 16, 16],
        "text": "BGR, (pixel * 1 - 1,2,3) / 0.5, stretched to the input size",
    }  # fmt: skip
    assert [Path(each["file"]).name for each in pictures] == ["0.png", "1.png"]
    page = Path("out/report.html").read_text()
    assert shlex.join(OPTIONS) in page


def test_arrays_are_fed_as_they_are_and_nothing_is_assumed() -> None:
    content, said = _compile("--calib", "arrays.npz")
    assert ASSUMED not in said
    assert content["input"] is None
    stated, said = _compile("--calib", "arrays.npz", *OPTIONS)
    assert stated["input"] is None
    assert "fed as they are" in said


def test_nothing_is_assumed_where_no_picture_is_looked_at() -> None:
    content, said = _compile("--no-fidelity", pipeline="negate")
    assert ASSUMED not in said
    assert content["input"] is None


def test_options_change_what_is_calibrated() -> None:
    ranges = []
    for arguments in ([], ["--input-scale", "1"], ["--input-scale", "1", "--input-mean", "128"]):
        content, _ = _compile("--calib", "pictures", *arguments, pipeline="quantize")
        tensor = content["passes"][0]["details"]["tensors"]["x"]
        ranges.append((tensor["low"], tensor["high"]))
    (low, high), (_, bright), (dark, _) = ranges
    assert 0 <= low < high <= 1
    assert bright == pytest.approx(255 * high, rel=1e-3)
    assert dark < -100


@pytest.mark.slow
def test_a_recognized_detector_needs_no_statement_and_takes_one() -> None:
    onnx.save(build_yolov5("n", size=64), "tiny.onnx")
    content, said = _compile()
    assert ASSUMED not in said
    assert content["input"]["origin"] == "family"
    assert content["input"]["letterbox"]
    content, _ = _compile("--input-color", "bgr")
    assert (content["input"]["color"], content["input"]["origin"]) == ("bgr", "given")
    assert content["input"]["letterbox"]


@pytest.mark.slow
def test_the_original_that_finds_nothing_is_told() -> None:
    onnx.save(build_yolov5("n", size=64), "tiny.onnx")
    _, said = _compile("--calib", "pictures", "--input-scale", "1e-9")
    assert "original itself finds nothing" in said
    assert "--input-color" in said


def test_configuration_takes_numbers_fractions_and_lists() -> None:
    Path("yocc.toml").write_text('input-color = "bgr"\ninput_scale = "1/2"\ninput-mean = [1, 2.5, 3]\ninput-std = 2\n')
    content, _ = _compile("--calib", "pictures")
    fed = content["input"]
    assert (fed["color"], fed["scale"], fed["mean"], fed["std"]) == ("bgr", 0.5, [1.0, 2.5, 3.0], [2.0])
    Path("yocc.toml").write_text("input-color = [1]\n")
    assert _run("compile", "tiny.onnx").exit_code == 2


def test_configuration_takes_names_and_placement() -> None:
    Path("yocc.toml").write_text('preprocess = "caffe"\ninput-fit = "letterbox-top-left"\ninput-pad = 0\n')
    content, said = _compile("--calib", "pictures", "--input-scale", "1/2")
    fed = content["input"]
    assert (fed["color"], fed["scale"], fed["mean"]) == ("bgr", 0.5, [103.939, 116.779, 123.68])
    assert (fed["fit"], fed["pad"], fed["assumed"]) == ("letterbox-top-left", 0, [])
    assert ASSUMED not in said
    Path("yocc.toml").write_text('[input]\npreprocess = "caffe"\nfit = "letterbox-top-left"\npad = 0\nscale = "1/2"\n')
    assert _compile("--calib", "pictures")[0]["input"] == fed
    Path("yocc.toml").write_text("[input]\ncolour = 'bgr'\n")
    assert "input-color" in _run("compile", "tiny.onnx").stderr
    Path("yocc.toml").unlink()
    fed = json.loads(Path("out/preprocess.json").read_text())
    assert (fed["resize"], fed["alignment"], fed["pad_value"]) == ("letterbox", "top_left", 0)
    assert "--input-fit letterbox-top-left --input-pad 0" in Path("out/report.html").read_text()


def test_the_page_shows_what_was_fed() -> None:
    _compile("--calib", "pictures", "--preprocess", "bgr-255")
    page = Path("out/report.html").read_text()
    assert page.count('alt="A picture as the network was fed it"') == 2
    assert "BGR, (pixel * 1 - 0) / 1, stretched to the input size" in page
    assert "--preprocess bgr-255" in page
    assert "blue 0 to 255" in page or "blue 1 to 25" in page or "blue 0 to 25" in page


@pytest.mark.parametrize("command", ["compile", "calibrate", "compare", "bench", "eval"])
@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--input-std", "0"], "cannot be 0"),
        (["--input-mean", "nan"], "nan"),
        (["--input-mean", "1,2"], "2 numbers"),
        (["--input-scale", "much"], "'much'"),
        (["--input-color", "cmyk"], "cmyk"),
        (["--input-fit", "zoom"], "zoom"),
        (["--preprocess", "yolx"], "yolox"),
    ],
)
def test_what_cannot_be_fed_is_one_sentence(command: str, options: list[str], word: str) -> None:
    arguments = {
        "compile": ["tiny.onnx", "--int8", "-o", "new"],
        "calibrate": ["tiny.onnx", "--calib", "pictures", "-o", "new.npz"],
        "compare": ["tiny.onnx", "--against", "tiny.onnx"],
        "bench": ["tiny.onnx", "--against", "tiny.onnx", "--data", "pictures", "--rounds", "1"],
        "eval": ["tiny.onnx", "--against", "tiny.onnx", "--data", "pictures"],
    }
    result = _run(command, *arguments[command], *options)
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1].startswith("Error: ")
    assert word in result.stderr
    assert not Path("new").exists()
    assert not Path("new.npz").exists()


def test_an_input_that_takes_no_picture_is_refused() -> None:
    flat = onnx.helper.make_model(
        onnx.helper.make_graph(
            [onnx.helper.make_node("Relu", ["x"], ["y"])],
            "flat",
            [onnx.helper.make_tensor_value_info("x", 1, [1, 8])],
            [onnx.helper.make_tensor_value_info("y", 1, [1, 8])],
        ),
        opset_imports=[onnx.helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.save(flat, "tiny.onnx")
    result = _run("compile", "tiny.onnx", "--pipeline", "look", "--input-color", "rgb")
    assert result.exit_code == 2
    assert "no single picture" in result.stderr


def test_what_was_stated_holds_for_later_commands() -> None:
    _compile("--calib", "pictures")
    assert ASSUMED in _run("compare", "out", "--data", "pictures").stderr
    _compile("--calib", "pictures", *OPTIONS)
    result = _run("compare", "out", "--data", "pictures", "--json")
    assert ASSUMED not in result.stderr
    assert json.loads(result.stdout)["samples"] == 2


def test_calibrate_warns_and_takes_the_options() -> None:
    assert ASSUMED in _run("calibrate", "tiny.onnx", "--calib", "pictures").stderr
    result = _run("calibrate", "tiny.onnx", "--calib", "pictures", *OPTIONS)
    assert result.exit_code == 0
    assert ASSUMED not in result.stderr


def test_inspect_shows_what_would_be_fed() -> None:
    shown = " ".join(_run("inspect", "tiny.onnx").stdout.split())
    assert "RGB, (pixel * 1/255 - 0) / 1, stretched to the input size (assumed" in shown
    assert json.loads(_run("inspect", "tiny.onnx", "--json").stdout)["input"]["origin"] == "assumed"


def test_a_collapse_is_told_on_top_and_listed_as_an_alarm() -> None:
    content, said = _compile("--calib", "pictures", pipeline="negate")
    (told,) = [line for line in said.splitlines() if "hardly resembles" in line]
    assert "-6.0 dB" in told
    assert "Likely reason" in told
    assert any("hardly resembles" in text for text in content["alarms"])
    page = Path("out/report.html").read_text()
    assert page.index("hardly resembles") < page.index("Size on disk")


def test_compare_tells_a_collapse() -> None:
    _compile("--calib", "pictures", pipeline="negate")
    assert "hardly resembles" in _run("compare", "out", "--data", "pictures").stderr


def test_a_gate_on_the_latency_of_a_target_that_does_not_run_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("yocc.runtime.backends.tensorrt.backend.obstacle", lambda: "there is no GPU.")
    result = _run("compile", "tiny.onnx", "--target", "tensorrt", "--gate", "latency_ratio <= 2", "-o", "new")
    assert result.exit_code == 2
    assert "'latency_ratio <= 2' cannot be judged here" in result.stderr
    assert not Path("new").exists()


@pytest.mark.slow
def test_real_network_of_no_recognized_family(shared_data: Path) -> None:
    """SqueezeNet takes BGR less its mean: calibrated on 0..1, its answers are others."""
    stated = ["--input-color", "bgr", "--input-scale", "1", "--input-mean", "104,117,123"]
    for arguments, assumed in (([], True), (stated, False)):
        result = _run(
            "compile", str(shared_data / "models" / "squeezenet11.onnx"), "--pipeline", "fp32,simplify,fuse,quantize",
            "--calib", str(shared_data / "images" / "calib178"), "--count", "8", "--no-bench", "-o", "out", *arguments,
        )  # fmt: skip
        assert result.exit_code == 0, result.stderr
        content = json.loads(Path("out/report.json").read_text())
        assert (ASSUMED in result.stderr) == assumed
        assert content["fidelity"]["confident"] is None
        assert content["input"]["origin"] == ("assumed" if assumed else "given")
