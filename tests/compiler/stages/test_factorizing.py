from __future__ import annotations

from pathlib import Path

import pytest

import yocc
from tests.passes.factorize.networks import separable


@pytest.mark.slow
@pytest.mark.parametrize("int8", [False, True])
@pytest.mark.parametrize("target", ["onnxruntime", "openvino", "ncnn", "tensorrt"])
def test_targets_take_pairs_of_layers(target: str, int8: bool, tmp_path: Path) -> None:
    if target in ("openvino", "ncnn"):
        pytest.importorskip(target)
    report = yocc.compile(
        separable(), factorize=0.4, recover="none", int8=int8, target=target, count=16, out=tmp_path / "out",
        bench=False, html=False, examples=False,
    )  # fmt: skip
    assert report.pipeline.startswith("fp32,simplify,fuse,factorize{ratio=0.4}")
    assert report.after.macs <= 0.61 * report.before.macs
    assert report.after.parameters <= 0.61 * report.before.parameters
    assert report.fidelity is not None
    assert all(output.snr_db is not None and output.snr_db > 25 for output in report.fidelity["outputs"])
    figures = [layer.figures["factorize"] for layer in report.layers if "factorize" in layer.figures]
    assert {figure["form"] for figure in figures} & {"vertical", "horizontal"}
