from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import yocc
from tests.passes.graphs import build
from tests.samples import scalar_model, strange_model, tiny_feed, tiny_model
from yocc.compiler.graph import load, refresh, to_proto
from yocc.errors import BackendError, BackendUnavailable, OptionError
from yocc.models.yolov5 import build_yolov5
from yocc.runtime.backends.backend import Artifact, Backend
from yocc.runtime.backends.openvino import OpenVinoBackend, OpenVinoSession
from yocc.testing import BackendContract

needs_openvino = pytest.mark.skipif(
    OpenVinoBackend().available() is not None, reason="openvino is not installed: pip install 'yocc[openvino]'"
)


@needs_openvino
class TestOpenVinoBackend(BackendContract):
    tolerance = 1e-5

    @pytest.fixture
    def backend(self) -> Backend:
        return OpenVinoBackend()


@pytest.mark.slow
@needs_openvino
@pytest.mark.parametrize(("last_layers", "in_int8"), [("int8", 66), ("float", 57)])
def test_quantized_detector_computes_its_convolutions_in_int8(tmp_path: Path, last_layers: str, in_int8: int) -> None:
    report = yocc.compile(
        build_yolov5("n", size=64),
        int8=True,
        target="openvino",
        options={"last_layers": last_layers},
        count=4,
        out=tmp_path / "out",
        bench=False,
    )
    facts = report.measured["execution"]
    assert (facts["int8_convolutions"], facts["convolutions"]) == (in_int8, 66)
    assert len(facts["float_convolutions"]) == 66 - in_int8
    # Each of the three last layers became one for each anchor; they hold 8.2 % of the multiply-accumulates.
    assert facts["int8_macs_share"] == pytest.approx(1.0 if in_int8 == 66 else 0.918, abs=1e-3)


@pytest.mark.slow
@needs_openvino
def test_quantized_products_with_a_factor_are_right_on_one_thread(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lines = ["c: a = Gemm<transB=1>(x, w, d)", "r: b = Relu(a)", "e: y = Gemm<alpha=1.5, beta=2.0>(b, v, k)"]
    sizes = {"w": (64, 32), "d": (64,), "v": (64, 48), "k": (48,), "u": (10, 48)}
    weights = {name: rng.normal(0, 0.2, size).astype(np.float32) for name, size in sizes.items()}
    graph = build([*lines, "s: z = Relu(y)", "l: o = Gemm<transB=1>(z, u)"], weights, ["o"], shape=(1, 32))
    np.savez(tmp_path / "x.npz", x=rng.normal(size=(40, 32)).astype(np.float32))
    report = yocc.compile(
        to_proto(graph),
        int8=True,
        target="openvino",
        calibration=tmp_path / "x.npz",
        threads=1,
        out=tmp_path / "out",
        bench=False,
    )
    assert report.fidelity["outputs"][0].snr_db > 25


@needs_openvino
def test_an_original_is_run_without_what_yocc_rewrites(tmp_path: Path) -> None:
    nodes = [
        "c: a = Conv(x, w)",
        "r: b = Reshape(a, s)",
        "t: c = Transpose<perm=[0, 1, 3, 4, 2]>(b)",
        "g: y = Sigmoid(c)",
    ]
    graph = build(nodes, {"w": (10, 4, 1, 1), "s": np.array([1, 2, 5, 8, 8])}, ["y"])
    refresh(graph)
    backend = OpenVinoBackend()
    target = backend.target({})
    folders = [tmp_path / "original", tmp_path / "built"]
    for folder in folders:
        folder.mkdir()
    with backend.original_session(graph, target, folders[0]) as original:
        assert original.execution()["convolutions"] == 1
    with backend.session(backend.build(graph, target, folders[1])) as built:
        assert built.execution()["convolutions"] == 2


@needs_openvino
def test_float_model_has_no_int8(tmp_path: Path) -> None:
    backend = OpenVinoBackend()
    artifact = backend.build(load(tiny_model()), backend.target({}), tmp_path)
    with OpenVinoSession(artifact.model, threads=1) as session:
        share = session.int8_share()
    assert (share.layers, share.all_layers, share.macs) == (0, 2, 0.0)
    assert len(share.skipped) == 2


@needs_openvino
def test_result_of_one_run_survives_the_next(tmp_path: Path) -> None:
    backend = OpenVinoBackend()
    artifact = backend.build(load(tiny_model()), backend.target({}), tmp_path)
    with backend.session(artifact, threads=1) as session:
        first = session.run(tiny_feed(0))["y"]
        kept = first.copy()
        session.run(tiny_feed(1))
    np.testing.assert_array_equal(first, kept)


@needs_openvino
def test_result_outlives_its_session(tmp_path: Path) -> None:
    backend = OpenVinoBackend()
    artifact = backend.build(load(tiny_model()), backend.target({}), tmp_path)
    with backend.session(artifact, threads=1) as session:
        found = session.run(tiny_feed())["y"]
        kept = found.copy()
    np.testing.assert_array_equal(found, kept)


@needs_openvino
def test_feed_that_cannot_be_written_is_read(tmp_path: Path) -> None:
    backend = OpenVinoBackend()
    artifact = backend.build(load(tiny_model()), backend.target({}), tmp_path)
    feed = tiny_feed()["x"]
    locked = feed.copy()
    locked.flags.writeable = False
    with backend.session(artifact, threads=1) as session:
        np.testing.assert_array_equal(session.run({"x": locked})["y"], session.run({"x": feed})["y"])


@needs_openvino
@pytest.mark.parametrize("batch", [1, "n"])
def test_input_that_is_an_output_too_is_handed_back(tmp_path: Path, batch: int | str) -> None:
    nodes = [helper.make_node("Identity", ["x"], ["y"]), helper.make_node("Relu", ["x"], ["z"])]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, 4]) for name in "xyz"]
    graph = helper.make_graph(nodes, "both", values[:1], values[1:])
    backend = OpenVinoBackend()
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    artifact = backend.build(load(model), backend.target({}), tmp_path)
    feed = np.array([[1, -2, 3, -4]], np.float32)
    with backend.session(artifact, threads=1) as session:
        found = session.run({"x": feed})
    np.testing.assert_array_equal(found["y"], feed)
    np.testing.assert_array_equal(found["z"], [[1, 0, 3, 0]])
    assert not np.shares_memory(found["y"], feed)


@needs_openvino
def test_open_batch_stays_open(tmp_path: Path) -> None:
    backend = OpenVinoBackend()
    artifact = backend.build(load(tiny_model(batch="n")), backend.target({}), tmp_path)
    with backend.session(artifact, threads=1) as session:
        assert session.inputs[0].shape == (None, 3, 16, 16)
        feed = np.repeat(tiny_feed()["x"], 2, axis=0)
        assert session.run({"x": feed})["y"].shape == (2, 4, 16, 16)


@needs_openvino
def test_graph_that_openvino_cannot_convert_is_one_sentence(tmp_path: Path) -> None:
    node = helper.make_node("StringNormalizer", ["x"], ["y"], name="strings")
    values = [helper.make_tensor_value_info(name, TensorProto.STRING, [4]) for name in "xy"]
    graph = helper.make_graph([node], "text", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    backend = OpenVinoBackend()
    with pytest.raises(BackendError, match="OpenVINO cannot convert") as caught:
        backend.build(load(model), backend.target({}), tmp_path)
    assert "\n" not in str(caught.value)


_POOLED = "p: a, i = MaxPool<kernel_shape = [2, 2]>(x)"
_CROPPING = 'mode = "linear", coordinate_transformation_mode = "tf_crop_and_resize"'


@needs_openvino
@pytest.mark.parametrize(
    ("nodes", "blamed", "words"),
    [
        ([_POOLED, "u: y = MaxUnpool<kernel_shape = [2, 2]>(a, i)"], "u", "MaxUnpool"),
        ([f"r: y = Resize<{_CROPPING}>(x, roi, , sizes)"], "r", "tf_crop_and_resize"),
    ],
)
def test_what_openvino_cannot_convert_is_named(tmp_path: Path, nodes: list[str], blamed: str, words: str) -> None:
    weights = {"roi": np.array([0, 0, 0.1, 0.1, 1, 1, 0.8, 0.9], np.float32), "sizes": [1, 4, 7, 7]}
    backend = OpenVinoBackend()
    with pytest.raises(BackendError, match=words) as caught:
        backend.build(build(nodes, weights, ["y"]), backend.target({}), tmp_path)
    assert caught.value.node == blamed
    assert "fully converted" not in str(caught.value)


def test_last_layers_of_another_kind_are_refused() -> None:
    with pytest.raises(OptionError, match="fp8"):
        OpenVinoBackend().target({"last_layers": "fp8"})


def test_operator_of_another_domain_is_rejected() -> None:
    backend = OpenVinoBackend()
    rejects = backend.validate(load(strange_model()), backend.target({}))
    assert [reject.reason for reject in rejects] == ["OpenVINO has no operator Whiten"]
    assert rejects[0].hint


def test_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    backend = OpenVinoBackend()
    assert "pip install 'yocc[openvino]'" in str(backend.available())
    with pytest.raises(BackendUnavailable) as caught:
        backend.session(Artifact("openvino", tmp_path, tmp_path / "model.xml"))
    assert "yocc[openvino]" in str(caught.value.hint)


def test_missing_package_ends_a_compilation_before_it_starts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    onnx.save(tiny_model(), tmp_path / "tiny.onnx")
    with pytest.raises(BackendUnavailable, match="openvino"):
        yocc.compile(tmp_path / "tiny.onnx", target="openvino", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_outputs_of_one_tensor_keep_their_names(tmp_path: Path) -> None:
    model = tiny_model()
    model.graph.node[-1].output[0] = "both"
    for name in ("y", "copy"):
        model.graph.node.append(helper.make_node("Identity", ["both"], [name], name=f"to_{name}"))
    model.graph.output.append(helper.make_tensor_value_info("copy", TensorProto.FLOAT, [1, 4, 16, 16]))
    backend = OpenVinoBackend()
    artifact = backend.build(load(model), backend.target({}), tmp_path)
    with backend.session(artifact, threads=1) as session:
        assert [spec.name for spec in session.outputs] == ["y", "copy"]
        found = session.run(tiny_feed())
    np.testing.assert_array_equal(found["y"], found["copy"])


@needs_openvino
def test_scalars_are_fed(tmp_path: Path) -> None:
    backend = OpenVinoBackend()
    with backend.session(backend.build(load(scalar_model()), backend.target({}), tmp_path)) as session:
        found = session.run({"x": np.ones((1, 2), np.float32), "gain": np.array(3, np.float32)})
    assert found["y"].tolist() == [[3, 3]]
