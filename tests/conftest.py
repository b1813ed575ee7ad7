from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# A busy machine is no failure: hypothesis would fail an example that takes longer than 0.2 s.
settings.register_profile("yocc", deadline=None)
settings.load_profile("yocc")
# Nor is it a reason for TVM's threads to offer their turn 300000 times before they sleep or end.
os.environ.setdefault("TVM_THREAD_POOL_SPIN_COUNT", "2000")


def pytest_configure(config: pytest.Config) -> None:
    """One core for each process of `-n auto -m "not slow"`: threads of a runtime would be in the others' way."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    if worker and "not slow" in config.option.markexpr and hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[int(worker.removeprefix("gw")) % len(cores)]})


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--regenerate", action="store_true", help="write the golden files anew instead of comparing")


@pytest.fixture(scope="session", autouse=True)
def _nothing_cached() -> Iterator[None]:
    """Tests see what yocc computes, and leave the user's own cache alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("YOCC_CACHE", "off")
        yield


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compares a text with the file of that name in `tests/golden/`; `--regenerate` writes it instead."""

    def compare(name: str, text: str) -> None:
        path = Path(__file__).parent / "golden" / name
        if request.config.getoption("--regenerate"):
            path.write_text(text, encoding="utf-8")
            return
        assert path.is_file(), f"{path} is missing; run pytest with --regenerate and look at what it writes"
        assert text == path.read_text(encoding="utf-8"), f"{name} changed; run pytest with --regenerate if it should"

    return compare


@pytest.fixture(scope="session")
def shared_data() -> Path:
    folder = Path(os.environ.get("YOCC_SHARED_DATA") or Path(__file__).parents[2] / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no third-party models and pictures at {folder}")
    return folder


@pytest.fixture
def shared_model(shared_data: Path) -> Callable[[str], Path]:
    """The file of a third-party model, by the name that the folder has it under."""

    def found(name: str) -> Path:
        path = shared_data / "models" / f"{name}.onnx"
        if not path.exists():
            pytest.skip(f"no {name}.onnx in the shared data")
        return path

    return found


@pytest.fixture
def sample_passes(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the passes of `tests.sample_passes` known; the folder is to be on `PYTHONPATH` of subprocesses."""
    from tests.sample_passes import register

    folder = tmp_path_factory.mktemp("passes")
    register(folder)
    monkeypatch.syspath_prepend(folder)
    return folder
