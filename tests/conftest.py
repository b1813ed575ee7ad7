from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    folder = Path(os.environ.get("YOCC_SHARED_DATA") or Path(__file__).parents[2] / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no third-party models and pictures at {folder}")
    return folder


@pytest.fixture
def sample_passes(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the passes of `tests.sample_passes` known; the folder is to be on `PYTHONPATH` of subprocesses."""
    from tests.sample_passes import register

    folder = tmp_path_factory.mktemp("passes")
    register(folder)
    monkeypatch.syspath_prepend(folder)
    return folder
