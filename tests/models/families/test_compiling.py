"""Detectors of every family through a whole compilation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest
from click.testing import CliRunner
from PIL import Image

import yocc
from tests.networks.heads import HEADS
from yocc.analysis.heads import final_layers
from yocc.cli import cli
from yocc.compiler.graph import load
from yocc.models.families.family import find_profile
from yocc.models.families.profile import ModelProfile

RUNNING = sorted(set(HEADS) - {"efficient_nms"})


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    for number in range(4):
        Image.fromarray(random.integers(0, 256, (40, 64, 3), np.uint8)).save(folder / f"{number}.png")
    return folder


def compiled(name: str, folder: Path, pictures: Path, **options: Any) -> tuple[ModelProfile, dict[str, Any]]:
    """The profile of the compiled detector, and its report."""
    onnx.save(HEADS[name][1](), folder / "model.onnx")
    yocc.compile(
        folder / "model.onnx", out=folder / "out", calibration=pictures, bench=False, html=False, examples=False,
        **options,
    )  # fmt: skip
    profile = find_profile(load(folder / "out" / "model.onnx"))
    assert profile is not None
    return profile, json.loads((folder / "out" / "report.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNNING)
def test_int8_keeps_the_last_layers_and_the_family(name: str, tmp_path: Path, pictures: Path) -> None:
    before = find_profile(load(HEADS[name][1]()))
    profile, report = compiled(name, tmp_path, pictures, pipeline="fuse,quantize")
    assert before is not None
    assert profile.family == before.family == HEADS[name][0]
    assert (profile.outputs, profile.classes) == (before.outputs, before.classes)
    assert report["input"]["origin"] == ("assumed" if profile.fed_unknown else "family")
    assert report["fidelity"]["confident"] is not None
    assert any("assumed" in text for text in report["warnings"]) == profile.fed_unknown
    graph = load(tmp_path / "out" / "model.onnx")
    assert any(node.op == "QuantizeLinear" for node in graph.nodes)
    assert all(isinstance(node.inputs[1], gs.Constant) for node in final_layers(graph))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["nanodet", "yunet", "yolo_fastestv2", "ssd", "end_to_end"])
def test_pruned_detectors_stay_detectors(name: str, tmp_path: Path, pictures: Path) -> None:
    profile, report = compiled(name, tmp_path, pictures, prune=0.2)
    assert profile.family == HEADS[name][0]
    assert report["after"]["parameters"] < report["before"]["parameters"]
    assert report["fidelity"]["confident"] is not None


@pytest.mark.slow
def test_what_the_user_states_wins(tmp_path: Path, pictures: Path) -> None:
    _, report = compiled("nanodet", tmp_path, pictures, pipeline="fuse", input_color="rgb", input_mean=0)
    stated = report["input"]
    assert (stated["color"], stated["mean"], stated["origin"]) == ("rgb", [0], "given")
    assert stated["std"] == [57.375, 57.12, 58.395]


def test_inspect_says_what_a_detector_is_recognized_by(tmp_path: Path) -> None:
    onnx.save(HEADS["yunet"][1](), tmp_path / "model.onnx")
    shown = CliRunner().invoke(cli, ["inspect", str(tmp_path / "model.onnx")], prog_name="yocc").stdout
    plain = " ".join(shown.split())
    assert "kind yunet, 1 class recognized by YuNet: faces" in plain
    assert "(outputs cls_8, " in plain
