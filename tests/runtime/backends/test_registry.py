from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.plugins import EXAMPLE, install_example, write_distribution
from yocc.errors import OptionError
from yocc.runtime.backends.backend import Backend
from yocc.runtime.backends.registry import backends, find_backend
from yocc.testing import BackendContract


@pytest.fixture
def example(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("site")
    install_example(folder)
    monkeypatch.syspath_prepend(folder)
    yield folder
    sys.modules.pop("yocc_reference", None)


class TestExamplePlugin(BackendContract):
    tolerance = 1e-4

    @pytest.fixture
    def backend(self, example: Path) -> Backend:  # noqa: ARG002 # it must be installed
        return find_backend("onnx-reference")

    def test_comes_from_its_own_distribution(self, backend: Backend) -> None:
        assert backends()[backend.name].distribution == "yocc-reference"


@pytest.mark.skipif(importlib.util.find_spec("hatchling") is None, reason="hatchling is not installed")
@pytest.mark.slow
def test_example_installs_with_pip(tmp_path: Path) -> None:
    flags = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--target", str(tmp_path)]
    subprocess.run([sys.executable, "-m", "pip", "install", *flags, str(EXAMPLE)], check=True)
    assert list(tmp_path.glob("yocc_reference-*.dist-info/entry_points.txt"))


def test_embedded_backend_is_found() -> None:
    assert find_backend("onnxruntime").name == "onnxruntime"


def test_unknown_backend_names_the_nearest() -> None:
    with pytest.raises(OptionError, match="Did you mean 'onnxruntime'"):
        find_backend("onnxrutime")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import no_such_package_at_all", "no_such_package_at_all"),
        ("def", "SyntaxError"),
        ("undefined_name", "NameError"),
        ("other = 1", "AttributeError"),
        ("class Broken: pass", "not a Backend"),
    ],
)
def test_broken_plugin_stays_listed_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, reason: str
) -> None:
    (tmp_path / "broken_plugin.py").write_text(code)
    write_distribution(tmp_path, "broken-plugin", {"yocc.backends": {"broken": "broken_plugin:Broken"}})
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "broken_plugin", raising=False)
    plugin = backends()["broken"]
    monkeypatch.delitem(sys.modules, "broken_plugin", raising=False)
    assert plugin.loaded is None
    assert reason in plugin.reason
    with pytest.raises(OptionError, match="broken-plugin"):
        find_backend("broken")
    assert find_backend("onnxruntime")


def test_two_with_one_name_are_both_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("first-plugin", "second-plugin"):
        write_distribution(tmp_path / name, name, {"yocc.backends": {"twin": "yocc.errors:YoccError"}})
        monkeypatch.syspath_prepend(tmp_path / name)
    importlib.invalidate_caches()
    with pytest.raises(OptionError, match=r"registered in yocc\.backends by both") as caught:
        backends()
    assert "first-plugin" in str(caught.value)
    assert "second-plugin" in str(caught.value)
