from __future__ import annotations

from pathlib import Path

import onnx
import pytest

import yocc
from tests.compiler.pipeline.plugins import install
from tests.models.detectors import raw, rows
from tests.networks.yolox import yolox
from tests.samples import tiny_model
from yocc.cli.listing import family_list
from yocc.compiler.graph import load
from yocc.errors import OptionError
from yocc.models.families.family import families, family_named, find_family, find_profile

GROUP = "yocc.families"
MODULE = """
from dataclasses import dataclass
from typing import ClassVar
from yocc.models.families.family import Family
from yocc.models.families.profile import ModelProfile, OutputLayout
from yocc.runtime.data.preprocess import Preprocess

@dataclass(frozen=True)
class Mine(Family):
    name: ClassVar[str] = "amine"
    summary: ClassVar[str] = "takes everything"
    def recognize(self, graph, picture, metadata):
        {body}
"""
PROFILE = (
    'return ModelProfile("{name}", OutputLayout.COLUMNS, (graph.outputs[0].name,), ("a",), (8,), picture, Preprocess())'
)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def _install(site: Path, body: str) -> None:
    module = f"acme_{site.name.replace('-', '_')}"
    install(site, "acme-family", {"amine": f"{module}:Mine"}, {module: MODULE.format(body=body)}, GROUP)


def test_our_own_are_registered() -> None:
    assert {"yolov5", "yolov8", "yolox"} <= set(families())
    assert all(plugin.reason == "" for plugin in families().values() if plugin.distribution == "yocc")


def test_an_installed_family_recognizes_what_ours_do_not(site: Path) -> None:
    _install(site, PROFILE.format(name="amine"))
    other = rows([1, 251, 7])
    profile = find_profile(other)
    assert profile is not None
    assert profile.family == "amine"
    ours = find_profile(rows([1, 252, 7]))
    assert ours is not None
    assert ours.family == "yolov5"


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("raise RuntimeError('no idea')", "RuntimeError: no idea"),
        ("return 3", "no profile of its own"),
        (PROFILE.format(name="yolov5"), "no profile of its own"),
    ],
)
def test_a_family_that_fails_is_passed_over_with_a_reason(site: Path, body: str, problem: str) -> None:
    _install(site, body)
    found = find_family(rows([1, 251, 7]))
    assert found.profile is None
    assert [problem in text and "acme-family" in text for text in found.problems] == [True]


def test_a_family_that_does_not_load_is_listed_and_breaks_nothing(site: Path) -> None:
    install(site, "acme-broken", {"abroken": "acme_broken:Broken"}, {"acme_broken": "import nothing_such"}, GROUP)
    listed = {entry["name"]: entry["problem"] for entry in family_list()}
    assert "nothing_such" in listed["abroken"]
    assert listed["yolox"] == ""
    assert find_profile(load(yolox(0))) is not None
    assert find_profile(raw([[1, 21, 8, 8], [1, 21, 4, 4], [1, 21, 2, 2]])) is not None
    with pytest.raises(OptionError, match="does not load"):
        family_named("abroken")


@pytest.mark.slow
def test_the_failure_of_a_family_is_a_warning_of_the_report(site: Path) -> None:
    _install(site, "raise RuntimeError('no idea')")
    onnx.save(tiny_model(), site / "model.onnx")
    report = yocc.compile(site / "model.onnx", out=site / "out", pipeline="simplify", bench=False)
    assert any("no idea" in text for text in report.warnings)


def test_another_task_is_of_no_family() -> None:
    graph = rows([1, 252, 7])
    graph.metadata = {"task": "segment"}
    assert find_profile(graph) is None
