"""A network, its inputs, and passes with faults."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from tests import sample_passes
from tests.api.debugging import faults


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with model.onnx and inputs.npz, in which the tests run."""
    installed = tmp_path / "installed"
    faults.register(installed)
    sample_passes.register(installed)
    monkeypatch.syspath_prepend(str(installed))
    work = tmp_path / "work"
    work.mkdir()
    onnx.save(faults.plain_network(), work / "model.onnx")
    np.savez(work / "inputs.npz", **faults.plain_inputs())
    monkeypatch.chdir(work)
    return work
