from __future__ import annotations

import json
import os
import time
from pathlib import Path

import onnx
import pytest
from click.testing import CliRunner, Result

from tests.samples import tiny_model
from yocc.cli import cli


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    onnx.save(tiny_model(), tmp_path / "tiny.onnx")
    monkeypatch.setenv("YOCC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "tiny.onnx"


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, list(map(str, arguments)), prog_name="yocc")


def _compile(model: Path, out: Path, *arguments: object) -> Result:
    fast = ["--no-bench", "--no-fidelity", "--no-html", "--count", "4"]
    return _run("compile", model, "--prune", "0.25", "--int8", *fast, "-o", out, *arguments)


def _content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def _results(folder: Path) -> int:
    return len(list(folder.glob("*/entry.json")))


@pytest.mark.slow
def test_second_compilation_is_restored_byte_for_byte_and_says_so(model: Path, tmp_path: Path) -> None:
    first = _compile(model, tmp_path / "first", "--bench", "--fidelity", "--html", "--json")
    second = _compile(model, tmp_path / "second", "--bench", "--fidelity", "--html", "--json")
    assert (first.exit_code, second.exit_code) == (0, 0), first.stderr + second.stderr
    assert "quantize: " in first.stderr
    assert "quantize: " not in second.stderr
    assert "Restored from the cache, compiled and measured " in second.stderr
    assert "Restored" not in first.stderr
    assert _content(tmp_path / "first") == _content(tmp_path / "second")
    assert {"model.onnx", "preprocess.json", "run.py", "session.json", "report.json", "report.html"} == set(
        _content(tmp_path / "first")
    )
    assert first.stdout == second.stdout
    warnings = [line for line in first.stderr.splitlines() if line.startswith("Warning")]
    assert warnings
    assert warnings == [line for line in second.stderr.splitlines() if line.startswith("Warning")]


@pytest.mark.slow
def test_restored_output_is_shown_and_judged_like_a_new_one(model: Path, tmp_path: Path) -> None:
    first, second = (_compile(model, tmp_path / "out", "--gate", "size_mb <= 1", "-v") for _ in range(2))
    assert "Restored" in second.stderr
    assert first.stdout == second.stdout
    assert _run("check", tmp_path / "out", "--gate", "size_ratio <= 2").exit_code == 0
    notes = [line for line in first.stderr.splitlines() if line.startswith("prune: ") and "rewrite" not in line]
    assert set(notes) <= set(second.stderr.splitlines())


@pytest.mark.parametrize("how", ["option", "environment", "print"])
@pytest.mark.slow
def test_without_the_cache_everything_is_computed(
    how: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _compile(model, tmp_path / "out")
    if how == "environment":
        monkeypatch.setenv("YOCC_CACHE", "off")
    options = {"option": ["--no-cache"], "environment": [], "print": ["--print-after"]}[how]
    again = _compile(model, tmp_path / "out", *options)
    assert again.exit_code == 0
    assert "quantize: " in again.stderr
    assert not Path("off").exists()


@pytest.mark.slow
def test_damaged_entry_is_compiled_anew_with_a_warning(model: Path, tmp_path: Path) -> None:
    _compile(model, tmp_path / "first")
    (stored,) = (tmp_path / "cache").glob("*/files/model.onnx")
    data = bytearray(stored.read_bytes())
    data[-1] ^= 1
    stored.write_bytes(data)
    again = _compile(model, tmp_path / "second")
    assert again.exit_code == 0
    assert "damaged; the model is compiled again" in again.stderr
    assert "quantize: " in again.stderr
    model_bytes = [_content(tmp_path / name)["model.onnx"] for name in ("first", "second")]
    assert model_bytes[0] == model_bytes[1]
    assert "Restored" in _compile(model, tmp_path / "third").stderr


@pytest.mark.slow
def test_what_a_gate_refuses_is_not_kept(model: Path, tmp_path: Path) -> None:
    for _ in range(2):
        result = _compile(model, tmp_path / "out", "--gate", "size_mb <= 0")
        assert result.exit_code == 8
        assert "quantize: " in result.stderr
    assert _results(tmp_path / "cache") == 0


def test_what_fails_is_not_kept(model: Path, tmp_path: Path) -> None:
    assert _compile(model, tmp_path / "out", "--calib", tmp_path / "none").exit_code == 4
    assert _results(tmp_path / "cache") == 0


def test_output_folder_is_guarded_when_restoring_too(model: Path, tmp_path: Path) -> None:
    assert _compile(model, tmp_path / "out").exit_code == 0
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "notes.txt").write_text("mine")
    result = _compile(model, tmp_path / "foreign")
    assert result.exit_code == 2
    assert "did not write" in result.stderr
    assert _compile(model, tmp_path).exit_code == 2


def test_cache_that_cannot_be_written_costs_a_warning(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("YOCC_CACHE", str(tmp_path / "file"))
    result = _compile(model, tmp_path / "out")
    assert result.exit_code == 0
    (line,) = [line for line in result.stderr.splitlines() if "cache" in line]
    assert line.startswith("Warning: Nothing is cached. The cache folder ")


def test_cache_that_cannot_be_written_is_an_error_when_it_was_named(model: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = _compile(model, tmp_path / "out", "--cache", tmp_path / "file")
    assert (result.exit_code, result.stderr.count("\n")) == (7, 1)
    assert "cannot be written" in result.stderr
    assert not (tmp_path / "out").exists()


def test_named_cache_counts_and_switching_off_beats_it(model: Path, tmp_path: Path) -> None:
    _compile(model, tmp_path / "out", "--cache", tmp_path / "own")
    assert (_results(tmp_path / "own"), _results(tmp_path / "cache")) == (1, 0)
    assert "quantize: " in _compile(model, tmp_path / "out", "--cache", tmp_path / "own", "--no-cache").stderr


@pytest.mark.slow
def test_team_may_switch_it_off_and_the_command_line_on_again(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("yocc.toml").write_text("no-cache = true\n")
    _compile(model, tmp_path / "out")
    assert _results(tmp_path / "cache") == 0
    _compile(model, tmp_path / "out", "--cache", "own")
    assert _results(tmp_path / "own") == 1


def test_limit_is_kept(model: Path, tmp_path: Path) -> None:
    _compile(model, tmp_path / "out", "--cache-limit", "1kB")
    assert _results(tmp_path / "cache") == 0
    result = _compile(model, tmp_path / "out", "--cache-limit", "1")
    assert result.exit_code == 2
    assert "500MB" in result.stderr


def test_commands_look_after_it(model: Path, tmp_path: Path) -> None:
    _compile(model, tmp_path / "out")
    assert _run("cache", "path").stdout == f"{tmp_path / 'cache'}\n"
    facts = json.loads(_run("cache", "info", "--json").stdout)
    assert facts["entries"] == 1
    assert facts["bytes"] == sum(map(len, _content(tmp_path / "out").values()))
    assert "results" in _run("cache", "info").stdout
    assert _run("cache", "clear").stdout.startswith("1 results removed")
    assert _results(tmp_path / "cache") == 0


def test_own_cache_is_looked_after_when_caching_is_off(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("YOCC_CACHE", "off")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert _run("cache", "path").stdout == f"{tmp_path / 'yocc'}\n"


def test_restoring_marks_an_entry_as_used(model: Path, tmp_path: Path) -> None:
    _compile(model, tmp_path / "out")
    (manifest,) = (tmp_path / "cache").glob("*/entry.json")
    os.utime(manifest, (1, 1))
    _compile(model, tmp_path / "out")
    assert time.time() - manifest.stat().st_mtime < 3600


@pytest.mark.slow
def test_another_description_of_the_input_is_another_result(model: Path, tmp_path: Path) -> None:
    arguments = ["--input-scale", "1"]
    assert "Restored" not in _compile(model, tmp_path / "out").stderr
    assert "Restored" not in _compile(model, tmp_path / "out", *arguments).stderr
    assert "Restored" in _compile(model, tmp_path / "out", *arguments).stderr
