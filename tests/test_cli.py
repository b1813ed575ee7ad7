from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result

from tests.samples import tiny_model
from yocc import __version__
from yocc.cli import cli
from yocc.runtime.backends.backend import Check

pytestmark = pytest.mark.usefixtures("sample_passes")
COMMANDS = sorted(cli.commands)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    onnx.save(tiny_model(), tmp_path / "tiny.onnx")
    return tmp_path / "tiny.onnx"


@pytest.fixture
def compiled(model: Path, tmp_path: Path) -> Path:
    result = _run("compile", str(model), "--pipeline", "negate", "--no-bench", "-o", str(tmp_path / "out"))
    assert result.exit_code == 0, result.stderr
    return tmp_path / "out"


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments), prog_name="yocc")


def test_commands_are_those_promised() -> None:
    promised = "advise bench build cache calibrate check compare compile debug demo detect diff eval families inspect"
    assert [*promised.split(), "latency", "passes", "report", "search", "targets", "verify"] == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_examples(command: str) -> None:
    result = _run(command, "--help")
    assert result.exit_code == 0
    assert f"Examples:\n    yocc {command}" in result.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_examples_use_options_that_exist(command: str) -> None:
    options = {flag for parameter in cli.commands[command].params for flag in parameter.opts}
    text = cli.commands[command].help or ""
    used = {word for line in text.splitlines() if "yocc " in line for word in line.split() if word.startswith("-")}
    assert used <= options


def test_version() -> None:
    assert __version__ in _run("--version").stdout


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["compile"], ["compile", "a", "b"], ["bench", "a", "--rounds", "0"]]
)
def test_wrong_usage_is_one_line(arguments: list[str]) -> None:
    result = _run(*arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1


@pytest.mark.slow
def test_compile_tells_what_it_did(model: Path, tmp_path: Path) -> None:
    result = _run("compile", str(model), "--pipeline", "look,negate", "-o", str(tmp_path / "out"))
    assert result.exit_code == 0
    for word in ("look,negate", "parameters", "MACs", "file", "latency", "fidelity"):
        assert word in result.stdout
    assert "negate: 1 rewrite" in result.stderr
    assert "Warning: " in result.stderr


@pytest.mark.slow
def test_compile_prints_nothing_but_json(model: Path, tmp_path: Path) -> None:
    result = _run("compile", str(model), "--pipeline", "look", "--no-bench", "--json", "-o", str(tmp_path / "out"))
    assert json.loads(result.stdout) == json.loads((tmp_path / "out" / "report.json").read_text())


def test_compile_prints_the_graph_when_asked(model: Path, tmp_path: Path) -> None:
    result = _run(
        "compile", str(model), "--pipeline", "negate", "--no-bench", "--print-after", "-o", str(tmp_path / "out")
    )
    assert "BatchNormalization" in result.stderr


def test_verbose_tells_notes(model: Path, tmp_path: Path) -> None:
    result = _run("compile", str(model), "--pipeline", "look", "--no-bench", "-v", "-o", str(tmp_path / "out"))
    assert "look: Looked." in result.stderr


def test_compiling_again_replaces(model: Path, compiled: Path) -> None:
    result = _run("compile", str(model), "--pipeline", "look", "--no-bench", "-o", str(compiled))
    assert result.exit_code == 0
    assert json.loads((compiled / "report.json").read_text())["pipeline"] == "look"


def test_inspect_counts_layers(model: Path) -> None:
    content = json.loads(_run("inspect", str(model), "--json").stdout)
    assert content["totals"] == {"parameters": 16 * 27 + 16 + 32 + 64, "macs": (16 * 27 + 64) * 256}
    assert [layer["node"] for layer in content["layers"]] == ["first", "norm", "last"]
    assert content["layers"][0]["group"] == 1
    assert content["layers"][2]["group"] is None
    assert content["layers"][2]["stays"]
    assert content["groups"] == [{"number": 1, "channels": 16, "layers": ["first"]}]


def test_inspect_shows_tables(model: Path) -> None:
    result = _run("inspect", str(model))
    for word in ("Layers", "Not quantized", "1x3x16x16", "not a known detector", " g1 "):
        assert word in result.stdout


def test_inspect_takes_a_folder_of_ours(compiled: Path) -> None:
    assert _run("inspect", str(compiled)).exit_code == 0


def test_compare_with_the_original_it_knows(compiled: Path) -> None:
    content = json.loads(_run("compare", str(compiled), "--count", "2", "--json").stdout)
    assert content["outputs"][0]["cosine"] == pytest.approx(-1)
    assert content["samples"] == 2


def test_compare_shows_a_table(compiled: Path) -> None:
    result = _run("compare", str(compiled), "--count", "2")
    assert "SNR dB" in result.stdout
    assert "-1.000000" in result.stdout


def test_compare_plain_files_on_arrays(model: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x=np.ones((2, 3, 16, 16), np.float32))
    result = _run("compare", str(model), "--against", str(model), "--data", str(tmp_path / "data.npz"), "--json")
    # The original runs without graph optimizations, and so may differ in the last bits.
    assert json.loads(result.stdout)["outputs"][0]["max_abs"] < 1e-5


def test_compare_without_an_original_is_refused(model: Path) -> None:
    result = _run("compare", str(model))
    assert result.exit_code == 2
    assert "--against" in result.stderr


def test_bench_times_both(compiled: Path) -> None:
    content = json.loads(_run("bench", str(compiled), "--rounds", "3", "--threads", "1", "--json").stdout)
    assert content["target"] == "onnxruntime"
    assert content["onnxruntime"] is None
    timing = content["same_runtime"]
    assert timing["rounds"] == 3
    for side in ("baseline", "candidate"):
        low, high = timing[side]["quartiles"]
        assert low <= timing[side]["median"] <= high
    assert timing["machine"]["processor"]


def test_bench_shows_a_table(compiled: Path) -> None:
    assert "paired speedup" in _run("bench", str(compiled), "--rounds", "3").stdout


@pytest.mark.slow
def test_verify_shows_what_was_checked(model: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    assert _run("compile", str(model), "--target", "tensorrt", "--no-bench", "-o", out).exit_code == 0
    result = _run("verify", out)
    assert result.exit_code == 0
    assert "rules" in result.stdout
    checks = json.loads(_run("verify", out, "--json").stdout)["checks"]
    assert [check["passed"] for check in checks if check["name"] == "rules"] == [True]


def test_verify_ends_with_an_error_when_a_check_fails(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = str(tmp_path / "out")
    assert _run("compile", str(model), "--target", "tensorrt", "--no-bench", "-o", out).exit_code == 0
    failed = Check("rules", False, "a zero point is 3")
    monkeypatch.setattr("yocc.runtime.backends.tensorrt.backend.verify", lambda *_, **__: (failed,))
    result = _run("verify", out)
    assert result.exit_code == 6
    assert "a zero point is 3" in result.stderr


def test_verify_of_a_target_without_checks_of_its_own_holds_the_result_against_its_report(compiled: Path) -> None:
    result = _run("verify", str(compiled), "--json")
    assert result.exit_code == 0
    names = [check["name"] for check in json.loads(result.stdout)["checks"]]
    assert names == ["files", "run on samples", "comparison with the original"]


@pytest.mark.parametrize("change", [{"files": []}, {"files": 5}, {"files": [{"path": 5}]}, {"target": None}])
@pytest.mark.parametrize("command", ["verify", "check", "inspect", "report", "bench", "eval"])
def test_reports_of_strangers_are_the_fault_of_the_report(command: str, change: dict, compiled: Path) -> None:
    content = json.loads((compiled / "report.json").read_text())
    (compiled / "report.json").write_text(json.dumps({**content, **change}))
    result = _run(command, str(compiled), *(["--data", "none"] if command == "eval" else []))
    assert result.exit_code == 3, result.stderr
    assert "is not a report of yocc" in result.stderr


def test_eval_needs_a_detector(model: Path, tmp_path: Path) -> None:
    result = _run("eval", str(model), "--data", str(tmp_path))
    assert result.exit_code == 2
    assert "detector" in result.stderr


def test_report_is_written_as_a_page(compiled: Path, tmp_path: Path) -> None:
    first = (compiled / "report.html").read_bytes()
    result = _run("report", str(compiled), "-o", str(tmp_path / "page.html"))
    assert result.exit_code == 0, result.stderr
    assert (tmp_path / "page.html").read_bytes() == first
    content = json.loads(_run("report", str(compiled), "--json").stdout)
    assert content == {"page": str(compiled / "report.html"), "bytes": len(first)}


def test_report_of_another_folder_is_refused(tmp_path: Path) -> None:
    result = _run("report", str(tmp_path))
    assert result.exit_code == 3
    assert result.stderr.startswith("Error: There is no report")


def test_no_page_is_written_where_none_is_wanted(model: Path, tmp_path: Path) -> None:
    result = _run("compile", str(model), "--pipeline", "negate", "--no-bench", "--no-html", "-o", str(tmp_path / "out"))
    assert result.exit_code == 0, result.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "model.onnx",
        "preprocess.json",
        "run.py",
        "session.json",
        "report.json",
    }


def test_targets_are_listed() -> None:
    content = json.loads(_run("targets", "--json").stdout)
    (entry,) = [one for one in content if one["name"] == "onnxruntime"]
    assert entry["problem"] == ""
    assert "channel_multiple" in entry["options"]
    assert "onnxruntime" in _run("targets").stdout


def test_passes_are_listed_with_their_options() -> None:
    content = json.loads(_run("passes", "--json").stdout)
    (entry,) = [one for one in content if one["name"] == "prune"]
    assert entry["options"]["ratio"] == 0.4
    assert "ratio=0.4" in _run("passes").stdout


def test_folder_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    result = _run("inspect", str(tmp_path))
    assert result.exit_code == 3
    assert "folder" in result.stderr


def test_fault_of_ours_asks_to_report_it(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("somewhere")

    monkeypatch.setattr("yocc.api.inspection.inspect_model", fail)
    result = _run("inspect", str(model))
    assert result.exit_code == 70
    assert "please report it" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.slow
def test_no_color_codes_where_output_is_no_terminal(compiled: Path) -> None:
    root = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", "from yocc.cli import main; main()", "compare", str(compiled), "--count", "2"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert "\x1b" not in done.stdout + done.stderr


def test_help_of_every_option_says_something() -> None:
    for command in cli.commands.values():
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, f"{command.name} {parameter.name}"


def test_the_shell_completes_commands_and_options() -> None:
    for words, place, expected in (
        ("yocc comp", "1", "plain,compile"),
        ("yocc compile --max-acc", "2", "--max-accuracy-drop"),
    ):
        around = {"_YOCC_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": place}
        done = CliRunner().invoke(cli, [], prog_name="yocc", env=around)
        assert expected in done.output
