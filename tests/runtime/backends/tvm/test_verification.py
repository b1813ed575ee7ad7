"""What `yocc verify` says of a library whose outputs differ from onnxruntime's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import yocc
from tests.runtime.backends.tvm.needs import needs_tvm
from yocc.runtime.backends.backend import Artifact, Check
from yocc.runtime.backends.tvm.backend import TvmBackend
from yocc.runtime.backends.tvm.session import TvmSession


@pytest.fixture(scope="module")
def quantized(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    out = tmp_path_factory.mktemp("tvm") / "out"
    report = yocc.compile(
        shared_data / "models" / "fastestv2.onnx", calibration=shared_data / "images" / "calib178", count=8,
        int8=True, recover="none", target="tvm", out=out, bench=False, fidelity=False, html=False,
    )  # fmt: skip
    return Artifact("tvm", out, report.model)


def verified(artifact: Artifact) -> Check:
    (check,) = TvmBackend().verify(artifact)
    return check


@pytest.mark.slow
@needs_tvm
def test_a_network_that_rounding_alone_moves_far_passes(quantized: Artifact) -> None:
    check = verified(quantized)
    assert check.passed, check.message
    assert "as rounding alone" in check.message


@pytest.mark.slow
@needs_tvm
def test_a_library_that_computes_something_else_does_not(quantized: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    right = TvmSession.run

    def wrong(self: TvmSession, feed: Mapping[str, Any]) -> dict[str, Any]:
        return {name: np.flip(values, axis=1) for name, values in right(self, feed).items()}

    monkeypatch.setattr(TvmSession, "run", wrong)
    check = verified(quantized)
    assert check.passed is False
    assert "dB above its difference" in check.message
