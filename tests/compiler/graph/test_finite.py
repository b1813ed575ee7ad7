from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.samples import tiny_model
from yocc.compiler.graph import load
from yocc.compiler.graph.finite import check_finite
from yocc.errors import ModelError


def _with(name: str, value: float, *, dtype: type = np.float32) -> onnx.ModelProto:
    model = tiny_model()
    for tensor in model.graph.initializer:
        if tensor.name == name:
            array = numpy_helper.to_array(tensor).astype(dtype)
            array.flat[-1] = value
            tensor.CopyFrom(numpy_helper.from_array(array, name))
    return model


def test_sound_weights_pass() -> None:
    check_finite(load(tiny_model()))


@pytest.mark.parametrize("name", ["w1", "b1", "scale", "var", "w2"])
@pytest.mark.parametrize(("value", "word"), [(np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "infinity")])
def test_bad_weight_is_named(name: str, value: float, word: str) -> None:
    with pytest.raises(ModelError, match=f"'{name}' hold {word}"):
        check_finite(load(_with(name, value)))


def test_large_values_whose_sum_overflows_pass() -> None:
    model = tiny_model()
    for tensor in model.graph.initializer:
        if tensor.name == "w2":
            array = np.full((4, 16, 1, 1), np.finfo(np.float32).max, np.float32)
            tensor.CopyFrom(numpy_helper.from_array(array, "w2"))
    check_finite(load(model))


def test_infinite_bound_of_clip_means_something_and_passes() -> None:
    model = tiny_model()
    relu = model.graph.node[2]
    relu.op_type = "Clip"
    relu.input.extend(["low", "high"])
    for name, value in (("low", 0.0), ("high", np.inf)):
        model.graph.initializer.append(numpy_helper.from_array(np.float32(value), name))
    check_finite(load(model))


def test_half_precision_weights_behind_a_cast_are_seen() -> None:
    model = _with("w2", np.nan, dtype=np.float16)
    model.graph.node[3].input[1] = "w2_float"
    model.graph.node.insert(0, helper.make_node("Cast", ["w2"], ["w2_float"], to=TensorProto.FLOAT))
    with pytest.raises(ModelError, match="'w2'"):
        check_finite(load(model))


def test_weights_on_disk_are_checked_and_stay_there(tmp_path) -> None:
    onnx.save_model(
        _with("w1", np.nan), tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0
    )
    with pytest.raises(ModelError, match="'w1'"):
        check_finite(load(tmp_path / "m.onnx"))
