"""`session.json`: what is written, what is taken, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
import pytest

from tests.runtime.backends.examples.programs import imported
from tests.samples import tiny_model
from yocc.compiler.graph import load
from yocc.errors import BackendError, OptionError
from yocc.runtime.backends.backend import Artifact
from yocc.runtime.backends.examples import write_examples
from yocc.runtime.backends.onnxruntime import SETTABLE, SETTINGS
from yocc.runtime.backends.registry import find_backend
from yocc.runtime.backends.session_settings import SESSION_FILE, settings_beside


def _written(folder: Path, **facts: Any) -> Path:
    content = {"runtime": "onnxruntime", "threads": None, "config": {}, **facts}
    (folder / SESSION_FILE).write_text(json.dumps(content), encoding="utf-8")
    return folder / "model.onnx"


def test_what_is_written_is_read(tmp_path: Path) -> None:
    assert settings_beside(tmp_path / "model.onnx", SETTINGS, SETTABLE) == SETTINGS
    (tmp_path / SESSION_FILE).write_text(SETTINGS.text(), encoding="utf-8")
    assert settings_beside(tmp_path / "model.onnx", SETTINGS, SETTABLE) == SETTINGS


def test_edited_settings_count(tmp_path: Path) -> None:
    config = {"session.intra_op.allow_spinning": "0", "CACHE_DIR": "anywhere"}
    found = settings_beside(_written(tmp_path, threads=3, config=config), SETTINGS, SETTABLE)
    assert found.threads == 3
    assert found.config == {"session.intra_op.allow_spinning": "0"}


def test_settings_of_another_runtime_do_not_count(tmp_path: Path) -> None:
    model = _written(tmp_path, runtime="openvino", threads=1, config={"NUM_STREAMS": "2"})
    assert settings_beside(model, SETTINGS, SETTABLE) == SETTINGS


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"config": {"session.use_ort_model_bytes_directly": "1"}}, "use_ort_model_bytes_directly"),
        ({"config": {"session.force_spinning_stop": 1}}, "object of texts"),
        ({"config": []}, "object of texts"),
        ({"threads": 0}, "is 0"),
        ({"threads": True}, "is True"),
        ({"threads": "2"}, "is '2'"),
    ],
)
def test_other_contents_are_refused(facts: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(BackendError, match=said):
        settings_beside(_written(tmp_path, **facts), SETTINGS, SETTABLE)


@pytest.mark.parametrize("text", ["{", "[]", "\xff"])
def test_what_is_no_object_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / SESSION_FILE).write_bytes(text.encode("latin-1"))
    with pytest.raises(BackendError, match=r"session\.json"):
        settings_beside(tmp_path / "model.onnx", SETTINGS, SETTABLE)


def test_a_session_and_the_program_take_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    onnx.save(tiny_model(), tmp_path / "model.onnx")
    artifact = Artifact("onnxruntime", tmp_path, tmp_path / "model.onnx")
    backend = find_backend("onnxruntime")
    write_examples(tmp_path, backend.example(artifact), None, None)
    _written(tmp_path, threads=1, config={"session.intra_op.allow_spinning": "0"})
    given = []
    load = onnxruntime.InferenceSession

    def loading(model: str, options: Any, **others: Any) -> Any:
        given.append(options)
        return load(model, options, **others)

    monkeypatch.setattr(onnxruntime, "InferenceSession", loading)
    backend.session(artifact).close()
    imported(tmp_path / "run.py").Model()
    for options in given:
        assert options.intra_op_num_threads == 1
        assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert len(given) == 2


@pytest.mark.parametrize(("precision", "hint"), [("f32", "f32"), ("bf16", "bf16"), ("auto", None)])
def test_openvino_is_asked_for_a_precision(precision: str, hint: str | None, tmp_path: Path) -> None:
    backend = find_backend("openvino")
    options = {"precision": precision}
    backend.target(options)
    artifact = Artifact("openvino", tmp_path, tmp_path / "model.xml", options=options)
    write_examples(tmp_path, backend.example(artifact), None, None)
    written = json.loads((tmp_path / SESSION_FILE).read_text(encoding="utf-8"))
    assert written["config"].get("INFERENCE_PRECISION_HINT") == hint


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(OptionError, match="'precision' of target 'openvino' cannot be 'f8'"):
        find_backend("openvino").target({"precision": "f8"})


def test_openvino_times_the_original_in_what_it_prefers(tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino")
    onnx.save(tiny_model(), tmp_path / "model.onnx")
    artifact = Artifact("openvino", tmp_path, tmp_path / "model.onnx")
    backend, built = find_backend("openvino"), tmp_path / "built"
    built.mkdir()
    graph, target = load(tiny_model()), backend.target({})
    preferred = openvino.Core().compile_model(str(tmp_path / "model.onnx"), "CPU")
    with backend.session(artifact) as session, backend.original_session(graph, target, built) as timed:
        assert session.precision == "f32"
        assert timed.precision == preferred.get_property("INFERENCE_PRECISION_HINT").get_type_name()


def test_openvino_takes_its_precision_from_the_settings(tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino")
    onnx.save(tiny_model(), tmp_path / "model.onnx")
    openvino.save_model(openvino.Core().read_model(str(tmp_path / "model.onnx")), str(tmp_path / "model.xml"))
    artifact = Artifact("openvino", tmp_path, tmp_path / "model.xml")
    backend = find_backend("openvino")
    write_examples(tmp_path, backend.example(artifact), None, None)
    config = {"INFERENCE_PRECISION_HINT": "f32", "NUM_STREAMS": "1", "PERFORMANCE_HINT": "THROUGHPUT"}
    _written(tmp_path, runtime="openvino", config=config, threads=1)
    with backend.session(artifact) as session:
        compiled = session._model
    assert compiled.get_property("PERFORMANCE_HINT") == "THROUGHPUT"
    assert compiled.get_property("INFERENCE_NUM_THREADS") == 1
    assert imported(tmp_path / "run.py").Model().inputs.keys() == {session.inputs[0].name}
    _written(tmp_path, runtime="openvino", config={"INFERENCE_PRECISION_HINT": "f8"})
    with pytest.raises(BackendError, match=r"cannot load 'model\.xml'"):
        backend.session(artifact)
