"""Compilations to another input size or batch, from end to end."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from tests.compiler.stages.reports import content_of
from tests.runtime.backends.ncnn.running import needs_ncnn
from tests.runtime.backends.test_openvino import needs_openvino
from tests.runtime.backends.tvm.needs import needs_tvm
from tests.samples import tiny_model
from yocc.api.judging import against_original, time_against
from yocc.api.opening import examine_model, find_model
from yocc.api.verifying import verify_model
from yocc.compiler.stages.compiling import compile_model
from yocc.errors import OptionError, PassError
from yocc.report.page.render import render_page
from yocc.report.report import Report, schema_text


def _shapes(report: Report) -> list[list[int | str]]:
    session = ort.InferenceSession(report.model)
    return [each.shape for each in (*session.get_inputs(), *session.get_outputs())]


@pytest.mark.slow
def test_report_says_both_sizes_and_everything_is_measured(detector: Path, pictures: Path, tmp_path: Path) -> None:
    report = compile_model(detector, side=64, calibration=pictures, out=tmp_path / "out", threads=1)
    content = content_of(report)
    assert _shapes(report) == [[1, 3, 64, 64], [1, 3 * (64 + 16 + 4), 8]]
    assert content["resized"] == {
        "name": "images",
        "before": [1, 3, 96, 96],
        "after": [1, 3, 64, 64],
        "size_before": [96, 96],
        "size_after": [64, 64],
    }
    assert content["pipeline"].startswith("resize_input{size=64},")
    assert content["after"]["macs"] / content["before"]["macs"] == pytest.approx((64 / 96) ** 2, rel=0.01)
    assert content["unmeasured"] == []
    assert content["fidelity"]["samples"] > 0
    assert content["fidelity"]["outputs"] == []
    assert content["measured"]["latency_ms"] is not None
    assert "64x64, from 96x96" in render_page(content)


@pytest.mark.slow
def test_report_fits_its_schema(detector: Path, tmp_path: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    report = compile_model(
        detector, input_size="64x96", batch=2, out=tmp_path / "out", fidelity=False, bench=False, html=False
    )
    jsonschema.validate(json.loads(report.to_json()), json.loads(schema_text()))


@pytest.mark.slow
def test_it_goes_with_pruning_and_int8(detector: Path, pictures: Path, tmp_path: Path) -> None:
    report = compile_model(
        detector, input_size="64x96", prune=0.2, int8=True, calibration=pictures, out=tmp_path / "out", bench=False
    )
    assert _shapes(report)[0] == [1, 3, 64, 96]
    assert "DequantizeLinear" in {node.op_type for node in onnx.load(report.model).graph.node}
    assert report.after.parameters < 0.85 * report.before.parameters


@pytest.mark.parametrize(("batch", "shown"), [("2", 2), ("n", "n")])
@pytest.mark.slow
def test_batch(detector: Path, tmp_path: Path, batch: str, shown: int | str) -> None:
    report = compile_model(detector, batch=batch, count=4, out=tmp_path / "out", html=False, threads=1)
    assert [shape[0] for shape in _shapes(report)] == [shown, shown]
    assert report.fidelity is not None
    assert report.fidelity["detection"] is None or report.fidelity["detection"].map50_95 == pytest.approx(1)
    # Values of the first picture are compared: nothing but the batch has changed.
    assert all(each.snr_db is None or each.snr_db > 100 for each in report.fidelity["outputs"])
    assert report.fidelity["outputs"]


@pytest.mark.slow
def test_arrays_are_compared_where_the_batch_alone_changes(detector: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "arrays.npz", images=np.random.default_rng(0).random((4, 1, 3, 96, 96), dtype=np.float32))
    report = compile_model(
        detector, batch=2, calibration=tmp_path / "arrays.npz", out=tmp_path / "out", html=False, bench=False
    )
    assert report.fidelity is not None
    assert all(each.snr_db is None or each.snr_db > 100 for each in report.fidelity["outputs"])


@pytest.mark.slow
def test_arrays_fit_the_new_size_and_nothing_is_compared(detector: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "arrays.npz", images=np.random.default_rng(0).random((4, 3, 64, 64), dtype=np.float32))
    report = compile_model(
        detector, side=64, int8=True, calibration=tmp_path / "arrays.npz", out=tmp_path / "out", html=False, threads=1
    )
    assert report.fidelity is None
    assert any("arrays that were given fit the compiled model" in text for text in report.warnings)
    assert report.measured["latency_ms"] is not None


@pytest.mark.slow
def test_synthetic_pictures_are_the_same_at_both_sizes(detector: Path, tmp_path: Path) -> None:
    report = compile_model(detector, side=96, count=4, out=tmp_path / "out", html=False, bench=False)
    assert report.resized is None
    assert report.fidelity is not None
    assert all(each.snr_db is None or each.snr_db > 100 for each in report.fidelity["outputs"])


@pytest.mark.parametrize(
    "target",
    [
        pytest.param("openvino", marks=needs_openvino),
        pytest.param("ncnn", marks=needs_ncnn),
        pytest.param("tvm", marks=needs_tvm),
        "tensorrt",
    ],
)
@pytest.mark.slow
def test_targets_take_a_resized_model(detector: Path, target: str, tmp_path: Path) -> None:
    report = compile_model(
        detector, input_size="64x96", count=4, target=target, out=tmp_path / "out", html=False, bench=False, threads=1
    )
    assert report.inputs[0].shape == (1, 3, 64, 96)
    assert not report.unmeasured
    profile = examine_model(find_model(tmp_path / "out")).profile
    assert profile is not None
    assert profile.size == (64, 96)


@needs_tvm
def test_open_models_are_fixed_for_targets_of_one_size(tmp_path: Path) -> None:
    onnx.save(tiny_model(batch="batch"), tmp_path / "open.onnx")
    report = compile_model(
        tmp_path / "open.onnx", side=32, target="tvm", out=tmp_path / "out", fidelity=False, bench=False, html=False
    )
    assert report.pipeline.startswith("resize_input{size=32},fix_shapes,")
    assert report.inputs[0].shape == (1, 3, 32, 32)


@pytest.mark.slow
def test_folders_are_compared_and_timed_against_the_original_at_its_own_size(
    detector: Path, pictures: Path, tmp_path: Path
) -> None:
    compile_model(detector, side=64, out=tmp_path / "out", fidelity=False, bench=False, html=False)
    agreement = against_original(tmp_path / "out", None, pictures, count=2, threads=1)
    assert agreement.facts.samples == 2
    assert agreement.facts.outputs == ()
    checks = {check.name: check for check in verify_model(tmp_path / "out")}
    assert not any(check.passed is False for check in checks.values())
    assert any("its inputs or outputs differ" in check.message for check in checks.values())
    speed = time_against(tmp_path / "out", None, data=pictures, rounds=2, threads=1)
    assert speed.same_runtime is not None
    assert time_against(tmp_path / "out", None, rounds=2, threads=1).same_runtime is not None


@pytest.mark.parametrize(
    ("options", "kind", "word"),
    [
        ({"side": 100}, OptionError, "not a multiple of 32"),
        ({"side": 64, "input_size": "64x96"}, OptionError, "height and width at once"),
        ({"side": 64, "pipeline": "simplify"}, OptionError, "states every pass"),
        ({"pipeline": "simplify,resize_input{size=64}"}, OptionError, "stands among other passes"),
        pytest.param({"batch": "n", "target": "tvm"}, OptionError, "cannot stay open", marks=needs_tvm),
        ({"batch": "many"}, OptionError, "batch cannot be 'many'"),
        ({"input_size": "64by96"}, OptionError, "cannot be '64by96'"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    detector: Path, tmp_path: Path, options: dict, kind: type[Exception], word: str
) -> None:
    with pytest.raises(kind, match=word):
        compile_model(detector, out=tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_a_classifier_of_one_size_is_refused_with_its_layer(tmp_path: Path) -> None:
    weights = onnx.numpy_helper.from_array(np.ones((48, 2), np.float32), "w")
    nodes = [
        onnx.helper.make_node("MaxPool", ["x"], ["p"], name="pool", kernel_shape=[2, 2], strides=[2, 2]),
        onnx.helper.make_node("Flatten", ["p"], ["f"], name="flatten"),
        onnx.helper.make_node("Gemm", ["f", "w"], ["y"], name="classes"),
    ]
    source = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 3, 8, 8])
    output = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 2])
    graph = onnx.helper.make_graph(nodes, "classifier", [source], [output], [weights])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    with pytest.raises(PassError, match="made for 48 inputs") as caught:
        compile_model(model, side=16, out=tmp_path / "out")
    assert caught.value.node == "classes"
