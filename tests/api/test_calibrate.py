from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

import yocc
from tests.passes.graphs import build
from yocc.cli import cli
from yocc.compiler.graph import to_proto
from yocc.errors import CalibrationError

SIZE = 64


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("calibrating")
    nodes = [
        "one: a = Conv(x, w)",
        "relu: b = Relu(a)",
        "two: c = Conv(b, v)",
        "relu2: d = Relu(c)",
        "last: y = Conv(d, u)",
    ]
    weights = {"w": (16, 3, 1, 1), "v": (16, 16, 1, 1), "u": (4, 16, 1, 1)}
    onnx.save(to_proto(build(nodes, weights, ["y"], [1, 3, SIZE, SIZE])), folder / "model.onnx")
    pictures = np.random.default_rng(0).random((4, 3, SIZE, SIZE), dtype=np.float32)
    np.savez(folder / "all.npz", x=pictures)
    np.savez(folder / "one.npz", x=pictures[:1])
    np.savez(folder / "rest.npz", x=pictures[1:])
    return folder


def calibrated(folder: Path, part: str) -> Path:
    out = folder / f"{part}.statistics"
    run = CliRunner().invoke(
        cli, ["calibrate", str(folder / "model.onnx"), "--calib", str(folder / f"{part}.npz"), "-o", str(out), "--json"]
    )
    assert run.exit_code == 0, run.output
    assert json.loads(run.stdout)["samples"] == {"one": 1, "rest": 3}[part]
    return out


@pytest.mark.slow
def test_parts_compile_to_what_all_pictures_compile_to(folder: Path) -> None:
    parts = [calibrated(folder, part) for part in ("one", "rest")]

    def compiled(out: str, statistics: list[Path]) -> bytes:
        yocc.compile(
            folder / "model.onnx", int8=True, calibration=folder / "all.npz", statistics=statistics, out=folder / out,
            bench=False, fidelity=False, html=False,
        )  # fmt: skip
        return (folder / out / "model.onnx").read_bytes()

    assert compiled("merged", parts) == compiled("at once", [])


def test_statistics_behind_other_passes_are_refused(folder: Path) -> None:
    part = calibrated(folder, "one")
    with pytest.raises(CalibrationError, match="those of network"):
        yocc.compile(
            folder / "model.onnx", prune=0.3, int8=True, calibration=folder / "all.npz", recover="none",
            statistics=[part], out=folder / "pruned", bench=False, fidelity=False, html=False,
        )  # fmt: skip
    assert not (folder / "pruned").exists()


@pytest.mark.slow
def test_statistics_of_an_open_model_fit_its_compilation_for_one_size(folder: Path) -> None:
    model = onnx.load(folder / "model.onnx")
    for value in (model.graph.input[0], model.graph.output[0]):
        for axis, name in ((2, "height"), (3, "width")):
            value.type.tensor_type.shape.dim[axis].dim_param = name
    del model.graph.value_info[:]
    onnx.save(model, folder / "open.onnx")
    sizes = {"x": (1, 3, SIZE, SIZE)}
    pytest.importorskip("tvm")
    found = yocc.calibrate(
        folder / "open.onnx", folder / "all.npz", folder / "open.statistics", target="tvm", input_shapes=sizes
    )
    report = yocc.compile(
        folder / "open.onnx", int8=True, target="tvm", calibration=folder / "all.npz", input_shapes=sizes,
        statistics=folder / "open.statistics", out=folder / "open", bench=False, fidelity=False, html=False,
    )  # fmt: skip
    assert found.samples == 4
    assert report.pipeline.startswith("fix_shapes,")
