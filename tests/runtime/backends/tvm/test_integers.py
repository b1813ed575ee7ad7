"""Integer convolutions against integer arithmetic in numpy, bit by bit."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import yocc
from tests.passes.graphs import build
from tests.runtime.backends.tvm.needs import needs_arm, needs_tvm
from yocc.compiler.graph import Graph, load
from yocc.models.yolov5 import Scale, build_yolov5
from yocc.runtime.backends.backend import Artifact
from yocc.runtime.backends.tvm.backend import TvmBackend
from yocc.runtime.backends.tvm.building import arrange
from yocc.runtime.backends.tvm.dot import Geometry, pack
from yocc.runtime.backends.tvm.files import read_facts
from yocc.runtime.backends.tvm.processors import find_processor
from yocc.runtime.backends.tvm.verification import emulate

SCALE, WEIGHT_SCALE = np.float32(0.02), 0.01
SIDES = {8: (8, 9, 12), 3: (3, 16, 24)}
"""Shapes of inputs by their channels."""


def quantized(
    outer: int, *, stride: int = 1, kernel: int = 3, least: int = -127, inner: int = 8
) -> tuple[Graph, dict[str, np.ndarray[Any, Any]]]:
    """One convolution of codes, the extremes of int8 among them."""
    random = np.random.default_rng(outer)
    weight = random.integers(-127, 128, (outer, inner, kernel, kernel)).astype(np.int8)
    weight[0], weight[1] = 127, least
    scales = (WEIGHT_SCALE * np.arange(1, outer + 1)).astype(np.float32)
    values = {"s": SCALE, "z": np.int8(0), "w": weight, "ws": scales, "wz": np.zeros(outer, np.int8)}
    pad = (kernel - 1) // 2
    nodes = [
        "q: c = QuantizeLinear(x, s, z)",
        "d: xd = DequantizeLinear(c, s, z)",
        "e: wd = DequantizeLinear<axis = 0>(w, ws, wz)",
        f"conv: y = Conv<strides = [{stride}, {stride}], pads = [{pad}, {pad}, {pad}, {pad}]>(xd, wd)",
    ]
    arrays = {name: np.asarray(value) for name, value in values.items()}
    return build(nodes, arrays, ["y"], [1, *SIDES[inner]]), arrays


def exact(x: np.ndarray[Any, Any], arrays: dict[str, np.ndarray[Any, Any]], stride: int) -> np.ndarray[Any, Any]:
    codes = np.clip(np.rint(x / SCALE), -128, 127).astype(np.int64)
    weight = arrays["w"].astype(np.int64)
    kernel = weight.shape[2]
    padded = np.pad(codes, [(0, 0), (0, 0)] + [((kernel - 1) // 2,) * 2] * 2)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), (2, 3))[:, :, ::stride, ::stride]
    sums = np.einsum("bcyxij,ocij->boyx", windows, weight)
    factors = (arrays["ws"] * SCALE).astype(np.float32).reshape(1, -1, 1, 1)
    return sums.astype(np.float32) * factors


def inputs(inner: int = 8) -> np.ndarray[Any, Any]:
    random = np.random.default_rng(3)
    x = random.uniform(-3, 3, (1, *SIDES[inner])).astype(np.float32)
    x.flat[:4] = [3.0, -3.0, 2.5 * SCALE, -2.5 * SCALE]
    return x


@needs_tvm
@pytest.mark.parametrize(("outer", "stride", "kernel"), [(16, 1, 3), (8, 2, 3), (4, 1, 1)])
def test_sums_are_exact(tmp_path: Path, outer: int, stride: int, kernel: int) -> None:
    graph, arrays = quantized(outer, stride=stride, kernel=kernel)
    backend = TvmBackend()
    artifact = backend.build(graph, backend.target({}), tmp_path)
    assert read_facts(tmp_path).integer == 1
    with backend.session(artifact) as session:
        result = session.run({"x": inputs()})["y"]
    np.testing.assert_array_equal(result, exact(inputs(), arrays, stride))


@pytest.mark.slow
@needs_arm
@pytest.mark.parametrize("mcpu", ["cortex-a72", "cortex-a76"])
@pytest.mark.parametrize("least", [-127, -128])
@pytest.mark.parametrize(("outer", "stride", "kernel"), [(16, 1, 3), (24, 1, 1), (4, 2, 1)])
def test_sums_on_arm_are_exact(tmp_path: Path, mcpu: str, least: int, outer: int, stride: int, kernel: int) -> None:
    graph, arrays = quantized(outer, stride=stride, kernel=kernel, least=least)
    backend = TvmBackend()
    artifact = backend.build(graph, backend.target({"mcpu": mcpu}), tmp_path)
    x = np.full_like(inputs(), -3.0) if least == -128 else inputs()
    result = emulate(artifact, read_facts(tmp_path), {"x": x})["y"]
    np.testing.assert_array_equal(result, exact(x, arrays, stride))


@pytest.mark.slow
@needs_arm
@pytest.mark.parametrize("mcpu", ["cortex-a72", "cortex-a76"])
@pytest.mark.parametrize("kernel", [3, 6])
def test_a_first_layer_on_arm_reads_blocks_of_pixels(tmp_path: Path, mcpu: str, kernel: int) -> None:
    graph, arrays = quantized(16, stride=2, kernel=kernel, inner=3)
    backend = TvmBackend()
    artifact = backend.build(graph, backend.target({"mcpu": mcpu}), tmp_path)
    facts, wanted = read_facts(tmp_path), exact(inputs(3), arrays, 2)
    np.testing.assert_array_equal(emulate(artifact, facts, {"x": inputs(3)})["y"], wanted)
    blocked = load(tmp_path / "model.onnx")
    assert not arrange(blocked, find_processor(mcpu))
    (layer,) = (node for node in blocked.nodes if node.op == "Conv")
    assert layer.inputs[0].shape[1] == 12


@pytest.mark.slow
@needs_arm
@pytest.mark.parametrize("scale", [0.02, 1 / 255, 3.0, 7.3e-5])
def test_codes_on_arm_are_those_of_a_division(tmp_path: Path, scale: float) -> None:
    """Halves between two codes and their neighbors, values beyond all codes, and infinity."""
    step = np.float32(scale)
    halves = (np.arange(-130, 130) + np.float32(0.5)) * step
    near = [halves, np.nextafter(halves, np.float32(np.inf)), np.nextafter(halves, -np.float32(np.inf))]
    x = np.concatenate([*near, [3e38, -3e38, np.inf, -np.inf], np.zeros(80, np.float32)]).astype(np.float32)
    arrays = {"s": step, "z": np.int8(0)}
    graph = build(
        ["q: c = QuantizeLinear(x, s, z)", "d: y = DequantizeLinear(c, s, z)"],
        {name: np.asarray(value) for name, value in arrays.items()}, ["y"], [1, 8, 9, 12],
    )  # fmt: skip
    backend = TvmBackend()
    artifact = backend.build(graph, backend.target({"mcpu": "cortex-a72"}), tmp_path)
    result = emulate(artifact, read_facts(tmp_path), {"x": x.reshape(1, 8, 9, 12)})["y"]
    with np.errstate(over="ignore"):
        codes = np.clip(np.rint(x / step), -128, 127)
    np.testing.assert_array_equal(result.ravel(), codes * step)


@needs_arm
@pytest.mark.parametrize(("mcpu", "wanted"), [("cortex-a72", {"smull", "addp", "sadalp"}), ("cortex-a76", {"sdot"})])
def test_library_holds_integer_instructions(tmp_path: Path, mcpu: str, wanted: set[str]) -> None:
    graph, _ = quantized(16)
    backend = TvmBackend()
    artifact = backend.build(graph, backend.target({"mcpu": mcpu}), tmp_path)
    listing = subprocess.run(
        ["aarch64-linux-gnu-objdump", "-d", "--no-show-raw-insn", str(artifact.model)],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    found = {word for line in listing.splitlines() for word in line.split("\t")[1:2]}
    assert wanted <= {word.strip() for word in found}


@pytest.mark.slow
@needs_tvm
def test_quantized_detector_computes_in_integers(tmp_path: Path) -> None:
    report = yocc.compile(
        build_yolov5(Scale(0.33, 0.125), classes=3, size=32), int8=True, target="tvm", count=2,
        out=tmp_path / "out", bench=False, fidelity=False,
    )  # fmt: skip
    facts = report.measured["execution"]
    assert facts["integer_convolutions"] == 57
    assert facts["kernels_without_schedule"] == []
    (check,) = TvmBackend().verify(Artifact("tvm", tmp_path / "out", report.model))
    assert check.passed, check.message


@pytest.mark.slow
@needs_arm
def test_quantized_detector_on_arm_computes_what_onnxruntime_computes(tmp_path: Path) -> None:
    """All of YOLOv5n, with `sdot`, at the smallest size at which each of its layers still has several positions."""
    report = yocc.compile(
        build_yolov5("n", size=128, batch_norm="fused"), int8=True, target="tvm", options={"mcpu": "cortex-a76"},
        count=2, out=tmp_path / "out", bench=False, fidelity=False, html=False,
    )  # fmt: skip
    assert report.measured["execution"]["integer_convolutions"] == 57
    (check,) = TvmBackend().verify(Artifact("tvm", tmp_path / "out", report.model))
    assert check.name.endswith("emulated")
    assert check.passed, check.message


@needs_tvm
def test_a_convolution_of_odd_width_stays_in_float(tmp_path: Path) -> None:
    graph, arrays = quantized(6)
    backend = TvmBackend()
    artifact = backend.build(graph, backend.target({}), tmp_path)
    facts = read_facts(tmp_path)
    assert (facts.integer, facts.padded) == (0, ((6, 16),))
    with backend.session(artifact) as session:
        result = session.run({"x": inputs()})["y"]
    np.testing.assert_allclose(result, exact(inputs(), arrays, 1), rtol=0, atol=1e-3)


def test_packing_puts_four_input_channels_side_by_side() -> None:
    weight = np.arange(2 * 3 * 8 * 4).reshape(2, 3, 8, 4).astype(np.int8)
    packed = pack(weight)
    assert packed.shape == (2, 3, 2, 16)
    np.testing.assert_array_equal(packed[1, 2, 1].reshape(4, 4), weight[1, 2, 4:8].T)


def test_sizes_of_the_output() -> None:
    sizes = Geometry(1, 10, 11, 8, 16, (3, 3), (2, 1), (1, 2))
    assert (sizes.rows, sizes.columns) == (4, 7)
