from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

import yocc
from tests import oracles
from tests.runtime.backends.ncnn.running import assert_same, ncnn_outputs, needs_ncnn
from tests.samples import scalar_model, strange_model, tiny_feed, tiny_model
from yocc.compiler.graph import load, to_proto
from yocc.errors import BackendError, BackendUnavailable
from yocc.models.yolov5 import build_yolov5
from yocc.runtime.backends.backend import Artifact, Backend
from yocc.runtime.backends.ncnn.backend import NcnnBackend
from yocc.testing import BackendContract


@needs_ncnn
class TestNcnnBackend(BackendContract):
    tolerance = 1e-4

    @pytest.fixture
    def backend(self) -> Backend:
        return NcnnBackend()


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    backend = NcnnBackend()
    return backend.build(load(tiny_model()), backend.target({}), tmp_path)


@needs_ncnn
def test_feeds_are_not_written_into(artifact: Artifact) -> None:
    """ncnn computes some layers in place, in the memory it is given."""
    feeds = tiny_feed()
    before = feeds["x"].copy()
    with NcnnBackend().session(artifact, threads=1) as session:
        first = session.run(feeds)["y"].copy()
        np.testing.assert_array_equal(session.run(feeds)["y"], first)
    np.testing.assert_array_equal(feeds["x"], before)


@needs_ncnn
def test_strided_feeds_are_read_rightly(artifact: Artifact) -> None:
    feeds = tiny_feed()
    turned = np.ascontiguousarray(feeds["x"].transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    with NcnnBackend().session(artifact, threads=1) as session:
        np.testing.assert_array_equal(session.run({"x": turned})["y"], session.run(feeds)["y"])


@needs_ncnn
@pytest.mark.parametrize(
    ("name", "words"), [("model.bin", "cannot be read"), ("model.json", "does not describe"), ("model.param", "read")]
)
def test_missing_file_is_one_sentence(artifact: Artifact, name: str, words: str) -> None:
    (artifact.folder / name).unlink()
    with pytest.raises(BackendError, match=words):
        NcnnBackend().session(artifact)


@needs_ncnn
def test_weights_of_another_network_are_noticed(artifact: Artifact) -> None:
    path = artifact.folder / "model.bin"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(BackendError, match="cut off"):
        NcnnBackend().session(artifact)


def test_description_names_inputs_and_outputs(artifact: Artifact) -> None:
    facts = json.loads((artifact.folder / "model.json").read_text())
    assert facts["inputs"] == [{"name": "x", "blob": "x", "shape": [1, 3, 16, 16], "dtype": "float32"}]
    assert facts["outputs"] == [{"name": "y", "blob": "y", "shape": [1, 4, 16, 16], "dtype": "float32"}]


def test_names_with_spaces_are_made_fit(tmp_path: Path) -> None:
    model = tiny_model()
    model.graph.node[0].output[0] = model.graph.node[1].input[0] = "a tensor\twith spaces"
    backend = NcnnBackend()
    artifact = backend.build(load(model), backend.target({}), tmp_path)
    assert "a_tensor_with_spaces" in artifact.model.read_text()


def test_unknown_operator_ends_the_compilation_before_anything_is_written(tmp_path: Path) -> None:
    backend = NcnnBackend()
    graph = load(strange_model())
    assert [reject.reason for reject in backend.validate(graph, backend.target({}))] == [
        "yocc has no ncnn layer for Whiten"
    ]
    folder = tmp_path / "out"
    folder.mkdir()
    with pytest.raises(BackendError, match="no ncnn layer for Whiten"):
        backend.build(graph, backend.target({}), folder)
    assert list(folder.iterdir()) == []


def _with_integer_input(kind: int) -> onnx.ModelProto:
    model = tiny_model()
    model.graph.input[0].type.tensor_type.elem_type = kind
    cast = onnx.helper.make_node("Cast", ["x"], ["float"], to=onnx.TensorProto.FLOAT)
    model.graph.node[0].input[0] = "float"
    model.graph.node.insert(0, cast)
    return model


def test_integer_input_is_refused() -> None:
    backend = NcnnBackend()
    rejects = backend.validate(load(_with_integer_input(onnx.TensorProto.INT64)), backend.target({}))
    assert "this input is int64" in rejects[0].reason


@needs_ncnn
def test_bytes_that_a_cast_reads_are_fed_as_they_are() -> None:
    model = _with_integer_input(onnx.TensorProto.UINT8)
    picture = np.random.default_rng(0).integers(0, 256, (1, 3, 16, 16), np.uint8)
    assert_same(model, {"x": picture}, 1e-5)


def test_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch, artifact: Artifact) -> None:
    monkeypatch.setitem(sys.modules, "ncnn", None)
    backend = NcnnBackend()
    assert "pip install 'yocc[ncnn]'" in str(backend.available())
    with pytest.raises(BackendUnavailable) as caught:
        backend.session(artifact)
    assert "yocc[ncnn]" in caught.value.hint


@pytest.mark.slow
@needs_ncnn
def test_half_precision_halves_the_weights(tmp_path: Path) -> None:
    sizes = []
    for fp16 in (False, True):
        out = tmp_path / str(fp16)
        yocc.compile(tiny_model(), fp16=fp16, target="ncnn", out=out, bench=False, fidelity=False)
        sizes.append((out / "model.bin").stat().st_size)
        assert json.loads((out / "model.json").read_text())["half"] is fp16
    # Biases stay float.
    assert sizes[1] < 0.6 * sizes[0]


@pytest.mark.slow
@needs_ncnn
def test_pruned_detector_agrees_with_onnxruntime(tmp_path: Path) -> None:
    graphs = []
    report = yocc.compile(
        build_yolov5("n", size=64),
        prune=0.4,
        target="ncnn",
        out=tmp_path / "out",
        bench=False,
        fidelity=False,
        observers=[lambda _, graph: graphs.append(to_proto(graph))],
    )
    assert report.model is not None
    feeds = {"images": np.random.default_rng(0).random((1, 3, 64, 64), dtype=np.float32)}
    wanted, found = oracles.run(graphs[-1], feeds)["output0"], ncnn_outputs(graphs[-1], feeds)["output0"]
    np.testing.assert_allclose(found[..., :4], wanted[..., :4], rtol=0, atol=0.01)
    np.testing.assert_allclose(found[..., 4:], wanted[..., 4:], rtol=0, atol=1e-4)


@needs_ncnn
def test_scalars_are_fed() -> None:
    assert_same(scalar_model(), {"x": np.ones((1, 2), np.float32), "gain": np.array(3, np.float32)}, 0.0)


@needs_ncnn
def test_outputs_that_depend_on_no_input_are_stored() -> None:
    model = tiny_model()
    tables = {"table": np.arange(12, dtype=np.float32).reshape(1, 3, 4), "size": np.array([2, 5], np.int64)}
    for name, values in tables.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
        model.graph.node.append(onnx.helper.make_node("Neg", [name], [f"{name}_out"], name=f"{name}_negative"))
        kind = onnx.helper.np_dtype_to_tensor_dtype(values.dtype)
        model.graph.output.append(onnx.helper.make_tensor_value_info(f"{name}_out", kind, values.shape))
    assert_same(model, tiny_feed(), 1e-5)
