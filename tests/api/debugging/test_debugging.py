"""A planted fault is found: the pass, the layer, and a small model that shows it."""

from __future__ import annotations

import json
import math
from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import onnx
import pytest

import yocc
from tests.oracles import run
from yocc.api.debugging.diagnosis import Diagnosis
from yocc.errors import OptionError
from yocc.models.yolov5 import Scale, build_yolov5


def debug(pipeline: str, **more: object) -> Diagnosis:
    return yocc.debug(
        "model.onnx", pipeline=pipeline, calibration="inputs.npz", out="found", threads=1, progress=False, **more
    )


@pytest.mark.slow
def test_the_pass_and_the_layer_of_a_planted_fault_are_named(folder: Path) -> None:
    found = debug("fp32,nudge,simplify")
    assert found.guilty_step is not None
    assert (found.guilty_step.kind, found.guilty_step.name, found.guilty_step.status) == ("pass", "nudge", "guilty")
    assert found.guilty_step.lost is not None
    assert found.guilty_step.lost > 0.1
    assert [layer.name for layer in found.guilty_layers] == ["conv3"]
    assert "'conv3' (Conv) alone loses" in found.verdict
    assert found.layers[0].name == "conv3"
    assert len(found.layers) == 6
    assert found.layers[0].snr_db == pytest.approx(20 * math.log10(1 / 3), abs=1e-3)
    assert all(layer.snr_db is not None and layer.snr_db > 70 for layer in found.layers[1:])
    assert found.metric == "1 - relative error"
    assert folder.joinpath("found").is_dir()


def test_the_small_model_shows_the_fault(folder: Path) -> None:
    found = debug("fp32,nudge,simplify")
    assert found.evidence is not None
    assert (found.evidence.nodes, found.evidence.of) == (1, 14)
    assert {file.path for file in found.files} == set(found.evidence.files) == {
        "model.onnx", "changed.onnx", "inputs.npz"
    }  # fmt: skip
    with np.load(folder / "found" / "inputs.npz") as arrays:
        feeds = {name: arrays[name][0] for name in arrays.files}
    assert list(feeds) == ["r2"]
    inner = run(folder / "model.onnx", {"x": np.load(folder / "inputs.npz")["x"][0]}, taps=["r2"])["r2"]
    assert feeds["r2"].shape == inner.shape
    (was,), (now,) = (run(folder / "found" / name, feeds).values() for name in ("model.onnx", "changed.onnx"))
    np.testing.assert_allclose(now, -2 * was, rtol=1e-4, atol=1e-5)
    assert [command.split()[1] for command in found.evidence.commands] == ["compare", "debug"]
    again = yocc.debug(
        folder / "found" / "model.onnx", pipeline="nudge", calibration=folder / "found" / "inputs.npz", progress=False
    )
    assert [layer.name for layer in again.guilty_layers] == ["conv3"]


def test_nothing_wrong_is_said_with_the_largest_loss(folder: Path) -> None:
    found = debug("fp32,simplify,nudge", max_loss=0.9)
    assert found.guilty is None
    assert found.guilty_step is None
    assert found.verdict.startswith("No pass loses more than 0.9 of fidelity: nudge loses most, 0.")
    assert (found.evidence, found.layers) == (None, ())
    assert [path.name for path in (folder / "found").iterdir()] == ["debug.json"]
    assert debug("fp32", max_loss=0.02).verdict == "No pass loses more than 0.02 of fidelity."


@pytest.mark.usefixtures("folder")
def test_a_loss_that_no_layer_explains_alone_is_spread() -> None:
    found = debug("nudge{layer=none,others=1.2}", max_loss=0.02)
    assert found.guilty_step is not None
    assert len(found.guilty_layers) > 1
    assert "No layer alone explains it" in found.verdict
    assert found.evidence is not None
    assert found.evidence.nodes < found.evidence.of


@pytest.mark.usefixtures("folder")
def test_the_layer_whose_channels_were_removed_is_named() -> None:
    found = debug("fuse,prune{ratio=0.7,criterion=l1}", max_loss=0.01)
    assert found.guilty_step is not None
    assert found.guilty_step.name.startswith("prune")
    assert found.guilty_layers
    assert all(layer.op == "Conv" for layer in found.layers)
    assert found.evidence is not None
    assert found.evidence.commands[0].startswith("yocc compare")


def test_what_recovery_gives_back_is_not_lost() -> None:
    from yocc.api.debugging.diagnosis import StepFacts
    from yocc.api.debugging.steps import _with_losses

    fidelities = [1.0, 0.2, 0.7, 0.3, 0.6]
    steps = _with_losses([StepFacts("pass", str(place), fidelity=value) for place, value in enumerate(fidelities)])
    assert [round(step.lost or 0.0, 6) for step in steps] == [0, 0.3, 0, 0.1, 0]


def test_a_failing_pass_is_reduced_to_the_nodes_it_fails_on(folder: Path) -> None:
    found = debug("fp32,choke,fuse")
    assert found.guilty_step is not None
    assert (found.guilty_step.name, found.guilty_step.status) == ("choke", "failed")
    assert "Cannot take" in found.verdict
    assert found.steps[-1] == found.guilty_step
    assert found.evidence is not None
    assert (found.evidence.nodes, found.evidence.files) == (2, ("model.onnx", "inputs.npz"))
    small = folder / "found" / "model.onnx"
    assert [node.op_type for node in onnx.load(small).graph.node] == ["Sigmoid", "Softmax"]
    with pytest.raises(yocc.YoccError, match="Cannot take"):
        yocc.compile(small, pipeline="choke", calibration=folder / "found" / "inputs.npz", out="again")


def test_a_broken_graph_is_the_fault_of_the_pass_that_left_it(folder: Path) -> None:
    found = debug("fp32,spoil,fuse")
    assert found.guilty_step is not None
    assert (found.guilty_step.name, found.guilty_step.status) == ("spoil", "failed")
    assert found.evidence is not None
    assert found.evidence.nodes == 1
    assert folder.joinpath("found", "model.onnx").is_file()


def test_a_model_that_does_not_load_after_a_pass_is_reduced(folder: Path) -> None:
    found = debug("fp32,strange,fuse")
    assert found.guilty_step is not None
    assert (found.guilty_step.name, found.guilty_step.status) == ("strange", "failed")
    assert found.evidence is not None
    assert [node.op_type for node in onnx.load(folder / "found" / "model.onnx").graph.node] == ["Relu"]
    assert "InferenceSession" in found.evidence.commands[0]


def test_what_the_target_rejects_is_found(folder: Path) -> None:
    found = debug("fp32,strange{domain=ai.onnx.ml.strange},fuse", target="ncnn")
    assert found.guilty_step is not None
    assert found.guilty_step.status in ("failed", "rejected")
    assert found.guilty_step.name.startswith("strange")
    model = onnx.load(folder / "model.onnx")
    model.graph.node[-1].op_type = "Celu"
    del model.graph.node[-1].attribute[:]
    onnx.save(model, folder / "model.onnx")
    found = debug("fp32", target="ncnn")
    assert found.guilty == 0
    assert found.verdict.startswith("The target rejects the model as it came in")
    assert [node.op_type for node in onnx.load(folder / "found" / "model.onnx").graph.node] == ["Celu"]


@pytest.mark.slow
def test_a_detector_is_judged_by_its_detections(folder: Path) -> None:
    onnx.save(build_yolov5(Scale(0.1, 0.1), size=64, classes=2), folder / "detector.onnx")
    found = yocc.debug(
        folder / "detector.onnx", pipeline="fp32,fuse,negate", count=2, samples=2, out="found", progress=False
    )
    assert found.guilty_step is not None
    assert found.guilty_step.name == "negate"
    assert found.guilty_step.confident is not None
    assert len(found.guilty_layers) == 1
    assert any("synthetic" in text for text in found.warnings)


def test_the_result_is_frozen_and_written_as_it_is(folder: Path) -> None:
    found = debug("nudge")
    with pytest.raises(FrozenInstanceError):
        found.verdict = ""
    content = json.loads((folder / "found" / "debug.json").read_text())
    assert content == json.loads(json.dumps(found.content()))
    assert content["steps"][1]["status"] == "guilty"
    assert content["command"][:3] == ["yocc", "debug", "model.onnx"]


def test_the_folder_is_replaced_only_if_yocc_wrote_it(folder: Path) -> None:
    debug("nudge")
    assert debug("fp32").guilty is None
    assert [path.name for path in (folder / "found").iterdir()] == ["debug.json"]
    (folder / "found" / "notes.txt").write_text("mine")
    with pytest.raises(OptionError, match=r"notes\.txt"):
        debug("fp32")
    assert (folder / "found" / "notes.txt").read_text() == "mine"


def test_options_are_checked_before_the_work(folder: Path) -> None:
    for samples, loss in ((0, 0.1), (1, 1.0), (1, -0.1)):
        with pytest.raises(OptionError):
            debug("nudge", samples=samples, max_loss=loss)
    with pytest.raises(OptionError, match="by name"):
        yocc.debug("model.onnx", yocc.CompileOptions(), int8=True)
    assert not (folder / "found").exists()


def test_without_inputs_only_failures_are_looked_for(folder: Path) -> None:
    found = yocc.debug("model.onnx", pipeline="nudge", out="found", progress=False)
    assert found.guilty is None
    assert found.verdict == "No pass fails. Fidelity was not measured."
    assert found.warnings[0].startswith("No fidelity was measured")
    failed = yocc.debug("model.onnx", pipeline="choke", out="found", progress=False)
    assert failed.guilty_step is not None
    assert failed.evidence is not None
    assert (failed.evidence.nodes, failed.evidence.files) == (2, ("model.onnx",))
    assert folder.joinpath("found", "model.onnx").is_file()


def test_others_that_are_as_bad_are_counted() -> None:
    from yocc.api.debugging.blaming import Blame
    from yocc.api.debugging.diagnosis import LayerFacts
    from yocc.api.debugging.parts import Part
    from yocc.api.debugging.verdicts import where

    losses = [("a", 0.9), ("b", 0.5), ("c", 0.1), ("d", None)]
    layers = tuple(LayerFacts(name, "Conv", name, 1.0, lost, name == "a") for name, lost in losses)
    said = where(Blame(layers, (Part("a", "a", "Conv", (), (), ()),), 0.9, 4), 1.0)
    assert said.endswith("1 of 2 others that were measured alone lose half of it or more.")
    assert where(Blame(), 1.0).startswith("It changes the network as a whole")
    assert "does not explain it" in where(Blame(layers, (), 0.1, 4), 1.0)
