from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
import pytest
from click.testing import CliRunner, Result

from tests.samples import tiny_model
from yocc.cli import cli

pytestmark = pytest.mark.usefixtures("sample_passes")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    onnx.save(tiny_model(), tmp_path / "tiny.onnx")
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments), prog_name="yocc")


def _compiled(config: str, *arguments: str) -> dict[str, Any]:
    Path("yocc.toml").write_text(config)
    result = _run("compile", "tiny.onnx", "--no-bench", "-o", "out", *arguments)
    assert result.exit_code == 0, result.stderr
    assert "Options of yocc.toml are in force." in result.stderr
    content: dict[str, Any] = json.loads(Path("out/report.json").read_text())
    return content


@pytest.mark.slow
def test_file_gives_what_the_command_line_leaves_out() -> None:
    content = _compiled('pipeline = "look"\nseed = 7\nfidelity = false\ngate = ["size_mb <= 1"]\n')
    assert (content["pipeline"], content["seed"], content["fidelity"]) == ("look", 7, None)
    assert [gate["gate"] for gate in content["gates"]] == ["size_mb <= 1"]


@pytest.mark.slow
def test_command_line_wins_lists_included() -> None:
    content = _compiled(
        'pipeline = "look"\nseed = 7\ngate = ["size_mb <= 0"]\n', "--seed", "8", "--gate", "size_mb <= 2"
    )
    assert content["seed"] == 8
    assert [gate["gate"] for gate in content["gates"]] == ["size_mb <= 2"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "arguments", "expected"),
    [
        ('pipeline = "look"\n', ["--prune", "0.25"], "fp32,simplify,prune{ratio=0.25},fuse,recover"),
        ("prune = 0.25\nfp16 = true\n", ["--pipeline", "look"], "look"),
        ("prune = 0.25\nfp16 = true\n", ["--no-fp16"], "fp32,simplify,prune{ratio=0.25},fuse,recover"),
        ("prune = 0.25\n", ["--fp16"], "fp32,simplify,prune{ratio=0.25},fuse,recover,fp16"),
    ],
)
def test_command_line_wins_between_pipeline_and_short_forms(config: str, arguments: list[str], expected: str) -> None:
    assert _compiled(config, *arguments)["pipeline"] == expected


def test_both_in_the_file_are_refused_as_on_the_command_line() -> None:
    Path("yocc.toml").write_text('pipeline = "look"\nprune = 0.25\n')
    result = _run("compile", "tiny.onnx", "-o", "out")
    assert result.exit_code == 2
    assert "A pipeline states every pass" in result.stderr


@pytest.mark.slow
def test_lists_of_pairs_may_be_tables() -> None:
    content = _compiled('pipeline = "look"\n[target_option]\nchannel_multiple = 4\n')
    assert content["options"] == {"channel_multiple": "4"}
    assert (
        _compiled('pipeline = "look"\ntarget-option = ["channel_multiple=2"]\n')["options"]["channel_multiple"] == "2"
    )


@pytest.mark.slow
def test_shapes_may_be_lists() -> None:
    onnx.save(tiny_model(batch="n"), "tiny.onnx")
    content = _compiled('pipeline = "look"\ninput-shape = {x = [2, 3, 16, 16]}\n')
    assert content["before"]["macs"] == 2 * (16 * 27 + 64) * 256


def test_paths_are_those_of_the_folder_of_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "inner").mkdir()
    monkeypatch.chdir(folder / "inner")
    (folder / "yocc.toml").write_text('pipeline = "look"\nout = "small"\nbench = false\ncalib = "none"\n')
    result = _run("compile", "../tiny.onnx")
    assert result.exit_code == 4
    assert "no ../none to calibrate with" in result.stderr
    (folder / "yocc.toml").write_text('pipeline = "look"\nout = "small"\nbench = false\n')
    assert _run("compile", "../tiny.onnx").exit_code == 0
    assert (folder / "small" / "model.onnx").is_file()


def test_project_file_holds_the_same() -> None:
    Path("pyproject.toml").write_text('[tool.yocc]\npipeline = "look"\nbench = false\n')
    result = _run("compile", "tiny.onnx", "-o", "out")
    assert result.exit_code == 0
    assert "Options of pyproject.toml are in force." in result.stderr
    assert "Options" not in _run("compile", "tiny.onnx", "-o", "out", "-q").stderr


def test_file_that_is_named_counts_instead_of_the_nearest() -> None:
    Path("yocc.toml").write_text("nonsense = 1\n")
    Path("other.toml").write_text('pipeline = "look"\nbench = false\n')
    assert _run("compile", "tiny.onnx", "-o", "out", "--config", "other.toml").exit_code == 0


def test_check_takes_gates_and_tolerances_from_it() -> None:
    _compiled('pipeline = "look"\n')
    Path("yocc.toml").write_text('prune = 0.4\ngate = ["size_mb <= 0"]\n')
    assert _run("check", "out").exit_code == 8
    Path("yocc.toml").write_text('baseline = "out"\n[tolerance]\nsize_mb = 0.1\n')
    assert _run("check", "out").exit_code == 0


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("prun = 0.4\n", ["unknown key 'prun'", "'prune'"]),
        ("[compile]\nprune = 0.4\n", ["unknown key 'compile'"]),
        ("help = true\n", ["unknown key 'help'"]),
        ('prune = "much"\n', ["'prune'", "'much'", "not a valid float"]),
        ("prune = true\n", ["'prune'", "takes a value, not True"]),
        ("prune = [0.4]\n", ["'prune'", "takes a value, not [0.4]"]),
        ("int8 = 1\n", ["'int8'", "takes true or false, not 1"]),
        ('gate = "size_mb <= 1"\n', ["'gate'", "takes a list"]),
        ('target-option = ["opset"]\n', ["'target-option'", "NAME=VALUE"]),
        ('recover = "relearn"\n', ["'recover'", "'relearn'", "reconstruct"]),
        ("seed = -1\n", ["'seed'", "-1"]),
        ('gate = ["sise_mb <= 1"]\n', ["no metric 'sise_mb'", "'size_mb'"]),
        ("prune = 1979-05-27\n", ["'prune'", "cannot be '1979-05-27'"]),
        ("gate = " + "[" * 5000 + "]" * 5000 + "\n", ["yocc.toml"]),
        ('out = "a\\u0000b"\n', ["'out'", "an invalid character"]),
        ("threads = 2147483648\n", ["'threads'", "2147483648"]),
        ("prune 0.4\n", ["yocc.toml' is not valid TOML", "line 1"]),
    ],
)
def test_what_cannot_be_meant_is_one_sentence(config: str, words: list[str]) -> None:
    Path("yocc.toml").write_text(config)
    result = _run("compile", "tiny.onnx", "-q", "-o", "out")
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    for word in [*words, "yocc.toml"] if "metric" not in words[0] else words:
        assert word in result.stderr
    assert not Path("out").exists()


def test_help_needs_no_sound_file() -> None:
    Path("yocc.toml").write_text("nonsense\n")
    assert _run("compile", "--help").exit_code == 0
    assert _run("passes").exit_code == 0
