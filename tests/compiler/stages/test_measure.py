"""The yardstick is the original in onnxruntime, whatever the target's runtime makes of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import onnx
import pytest

from tests.samples import strange_model, tiny_model
from yocc.compiler.graph import load
from yocc.compiler.pipeline.passes import Arrays
from yocc.compiler.stages.inputs import Inputs, open_inputs
from yocc.compiler.stages.measure import Judged, Judging, Verdict, judge
from yocc.errors import BackendError, BackendUnavailable
from yocc.runtime.backends.backend import Artifact, Backend, Session
from yocc.runtime.backends.onnxruntime import OnnxRuntimeBackend, OnnxRuntimeSession
from yocc.runtime.data.feeds import InputSpec

SHAPE = (1, 3, 16, 16)


class _NegatingSession(OnnxRuntimeSession):
    def run(self, feeds: Arrays) -> Arrays:
        return {name: -value for name, value in super().run(feeds).items()}


class _Negating(OnnxRuntimeBackend):
    """A runtime that computes every model wrongly, in the same way."""

    name = "negating"

    def session(self, artifact: Artifact, *, threads: int | None = None, optimize: bool = True) -> Session:
        return _NegatingSession(artifact.model, threads=threads, optimize=optimize)


class _Opened(OnnxRuntimeBackend):
    """Counts the models it loads."""

    loaded: ClassVar[list[Path]] = []

    def session(self, artifact: Artifact, *, threads: int | None = None, optimize: bool = True) -> Session:
        assert optimize
        self.loaded.append(artifact.model)
        return super().session(artifact, threads=threads, optimize=optimize)


class _Absent(OnnxRuntimeBackend):
    name = "absent"

    def session(self, *_: object, **__: object) -> Session:
        raise BackendUnavailable("Its runtime is not installed.")


class _Elsewhere(OnnxRuntimeBackend):
    name = "elsewhere"

    def substitute(self, target: object) -> str:  # noqa: ARG002 # whatever it is
        return "There is no such device."


@pytest.fixture
def inputs() -> Inputs:
    return open_inputs(None, [InputSpec("x", SHAPE, np.dtype(np.float32))], None, count=4, seed=0)


def _judge(
    backend: Backend, folder: Path, judging: Judging, source: onnx.ModelProto, compiled: onnx.ModelProto | None = None
) -> Verdict:
    target = backend.target({})
    artifact = backend.build(load(compiled or source), target, folder)
    return judge(Judged(source, backend, target, None, judging, 10**9), artifact)


def test_a_runtime_that_is_wrong_on_both_is_not_right(tmp_path: Path, inputs: Inputs) -> None:
    judging = Judging(inputs, {"x": SHAPE}, bench=False, threads=1)
    wrong = _judge(_Negating(), tmp_path, judging, tiny_model())
    assert wrong.fidelity is not None
    assert wrong.fidelity.outputs[0].cosine == pytest.approx(-1)
    assert wrong.target_snr == pytest.approx(-6.02, abs=0.01)
    right = _judge(OnnxRuntimeBackend(), tmp_path, judging, tiny_model())
    assert right.fidelity is not None
    assert right.fidelity.outputs[0].cosine == pytest.approx(1)
    assert right.target_snr is None


def test_models_are_timed_in_the_runtime_of_the_target_only(tmp_path: Path, inputs: Inputs) -> None:
    _Opened.loaded.clear()
    judging = Judging(inputs, {"x": SHAPE}, threads=1)
    verdict = _judge(_Opened(), tmp_path, judging, tiny_model())
    assert verdict.timing is not None
    assert len(_Opened.loaded) == 2  # the compiled model and, to be timed, the original
    _Opened.loaded.clear()
    assert _judge(_Opened(), tmp_path, replace(judging, bench=False), tiny_model()).fidelity is not None
    assert len(_Opened.loaded) == 1


def test_an_original_onnxruntime_cannot_run_is_compared_with_nothing(tmp_path: Path, inputs: Inputs) -> None:
    judging = Judging(inputs, {"x": SHAPE}, threads=1)
    verdict = _judge(OnnxRuntimeBackend(), tmp_path, judging, strange_model(), tiny_model())
    assert (verdict.fidelity, verdict.accuracy, verdict.timing) == (None, None, None)
    assert "Nothing was compared: onnxruntime cannot run the original." in verdict.warnings[0]
    assert "strange.kernels" in verdict.warnings[0]


def test_a_compiled_model_that_does_not_run_is_an_error_where_the_original_runs(tmp_path: Path, inputs: Inputs) -> None:
    judging = Judging(inputs, {"x": SHAPE}, threads=1)
    with pytest.raises(BackendError, match="strange"):
        _judge(OnnxRuntimeBackend(), tmp_path, judging, tiny_model(), strange_model())
    verdict = _judge(OnnxRuntimeBackend(), tmp_path, judging, strange_model())
    assert verdict.fidelity is None
    assert "the original does not run here" in verdict.warnings[0]


def test_a_runtime_that_is_not_there_measures_nothing(tmp_path: Path, inputs: Inputs) -> None:
    verdict = _judge(_Absent(), tmp_path, Judging(inputs, {"x": SHAPE}), tiny_model())
    assert verdict == Verdict(warnings=("Nothing was measured: Its runtime is not installed.",))


def test_times_of_a_substitute_are_told(tmp_path: Path, inputs: Inputs) -> None:
    verdict = _judge(_Elsewhere(), tmp_path, Judging(inputs, {"x": SHAPE}, threads=1), tiny_model())
    assert verdict.timing is not None
    assert verdict.warnings == (
        "Latencies are those of onnxruntime, as elsewhere does not run here: There is no such device.",
    )
