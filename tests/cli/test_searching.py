"""`yocc search` as it is typed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.searching.fakes import Formula, write_case
from yocc.cli import cli
from yocc.searching import searching
from yocc.searching.evaluating import LocalEvaluator

pytest.importorskip("optuna")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_case(tmp_path)
    (tmp_path / "log").mkdir()
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(LocalEvaluator, "emit", lambda _, __, out: out.mkdir(parents=True))
    usual = searching.run_all

    def run_all(work: Any, *others: Any) -> None:
        object.__setattr__(work, "evaluator", Formula(tmp_path / "log"))
        usual(work, *others)

    monkeypatch.setattr(searching, "run_all", run_all)
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["search", *arguments], prog_name="yocc")


LIMITED = ("model.onnx", "--calib", "pictures", "--trials", "8", "--threads", "1", "-o", "front")


def test_a_table_a_rule_and_a_command_are_printed(folder: Path) -> None:
    result = run(*LIMITED, "--max-latency", "0.8", "--max-loss", "0.05")
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert "of original" in lines[1]
    assert all(len(line) <= 80 for line in lines if not line.startswith("  yocc compile"))
    assert any(line.startswith("  yocc compile ") and "--threads 1" in line for line in lines)
    assert "Recommended is the configuration within the limits that loses least." in lines
    said = result.stderr.splitlines()
    assert said[0].startswith("1 of 8 trials, about ")
    assert "best so far: trial" in said[-1]
    assert (folder / "front" / "front.json").is_file()
    shown = run("show", "front")
    assert shown.exit_code == 0, shown.stderr
    assert shown.stdout == result.stdout


def test_json_is_what_the_folder_holds(folder: Path) -> None:
    result = run(*LIMITED, "--json", "-q")
    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""
    content = json.loads((folder / "front" / "front.json").read_text())
    assert json.loads(result.stdout) == content
    assert json.loads(run("show", "front", "--json").stdout) == content


def test_nothing_within_the_limits_is_exit_status_8_and_names_the_nearest() -> None:
    result = run(*LIMITED, "--max-latency", "1ms", "--max-loss", "0.01")
    assert result.exit_code == 8
    last = result.stderr.splitlines()[-1]
    assert last.startswith(
        "Error: No configuration that was tried is within 1 ms and a loss of 0.01. The nearest is trial "
    )
    assert "*" in result.stdout
    assert "exceeds the limits" in result.stdout
    assert "nearest to the limits so far" in result.stderr


@pytest.mark.slow
def test_time_alone_has_no_number_of_trials() -> None:
    result = run("model.onnx", "--calib", "pictures", "--minutes", "0.02", "-o", "front")
    assert result.exit_code == 0, result.stderr
    assert result.stderr.startswith("1 trials, about ")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--space", "prune=2"), 2, "The space cannot have prune=2."),
        (("--space", "depth=2"), 2, "The space has no dimension 'depth' here."),
        (("--space", "prune"), 2, "is not of the form NAME=VALUES"),
        (("--max-loss", "2"), 2, "--max-loss cannot be"),
        (("--max-latency", "soon"), 2, "--max-latency cannot be 'soon'."),
        (("--minutes", "0"), 2, "--minutes cannot be 0."),
        (("--storage", "sqlite:////nowhere/at/all.db"), 7, "cannot be reached"),
        (("--calib", "none"), 4, "There is no folder none"),
        (("--target", "tensorrt"), 6, "does not run here"),
    ],
)
def test_what_is_wrong_is_one_line(arguments: tuple[str, ...], code: int, message: str) -> None:
    result = run(*LIMITED, *arguments)
    assert result.exit_code == code, result.stderr
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_an_interrupted_search_says_that_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = Formula.loss
    count = []

    def loss(self: Formula, folder: Path) -> float:
        count.append(folder)
        if len(count) == 4:
            raise KeyboardInterrupt
        return usual(self, folder)

    monkeypatch.setattr(Formula, "loss", loss)
    result = run(*LIMITED)
    assert result.exit_code == 130
    assert result.stderr.splitlines()[-1] == "Error: Interrupted after 3 trials; the same command goes on from there."
    again = run(*LIMITED)
    assert again.exit_code == 0, again.stderr
    assert again.stderr.startswith("4 of 8 trials")


def test_the_configuration_file_has_a_table_for_it(folder: Path) -> None:
    (folder / "yocc.toml").write_text(
        'int8 = true\ncalib = "pictures"\nthreads = 1\n'
        '[search]\ntrials = 2\nmax-loss = 0.05\n[search.space]\nprecision = ["int8", "float32"]\nprune = "0"\n'
    )
    result = run("model.onnx", "-o", "front")
    assert result.exit_code == 0, result.stderr
    assert "Options of yocc.toml are in force." in result.stderr
    content = json.loads((folder / "front" / "front.json").read_text())
    assert len(content["points"]) == 2
    assert content["limits"]["loss"] == 0.05
    assert all("prune" not in point["recipe"] for point in content["points"])
    assert content["keywords"]["threads"] == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[search]\ntrial = 3\n", "unknown key 'trial'"),
        ("[search]\ntrials = 0\n", "cannot be 0"),
        ("search = 3\n", "'search'"),
    ],
)
def test_a_wrong_table_is_refused_by_every_command(folder: Path, text: str, message: str) -> None:
    (folder / "yocc.toml").write_text(text)
    for command in ("search", "compile"):
        result = CliRunner().invoke(cli, [command, "model.onnx"], prog_name="yocc")
        assert result.exit_code == 2
        assert message in result.stderr


def test_help_names_both_forms() -> None:
    assert "yocc search show FOLDER" in run("--help").stdout
    assert "Usage: yocc search show [OPTIONS] FOLDER" in run("show", "--help").stdout


@pytest.mark.slow
def test_a_point_is_compiled_again(folder: Path) -> None:
    assert run(*LIMITED, "--space", "precision=int8", "--space", "prune=0").exit_code == 0
    result = run("show", "front", "--pick", "loss=0.02", "-o", "out", "--no-cache")
    assert result.exit_code == 0, result.stderr
    assert "model.onnx  # trial" in result.stdout
    assert json.loads((folder / "out" / "report.json").read_text())["pipeline"].count("quantize")
    assert json.loads(run("show", "front", "--pick", "trial=0", "-o", "out", "--json").stdout)["files"]
    assert run("show", "front", "--pick", "loss=-1").exit_code == 2
    assert run("show", "elsewhere").exit_code == 3
