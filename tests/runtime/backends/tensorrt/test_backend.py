from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import yocc
from tests.runtime.backends.tensorrt.examples import BROKEN
from tests.runtime.backends.tensorrt.needs import needs_rtx
from yocc.compiler.graph import Graph, load, to_proto
from yocc.errors import BackendError
from yocc.models.yolov5 import build_yolov5
from yocc.report.report import Report
from yocc.runtime.backends.backend import Artifact, Backend, Check
from yocc.runtime.backends.tensorrt.backend import TensorRtBackend
from yocc.runtime.backends.tensorrt.lints import lint
from yocc.testing import BackendContract

WAYS = {"fp32": {}, "fp16": {"fp16": True}, "int8": {"int8": True}, "int8_fp16": {"int8": True, "fp16": True}}


class TestTensorRtBackend(BackendContract):
    tolerance = 1e-5

    @pytest.fixture
    def backend(self) -> Backend:
        return TensorRtBackend()


def detector(batch: str) -> onnx.ModelProto:
    model = build_yolov5("n", size=64)
    if batch == "open":
        for value in (*model.graph.input, *model.graph.output):
            value.type.tensor_type.shape.dim[0].dim_param = "batch"
    return model


def compiled(out: Path, way: str, *, batch: str = "fixed", prune: float | None = None) -> Report:
    return yocc.compile(
        detector(batch),
        prune=prune,
        **WAYS[way],
        target="tensorrt",
        count=2,
        out=out,
        bench=False,
        fidelity=False,
    )


@pytest.mark.slow
@needs_rtx
@pytest.mark.parametrize(("batch", "prune"), [("fixed", None), ("open", 0.4)], ids=["whole", "pruned_open_batch"])
@pytest.mark.parametrize("way", WAYS)
def test_nvidias_parser_and_builder_take_the_detector(
    tmp_path: Path, way: str, batch: str, prune: float | None
) -> None:
    report = compiled(tmp_path / "out", way, batch=batch, prune=prune)
    checks = report.measured["checks"]
    assert [check.passed for check in checks] == [True, True], checks
    shares = {kind: round(share, 2) for kind, share in report.types.macs_shares.items()}
    wanted = {"fp32": {"fp32"}, "fp16": {"fp16"}, "int8": {"int8", "fp32"}, "int8_fp16": {"int8", "fp16"}}[way]
    assert {kind for kind, share in shares.items() if share} == wanted
    assert "int8" not in wanted or shares["int8"] > 0.8


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """The detector in int8 and fp16."""
    return compiled(tmp_path_factory.mktemp("mixed") / "out", "int8_fp16")


@pytest.mark.slow
def test_types_are_told_with_a_reason_for_each_layer_left(mixed: Report) -> None:
    report = mixed
    assert {name: (left.kind, left.reason.split(":")[0]) for name, left in report.types.not_int8.items()} == {
        "/model.0/conv/Conv": ("fp16", "fewer than 16 channels do not pay in int8"),
        **{f"/model.24/m.{level}/Conv": ("fp16", "a last layer") for level in range(3)},
    }
    assert sum(report.types.macs_shares.values()) == pytest.approx(1.0)


@pytest.mark.slow
def test_decoding_is_in_fp32_behind_one_cast_a_head(mixed: Report) -> None:
    graph = load(mixed.model)
    casts = [node for node in graph.nodes if node.op == "Cast"]
    up = [node for node in casts if node.outputs[0].dtype == np.float32]
    assert len(up) == 3
    assert {node.inputs[0].inputs[0].name for node in up} == {f"/model.24/m.{level}/Conv" for level in range(3)}
    # The only other one is behind the picture.
    assert [node.inputs[0].name for node in casts if all(node is not other for other in up)] == ["images"]
    assert lint(graph) == []


def quantized_scales(graph: Graph) -> dict[str, float]:
    """The scale of each quantized activation by the tensor it codes."""
    return {node.inputs[0].name: float(node.inputs[1].values) for node in graph.nodes if node.op == "QuantizeLinear"}


@pytest.mark.slow
def test_pairs_stand_where_tensorrt_fuses_them(mixed: Report) -> None:
    graph = load(mixed.model)
    convolutions = {node.outputs[0].name for node in graph.nodes if node.op == "Conv"}
    scales = quantized_scales(graph)
    assert not convolutions & set(scales)
    for node in graph.nodes:
        if node.op == "QuantizeLinear":
            assert (node.inputs[2].dtype, node.inputs[2].values.any()) == (np.int8, False)
        if node.op == "Add" and "/model.24" not in node.name:
            assert [tensor.inputs[0].op for tensor in node.inputs] == ["DequantizeLinear"] * 2
    # Two Concats of the neck read what one layer makes and nothing else codes; they have one scale through it.
    shared = [name for name in scales if "Concat" in name]
    assert len(shared) >= 4
    neck = [scales[f"/model.{number}/Concat_output_0"] for number in (12, 16, 19, 22)]
    assert len(set(neck)) < len(neck)


@pytest.mark.slow
def test_verifying_says_what_was_and_what_was_not_run(mixed: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    from yocc.runtime.backends.tensorrt import verification

    monkeypatch.setattr(verification, "obstacle", lambda: "There is no NVIDIA driver.")
    artifact = Artifact("tensorrt", mixed.model.parent, mixed.model)
    rules, _, engine = TensorRtBackend().verify(artifact)
    assert (rules.name, rules.passed) == ("rules", True)
    assert (engine.passed, engine.message) == (None, "There is no NVIDIA driver.")


@pytest.mark.slow
def test_a_failed_check_ends_the_compilation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = Check("parser", False, "it refuses node 'n'")
    monkeypatch.setattr("yocc.runtime.backends.tensorrt.backend.verify", lambda *_, **__: (failed,))
    with pytest.raises(BackendError, match="parser: it refuses node 'n'"):
        compiled(tmp_path / "out", "fp32")
    assert not (tmp_path / "out").exists()


def test_a_model_quantized_for_another_target_is_refused_in_one_sentence(tmp_path: Path) -> None:
    model = to_proto(BROKEN["zero-point-type"][0]())
    with pytest.raises(BackendError, match="uint8, which TensorRT reads as int8") as caught:
        yocc.compile(model, target="tensorrt", out=tmp_path / "out", bench=False)
    assert "\n" not in str(caught.value)
