"""What ends the process: the pass, the model or the target is found, and the smallest model that does it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest

from tests.quiet import quiet
from yocc.api.debugging import evidence, scoring
from yocc.api.debugging.debugging import debug_model
from yocc.api.debugging.diagnosis import Diagnosis
from yocc.api.debugging.watching import MOST_CRASHES, Ended, Spot, Watch, trial, watched
from yocc.containment.supervisor import can_supervise
from yocc.errors import ModelError

__all__ = ["quiet"]
pytestmark = pytest.mark.skipif(not can_supervise(), reason="copies of a process are made on Linux only")


def debug(pipeline: str, **more: Any) -> Diagnosis:
    keywords: dict[str, Any] = {"calibration": "inputs.npz", "out": "found", "threads": 1, "contained": True, **more}
    return debug_model("model.onnx", pipeline=pipeline, **keywords)


def test_a_pass_that_ends_the_process_is_reduced_to_the_nodes_it_ends_on(folder: Path) -> None:
    found = debug("fp32,simplify,crash,fuse")
    assert found.guilty_step is not None
    assert (found.guilty_step.name, found.guilty_step.status) == ("crash", "failed")
    assert found.guilty_step.message == "it ends the process (SIGSEGV)"
    assert [step.fidelity for step in found.steps[:3]] == [1.0, 1.0, 1.0]
    assert found.steps[-1] == found.guilty_step
    assert found.evidence is not None
    assert (found.evidence.nodes, found.evidence.of) == (2, 14)
    assert [node.op_type for node in onnx.load(folder / "found" / "model.onnx").graph.node] == ["Sigmoid", "Softmax"]
    assert (folder / "found" / "inputs.npz").is_file()
    assert found.evidence.commands[0].startswith("yocc compile model.onnx --pipeline crash")


@pytest.mark.slow
def test_the_command_that_is_printed_crashes_as_said(folder: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}

    def run(*words: str, where: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "yocc", *words],
            cwd=where,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    done = run("debug", "model.onnx", "--pipeline", "fp32,crash", "--calib", "inputs.npz", "-o", "found", where=folder)
    assert done.returncode == 0, done.stderr
    assert "The pass crash fails: it ends the process (SIGSEGV). 2 nodes show it." in " ".join(done.stdout.split())
    (command,) = [line.split() for line in done.stdout.splitlines() if line.startswith("  yocc compile")]
    again = run(*command[1:], where=folder / "found")
    assert again.returncode not in (0, -signal.SIGSEGV)
    assert "crashed (SIGSEGV)" in again.stderr


def test_a_model_that_ends_the_process_in_onnxruntime_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = scoring.session_of

    def crashing(model: onnx.ModelProto, **more: Any) -> Any:
        if any(len(node.input) > 1 and node.input[1].endswith("/nudged") for node in model.graph.node):
            os.kill(os.getpid(), signal.SIGBUS)
        return real(model, **more)

    for module in (scoring, evidence):
        monkeypatch.setattr(module, "session_of", crashing)
    found = debug("fp32,nudge,simplify")
    assert found.guilty_step is not None
    assert (found.guilty_step.name, found.guilty_step.message) == ("nudge", "it ends the process (SIGBUS)")
    assert "leaves a model that does not run" in found.verdict
    assert [node.op_type for node in onnx.load(folder / "found" / "model.onnx").graph.node] == ["Conv"]


def test_a_target_that_ends_the_process_is_found_with_the_layers(folder: Path) -> None:
    found = debug("fp32", target="crashing")
    assert found.guilty_step is not None
    assert (found.guilty_step.kind, found.guilty_step.message) == ("target", "it ends the process (SIGSEGV)")
    assert found.verdict.startswith(
        "The target crashing does not build or run the model: it ends the process (SIGSEGV)"
    )
    assert "2 layers from 'sigmoid' (Sigmoid) to 'softmax' (Softmax)" in found.verdict
    assert [node.op_type for node in onnx.load(folder / "found" / "model.onnx").graph.node] == ["Sigmoid", "Softmax"]
    assert found.evidence is not None
    assert found.evidence.commands == ("yocc compile model.onnx --pipeline '' --target crashing -o again/",)


@pytest.mark.usefixtures("folder")
def test_copies_find_what_one_process_finds() -> None:
    apart, here = (debug("fp32,nudge,simplify", contained=contained) for contained in (True, False))
    same = {"seconds": 0.0, "steps": (), "folder": None}
    assert replace(apart, **same) == replace(here, **same)
    assert [replace(step, seconds=0.0) for step in apart.steps] == [replace(step, seconds=0.0) for step in here.steps]


def test_crashes_elsewhere_are_survived_or_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGABRT)

    with monkeypatch.context() as patched:
        patched.setattr("yocc.api.debugging.debugging.blame", crash)
        found = debug("nudge")
    assert found.guilty_step is not None
    assert found.guilty_layers == ()
    assert found.warnings[0].startswith("Looking for the layers ended the process (SIGABRT)")
    with monkeypatch.context() as patched:
        patched.setattr("yocc.api.debugging.scoring.reference_session", crash)
        found = debug("nudge")
    assert found.warnings == (
        "No fidelity was measured: onnxruntime cannot run the original. it ends the process (SIGABRT)",
    )
    monkeypatch.setattr("yocc.api.debugging.debugging.prepare", crash)
    with pytest.raises(ModelError, match=r"cannot be prepared: it ends the process \(SIGABRT\)"):
        debug("nudge")
    assert [path.name for path in (folder / "found").iterdir()] == ["debug.json"]


def test_endless_crashes_end() -> None:
    def work(watch: Watch) -> None:
        for place in range(2 * MOST_CRASHES):
            try:
                watch.enter(Spot("pass", place))
            except Ended:
                continue
            os.kill(os.getpid(), signal.SIGSEGV)

    with pytest.raises(Ended, match="SIGSEGV"):
        watched(work)


def test_a_trial_says_what_it_failed_with() -> None:
    def fail() -> None:
        raise ModelError("No.", "Yes.", "node")

    assert trial(lambda: "anything") is None
    error = trial(fail)
    assert isinstance(error, ModelError)
    assert (error.message, error.hint, error.node) == ("No.", "Yes.", "node")
    assert isinstance(trial(lambda: os.kill(os.getpid(), signal.SIGKILL)), Ended)
