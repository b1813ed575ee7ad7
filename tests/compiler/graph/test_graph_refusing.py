from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.compiler.graph.models import build, conv_model, loop_model, value, weight
from yocc.compiler.graph import load
from yocc.errors import ModelError


def test_a_missing_file_a_folder_and_an_unreadable_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="There is no file"):
        load(tmp_path / "absent.onnx")
    with pytest.raises(ModelError, match="is a folder"):
        load(tmp_path)
    if os.geteuid() != 0:
        path = tmp_path / "m.onnx"
        path.write_bytes(conv_model().SerializeToString())
        path.chmod(0)
        with pytest.raises(ModelError, match="cannot be read"):
            load(path)


@pytest.mark.parametrize("keep", [0.01, 0.3, 0.5, 0.99])
def test_a_truncated_file_is_refused_in_one_line(tmp_path: Path, keep: float) -> None:
    data = conv_model().SerializeToString()
    path = tmp_path / "m.onnx"
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(ModelError) as caught:
        load(path)
    assert "\n" not in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize("data", [b"", b"not onnx at all", b"\x89PNG\r\n\x1a\n" + bytes(100), bytes(1000), b"\x08\x08"])
def test_something_else_is_refused_in_one_line(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(data)
    for source in (path, data):
        with pytest.raises(ModelError) as caught:
            load(source)
        assert "\n" not in str(caught.value)


def test_an_empty_proto_is_refused() -> None:
    with pytest.raises(ModelError, match="holds no ONNX graph"):
        load(onnx.ModelProto())


def test_opsets_outside_the_range_are_refused_with_the_number() -> None:
    with pytest.raises(ModelError, match="opset 8 is older than 9"):
        load(conv_model(opset=8))
    newest = onnx.defs.onnx_opset_version()
    with pytest.raises(ModelError, match=f"opset {newest + 1} is newer than {newest}"):
        load(conv_model(opset=newest + 1))
    unnamed = conv_model()
    del unnamed.opset_import[:]
    with pytest.raises(ModelError, match="names no ONNX opset"):
        load(unnamed)


def test_a_tensor_nothing_produces_is_refused() -> None:
    relu = helper.make_node("Relu", ["ghost"], ["y"], name="relu")
    with pytest.raises(ModelError, match="Nothing produces the tensor 'ghost'") as caught:
        load(build([relu], [value("x", [3])], [value("y", [3])]))
    assert caught.value.node == "relu"
    relu = helper.make_node("Relu", ["x"], ["y"], name="relu")
    with pytest.raises(ModelError, match="Nothing produces the output 'z'"):
        load(build([relu], [value("x", [3])], [value("z", [3])]))


def test_a_captured_tensor_nothing_produces_is_refused() -> None:
    model = loop_model()
    model.graph.input[0].name = "renamed"
    model.graph.node[0].input[2] = "renamed"
    with pytest.raises(ModelError, match="Nothing produces the tensor 'x'"):
        load(model)


def test_a_tensor_produced_twice_is_refused() -> None:
    nodes = [helper.make_node("Relu", ["x"], ["y"], name="a"), helper.make_node("Neg", ["x"], ["y"], name="b")]
    with pytest.raises(ModelError, match="'y' is produced twice") as caught:
        load(build(nodes, [value("x", [3])], [value("y", [3])]))
    assert caught.value.node == "b"


def test_contradicting_shapes_are_refused_in_one_line() -> None:
    model = conv_model()
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 5
    with pytest.raises(ModelError, match="contradicts itself") as caught:
        load(model)
    assert "\n" not in str(caught.value)


def test_what_the_importer_would_lose_is_refused() -> None:
    sparse = helper.make_sparse_tensor(weight("s", 2), numpy_helper.from_array(np.array([0, 2])), [4])
    model = build([helper.make_node("Relu", ["x"], ["y"])], [value("x", [4])], [value("y", [4])])
    model.graph.sparse_initializer.append(sparse)
    with pytest.raises(ModelError, match="sparse form"):
        load(model)
    constant = helper.make_node("Constant", [], ["y"], name="k", sparse_value=sparse)
    with pytest.raises(ModelError, match="SPARSE_TENSOR") as caught:
        load(build([constant], [value("x", [4])], [value("y", [4])]))
    assert caught.value.node == "k"
    mapped = build([helper.make_node("Relu", ["x"], ["y"])], [value("x", [4])], [value("y", [4])])
    mapped.graph.output[0].type.map_type.key_type = TensorProto.INT64
    with pytest.raises(ModelError, match="of kind map"):
        load(mapped)


@pytest.mark.parametrize("starts", [np.array([[0]]), np.array(0)])
def test_bounds_of_a_slice_that_are_no_list_are_refused(starts: np.ndarray) -> None:
    bounds = [numpy_helper.from_array(starts, "starts"), numpy_helper.from_array(np.array([1]), "ends")]
    cut = helper.make_node("Slice", ["x", "starts", "ends"], ["y"], name="cut")
    with pytest.raises(ModelError, match="Slice 'cut': its bounds are no lists of one length"):
        load(build([cut], [value("x", [3, 3])], [value("y", None)], bounds))
