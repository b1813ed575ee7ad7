"""`yocc debug` as it is typed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result

from tests.api.debugging import faults
from yocc.api.debugging.diagnosis import Diagnosis, Evidence, LayerFacts, StepFacts
from yocc.cli import cli
from yocc.cli.debug_table import decibels, show_diagnosis
from yocc.containment import VARIABLE


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    faults.register(tmp_path / "installed")
    monkeypatch.syspath_prepend(str(tmp_path / "installed"))
    work = tmp_path / "work"
    work.mkdir()
    onnx.save(faults.plain_network(), work / "model.onnx")
    np.savez(work / "inputs.npz", **faults.plain_inputs())
    (work / ".git").mkdir()
    monkeypatch.chdir(work)
    return work


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["debug", "model.onnx", "--calib", "inputs.npz", *arguments], prog_name="yocc")


def test_the_steps_the_layers_and_the_command_are_printed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "off")  # what a copy of this process prints is not caught here
    result = run("--pipeline", "fp32,nudge", "--threads", "1")
    assert result.exit_code == 0, result.stderr
    rows = {line.split()[0]: line for line in result.stdout.splitlines() if line.strip()}
    assert "GUILTY" in rows["nudge"]
    assert "GUILTY" not in rows["fp32"]
    assert "GUILTY" in rows["conv3"]
    assert "-9.5 dB" in rows["conv3"]
    assert "cd " in result.stdout
    assert "  yocc compare changed.onnx --against model.onnx --data inputs.npz" in result.stdout.splitlines()
    assert "nudge: 6 rewrites" in result.stderr
    assert (folder / "model_debug" / "debug.json").is_file()


def test_the_command_that_is_printed_shows_the_fault(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = run("--pipeline", "nudge", "-q", "-o", "found")
    (command,) = [line.strip() for line in result.stdout.splitlines() if line.startswith("  yocc debug")]
    monkeypatch.chdir(folder / "found")
    again = CliRunner().invoke(cli, command.split()[1:], prog_name="yocc")
    assert again.exit_code == 0, again.stderr
    assert "The only layer that it changed is 'conv3' (Conv)." in " ".join(again.stdout.split())


def test_json_has_the_whole_diagnosis(folder: Path) -> None:
    result = run("--pipeline", "nudge", "--json", "-q")
    content = json.loads(result.stdout)
    assert set(content) == {"schema", "tool", *Diagnosis.__dataclass_fields__}
    assert content["folder"] == str(folder / "model_debug")
    assert content["layers"][0]["name"] == "conv3"
    assert json.loads((folder / "model_debug" / "debug.json").read_text())["layers"] == content["layers"]


def test_options_of_compilations_in_a_file_are_in_force(folder: Path) -> None:
    (folder / "yocc.toml").write_text('pipeline = "nudge"\ncount = 4\n')
    result = run("-o", "found")
    assert result.exit_code == 0, result.stderr
    assert "Options of yocc.toml are in force." in result.stderr
    assert json.loads((folder / "found" / "debug.json").read_text())["pipeline"] == "nudge"


def test_a_clear_end_when_nothing_is_wrong() -> None:
    result = run("--pipeline", "fp32", "-q")
    assert result.exit_code == 0
    assert "No pass loses more than 0.1 of fidelity." in result.stdout


def test_an_unusable_option_is_one_sentence() -> None:
    result = run("--pipeline", "nothing")
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1


def test_long_lists_are_cut_and_detections_shown(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    layers = tuple(LayerFacts(f"conv{number}", "Conv", "t", 10.0) for number in range(12))
    steps = (
        StepFacts("original", "m.onnx", fidelity=1.0),
        StepFacts("pass", "x" * 80, "guilty", 3, 0.25, 12.0, (40, 7), 0.75),
        StepFacts("target", "onnxruntime", "rejected", message="no"),
    )
    evidence = Evidence(("model.onnx",), 1, 9, None, ("yocc x",), "Take care.")
    show_diagnosis(
        Diagnosis(
            "It loses.", "m.onnx", "onnxruntime", "x", (), "8 pictures", 8, "mAP50-95", 0.1, steps, 1, layers, evidence,
            folder=tmp_path / "a folder",
        )
    )  # fmt: skip
    shown = capsys.readouterr().out
    for text in ("2 more in debug.json", "confident", "REJECTED", "...", "Take care.", "'", "conv9"):
        assert text in shown
    assert "conv10" not in shown


@pytest.mark.parametrize(
    ("value", "shown"), [(None, ""), (float("inf"), "equal"), (float("-inf"), "not finite"), (12.345, "12.3 dB")]
)
def test_decibels(value: float | None, shown: str) -> None:
    assert decibels(value) == shown
