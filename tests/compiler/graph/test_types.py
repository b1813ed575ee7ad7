from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper

from tests.compiler.graph.models import build, value, weight
from yocc.compiler.graph import load
from yocc.compiler.graph.types import numpy_type


def types_behind(reader: onnx.NodeProto, *more: onnx.NodeProto) -> dict[str, object]:
    """Of the tensors between an unknown operator, its reader, and what reads that."""
    nodes = [helper.make_node("Odd", ["x"], ["a"], name="odd", domain="d"), reader, *more]
    inputs = [value("x", [1, 3, 8, 8], TensorProto.FLOAT16)]
    model = build(nodes, inputs, [value("y", None)], [weight("w", 2, 3, 3, 3)], domains=["d"])
    return {name: tensor.dtype for name, tensor in load(model).tensors().items()}


def test_a_known_reader_types_what_an_unknown_operator_gives() -> None:
    conv, relu = helper.make_node("Conv", ["a", "w"], ["b"]), helper.make_node("Relu", ["b"], ["y"])
    found = types_behind(conv, relu)
    assert found["a"] == found["b"] == found["y"] == np.float32


def test_a_reader_that_takes_anything_types_nothing() -> None:
    assert types_behind(helper.make_node("Relu", ["a"], ["y"]))["a"] is None


def test_types_that_numpy_lacks_have_a_name() -> None:
    assert numpy_type(TensorProto.BFLOAT16).name == "bfloat16"
    assert (numpy_type(TensorProto.UNDEFINED).kind, numpy_type(TensorProto.UNDEFINED).itemsize) == ("V", 4)
    assert numpy_type(np.float16) == np.float16
