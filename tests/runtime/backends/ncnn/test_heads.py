"""Raw heads: where the cut is, how they are described, that decoding gives what the whole graph gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from tests import oracles
from tests.networks.yolov8 import yolov8
from tests.runtime.backends.ncnn.running import ncnn_outputs, needs_ncnn
from tests.samples import tiny_model
from yocc.compiler.graph import load
from yocc.errors import BackendError, OptionError
from yocc.models.yolov5 import build_yolov5
from yocc.runtime.backends.backend import Session
from yocc.runtime.backends.ncnn.backend import NcnnBackend
from yocc.runtime.backends.ncnn.description import read_description


def _session(model: onnx.ModelProto, folder: Path, **options: str) -> Session:
    backend = NcnnBackend()
    return backend.session(backend.build(load(model), backend.target(options), folder), threads=1)


def _picture(height: int, width: int) -> dict[str, np.ndarray]:
    return {"images": np.random.default_rng(0).random((1, 3, height, width), dtype=np.float32)}


@pytest.mark.slow
@needs_ncnn
def test_raw_heads_decode_to_the_outputs_of_the_graph() -> None:
    model = build_yolov5("n", size=64)
    wanted = oracles.run(model, _picture(64, 64))["output0"]
    found = ncnn_outputs(model, _picture(64, 64), head="raw")["output0"]
    np.testing.assert_allclose(found[..., :4], wanted[..., :4], rtol=0, atol=0.01)
    np.testing.assert_allclose(found[..., 4:], wanted[..., 4:], rtol=0, atol=1e-4)


@pytest.mark.slow
@needs_ncnn
@pytest.mark.parametrize("classes", [3, 64], ids=["few", "as_many_as_bins"])
def test_raw_heads_of_distances_decode_to_the_outputs_of_the_graph(classes: int) -> None:
    model = yolov8(0, classes, 64, (8, 16, 32))
    wanted = oracles.run(model, _picture(64, 64))["output0"]
    found = ncnn_outputs(model, _picture(64, 64), head="raw")["output0"]
    assert found.shape == wanted.shape == (1, 4 + classes, 84)
    np.testing.assert_allclose(found[:, :4], wanted[:, :4], rtol=0, atol=1e-3)
    np.testing.assert_allclose(found[:, 4:], wanted[:, 4:], rtol=0, atol=1e-5)


@needs_ncnn
def test_cut_heads_of_distances_take_pictures_of_other_sizes(tmp_path: Path) -> None:
    wanted = oracles.run(yolov8(0, 3, 96, (8, 16, 32)), _picture(96, 96))["output0"]
    with _session(yolov8(0, 3, 64, (8, 16, 32)), tmp_path, head="raw") as session:
        assert session.outputs[0].shape == (1, 7, None)
        found = session.run(_picture(96, 96))["output0"]
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-3)


def test_other_distances_are_noticed() -> None:
    model = yolov8(0, 3, 64, (8, 16, 32))
    halves = [node for node in model.graph.node if node.op_type == "Div"]
    assert halves
    for node in halves:
        node.op_type = "Mul"  # centres four times too far
    backend = NcnnBackend()
    rejects = backend.validate(load(model), backend.target({"head": "raw"}))
    assert [reject.reason for reject in rejects] == ["its decoding is not that of yolov8"]


@pytest.mark.slow
@needs_ncnn
def test_cut_network_takes_pictures_of_other_sizes(tmp_path: Path) -> None:
    wanted = oracles.run(build_yolov5("n", size=(96, 128)), _picture(96, 128))["output0"]
    with _session(build_yolov5("n", size=64), tmp_path, head="raw") as session:
        assert session.inputs[0].shape == (1, 3, None, None)
        found = session.run(_picture(96, 128))["output0"]
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found[..., 4:], wanted[..., 4:], rtol=0, atol=1e-4)


@needs_ncnn
def test_size_that_does_not_halve_five_times_is_one_sentence(tmp_path: Path) -> None:
    with (
        _session(build_yolov5("n", size=64), tmp_path, head="raw") as session,
        pytest.raises(BackendError, match="multiples of 32"),
    ):
        session.run(_picture(64, 72))


@pytest.mark.slow
@needs_ncnn
@pytest.mark.parametrize("name", ["yolov5n", "yolov5n_bn", "yolov5n_raw_op12", "yolov5n_dynamic"])
@pytest.mark.parametrize("head", ["raw", "decoded"])
def test_real_detectors_agree_with_onnxruntime(name: str, head: str, shared_data: Path) -> None:
    model = onnx.load(shared_data / "models" / f"{name}.onnx")
    size = {"input_size": "640"} if name == "yolov5n_dynamic" else {}
    wanted = oracles.run(model, _picture(640, 640))["output0"]
    found = ncnn_outputs(model, _picture(640, 640), head=head, **size)["output0"]
    np.testing.assert_allclose(found[..., :4], wanted[..., :4], rtol=0, atol=0.01)
    np.testing.assert_allclose(found[..., 4:], wanted[..., 4:], rtol=0, atol=1e-4)


def test_network_that_is_no_detector_has_no_head_to_cut() -> None:
    backend = NcnnBackend()
    rejects = backend.validate(load(tiny_model()), backend.target({"head": "raw"}))
    assert [reject.hint for reject in rejects] == ["Use head=decoded."]


def test_other_decoding_is_noticed() -> None:
    model = build_yolov5("n", size=64)
    powers = [node for node in model.graph.node if node.op_type == "Pow"]
    assert powers
    for node in powers:
        node.op_type = "Mul"  # sizes twice too large, not squared
    backend = NcnnBackend()
    rejects = backend.validate(load(model), backend.target({"head": "raw"}))
    assert [reject.reason for reject in rejects] == ["its decoding is not that of yolov5"]


def test_open_size_needs_the_option() -> None:
    model = tiny_model()
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[2].dim_param = "height"
    backend = NcnnBackend()
    rejects = backend.validate(load(model), backend.target({}))
    assert rejects[0].node == "x"
    assert "input_size=640" in rejects[0].hint
    assert backend.validate(load(model), backend.target({"input_size": "16"})) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"head": "cooked"}, "cooked"),
        ({"input_size": "big"}, "big"),
        ({"input_size": "0x640"}, "0"),
        ({"input_size": "1x2x3"}, "1x2x3"),
        ({"channel_multiple": "0"}, "channel_multiple"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(options: dict[str, str], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        NcnnBackend().target(options)


@pytest.mark.parametrize(("text", "size"), [("640", (640, 640)), ("480x640", (480, 640))])
def test_input_size_is_height_by_width(text: str, size: tuple[int, int]) -> None:
    assert NcnnBackend().target({"input_size": text}).input_size == size


@pytest.mark.slow
def test_raw_heads_are_described_beside_the_network(tmp_path: Path) -> None:
    backend = NcnnBackend()
    artifact = backend.build(load(build_yolov5("n", size=64)), backend.target({"head": "raw"}), tmp_path)
    raw = artifact.decode
    assert raw is not None
    assert raw == read_description(tmp_path).raw
    assert (raw["layout"], raw["strides"], raw["squashed"]) == ("raw_heads", [8, 16, 32], False)
    assert raw["anchors"][0] == [[10.0, 13.0], [16.0, 30.0], [33.0, 23.0]]
    param = (tmp_path / "model.param").read_text().split()
    assert all(blob in param for blob in raw["outputs"])


def test_whole_networks_need_no_description_of_heads(tmp_path: Path) -> None:
    backend = NcnnBackend()
    artifact = backend.build(load(build_yolov5("n", size=64)), backend.target({}), tmp_path)
    assert artifact.decode is None
    assert read_description(tmp_path).raw is None
    assert {path.name for path in tmp_path.iterdir()} == {"model.param", "model.bin", "model.json"}
