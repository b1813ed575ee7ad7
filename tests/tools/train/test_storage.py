from __future__ import annotations

import numpy as np
import onnx
import onnxruntime

from tools.train.storage import store_half
from yocc.models.yolov5 import build_yolov5


def _run(model: onnx.ModelProto, pictures: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"images": pictures})[0]


def test_half_the_bytes_and_nearly_the_same_function() -> None:
    model = build_yolov5("n", classes=3, size=64)
    half = store_half(model)
    onnx.checker.check_model(half, full_check=True)
    assert half.ByteSize() < 0.55 * model.ByteSize()
    pictures = np.random.default_rng(0).random((1, 3, 64, 64), np.float32)
    wanted, found = _run(model, pictures), _run(half, pictures)
    np.testing.assert_allclose(found, wanted, atol=2e-2 * np.abs(wanted).max(), rtol=0)
    assert not np.array_equal(found, wanted)


def test_the_model_given_is_not_changed_and_metadata_stay() -> None:
    model = build_yolov5("n", classes=3, size=64)
    before = model.SerializeToString(deterministic=True)
    half = store_half(model)
    assert model.SerializeToString(deterministic=True) == before
    assert {entry.key: entry.value for entry in half.metadata_props} == {
        entry.key: entry.value for entry in model.metadata_props
    }


def test_what_is_one_number_per_channel_stays_single() -> None:
    half = store_half(build_yolov5("n", classes=3, size=64))
    types = {tensor.name: (tensor.data_type, len(tensor.dims)) for tensor in half.graph.initializer}
    assert types["model.0.conv.weight_half"] == (onnx.TensorProto.FLOAT16, 4)
    assert types["model.0.bn.running_var"] == (onnx.TensorProto.FLOAT, 1)
