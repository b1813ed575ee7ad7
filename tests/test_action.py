"""The GitHub action is sound and its shell steps do what they say; the examples of the CI guide fit it."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import onnx
import pytest

from tests.installed import as_if_installed
from tests.samples import tiny_model
from yocc.cli import cli

yaml = pytest.importorskip("yaml", reason="PyYAML comes with the extra `dev`")

ROOT = Path(__file__).parents[1]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
STEPS = {step.get("name", step.get("uses")): step for step in ACTION["runs"]["steps"]}
SHELL_STEPS = {name: step for name, step in STEPS.items() if "run" in step}
_GIVEN_BY_GITHUB = {"GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "RUNNER_TEMP"}


def _examples() -> list[dict[str, Any]]:
    guide = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
    return [yaml.safe_load(text) for text in re.findall(r"^```yaml\n(.*?)^```$", guide, re.MULTILINE | re.DOTALL)]


class Runner:
    """A job on GitHub, as far as the shell steps of the action see it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "work"
        self.temporary = folder / "temp"
        for each in (self.folder, self.temporary):
            each.mkdir()
        self.page, self.output = folder / "page.md", folder / "output"
        self.page.touch()
        onnx.save(tiny_model(), self.folder / "model.onnx")
        self.environment = {
            **as_if_installed(folder / "site"),
            "GITHUB_ACTIONS": "true",
            "GITHUB_OUTPUT": str(self.output),
            "GITHUB_STEP_SUMMARY": str(self.page),
            "RUNNER_TEMP": str(self.temporary),
        }

    def run(self, name: str, **inputs: str) -> subprocess.CompletedProcess[str]:
        """Run a shell step with these inputs as GitHub does."""
        step = SHELL_STEPS[name]
        values = {key: str(entry.get("default", "")) for key, entry in ACTION["inputs"].items()} | inputs
        own = {key: self._evaluated(text, values) for key, text in step["env"].items()}
        return subprocess.run(
            ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", step["run"]],
            cwd=self.folder,
            env={**self.environment, **own},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    def _evaluated(self, text: str, inputs: dict[str, str]) -> str:
        if text == "${{ inputs.cache == 'true' && format('{0}/yocc-cache', runner.temp) || 'off' }}":
            return f"{self.temporary}/yocc-cache" if inputs["cache"] == "true" else "off"
        if text == "${{ github.action_path }}":
            return str(ROOT)
        match = re.fullmatch(r"\$\{\{ inputs\.([\w-]+) \}\}", text)
        assert match, text
        return inputs[match[1]]


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    return Runner(tmp_path)


def test_it_is_a_composite_action() -> None:
    assert ACTION["runs"]["using"] == "composite"
    assert {"name", "description", "inputs", "outputs", "runs"} == set(ACTION)
    for entry in [*ACTION["inputs"].values(), *ACTION["outputs"].values()]:
        assert entry["description"]
    assert [name for name, entry in ACTION["inputs"].items() if entry.get("required")] == ["model"]
    assert all("default" in entry or entry.get("required") for entry in ACTION["inputs"].values())


def test_every_step_runs_or_uses_something() -> None:
    for step in ACTION["runs"]["steps"]:
        assert ("run" in step) != ("uses" in step)
        if "run" in step:
            assert step["shell"] == "bash"
        else:
            assert re.fullmatch(r"actions/[\w-]+@v\d+", step["uses"])


def test_inputs_that_are_used_exist_and_those_that_exist_are_used() -> None:
    text = (ROOT / "action.yml").read_text(encoding="utf-8")
    assert set(re.findall(r"inputs\.([\w-]+)", text)) == set(ACTION["inputs"])


def test_outputs_are_those_of_a_step() -> None:
    steps = {step["id"]: step for step in ACTION["runs"]["steps"] if "id" in step}
    for entry in ACTION["outputs"].values():
        match = re.fullmatch(r"\$\{\{ steps\.(\w+)\.outputs\.(\w+) \}\}", entry["value"])
        assert match
        assert f'"{match[2]}=' in steps[match[1]]["run"]


@pytest.mark.parametrize("name", SHELL_STEPS)
def test_no_input_is_read_as_shell_code(name: str) -> None:
    assert "${{" not in SHELL_STEPS[name]["run"]
    used = set(re.findall(r"\$\{?([A-Z][A-Z_]+)", SHELL_STEPS[name]["run"]))
    assert used == set(SHELL_STEPS[name]["env"]) - {"YOCC_CACHE"} | (used & _GIVEN_BY_GITHUB)


@pytest.mark.slow
def test_compiling_writes_folder_page_and_junit(runner: Runner) -> None:
    done = runner.run(
        "Compile",
        model="model.onnx",
        options="--prune 0.25 --no-bench",
        gates="size_mb <= 1\n\nparameters_ratio<=0.9\n",
    )
    assert done.returncode == 0, done.stderr
    assert (runner.folder / "yocc-out" / "model.onnx").is_file()
    assert "parameters_ratio" in runner.page.read_text()
    outputs = dict(line.split("=", 1) for line in runner.output.read_text().splitlines())
    assert outputs["folder"] == "yocc-out"
    assert ElementTree.parse(outputs["junit"]).getroot().get("tests") == "2"


@pytest.mark.slow
def test_gate_that_does_not_hold_fails_the_step_with_an_annotation(runner: Runner) -> None:
    done = runner.run("Compile", model="model.onnx", options="--prune 0.25 --no-bench", gates="size_mb <= 0")
    assert done.returncode == 8
    assert "::error title=yocc gate::size_mb is" in done.stderr
    assert "failed" in runner.page.read_text()
    assert (runner.folder / "yocc-out" / "model.onnx").is_file()


@pytest.mark.slow
def test_options_are_split_as_on_a_command_line_and_not_executed(runner: Runner) -> None:
    done = runner.run("Compile", model="model.onnx", options="--no-bench --pipeline 'simplify, fuse' --seed $(touch x)")
    assert done.returncode == 2
    assert "$(touch" in done.stderr
    assert not (runner.folder / "x").exists()
    done = runner.run("Compile", model="model.onnx", options="--no-bench --pipeline 'simplify, fuse'", cache="false")
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_second_run_takes_the_result_from_the_cache(runner: Runner) -> None:
    first, second = (
        runner.run("Compile", model="model.onnx", options="--prune 0.25 --no-bench", out=name) for name in ("a", "b")
    )
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert "Restored from the cache" in second.stderr
    assert (runner.folder / "a" / "report.json").read_bytes() == (runner.folder / "b" / "report.json").read_bytes()


@pytest.mark.slow
def test_baseline_is_compared_with(runner: Runner) -> None:
    assert runner.run("Compile", model="model.onnx", options="--prune 0.25 --no-bench", out="small").returncode == 0
    assert runner.run("Compile", model="model.onnx", options="--no-bench", out="large").returncode == 0
    compare = "Compare with the baseline"
    assert runner.run(compare, baseline="small/report.json", out="small").returncode == 0
    assert runner.run(compare, baseline="small/report.json", out="large").returncode == 8
    lavish = "\n".join(f"{name}=9" for name in ("size_mb", "size_ratio", "macs_ratio", "parameters_ratio", "snr_db"))
    done = runner.run(compare, baseline="small/report.json", tolerances=lavish, out="large")
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("extras", ["", "openvino,ncnn"])
def test_installing_puts_the_command_in_place(extras: str, runner: Runner, tmp_path: Path) -> None:
    """Into a folder, and without what yocc depends on, which is here already."""
    target, site = tmp_path / "target", tmp_path / "site"
    (site / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@" --no-deps --target {target}\n')
    (site / "python").chmod(0o755)
    done = runner.run("Install yocc", extras=extras)
    if "No matching distribution found for hatchling" in done.stderr:
        pytest.skip("the build tool cannot be fetched here")
    assert done.returncode == 0, done.stderr
    assert (target / "bin" / "yocc").is_file()


def test_the_guide_has_an_example_of_each() -> None:
    github, gitlab, hooks = _examples()
    (step,) = [step for step in github["jobs"]["compress"]["steps"] if "yocc@" in step["uses"]]
    assert set(step["with"]) <= set(ACTION["inputs"])
    assert gitlab["compress"]["artifacts"]["reports"]["junit"] == "gates.xml"
    assert hooks["repos"][0]["hooks"][0]["pass_filenames"] is False


@pytest.mark.parametrize("number", range(3), ids=["GitHub", "GitLab", "pre-commit"])
def test_commands_of_the_examples_can_be_read(number: int) -> None:
    github, gitlab, hooks = _examples()
    options = github["jobs"]["compress"]["steps"][1]["with"]["options"]
    commands = [
        f"yocc compile model.onnx {options}",
        gitlab["compress"]["script"][-1],
        hooks["repos"][0]["hooks"][0]["entry"],
    ]
    program, name, *arguments = shlex.split(commands[number])
    assert program == "yocc"
    cli.commands[name].make_context(name, arguments)
