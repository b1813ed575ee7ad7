from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.compiler.graph.models import build, conv_model, if_model, value
from yocc.compiler.graph import load
from yocc.compiler.graph.payload import byte_count, check, tensors_of
from yocc.errors import ModelError


@pytest.mark.parametrize(
    ("kind", "shape", "expected"),
    [
        (TensorProto.FLOAT, [2, 3], 24),
        (TensorProto.FLOAT, [], 4),
        (TensorProto.FLOAT, [0, 5], 0),
        (TensorProto.BFLOAT16, [3], 6),
        (TensorProto.INT4, [5], 3),
        (TensorProto.COMPLEX128, [2], 32),
        (TensorProto.FLOAT, [2**40, 2**40], 2**82),
    ],
)
def test_bytes_follow_from_type_and_shape(kind: int, shape: list[int], expected: int) -> None:
    assert byte_count(TensorProto(data_type=kind, dims=shape)) == expected


def test_an_unknown_type_and_a_negative_dimension_are_refused() -> None:
    for kind in (0, 99):
        with pytest.raises(ModelError, match=f"element type {kind}"):
            byte_count(TensorProto(data_type=kind, dims=[1], name="w"))
    with pytest.raises(ModelError, match=r"impossible shape \[-1\]"):
        byte_count(TensorProto(data_type=TensorProto.FLOAT, dims=[-1], name="w"))


@pytest.mark.parametrize("change", [-1, 1, -6912])
def test_raw_data_of_the_wrong_length_is_refused_when_loaded(change: int) -> None:
    model = conv_model()
    tensor = model.graph.initializer[0]
    tensor.raw_data = tensor.raw_data[:change] if change < 0 else tensor.raw_data + b"\0"
    with pytest.raises(ModelError, match="bytes instead of 6912") as caught:
        load(model)
    assert caught.value.node == "w"


@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT64, TensorProto.COMPLEX64])
def test_typed_data_is_counted(kind: int) -> None:
    model = build([helper.make_node("Relu", ["x"], ["y"])], [value("x", [3])], [value("y", [3])])
    model.graph.initializer.append(helper.make_tensor("w", kind, [4], [1, 2, 3, 4]))
    check(model)
    model.graph.initializer[0].dims[0] = 5
    with pytest.raises(ModelError, match="does not hold that many values"):
        check(model)


def test_a_wrong_constant_in_a_subgraph_is_found() -> None:
    model = if_model()
    bad = numpy_helper.from_array(np.ones(3, np.float32), "bad")
    bad.raw_data = bad.raw_data[:5]
    model.graph.node[0].attribute[0].g.node.append(helper.make_node("Constant", [], ["k"], value=bad))
    with pytest.raises(ModelError, match="5 bytes instead of 12"):
        check(model)


def test_tensors_of_functions_are_seen() -> None:
    inner = helper.make_node("Constant", [], ["b"], value=numpy_helper.from_array(np.ones(3, np.float32), "deep"))
    function = helper.make_function("local", "F", [], ["b"], [inner], [helper.make_opsetid("", 17)])
    call = helper.make_node("F", [], ["y"], domain="local")
    model = build([call], [], [value("y", [3])], domains=["local"], functions=[function])
    assert [tensor.name for tensor in tensors_of(model)] == ["deep"]
