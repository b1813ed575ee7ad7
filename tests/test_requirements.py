from __future__ import annotations

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.plugins import write_distribution
from yocc.compiler.cache.fingerprint import environment
from yocc.report.report import dependency_versions
from yocc.requirements import installed_packages, required_packages

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]


def _names(lines: list[str]) -> set[str]:
    return {re.split(r"[<>=!~\[ ;]", line)[0] for line in lines}


def test_every_requirement_of_every_extra_but_that_of_developers_is_covered() -> None:
    extras = PROJECT["optional-dependencies"]
    assert {"dev", "torch", "tvm", "tensorrt-rtx", "openvino", "ncnn"} <= set(extras)
    lines = [*PROJECT["dependencies"], *(line for name in extras if name != "dev" for line in extras[name])]
    found = required_packages()
    assert _names(lines) - {"click", "fsspec", "rich", "optuna"} <= set(found), "these only show, choose or fetch"
    assert "optuna" not in found
    assert not (_names(extras["dev"]) - _names(lines)) & set(found)
    assert {"torch", "apache-tvm", "apache-tvm-ffi", "tensorrt-rtx", "tensorrt", "openvino", "ncnn"} <= set(found)
    assert (found["numpy"], found["torch"]) == ("", "torch")


def test_what_is_installed_comes_with_what_it_requires_in_turn() -> None:
    found = installed_packages()
    assert found["onnx"] == version("onnx")
    assert found["ml-dtypes"] == version("ml_dtypes"), "through onnx-graphsurgeon"
    assert "pytest" not in found
    assert "yocc" not in found


def test_key_and_report_name_each_installed_requirement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = environment()
    write_distribution(tmp_path, "tensorrt", {})
    monkeypatch.syspath_prepend(tmp_path)
    with_another = environment()
    assert plain is not None
    assert with_another is not None
    assert plain["packages"] != with_another["packages"]
    assert "tensorrt" in dependency_versions()
    assert set(required_packages()) & set(with_another["packages"]) <= set(dependency_versions())
