from __future__ import annotations

from pathlib import Path

import pytest

import yocc
from tests.passes.drop.networks import residual


@pytest.mark.slow
@pytest.mark.parametrize("target", ["onnxruntime", "ncnn"])
def test_a_shorter_network_is_compiled_to_int8(target: str, tmp_path: Path) -> None:
    if target == "ncnn":
        pytest.importorskip(target)
    report = yocc.compile(
        residual(), pipeline="fp32,simplify,fuse,drop{blocks=b2/sum},recover,quantize", target=target, count=16,
        out=tmp_path / "out", bench=False, examples=False,
    )  # fmt: skip
    assert report.after.macs < report.before.macs
    step = next(step for step in report.passes if step.spec.startswith("drop"))
    assert step.details["dropped"][0]["name"] == "b2/sum"
    assert report.fidelity is not None
    assert all(output.snr_db is not None and output.snr_db > 20 for output in report.fidelity["outputs"])
    assert (tmp_path / "out" / "report.html").is_file()
