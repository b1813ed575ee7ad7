"""What a target's runtime computes in another way is narrowed down to a layer."""

from __future__ import annotations

import json
import shlex
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

import yocc
from tests.api.debugging import faults
from yocc.api.debugging.cutting import Slice, cuts_of, layers_of, slice_of
from yocc.api.debugging.diagnosis import Diagnosis
from yocc.cli import cli
from yocc.compiler.graph import Graph, clone, load, refresh
from yocc.compiler.pipeline.target import Target
from yocc.runtime.backends.backend import Artifact, Backend
from yocc.runtime.backends.registry import find_backend


def debug(pipeline: str, **more: Any) -> Diagnosis:
    keywords: dict[str, Any] = {"calibration": "inputs.npz", "out": "found", "threads": 1, "progress": False, **more}
    return yocc.debug("model.onnx", pipeline=pipeline, **keywords)


@pytest.mark.parametrize("pipeline", ["fp32,simplify", "fp32,fuse,quantize,quantize_weights"])
def test_the_layer_that_a_faulty_target_computes_otherwise_is_named(folder: Path, pipeline: str) -> None:
    found = debug(pipeline, target="skewed")
    assert found.guilty_step is not None
    assert (found.guilty_step.kind, found.guilty_step.status) == ("target", "guilty")
    assert [layer.name for layer in found.guilty_layers] == ["conv3"]
    assert "The passes are innocent" in found.verdict
    assert "'conv3' (Conv) alone, run there, loses" in found.verdict
    assert found.layers[0].snr_db == pytest.approx(-9.54, abs=0.05)
    assert found.evidence is not None
    assert "Conv" in [node.op_type for node in onnx.load(folder / "found" / "model.onnx").graph.node]


def test_the_commands_show_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = debug("fp32", target="skewed")
    assert found.evidence is not None
    assert found.evidence.nodes == 1
    assert [command.split()[1] for command in found.evidence.commands] == ["compile", "compare"]
    monkeypatch.chdir(folder / "found")
    for command in found.evidence.commands:
        done = CliRunner().invoke(cli, [*shlex.split(command)[1:], "--json", "-q"], prog_name="yocc")
        assert done.exit_code == 0, done.output
    (output,) = json.loads(done.stdout)["outputs"]
    assert output["snr_db"] == pytest.approx(found.evidence.snr_db, abs=0.01)
    assert output["snr_db"] < 0


def test_a_target_that_fails_is_reduced(folder: Path) -> None:
    found = debug("fp32", target="raising")
    assert found.guilty_step is not None
    assert found.guilty_step.status == "failed"
    assert found.verdict.endswith("The smallest part that shows it is 'softmax' (Softmax).")
    assert [node.op_type for node in onnx.load(folder / "found" / "model.onnx").graph.node] == ["Softmax"]


def test_slices_put_together_are_the_model(folder: Path) -> None:
    from tests.oracles import run

    yocc.compile("model.onnx", pipeline="fuse,quantize", calibration="inputs.npz", out="out", bench=False)
    graph = load(folder / "out" / "model.onnx")
    cuts = cuts_of(graph)
    assert [cuts[0].place, cuts[-1].place] == [0, len(graph.nodes)]
    assert len({cut.tensors for cut in cuts}) == len(cuts) > 5
    feeds = {"x": np.load(folder / "inputs.npz")["x"][0]}
    known = dict(feeds)
    for start, end in pairwise(cuts):
        piece = Slice(start, end)
        assert len(layers_of(graph, piece)) <= 2
        part = slice_of(graph, piece)
        yocc.save(part, folder / "part.onnx")
        known |= run(folder / "part.onnx", {tensor.name: known[tensor.name] for tensor in part.inputs})
    whole = run(folder / "out" / "model.onnx", feeds)
    for name, values in whole.items():
        np.testing.assert_array_equal(known[name], values)


def _with_tall_kernel() -> onnx.ModelProto:
    """Six quantized convolutions of 8 channels; the kernel of the fourth is 5 x 1, and pads."""
    random = np.random.default_rng(3)
    codes = {"s": np.array(0.04, np.float32), "z": np.array(40, np.uint8), "t": np.array(0.004, np.float32)}
    nodes, last = [], "x"
    for number in range(6):
        rows, columns = (5, 1) if number == 3 else (3, 3)
        codes[f"w{number}"] = random.integers(-63, 64, (8, 8, rows, columns)).astype(np.int8)
        nodes += [
            f"q{number} = QuantizeLinear({last}, s, z)",
            f"d{number} = DequantizeLinear(q{number}, s, z)",
            f"k{number} = DequantizeLinear(w{number}, t)",
            f"c{number} = Conv<pads=[{rows // 2}, {columns // 2}, {rows // 2}, {columns // 2}]>(d{number}, k{number})",
        ]
        last = f"c{number}"
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]>'
        f"tall (float[1, 8, 16, 16] x) => (float[1, 8, 16, 16] {last}) {{ {chr(10).join(nodes)} }}"
    )
    model.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in codes.items())
    for node in model.graph.node:
        node.name = node.output[0]
    return model


@pytest.mark.slow
def test_what_openvino_computes_otherwise_on_amx_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openvino", reason="openvino comes with the extra `openvino`")
    onnx.save(_with_tall_kernel(), folder / "model.onnx")
    np.savez(folder / "inputs.npz", x=np.random.default_rng(2).normal(0, 1, (12, 1, 8, 16, 16)).astype(np.float32))
    assert debug("fp32", target="openvino").guilty is None
    monkeypatch.setattr("yocc.runtime.backends.openvino.widen_tall_kernels", lambda _: 0)
    found = debug("fp32", target="openvino")
    if found.guilty is None:
        pytest.skip("OpenVINO computes kernels of k x 1 right on this processor")
    assert found.guilty_step is not None
    assert found.guilty_step.kind == "target"
    if not found.guilty_layers:
        pytest.skip("OpenVINO computes slices of the model right on this processor")
    names = [layer.name for layer in found.guilty_layers]
    assert "c3" in names
    assert found.evidence is not None
    if names != ["c3"]:
        pytest.skip("OpenVINO computes the layer right on this processor when it is alone")
    assert found.evidence.nodes == 4
    assert found.evidence.snr_db is not None
    assert found.evidence.snr_db < 20


@pytest.mark.slow
@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("target", ["ncnn", "openvino", "tvm"])
def test_a_wrong_rewrite_is_found_in_each_runtime(monkeypatch: pytest.MonkeyPatch, target: str) -> None:
    backend = type(find_backend(target))
    if find_backend(target).available() is not None:
        pytest.skip(f"{target} is not installed")
    real = backend.build

    def build(self: Backend, graph: Graph, wanted: Target, place: Path) -> Artifact:
        wrong = faults.spoiled(clone(graph))
        refresh(wrong)
        return real(self, wrong, wanted, place)

    monkeypatch.setattr(backend, "build", build)
    found = debug("fp32", target=target)
    assert found.guilty_step is not None
    assert found.guilty_step.kind == "target"
    assert [layer.name for layer in found.guilty_layers] == ["conv3"]
    assert found.layers[0].snr_db == pytest.approx(-9.54, abs=0.05)
