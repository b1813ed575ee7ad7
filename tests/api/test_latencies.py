from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from tests.networks.topologies import TOPOLOGIES
from yocc.api.latencies import measure_latencies
from yocc.compiler.graph import load
from yocc.compiler.pipeline.passes import silent
from yocc.errors import ModelError


@pytest.mark.slow
def test_layers_are_timed_at_several_widths(tmp_path: Path) -> None:
    model = TOPOLOGIES["c2f"](0)
    onnx.save(model, tmp_path / "model.onnx")
    before = (tmp_path / "model.onnx").read_bytes()
    table = measure_latencies(tmp_path / "model.onnx", {}, 1, silent)
    assert table.threads == 1
    assert table.device.endswith("onnxruntime")
    weights = {node.name: node.inputs[1].values.shape for node in load(model).nodes if node.op == "Conv"}
    assert set(table.layers) >= set(weights)
    for name, shape in weights.items():
        full, *narrower = table.layers[name]
        assert (full.inputs, full.outputs) == (shape[1], shape[0])
        assert any(point.outputs < shape[0] or point.inputs < shape[1] for point in narrower)
    assert (tmp_path / "model.onnx").read_bytes() == before


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(ModelError, match=r"model\.onnx"):
        measure_latencies(tmp_path / "model.onnx", {}, 1, silent)
