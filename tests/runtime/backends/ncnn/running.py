"""Lowering a model to ncnn and running it, beside onnxruntime's reference."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests import oracles
from yocc.compiler.graph import load
from yocc.runtime.backends.ncnn.backend import NcnnBackend

needs_ncnn = pytest.mark.skipif(
    NcnnBackend().available() is not None, reason="ncnn is not installed: pip install 'yocc[ncnn]'"
)


def ncnn_outputs(model: onnx.ModelProto, feeds: dict[str, np.ndarray], **options: str) -> dict[str, np.ndarray]:
    backend = NcnnBackend()
    with tempfile.TemporaryDirectory() as folder:
        artifact = backend.build(load(model), backend.target(options), Path(folder))
        with backend.session(artifact, threads=2) as session:
            return dict(session.run(feeds))


def assert_same(model: onnx.ModelProto, feeds: dict[str, np.ndarray], tolerance: float) -> None:
    """Outputs agree within `tolerance` of the largest magnitude of each."""
    wanted, found = oracles.run(model, feeds), ncnn_outputs(model, feeds)
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, rtol=0, atol=tolerance * max(1e-6, np.abs(value).max()))
