from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.runtime.backends.tensorrt.examples import half, quantized
from tests.samples import tiny_feed, tiny_model
from yocc.compiler.graph import load
from yocc.errors import BackendError
from yocc.runtime.backends.compare import Difference
from yocc.runtime.backends.tensorrt import session
from yocc.runtime.backends.tensorrt.backend import TensorRtBackend
from yocc.runtime.backends.tensorrt.building import Built, Settings
from yocc.runtime.backends.tensorrt.probe import Device


def difference(snr: float | None, *, finite: bool = True) -> Difference:
    return Difference("output0", "scores", 0.1, 0.1, 0.9, snr, finite)


@pytest.mark.parametrize(("kind", "snr"), [("fp32", 39.0), ("fp16", 24.0), ("int8", 14.0), ("int8", -3.0)])
def test_an_engine_too_far_from_onnxruntime_is_refused(kind: session.Kind, snr: float) -> None:
    with pytest.raises(BackendError, match=r"The engine is wrong: .*'output0 scores'"):
        session.judge([difference(60.0), difference(snr)], kind)


def test_an_engine_with_nan_is_refused() -> None:
    with pytest.raises(BackendError, match="not finite"):
        session.judge([difference(60.0, finite=False)], "int8")


def test_a_good_engine_says_how_good() -> None:
    assert session.judge([difference(61.5), difference(None)], "fp32").startswith("at least 61.5 dB")
    assert session.judge([difference(None)], "fp32") == "equal to onnxruntime"


def test_the_coarsest_type_of_a_graph() -> None:
    assert [session.coarsest(graph) for graph in (load(tiny_model()), quantized(), half())] == ["fp32", "int8", "int8"]


def test_without_a_gpu_onnxruntime_runs_the_file_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "obstacle", lambda: "There is no NVIDIA driver.")
    backend = TensorRtBackend()
    artifact = backend.build(load(tiny_model()), backend.target({}), tmp_path)
    with backend.session(artifact, threads=1) as opened:
        assert opened.execution() == {"runtime": "onnxruntime", "no_engine": "There is no NVIDIA driver."}
        assert opened.run(tiny_feed())["y"].shape == (1, 4, 16, 16)


def test_an_engine_is_built_once_for_each_model_setting_and_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = []

    def build(_: object, __: Path, ___: Settings, cache: Path) -> Built:
        built.append(cache)
        return Built(b"plan", ())

    monkeypatch.setattr(session, "build_engine", build)
    model = tmp_path / "model.onnx"
    model.write_bytes(b"a model")
    package, first, second = SimpleNamespace(__version__="11.1"), Device("A 100", "8.0"), Device("B", "9.0")
    for settings, device in [(Settings(), first)] * 2 + [(Settings(workspace=2), first), (Settings(), second)]:
        assert session.cached_engine(package, model, settings, device, tmp_path / "cache") == b"plan"
    assert [cache.parent.name for cache in built] == ["11.1-A_100-8.0", "11.1-A_100-8.0", "11.1-B-9.0"]
    assert sorted(path.suffix for path in (tmp_path / "cache").rglob("*") if path.is_file()) == [".engine"] * 3
