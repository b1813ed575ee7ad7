from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import onnx
import pytest
from click.testing import CliRunner, Result

from tests.samples import tiny_model
from yocc.cli import cli

pytestmark = pytest.mark.usefixtures("sample_passes")
VIOLATED = 8
USELESS = 10


@pytest.fixture
def model(tmp_path: Path) -> Path:
    onnx.save(tiny_model(), tmp_path / "tiny.onnx")
    return tmp_path / "tiny.onnx"


@pytest.fixture
def compiled(model: Path, tmp_path: Path) -> Path:
    result = _compile(model, tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    return tmp_path / "out"


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, list(map(str, arguments)), prog_name="yocc")


def _compile(model: Path, out: Path, *arguments: object) -> Result:
    return _run("compile", model, "--pipeline", "negate", "--no-bench", "-o", out, *arguments)


def test_gate_that_holds_is_shown_and_in_the_report(model: Path, tmp_path: Path) -> None:
    result = _compile(model, tmp_path / "out", "--gate", "size_mb <= 1", "--gate", "macs_ratio<=1")
    assert result.exit_code == 0
    assert "macs_ratio" in result.stdout
    gates = json.loads((tmp_path / "out" / "report.json").read_text())["gates"]
    assert [(gate["gate"], gate["passed"]) for gate in gates] == [("size_mb <= 1", True), ("macs_ratio <= 1", True)]
    assert gates[1]["got"] == 1.0


def test_gate_that_does_not_hold_has_its_own_exit_code_and_the_result_is_there(model: Path, tmp_path: Path) -> None:
    result = _compile(model, tmp_path / "out", "--gate", "snr_db >= 20", "--gate", "size_mb <= 1")
    assert result.exit_code == VIOLATED
    assert result.stderr.splitlines()[-1].startswith("Error: 1 of 2 gates fails: snr_db is -6.")
    assert "snr_db" in result.stdout
    assert (tmp_path / "out" / "model.onnx").is_file()
    assert not json.loads((tmp_path / "out" / "report.json").read_text())["gates"][0]["passed"]


def test_strict_ends_a_useless_result_with_its_own_status(tmp_path: Path) -> None:
    relu = onnx.helper.make_node("Relu", ["x"], ["y"])
    value = partial(onnx.helper.make_tensor_value_info, elem_type=onnx.TensorProto.FLOAT, shape=[1, 3, 8, 8])
    graph = onnx.helper.make_graph([relu], "relu", [value("x")], [value("y")])
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)]), tmp_path / "relu.onnx")
    command = ["compile", tmp_path / "relu.onnx", "--int8", "--count", "2", "--no-bench", "-o", tmp_path / "out"]
    assert _run(*command).exit_code == 0
    for again in (command, ["check", tmp_path / "out"]):
        result = _run(*again, "--strict")
        assert result.exit_code == USELESS
        assert "Error: Nothing was compressed: quantize and quantize_weights changed nothing" in result.stderr
    assert (tmp_path / "out" / "model.onnx").is_file()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--gate", "latency <= 1"], ["no metric 'latency'", "latency_"]),
        (["--gate", "size_mb = 1"], ["'size_mb = 1'", "Write it like"]),
        (["--gate", "map50_95 >= 0"], ["'map50_95 >= 0' needs labeled pictures", "--eval"]),
        (["--gate", "latency_ratio <= 1"], ["'latency_ratio <= 1' needs both models timed", "--no-bench"]),
        (["--no-fidelity", "--gate", "snr_db >= 1"], ["needs a comparison with the original", "--no-fidelity"]),
        (["--gate", "fidelity >= 1"], ["for detectors"]),
    ],
)
def test_gate_that_cannot_be_meant_is_refused_before_the_work(
    arguments: list[str], words: list[str], model: Path, tmp_path: Path
) -> None:
    result = _compile(model, tmp_path / "out", *arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    for word in words:
        assert word in result.stderr
    assert not (tmp_path / "out").exists()


def test_scoring_what_is_no_detector_is_refused_before_the_work(model: Path, tmp_path: Path) -> None:
    result = _compile(model, tmp_path / "out", "--eval", tmp_path)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "detector" in result.stderr


def test_files_for_ci_are_written_when_a_gate_fails(model: Path, tmp_path: Path) -> None:
    result = _compile(
        model, tmp_path / "out", "--gate", "size_mb < 0", "--junit", tmp_path / "g.xml", "--summary", tmp_path / "s.md"
    )
    assert result.exit_code == VIOLATED
    assert ElementTree.parse(tmp_path / "g.xml").getroot().get("failures") == "1"
    assert "failed" in (tmp_path / "s.md").read_text()


@pytest.mark.parametrize("option", ["--junit", "--summary"])
def test_files_that_cannot_be_written_are_refused_before_the_work(option: str, model: Path, tmp_path: Path) -> None:
    result = _compile(model, tmp_path / "out", option, tmp_path / "none" / "file")
    assert (result.exit_code, result.stderr.count("\n")) == (7, 1)
    assert not (tmp_path / "out").exists()


def test_github_gets_annotations(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    result = _compile(model, tmp_path / "out", "--gate", "size_mb < 0", "--json")
    assert "\n::error title=yocc gate::size_mb is" in result.stderr
    assert json.loads(result.stdout)["gates"]


def test_quiet_says_warnings_and_errors_only(model: Path, tmp_path: Path) -> None:
    result = _compile(model, tmp_path / "out", "-q")
    assert result.stdout == ""
    assert all(line.startswith("Warning: ") for line in result.stderr.splitlines())
    result = _compile(model, tmp_path / "out", "-q", "--gate", "size_mb < 0")
    assert result.stdout == ""
    assert "size_mb" in result.stderr


def test_summary_fits_80_columns(model: Path, tmp_path: Path) -> None:
    result = _compile(model, tmp_path / "out", "--bench", "--gate", "size_mb <= 1")
    table = [line for line in result.stdout.splitlines() if not line.startswith(("passes", str(model)))]
    assert max(map(len, table)) <= 80


def test_check_judges_what_lies_there(compiled: Path) -> None:
    assert _run("check", compiled).exit_code == 0
    assert _run("check", compiled, "--gate", "size_mb <= 1").exit_code == 0
    result = _run("check", compiled, "--gate", "size_mb <= 0.0001", "--json")
    assert result.exit_code == VIOLATED
    assert json.loads(result.stdout)["gates"][0]["passed"] is False


def test_check_says_when_a_metric_was_not_measured(compiled: Path) -> None:
    result = _run("check", compiled, "--gate", "map50_95 >= -1")
    assert result.exit_code == VIOLATED
    assert "not measured" in result.stderr


def test_check_against_a_baseline(compiled: Path, tmp_path: Path) -> None:
    assert _run("check", compiled, "--baseline", compiled).exit_code == 0
    baseline = json.loads((compiled / "report.json").read_text())
    baseline["after"]["bytes"] -= 100
    (tmp_path / "baseline.json").write_text(json.dumps(baseline))
    worse = _run("check", compiled, "--baseline", tmp_path / "baseline.json")
    assert worse.exit_code == VIOLATED
    assert "2 of" in worse.stderr
    tolerances = ["--tolerance", "size_mb=0.001", "--tolerance", "size_ratio=0.2"]
    assert _run("check", compiled, "--baseline", tmp_path / "baseline.json", *tolerances).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "status", "word"),
    [
        (["--gate", "size_mb"], 2, "Write it like"),
        (["--tolerance", "size_mb=1"], 2, "--baseline"),
        (["--tolerance", "size_mb"], 2, "METRIC=NUMBER"),
        (["--tolerance", "sise_mb=1"], 2, "'size_mb'"),
        (["--baseline", "none.json"], 3, "none.json"),
    ],
)
def test_check_refuses_what_cannot_be_meant(arguments: list[str], status: int, word: str, compiled: Path) -> None:
    result = _run("check", compiled, *arguments)
    assert (result.exit_code, result.stderr.count("\n")) == (status, 1)
    assert word in result.stderr


def test_check_refuses_files_that_are_not_those_written(compiled: Path) -> None:
    (compiled / "model.onnx").write_bytes(b"another")
    result = _run("check", compiled, "--gate", "size_mb <= 1")
    assert result.exit_code == 3
    assert "model.onnx" in result.stderr
