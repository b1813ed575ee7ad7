from __future__ import annotations

import html
import json
import re
import shlex
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from PIL import Image

import yocc
from tests.samples import strange_model, tiny_feed, tiny_model
from yocc.cli import cli
from yocc.compiler.graph import Graph, load
from yocc.compiler.pipeline.pipeline import PassRun
from yocc.compiler.stages.acceptance import require_accepted
from yocc.compiler.stages.compiling import compile_model
from yocc.errors import BackendError, CalibrationError, ModelError, OptionError, PassError
from yocc.runtime.backends.backend import Backend
from yocc.runtime.backends.onnxruntime import OnnxRuntimeBackend, reference_executor

pytestmark = pytest.mark.usefixtures("sample_passes")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.onnx"
    onnx.save(tiny_model(), path)
    return path


def _content(folder: Path) -> dict:
    return json.loads((folder / "report.json").read_text())


@pytest.mark.slow
def test_result_is_a_checked_model_and_a_report(model: Path, tmp_path: Path) -> None:
    report = compile_model(model, pipeline="look", out=tmp_path / "out")
    assert report.model == (tmp_path / "out" / "model.onnx").resolve()
    onnx.checker.check_model(report.model, full_check=True)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "model.onnx",
        "preprocess.json",
        "run.py",
        "session.json",
        "report.json",
        "report.html",
    }
    content = _content(tmp_path / "out")
    assert content["pipeline"] == "look"
    assert content["source"]["path"] == str(model)
    assert content["before"]["parameters"] == content["after"]["parameters"] == 16 * 3 * 9 + 16 + 2 * 16 + 4 * 16
    assert content["before"]["macs"] == (16 * 3 * 9 + 4 * 16) * 16 * 16
    assert content["passes"][0]["details"]["samples"] > 0
    assert content["files"][0]["bytes"] == report.model.stat().st_size


@pytest.mark.slow
def test_unchanged_model_computes_the_same_and_the_report_says_so(model: Path, tmp_path: Path) -> None:
    report = compile_model(model, pipeline="look", out=tmp_path / "out")
    run = reference_executor()
    np.testing.assert_array_equal(run(onnx.load(report.model))(tiny_feed())["y"], run(tiny_model())(tiny_feed())["y"])
    assert report.fidelity is not None
    (difference,) = report.fidelity["outputs"]
    # The original runs without graph optimizations, the compiled model as it is deployed.
    assert difference.snr_db is None or difference.snr_db > 120


def test_wrong_model_is_seen_in_the_report(model: Path, tmp_path: Path) -> None:
    report = compile_model(model, pipeline="negate", out=tmp_path / "out")
    assert report.fidelity is not None
    assert report.fidelity["outputs"][0].cosine == pytest.approx(-1)


def test_same_input_and_seed_give_the_same_bytes(model: Path, tmp_path: Path) -> None:
    reports = [compile_model(model, pipeline="prune{ratio=0.5}", out=tmp_path / name, seed=4) for name in ("a", "b")]
    first, second = (report.model.read_bytes() for report in reports)
    assert first == second
    contents = [_content(tmp_path / name) for name in ("a", "b")]
    for content in contents:
        content.pop("measured")
    assert contents[0] == contents[1]


def test_spec_of_the_report_replays_it(model: Path, tmp_path: Path) -> None:
    first = compile_model(model, pipeline=" prune{ ratio=0.50 } ", out=tmp_path / "a")
    assert first.pipeline == "prune{ratio=0.5}"
    second = compile_model(model, pipeline=first.pipeline, out=tmp_path / "b")
    assert first.model.read_bytes() == second.model.read_bytes()


def test_the_command_of_the_report_reproduces_every_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    onnx.save(tiny_model(batch="n"), "tiny.onnx")
    Path("my pictures").mkdir()
    for number in range(6):
        pixels = np.random.default_rng(number).integers(0, 256, (20, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(f"my pictures/{number}.png")
    first = compile_model(
        "tiny.onnx",
        int8=True,
        calibration="my pictures",
        count=3,
        input_shapes={"x": (2, 3, 16, 16)},
        input_mean=(-0.5, 0.25, 0.1),
        input_scale="1/128",
        seed=3,
        gates=["size_ratio <= 2"],
        bench=False,
        out="a",
    )
    (command,) = re.findall(r'id="again-title".*?<code>(.*?)</code>', Path("a/report.html").read_text(), re.DOTALL)
    words = shlex.split(html.unescape(command))
    assert words == list(first.command)
    done = CliRunner().invoke(cli, [*words[1:], "-q", "-o", "b"])
    assert done.exit_code == 0, done.output
    contents = [_content(tmp_path / name) for name in ("a", "b")]
    assert contents[0]["files"] == contents[1]["files"]
    for content in contents:
        content.pop("measured")
    assert contents[0] == contents[1]


def test_a_compilation_that_was_asked_for_nothing_says_so(model: Path, tmp_path: Path) -> None:
    said = "No compression was asked for"
    report = compile_model(model, bench=False, fidelity=False, html=False, out=tmp_path / "a")
    assert any(said in warning for warning in report.warnings)
    report = compile_model(model, pipeline="simplify", bench=False, fidelity=False, html=False, out=tmp_path / "b")
    assert not any(said in warning for warning in report.warnings)


def test_public_name_is_the_driver() -> None:
    assert {"Report", "compile", "load", "Pass"} <= set(yocc.__all__)
    for name in yocc.__all__:
        assert getattr(yocc, name) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = yocc.no_such_name


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["bytes", "proto"])
def test_models_in_memory_are_taken(kind: str, tmp_path: Path) -> None:
    source = tiny_model() if kind == "proto" else tiny_model().SerializeToString()
    report = compile_model(source, pipeline="look", out=tmp_path / "out")
    assert report.source.path.startswith("<")
    assert report.model.exists()


def test_models_in_memory_need_a_folder() -> None:
    with pytest.raises(OptionError, match="out="):
        compile_model(tiny_model(), pipeline="look")


@pytest.mark.slow
def test_folder_is_called_after_the_model(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert compile_model(model, pipeline="look").model == (tmp_path / "tiny_yocc" / "model.onnx").resolve()


def test_model_within_the_output_folder_is_not_overwritten(model: Path) -> None:
    with pytest.raises(OptionError, match="lies in the output folder"):
        compile_model(model, pipeline="look", out=model.parent)


def test_calibration_of_ones_own_is_described_and_not_synthetic(model: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x=np.random.default_rng(0).random((12, 3, 16, 16), dtype=np.float32))
    report = compile_model(model, pipeline="look", calibration=tmp_path / "data.npz", out=tmp_path / "out")
    assert report.calibration is not None
    assert (report.calibration.samples, report.calibration.synthetic, report.calibration.used) == (10, False, True)
    assert report.fidelity is not None
    assert (report.fidelity["samples"], report.fidelity["held_out"]) == (2, True)
    assert not any("drew" in warning for warning in report.warnings)


@pytest.mark.slow
def test_synthetic_pictures_that_were_used_are_a_warning(model: Path, tmp_path: Path) -> None:
    report = compile_model(model, pipeline="look", out=tmp_path / "out")
    assert any("--calib" in warning for warning in report.warnings)
    assert any("Looked." in warning for warning in report.warnings)


def test_synthetic_pictures_nothing_looked_at_are_none(model: Path, tmp_path: Path) -> None:
    report = compile_model(model, pipeline="negate", fidelity=False, out=tmp_path / "out")
    assert not any("drew" in warning or "assumed" in warning for warning in report.warnings)
    assert report.input is None


def test_alarms_are_the_first_warnings(model: Path, tmp_path: Path) -> None:
    report = compile_model(model, pipeline="look,explode", out=tmp_path / "out", bench=False)
    assert "NaN or infinity" in report.alarms[0]
    assert report.wrong
    assert report.warnings[: len(report.alarms)] == report.alarms
    assert "This model is of little use" in (tmp_path / "out" / "report.html").read_text()


def test_open_shapes_can_be_given(tmp_path: Path) -> None:
    source = tiny_model(batch="n")
    report = compile_model(source, pipeline="look", input_shapes={"x": (2, 3, 16, 16)}, out=tmp_path / "out")
    single = compile_model(source, pipeline="look", out=tmp_path / "single")
    assert report.before.macs == 2 * single.before.macs


def test_shape_that_contradicts_the_model_is_refused(model: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError):
        compile_model(model, pipeline="look", input_shapes={"x": (1, 3, 8, 8)}, out=tmp_path / "out")


def test_observers_see_every_pass(model: Path, tmp_path: Path) -> None:
    seen: list[str] = []

    def observe(run: PassRun, graph: Graph) -> None:
        seen.append(f"{run.spec} {len(graph.nodes)}")

    compile_model(model, pipeline="look,negate", out=tmp_path / "out", observers=[observe])
    assert seen == ["look 4", "negate 4"]


def test_pass_that_breaks_the_graph_is_named_and_nothing_is_written(model: Path, tmp_path: Path) -> None:
    with pytest.raises(PassError, match="'spoil' of sample-passes left a broken graph"):
        compile_model(model, pipeline="look,spoil", out=tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"tiny.onnx"}


def test_nan_weights_are_refused_before_any_pass(tmp_path: Path) -> None:
    model = tiny_model()
    model.graph.initializer[0].raw_data = np.full((16, 3, 3, 3), np.nan, np.float32).tobytes()
    with pytest.raises(ModelError, match="NaN"):
        compile_model(model, pipeline="look", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_missing_pictures_are_refused(model: Path, tmp_path: Path) -> None:
    with pytest.raises(CalibrationError):
        compile_model(model, pipeline="look", calibration=tmp_path / "none", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_operators_of_another_domain_are_left_alone_and_said_not_to_run(tmp_path: Path) -> None:
    report = compile_model(strange_model(), pipeline="negate", out=tmp_path / "out")
    assert report.fidelity is None
    assert any("strange.kernels" in warning for warning in report.warnings)
    assert [node.domain for node in onnx.load(report.model).graph.node][4] == "strange.kernels"


def test_compiled_model_that_does_not_run_where_the_original_does_is_an_error(model: Path, tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="strange"):
        compile_model(model, pipeline="strange", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_refusal_names_the_first_node_and_counts_the_others() -> None:
    backend: Backend = OnnxRuntimeBackend()
    graph = load(tiny_model())
    for number in (0, 3):
        graph.nodes[number].op = "NoSuchOperator"
    with pytest.raises(
        BackendError, match=r"'first': .* NoSuchOperator; 1 more in the way, such as 'last': "
    ) as caught:
        require_accepted(graph, backend, backend.target({}))
    assert caught.value.hint == "Export the model again."


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"target": "nowhere"}, "nowhere"),
        ({"options": {"no_such": "1"}}, "no_such"),
        ({"pipeline": "no_such_pass"}, "no_such_pass"),
        ({"count": 0}, "0 samples"),
        ({"evaluate": "pictures"}, "detector"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(model: Path, tmp_path: Path, arguments: dict, word: str) -> None:
    with pytest.raises(OptionError, match=word):
        compile_model(model, **{"pipeline": "look", "out": tmp_path / "out", **arguments})
    assert not (tmp_path / "out").exists()


def test_time_is_told_by_operator_and_layer_when_timed(model: Path, tmp_path: Path) -> None:
    measured = compile_model(model, pipeline="negate", out=tmp_path / "out").measured
    assert set(measured["layer_ms"]["original"]) == set(measured["layer_ms"]["compiled"]) == {"first", "last"}
    assert "Conv" in " ".join(measured["operator_ms"]["compiled"])
    assert "layer_ms" not in compile_model(model, pipeline="negate", out=tmp_path / "b", bench=False).measured


def test_page_can_be_left_out(model: Path, tmp_path: Path) -> None:
    compile_model(model, pipeline="negate", out=tmp_path / "out", html=False, bench=False)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "model.onnx",
        "preprocess.json",
        "run.py",
        "session.json",
        "report.json",
    }
