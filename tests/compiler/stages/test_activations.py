from __future__ import annotations

from pathlib import Path

import pytest

import yocc
from tests.passes.drop.networks import residual
from tests.samples import tiny_model


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["hardswish", "gelu", "relu"])
@pytest.mark.parametrize("target", ["openvino", "ncnn", "onnxruntime"])
def test_targets_compute_int8_with_other_activations(target: str, activation: str, tmp_path: Path) -> None:
    pytest.importorskip(target)
    report = yocc.compile(
        residual(channels=16), activations=activation, int8=True, target=target, count=16, out=tmp_path / "out",
        bench=False, examples=False,
    )  # fmt: skip
    step = next(step for step in report.passes if step.spec.startswith("substitute"))
    assert step.details["replaced"] == 4
    shown = {layer.name for layer in report.layers if "substitute" in layer.figures}
    assert shown == {f"b{place}/one" for place in range(4)}
    assert report.fidelity is not None
    assert all(output.snr_db is not None and output.snr_db > 12 for output in report.fidelity["outputs"])
    if target == "openvino":
        assert report.measured["execution"]["int8_macs_share"] == 1.0
    assert "Loss foreseen" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_a_model_without_silu_is_compiled_and_says_so(tmp_path: Path) -> None:
    report = yocc.compile(
        tiny_model(), activations="mixed", count=4, out=tmp_path / "out", bench=False, fidelity=False, html=False,
        examples=False,
    )  # fmt: skip
    assert "No SiLU was replaced, as there is none that can be." in [
        note.message for step in report.passes for note in step.notes
    ]
