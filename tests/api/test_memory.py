"""Memory of models that run in processes of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.runtime.backends.test_openvino import needs_openvino
from yocc.api.memory import memory_in_runtime, memory_on_disk
from yocc.errors import BackendError, BackendUnavailable
from yocc.runtime.measuring import memory

pytestmark = pytest.mark.slow
MEGABYTE = 10**6


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A product with weights of 64 MB, whose result of 16 MB is added to itself."""
    weight = onnx.numpy_helper.from_array(np.full((4096, 4096), 0.5, np.float32), "w")
    nodes = [helper.make_node("MatMul", ["x", "w"], ["a"]), helper.make_node("Add", ["a", "a"], ["y"])]
    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1024, 4096])]
    made = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1024, 4096])]
    model = helper.make_model(
        helper.make_graph(nodes, "large", given, made, [weight]), opset_imports=[helper.make_opsetid("", 17)]
    )
    model.ir_version = 9
    path = tmp_path_factory.mktemp("large") / "large.onnx"
    onnx.save(model, path)
    return path


def test_weights_and_results_are_counted(large: Path) -> None:
    assert 80 * MEGABYTE < memory_on_disk(large, threads=1) < 500 * MEGABYTE


@needs_openvino
def test_a_target_takes_what_its_runtime_takes(large: Path) -> None:
    assert 80 * MEGABYTE < memory_in_runtime(large, "openvino", {}, threads=1) < 1000 * MEGABYTE


def test_what_does_not_run_is_one_sentence(tmp_path: Path, large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_SECONDS", 0.01)
    with pytest.raises(BackendError, match="cannot be measured"):
        memory_on_disk(large)
    monkeypatch.setattr(memory, "_PEAK", tmp_path / "none")
    with pytest.raises(BackendUnavailable, match="Linux"):
        memory_on_disk(large)
