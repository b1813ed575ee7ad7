from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import yocc
from tests.passes.graphs import build
from tests.runtime.backends.tvm.needs import needs_arm, needs_tvm
from tests.samples import scalar_model, strange_model, tiny_feed, tiny_model
from yocc.compiler.graph import load
from yocc.errors import BackendError, BackendUnavailable, OptionError
from yocc.models.yolov5 import Scale, build_yolov5
from yocc.runtime.backends.backend import Artifact, Backend
from yocc.runtime.backends.tvm import building
from yocc.runtime.backends.tvm.backend import TvmBackend
from yocc.runtime.backends.tvm.files import read_facts
from yocc.runtime.backends.tvm.session import is_whole
from yocc.testing import BackendContract

TINY = Scale(depth=0.33, width=0.125)


@needs_tvm
class TestTvmBackend(BackendContract):
    tolerance = 1e-5

    @pytest.fixture
    def backend(self) -> Backend:
        return TvmBackend()


@pytest.mark.slow
@needs_tvm
def test_detector_computes_what_onnxruntime_computes(tmp_path: Path) -> None:
    backend = TvmBackend()
    graph = load(build_yolov5(TINY, classes=80, size=64, batch_norm="fused"))
    artifact = backend.build(graph, backend.target({}), tmp_path)
    (check,) = backend.verify(artifact)
    assert check.passed, check.message
    facts = read_facts(tmp_path)
    # Heads of 3 x 85 channels.
    assert facts.padded == ((255, 256),) * 3
    assert facts.unscheduled == ()


@pytest.mark.slow
@needs_arm
@pytest.mark.parametrize(("mcpu", "detector"), [("cortex-a72", True), ("cortex-a76", False)])
def test_library_for_arm_computes_what_onnxruntime_computes(tmp_path: Path, mcpu: str, detector: bool) -> None:
    backend = TvmBackend()
    graph = load(build_yolov5(TINY, classes=3, size=64, batch_norm="fused") if detector else tiny_model())
    artifact = backend.build(graph, backend.target({"mcpu": mcpu}), tmp_path)
    (check,) = backend.verify(artifact)
    assert check.name.endswith("emulated")
    assert check.passed, check.message
    with backend.session(artifact, threads=1) as session:
        assert session.execution()["runtime"] == "onnxruntime"
        assert session.execution()["mcpu"] == mcpu


@pytest.mark.slow
@needs_arm
def test_library_for_arm_that_computes_something_else_fails(tmp_path: Path) -> None:
    backend = TvmBackend()
    artifact = backend.build(load(tiny_model()), backend.target({"mcpu": "cortex-a72"}), tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    (tmp_path / "model.onnx").write_bytes(
        backend.build(load(tiny_model(seed=1)), backend.target({}), other).folder.joinpath("model.onnx").read_bytes()
    )
    (check,) = backend.verify(artifact)
    assert check.passed is False
    assert "dB" in check.message


@pytest.mark.slow
@needs_tvm
@pytest.mark.parametrize("channels", [1, 3, 4, 6, 12, 24])
@pytest.mark.parametrize("pads", [[0, 0, 0, 0], [1, 1, 1, 1]])
def test_convolutions_of_any_width_are_computed(tmp_path: Path, channels: int, pads: list[int]) -> None:
    nodes = [f"a: p = Conv<pads = {pads}>(x, w, b)", "s: q = Sigmoid(p)", "m: r = Mul(p, q)", "c: y = Conv(r, v)"]
    weights = {"w": (channels, 4, 3, 3), "b": (channels,), "v": (5, channels, 1, 1)}
    graph = build(nodes, weights, ["y"], [1, 4, 7, 9])
    backend = TvmBackend()
    artifact = backend.build(graph, backend.target({}), tmp_path)
    (check,) = backend.verify(artifact)
    assert check.passed, check.message
    assert dict(read_facts(tmp_path).padded).get(channels) == (None if channels % 4 == 0 else 16)


@needs_tvm
@pytest.mark.parametrize(
    ("nodes", "weights"),
    [
        (["p: y = MaxPool<kernel_shape = [5, 5], pads = [2, 2, 2, 2]>(c)"], {}),
        (['u: y = Resize<mode = "nearest">(c, , s)'], {"s": np.array([1, 1, 2, 2], np.float32)}),
        (["d: y = Conv<group = 8, pads = [1, 1, 1, 1]>(c, v)"], {"v": (8, 1, 3, 3)}),
        (["g: y = Conv<group = 2>(c, v)"], {"v": (8, 4, 1, 1)}),
        (["k: y = Concat<axis = 1>(c, x)"], {}),
        (["a: y = GlobalAveragePool(c)"], {}),
        (["s: y = Softmax<axis = 1>(c)"], {}),
        (["t: y = ConvTranspose<strides = [2, 2]>(c, v)"], {"v": (8, 4, 2, 2)}),
    ],
    ids=["max_pool", "resize", "depthwise", "grouped", "concat", "average", "softmax", "transposed"],
)
def test_what_stands_beside_convolutions_is_computed(
    tmp_path: Path, nodes: list[str], weights: dict[str, tuple[int, ...]]
) -> None:
    graph = build(["c0: c = Conv(x, w)", *nodes], {"w": (8, 4, 1, 1), **weights}, ["y"], [1, 4, 8, 8])
    backend = TvmBackend()
    (check,) = backend.verify(backend.build(graph, backend.target({}), tmp_path))
    assert check.passed, check.message


@needs_tvm
def test_kernels_without_a_schedule_are_told(tmp_path: Path) -> None:
    graph = build(["c0: c = Conv(x, w)", "s: y = Softmax<axis = 1>(c)"], {"w": (8, 4, 1, 1)}, ["y"])
    backend = TvmBackend()
    artifact = backend.build(graph, backend.target({}), tmp_path)
    with backend.session(artifact) as session:
        assert any("softmax" in name for name in session.execution()["kernels_without_schedule"])


@pytest.mark.slow
@needs_tvm
def test_pruned_detector_runs(tmp_path: Path) -> None:
    pruned = yocc.compile(
        build_yolov5(TINY, classes=3, size=32), prune=0.3, out=tmp_path / "out", bench=False, fidelity=False
    )
    backend = TvmBackend()
    (tmp_path / "tvm").mkdir()
    artifact = backend.build(load(pruned.model), backend.target({}), tmp_path / "tvm")
    (check,) = backend.verify(artifact)
    assert check.passed, check.message


@pytest.mark.parametrize(("mcpu", "warned"), [("cortex-a72", True), ("cortex-a76", False)])
def test_int8_without_an_instruction_for_it_is_advised_against(mcpu: str, warned: bool) -> None:
    graph = load(tiny_model())
    assert TvmBackend().advise(graph, TvmBackend().target({"mcpu": mcpu})) == ()
    graph.nodes[2].op = "QuantizeLinear"
    assert len(TvmBackend().advise(graph, TvmBackend().target({"mcpu": mcpu}))) == warned


def test_unknown_processor_is_refused_with_the_nearest() -> None:
    with pytest.raises(OptionError, match="cortex-a7") as caught:
        TvmBackend().target({"mcpu": "cortex-a7"})
    assert "cortex-a7" in caught.value.hint


@pytest.mark.parametrize(
    ("op", "hint"), [("QLinearConv", "--int8"), ("ConvInteger", "--int8"), ("Whiten", "onnxruntime")]
)
def test_operators_without_an_importer_are_rejected(op: str, hint: str) -> None:
    graph = load(strange_model())
    graph.nodes[4].op, graph.nodes[4].domain = op, ""
    (reject,) = TvmBackend().validate(graph, TvmBackend().target({}))
    assert reject.reason == f"TVM has no operator {op}"
    assert hint in reject.hint


def test_open_shapes_are_rejected() -> None:
    rejects = TvmBackend().validate(load(tiny_model(batch="n")), TvmBackend().target({}))
    assert [reject.node for reject in rejects] == ["x"]
    assert "--input-shape x=1,3,16,16," in rejects[0].hint


def test_a_size_that_depends_on_data_is_blamed_on_the_node_that_makes_it() -> None:
    graph = build(["n: n = NonZero(x)", "c: y = Cast<to = 1>(n)"], {}, ["y"])
    (reject,) = TvmBackend().validate(graph, TvmBackend().target({}))
    assert (reject.node, "depends on the data" in reject.reason) == ("n", True)
    assert "--input-shape" not in reject.hint


@needs_tvm
def test_outputs_declared_open_behind_fixed_inputs_are_closed(tmp_path: Path) -> None:
    model = tiny_model()
    model.graph.output[0].type.tensor_type.shape.dim[2].dim_param = "rows"
    report = yocc.compile(model, target="tvm", out=tmp_path / "out", bench=False, html=False)
    assert report.pipeline.startswith("fix_shapes,")
    assert report.fidelity is not None


@needs_tvm
def test_scalars_are_fed(tmp_path: Path) -> None:
    graph = load(scalar_model())
    backend = TvmBackend()
    with backend.session(backend.build(graph, backend.target({}), tmp_path)) as session:
        found = session.run({"x": np.ones((1, 2), np.float32), "gain": np.array(3, np.float32)})
    assert found["y"].tolist() == [[3, 3]]


@pytest.mark.slow
@needs_tvm
def test_open_shapes_become_those_given(tmp_path: Path) -> None:
    shapes = {"x": (1, *tiny_feed()["x"].shape[1:])}
    model = tiny_model(batch="n")
    report = yocc.compile(model, target="tvm", input_shapes=shapes, out=tmp_path / "out", html=False)
    assert report.pipeline.startswith("fix_shapes,")
    assert report.fidelity is not None
    assert read_facts(tmp_path / "out").inputs[0].shape == shapes["x"]
    assert report.measured["latency_ms"].rounds == 30


@needs_tvm
@pytest.mark.parametrize(("mcpu", "package"), [("cortex-a72", "g++-aarch64-linux-gnu"), ("host", "apt install g++")])
def test_a_missing_compiler_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mcpu: str, package: str
) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    backend = TvmBackend()
    with pytest.raises(BackendUnavailable, match="C\\+\\+ compiler") as caught:
        backend.build(load(tiny_model()), backend.target({"mcpu": mcpu}), tmp_path)
    assert package in caught.value.hint


@needs_tvm
def test_a_linker_that_fails_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "g++"
    script.write_text("#!/bin/sh\necho no such architecture >&2\nexit 1\n")
    script.chmod(0o755)
    monkeypatch.setattr(building, "compiler_of", lambda _: str(script))
    backend = TvmBackend()
    with pytest.raises(BackendError, match="cannot link the library: no such architecture"):
        backend.build(load(tiny_model()), backend.target({}), tmp_path)


def test_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "tvm", None)
    assert "pip install 'yocc[tvm]'" in str(TvmBackend().available())
    with pytest.raises(BackendUnavailable, match="yocc"):
        TvmBackend().session(Artifact("tvm", tmp_path, tmp_path / "model.so"))


def test_a_library_cut_off_is_seen(tmp_path: Path) -> None:
    library = Path(np.random.__file__).parent
    whole = next(library.glob("*.so"), None)
    if whole is None:
        pytest.skip("numpy has no shared libraries here")
    data = whole.read_bytes()
    for name, content, wanted in (("a", data, True), ("b", data[: len(data) // 2], False), ("c", b"text", False)):
        path = tmp_path / name
        path.write_bytes(content)
        assert is_whole(path) is wanted
