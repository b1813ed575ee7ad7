from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.compiler.graph.models import build, conv_model, external_model, run, value, weight
from yocc.compiler.graph import clone, convert_opset, load, refresh, save, to_proto, weight_bytes
from yocc.compiler.graph import graph as door
from yocc.compiler.graph.external import ExternalValues
from yocc.compiler.graph.verify import problems
from yocc.errors import ModelError

X = np.random.default_rng(0).normal(size=(1, 3, 8, 8)).astype(np.float32)


def _values(graph: door.Graph) -> object:
    return graph.tensors()["w"]._values


def test_external_weights_compute_the_same_and_are_embedded_when_saved(tmp_path: Path) -> None:
    path = external_model(tmp_path)
    graph = load(path)
    out = tmp_path / "elsewhere"
    out.mkdir()
    save(graph, out / "saved.onnx")
    assert [entry.name for entry in out.iterdir()] == ["saved.onnx"]
    np.testing.assert_array_equal(run(out / "saved.onnx", x=X)[0], run(conv_model(), x=X)[0])


def test_nothing_reads_the_weight_before_it_is_touched(tmp_path: Path) -> None:
    path = external_model(tmp_path)
    graph = load(path)
    refresh(graph)
    assert problems(graph) == []
    assert problems(convert_opset(clone(graph), 19)) == []
    assert weight_bytes(graph) == 6912
    assert isinstance(_values(graph), ExternalValues)
    changed = np.full((64, 3, 3, 3), 0.5, np.float32)
    (tmp_path / "weights.bin").write_bytes(changed.tobytes())
    np.testing.assert_array_equal(graph.tensors()["w"].values, changed)
    assert isinstance(_values(graph), np.ndarray)


def test_touching_a_clone_leaves_the_original_on_disk(tmp_path: Path) -> None:
    graph = load(external_model(tmp_path))
    other = clone(graph)
    assert other.tensors()["w"].values.shape == (64, 3, 3, 3)
    assert isinstance(_values(graph), ExternalValues)


def test_a_conversion_leaves_the_weight_on_disk(tmp_path: Path) -> None:
    newer = convert_opset(load(external_model(tmp_path)), 19)
    assert isinstance(_values(newer), ExternalValues)
    np.testing.assert_array_equal(run(to_proto(newer), x=X)[0], run(conv_model(), x=X)[0])


@pytest.mark.parametrize("damage", ["cut", "remove"])
def test_a_file_that_goes_while_it_is_needed_is_an_error_of_the_model(tmp_path: Path, damage: str) -> None:
    graph = load(external_model(tmp_path))
    data = tmp_path / "weights.bin"
    if damage == "cut":
        data.write_bytes(data.read_bytes()[:100])
    else:
        data.unlink()
    with pytest.raises(ModelError, match="changed or removed") as caught:
        graph.tensors()["w"].values  # noqa: B018 # the access reads the file
    assert caught.value.node == "w"
    with pytest.raises(ModelError, match="changed or removed"):
        save(graph, tmp_path / "saved.onnx")


@pytest.mark.parametrize(
    "location", ["../weights.bin", "sub/../../weights.bin", "/etc/hostname", "", "sub/..", "..", "a\0b"]
)
def test_a_location_outside_the_folder_is_refused_unopened(tmp_path: Path, location: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "weights.bin").write_bytes(bytes(10_000))
    path = external_model(folder, location=location, write=False)
    with pytest.raises(ModelError, match="outside the model's folder") as caught:
        load(path)
    assert caught.value.node == "w"
    assert caught.value.hint


def test_a_symbolic_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    secret = tmp_path / "secret.bin"
    secret.write_bytes(bytes(10_000))
    (folder / "weights.bin").symlink_to(secret)
    with pytest.raises(ModelError, match="outside the model's folder"):
        load(external_model(folder, write=False))


def test_a_linked_folder_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    folder, other = tmp_path / "model", tmp_path / "other"
    folder.mkdir()
    other.mkdir()
    (other / "weights.bin").write_bytes(bytes(10_000))
    (folder / "sub").symlink_to(other)
    with pytest.raises(ModelError, match="outside the model's folder"):
        load(external_model(folder, location="sub/weights.bin", write=False))


def test_a_symbolic_link_inside_the_folder_is_followed(tmp_path: Path) -> None:
    path = external_model(tmp_path)
    (tmp_path / "weights.bin").rename(tmp_path / "real.bin")
    (tmp_path / "weights.bin").symlink_to("real.bin")
    np.testing.assert_array_equal(run(to_proto(load(path)), x=X)[0], run(conv_model(), x=X)[0])


def test_a_model_reached_through_a_linked_folder_is_read(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    external_model(real)
    (tmp_path / "link").symlink_to(real)
    assert load(tmp_path / "link" / "model.onnx").tensors()["w"].values.shape == (64, 3, 3, 3)


def test_a_loop_of_links_is_a_missing_file(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").symlink_to("weights.bin")
    with pytest.raises(ModelError, match="missing"):
        load(external_model(tmp_path, write=False))


def test_a_missing_file_a_folder_and_a_pipe_are_refused(tmp_path: Path) -> None:
    path = external_model(tmp_path, write=False)
    with pytest.raises(ModelError, match=r"'weights\.bin' is missing"):
        load(path)
    (tmp_path / "weights.bin").mkdir()
    with pytest.raises(ModelError, match="missing"):
        load(path)
    (tmp_path / "weights.bin").rmdir()
    os.mkfifo(tmp_path / "weights.bin")
    with pytest.raises(ModelError, match="missing"):
        load(path)


def test_a_location_too_long_for_a_file_is_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is missing") as caught:
        load(external_model(tmp_path, location="n" * 5000))
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("offset", ["1", "-1", "6912", "99999999999999999999999"])
def test_a_range_outside_the_file_is_refused(tmp_path: Path, offset: str) -> None:
    with pytest.raises(ModelError, match="shorter than the tensor"):
        load(external_model(tmp_path, extra=offset))


@pytest.mark.parametrize("offset", ["zero", "0x10", "1.5", "1e3"])
def test_an_offset_that_is_no_number_is_refused(tmp_path: Path, offset: str) -> None:
    with pytest.raises(ModelError, match="not a number"):
        load(external_model(tmp_path, extra=offset))


def test_a_length_below_the_tensor_is_refused(tmp_path: Path) -> None:
    path = external_model(tmp_path)
    model = onnx.load(path, load_external_data=False)
    next(entry for entry in model.graph.initializer[0].external_data if entry.key == "length").value = "100"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="shorter than the tensor"):
        load(path)


def test_a_shape_whose_size_overflows_is_refused(tmp_path: Path) -> None:
    path = external_model(tmp_path)
    model = onnx.load(path, load_external_data=False)
    model.graph.initializer[0].dims[:] = [2**32, 2**32, 1, 1]
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="shorter than the tensor"):
        load(path)


def test_bytes_and_protos_cannot_refer_to_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = external_model(tmp_path)
    monkeypatch.chdir(tmp_path)
    for source in (path.read_bytes(), onnx.load(path, load_external_data=False)):
        with pytest.raises(ModelError, match="bytes in memory"):
            load(source)


def _externalise(tensor: onnx.TensorProto, location: str) -> bytes:
    data = tensor.raw_data
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return data


@pytest.mark.parametrize("location", ["k.bin", "../k.bin"])
@pytest.mark.parametrize("where", ["node", "function"])
def test_constant_nodes_are_confined_and_lazy_too(tmp_path: Path, location: str, where: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    tensor = weight("k", 2000)
    data = _externalise(tensor, location)
    (folder / location).write_bytes(data)
    constant = helper.make_node("Constant", [], ["k"])
    constant.attribute.add(name="value", type=onnx.AttributeProto.TENSOR).t.CopyFrom(tensor)
    if where == "function":
        function = helper.make_function("local", "F", [], ["k"], [constant], [helper.make_opsetid("", 17)])
        nodes, functions = [helper.make_node("F", [], ["k"], domain="local")], [function]
    else:
        nodes, functions = [constant], []
    nodes.append(helper.make_node("Add", ["x", "k"], ["y"]))
    model = build(nodes, [value("x", [2000])], [value("y", [2000])], domains=["local"], functions=functions)
    path = folder / "m.onnx"
    path.write_bytes(model.SerializeToString())
    if location.startswith(".."):
        with pytest.raises(ModelError, match="outside the model's folder"):
            load(path)
        return
    graph = load(path)
    constant_input = graph.nodes[0].inputs[1]
    assert isinstance(constant_input._values, ExternalValues)
    np.testing.assert_array_equal(
        run(to_proto(graph), x=np.zeros(2000, np.float32))[0], np.frombuffer(data, np.float32)
    )


def test_weights_that_only_a_branch_reads_are_found(tmp_path: Path) -> None:
    branches = [
        helper.make_graph([helper.make_node(op, ["x", "inner"], [op])], op, [], [value(op, [1500])])
        for op in ("Add", "Sub")
    ]
    node = helper.make_node("If", ["flag"], ["y"], name="if", then_branch=branches[0], else_branch=branches[1])
    tensor = weight("inner", 1500)
    values = numpy_helper.to_array(tensor)
    (tmp_path / "inner.bin").write_bytes(_externalise(tensor, "inner.bin"))
    inputs = [value("x", [1500]), value("flag", [], TensorProto.BOOL)]
    path = tmp_path / "m.onnx"
    path.write_bytes(build([node], inputs, [value("y", [1500])], [tensor]).SerializeToString())
    result = run(to_proto(load(path)), x=np.zeros(1500, np.float32), flag=True)[0]
    np.testing.assert_array_equal(result, values)


def test_small_external_constants_are_seen_by_shape_inference(tmp_path: Path) -> None:
    shape = numpy_helper.from_array(np.array([4, -1], np.int64), "shape")
    (tmp_path / "shape.bin").write_bytes(_externalise(shape, "shape.bin"))
    nodes = [helper.make_node("Reshape", ["x", "shape"], ["r"]), helper.make_node("Relu", ["r"], ["y"])]
    path = tmp_path / "m.onnx"
    path.write_bytes(build(nodes, [value("x", [2, 6])], [value("y", None)], [shape]).SerializeToString())
    graph = load(path)
    assert graph.tensors()["r"].shape == [4, 3]
    assert problems(graph) == []


@pytest.mark.parametrize("kind", ["BFLOAT16", "FLOAT16", "INT4", "INT8"])
def test_every_element_type_is_read_from_a_file(tmp_path: Path, kind: str) -> None:
    plain = helper.make_tensor("w", getattr(TensorProto, kind), [2001], np.arange(2001) % 5)
    raw = numpy_helper.from_array(numpy_helper.to_array(plain), "w")
    expected = numpy_helper.to_array(raw)
    (tmp_path / "w.bin").write_bytes(_externalise(raw, "w.bin"))
    nodes = [helper.make_node("Cast", ["w"], ["c"], to=TensorProto.FLOAT), helper.make_node("Add", ["x", "c"], ["y"])]
    path = tmp_path / "m.onnx"
    model = build(nodes, [value("x", [2001])], [value("y", [2001])], [raw], opset=21, ir_version=10)
    path.write_bytes(model.SerializeToString())
    graph = load(path)
    np.testing.assert_array_equal(numpy_helper.to_array(to_proto(graph).graph.initializer[0]), expected)
    np.testing.assert_array_equal(graph.tensors()["w"].values, expected)


def test_a_model_over_the_limit_is_saved_beside_its_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "PROTOBUF_LIMIT", 5000)
    source = tmp_path / "source"
    source.mkdir()
    for name, graph in {"disk": load(external_model(source)), "memory": load(conv_model())}.items():
        out = tmp_path / name
        out.mkdir()
        for _ in range(2):  # a second time over the first, as the data must not be appended
            save(graph, out / "m.onnx")
        assert sorted(path.name for path in out.iterdir()) == ["m.onnx", "m.onnx.data"]
        assert (out / "m.onnx.data").stat().st_size == 6912
        onnx.checker.check_model(str(out / "m.onnx"), full_check=True)
        np.testing.assert_array_equal(run(out / "m.onnx", x=X)[0], run(conv_model(), x=X)[0])
        assert graph.tensors()["w"].values.shape == (64, 3, 3, 3)
    assert (tmp_path / "disk" / "m.onnx").read_bytes() == (tmp_path / "memory" / "m.onnx").read_bytes()


_BIG = """
import sys
from pathlib import Path
from yocc.compiler.graph import clone, convert_opset, load, refresh, save, weight_bytes
from yocc.compiler.graph.verify import problems

folder = Path(sys.argv[1])
graph = load(folder / "big.onnx")
assert weight_bytes(graph) > 2**31
assert graph.metadata == {"stride": "32"}
refresh(graph)
assert problems(graph) == []
graph = convert_opset(clone(graph), 19)
(folder / "out").mkdir()
save(graph, folder / "out" / "saved.onnx")
assert problems(load(folder / "out" / "saved.onnx")) == []
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM:")))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_a_model_over_two_gigabytes_is_loaded_and_saved_without_being_in_memory(tmp_path: Path) -> None:
    """A weight of 2.2 GB in a sparse file: what is never read takes no room on disk."""
    rows, columns = 550_000, 1000
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[columns, rows])
    _externalise(tensor, "big.bin")
    with (tmp_path / "big.bin").open("wb") as stream:
        stream.truncate(4 * rows * columns)
    node = helper.make_node("MatMul", ["x", "w"], ["m"])
    last = helper.make_node("Relu", ["m"], ["y"])
    model = build([node, last], [value("x", [1, columns])], [value("y", [1, rows])], [tensor])
    helper.set_model_props(model, {"stride": "32"})
    (tmp_path / "big.onnx").write_bytes(model.SerializeToString())
    done = subprocess.run(
        [sys.executable, "-c", _BIG, str(tmp_path)], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    peak_mebibytes = int(done.stdout) / 1024
    assert peak_mebibytes < 500
    (tmp_path / "out" / "saved.onnx.data").unlink()
