from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

import yocc
from tests.passes.graphs import build
from yocc.cli import cli
from yocc.compiler.graph import to_proto
from yocc.errors import CalibrationError, YoccError
from yocc.models.yolov5 import Scale, build_yolov5

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


def _detector(folder: Path, size: int) -> Path:
    path = folder / f"detector{size}.onnx"
    onnx.save(build_yolov5(Scale(0.1, 0.05), size=SIZE, classes=3), path)
    random = np.random.default_rng(1).random((4, 3, size, size), dtype=np.float32)
    np.savez(folder / f"detector{size}.npz", images=random)
    return path


@pytest.mark.slow
@pytest.mark.parametrize(("size", "options"), [(96, {"side": 96}), (64, {"batch": "n"})])
def test_statistics_fit_a_compilation_for_another_size(folder: Path, size: int, options: dict[str, Any]) -> None:
    model, data = _detector(folder, size), folder / f"detector{size}.npz"
    name = "_".join(options)
    found = yocc.calibrate(model, data, folder / f"{name}.statistics", **options)
    assert found.samples == 4
    usual: dict[str, Any] = {"int8": True, "calibration": data, "bench": False, "fidelity": False, "html": False}
    given = yocc.compile(
        model, statistics=folder / f"{name}.statistics", out=folder / f"{name} given", **usual, **options
    )
    own = yocc.compile(model, out=folder / f"{name} own", **usual, **options)
    # Both are calibrated on all four arrays, so that the ranges are the same.
    assert given.model.read_bytes() == own.model.read_bytes()
    _detector(folder, SIZE)
    usual["calibration"] = folder / f"detector{SIZE}.npz"
    with pytest.raises(CalibrationError, match="those of network"):
        yocc.compile(model, statistics=folder / f"{name}.statistics", out=folder / f"{name} other", **usual)


@pytest.mark.slow
def test_the_command_takes_a_size(folder: Path) -> None:
    model, data = _detector(folder, 96), folder / "detector96.npz"
    out = folder / "command.statistics"
    arguments = ["calibrate", str(model), "--calib", str(data), "--side", "96", "-o", str(out), "--json"]
    run = CliRunner().invoke(cli, arguments)
    assert run.exit_code == 0, run.output
    wanted = yocc.calibrate(
        model, data, folder / "pipeline.statistics", pipeline="resize_input{size=96},fp32,simplify,fuse"
    )
    assert json.loads(run.stdout)["network"] == wanted.network
    assert out.read_bytes() == (folder / "pipeline.statistics").read_bytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prune": 0.3}, "Calibration has no option 'prune'"),
        ({"side": 96, "input_size": "64x96"}, "--side is height and width at once"),
        ({"side": 50}, "multiple"),
        ({"pipeline": "fp32,resize_input{size=96}"}, "stands among other passes"),
    ],
)
def test_what_does_not_fit_is_refused(folder: Path, options: dict[str, Any], message: str) -> None:
    model = _detector(folder, 64)
    size = options.get("side", 64)
    data = folder / f"data{size}.npz"
    np.savez(data, images=np.zeros((1, 3, size, size), np.float32))
    with pytest.raises(YoccError, match=message):
        yocc.calibrate(model, data, folder / "refused.statistics", **options)
    assert not (folder / "refused.statistics").exists()


def test_a_model_of_which_nothing_is_quantized_is_refused_with_the_reason(folder: Path) -> None:
    model = build(["c: y = Conv(x, w)"], {"w": (4, 3, 1, 1)}, ["y"], [1, 3, SIZE, SIZE])
    onnx.save(to_proto(model), folder / "last.onnx")
    with pytest.raises(CalibrationError, match=r"int8: a last layer.*'c' for one.*inspect --target onnxruntime"):
        yocc.calibrate(folder / "last.onnx", folder / "all.npz", folder / "refused.statistics")


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
