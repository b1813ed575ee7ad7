"""What each lever alone buys, measured with the real runtimes on small models."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

import yocc
from tests.passes.factorize.networks import dead
from tests.samples import strange_model, tiny_model
from yocc.api.advice import Advice, LeverReport
from yocc.api.lever_runs import Remembering
from yocc.compiler.stages.reference import reference_session
from yocc.errors import CalibrationError, ModelError, OptionError
from yocc.models.shipped import shipped_detector
from yocc.models.street import write
from yocc.passes.prune.criteria.consumers import Effect


@pytest.fixture
def model(tmp_path: Path) -> Path:
    onnx.save(tiny_model(), tmp_path / "tiny.onnx")
    return tmp_path / "tiny.onnx"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(12):
        pixels = np.random.default_rng(number).integers(0, 255, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:02}.png")
    return folder


@pytest.fixture(autouse=True)
def _nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    folder, here = tmp_path / "temporary", tmp_path / "here"
    folder.mkdir()
    here.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.chdir(here)
    yield
    assert list(folder.iterdir()) == []
    assert list(here.iterdir()) == []


def by_options(advice: Advice) -> dict[str, LeverReport]:
    return {report.options: report for report in advice.levers}


def dense_model() -> onnx.ModelProto:
    """A Gemm whose weights fit one input size, and no channel that may go: it is pruned by its rank."""
    random = np.random.default_rng(0)
    weights = {"w": random.normal(0, 0.3, (3 * 16 * 16, 4)), "b": random.normal(0, 0.1, 4)}
    nodes = [
        helper.make_node("Flatten", ["x"], ["f"], name="flatten"),
        helper.make_node("Gemm", ["f", "w", "b"], ["y"], name="dense"),
    ]
    graph = helper.make_graph(
        nodes,
        "dense",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 16, 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.slow
def test_every_lever_is_measured_alone(model: Path, pictures: Path) -> None:
    advice = yocc.advise(model, calibration=pictures, threads=1)
    found = by_options(advice)
    expected = ["--int8", "--fp16", "--side 12", "--side 10", "--prune 0.1", "--prune 0.2", "--prune 0.4"]
    assert list(found) == [*expected, "--weights log2:4", ""]
    assert found.pop("--fp16").status == "left out"
    assert {report.status for report in found.values()} == {"measured"}
    assert all(report.latency_ms and report.speedup and report.seconds > 0 for report in found.values())
    assert found[""].snr_db is not None
    assert found[""].snr_db > 100
    assert found["--int8"].snr_db is not None
    assert 20 < found["--int8"].snr_db < 100
    assert found["--side 12"].macs is not None
    assert found["--side 12"].macs / advice.original.macs == pytest.approx((12 / 16) ** 2)
    assert found["--side 12"].snr_db is None  # an output of another size is not compared value by value
    assert found["--prune 0.4"].parameters is not None
    assert found["--prune 0.4"].parameters < 0.75 * advice.original.parameters
    assert all(report.fidelity is None for report in found.values())
    assert advice.held_out
    assert advice.samples == 6
    assert found["--int8"].pictures == 6
    assert found[""].pictures == 0
    assert any("no detector of a known layout" in text for text in advice.warnings)
    assert any("--input-color" in text for text in advice.warnings)


@pytest.mark.slow
def test_fidelity_of_a_detector_is_that_of_its_own_detections(tmp_path: Path) -> None:
    detector = shipped_detector()
    write(tmp_path / "scenes", "calibration", 10, size=320)
    scenes = tmp_path / "scenes" / "images"
    advice = yocc.advise(detector, calibration=scenes, levers=["side", "fp32"], threads=1, count=8)
    found = by_options(advice)
    assert found[""].fidelity == pytest.approx(1.0)
    larger, smaller = (report for report in advice.levers if report.kind == "side")
    assert larger.fidelity is not None
    assert smaller.fidelity is not None
    assert 0 < smaller.fidelity <= larger.fidelity < 1
    before, after = larger.confident or (0, 0)
    assert before >= 2
    assert after > 0
    assert "--eval" in larger.remarks[0]
    assert advice.detector == "yolov5"
    assert advice.warnings == ()
    assert "10 pictures" in advice.data
    assert advice.samples == 2


def test_levers_that_do_not_fit_are_said_to_be_out_of_time(model: Path, pictures: Path) -> None:
    advice = yocc.advise(model, calibration=pictures, budget="0.01s", threads=1)
    states = [report.status for report in advice.levers]
    assert states == ["out of time", "left out", *["out of time"] * 7]
    assert all("longer --budget" in report.remarks[0] for report in advice.levers if report.status == "out of time")
    assert advice.recommended is None
    assert "no lever could be compared" in advice.rule


def test_the_most_telling_levers_come_first_and_the_table_keeps_its_order(model: Path) -> None:
    seen: list[str] = []

    def watch(items, label, total=None):
        if label == "measuring levers":
            seen.extend(lever.options for lever in items)
            assert total == len(seen)
        return items

    yocc.advise(model, threads=1, budget="0.01s", progress=watch)
    assert seen[:3] == ["--side 12", "--side 10", "--int8"]
    assert seen[-1] == "--prune 0.1"


@pytest.mark.slow
def test_a_lever_that_fails_says_why_and_the_others_go_on(tmp_path: Path, pictures: Path) -> None:
    onnx.save(dense_model(), tmp_path / "dense.onnx")
    advice = yocc.advise(tmp_path / "dense.onnx", calibration=pictures, levers="prune,fp32,side", threads=1)
    found = by_options(advice)
    assert found["--prune 0.4"].status == "measured"
    assert found["--side 12"].status == "failed"
    assert "dense" in found["--side 12"].remarks[0]
    assert found[""].status == "measured"
    assert found["--side 12"].latency_ms is None


def test_a_lever_that_meets_a_bug_does_not_end_the_others(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("no rows")

    monkeypatch.setattr(Effect, "rank", broken)
    monkeypatch.setattr("yocc.passes.quantize.Quantize.run", broken)
    found = by_options(yocc.advise(model, levers="int8,fp32", threads=1))
    assert found["--int8"].status == "failed"
    assert found["--int8"].remarks[0].startswith("ZeroDivisionError: no rows This is a fault of yocc")
    assert found[""].status == "measured"


def test_without_pictures_they_are_synthetic_and_a_warning_says_so(model: Path) -> None:
    advice = yocc.advise(model, levers="fp32", threads=1)
    assert any("on synthetic pictures" in text for text in advice.warnings)
    assert "--calib" not in advice.levers[0].options


def test_few_pictures_are_not_kept_apart_and_a_warning_says_so(model: Path, pictures: Path, tmp_path: Path) -> None:
    few = tmp_path / "few"
    few.mkdir()
    for path in sorted(pictures.iterdir())[:4]:
        (few / path.name).write_bytes(path.read_bytes())
    advice = yocc.advise(model, calibration=few, levers="fp32", threads=1)
    assert not advice.held_out
    assert any("that were calibrated with" in text for text in advice.warnings)


@pytest.mark.slow
def test_arrays_fit_one_size(model: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "arrays.npz", x=np.random.default_rng(0).random((20, 3, 16, 16), dtype=np.float32))
    found = by_options(yocc.advise(model, calibration=tmp_path / "arrays.npz", levers="side,int8", threads=1))
    assert found["--int8"].snr_db is not None
    assert found["--side 12"].status == "measured"
    assert found["--side 12"].speedup is not None
    assert found["--side 12"].snr_db is None
    assert any("arrays" in text for text in found["--side 12"].remarks)


@pytest.mark.slow
def test_fp16_is_measured_where_it_is_asked_for(model: Path) -> None:
    (report,) = yocc.advise(model, levers=("fp16",), threads=1).levers
    assert report.status == "measured"
    assert report.bytes is not None


@pytest.mark.slow
def test_a_target_that_does_not_run_here_is_not_timed(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("yocc.runtime.backends.tensorrt.backend.obstacle", lambda: "there is no GPU")
    advice = yocc.advise(model, levers="fp32", target="tensorrt", threads=1)
    assert advice.original.latency_ms is None
    assert advice.levers[0].speedup is None
    assert advice.levers[0].snr_db is not None
    assert "Nothing was timed: tensorrt does not run here: there is no GPU" in advice.warnings


def test_a_model_that_does_not_run_here_is_only_counted(tmp_path: Path) -> None:
    onnx.save(strange_model(), tmp_path / "strange.onnx")
    advice = yocc.advise(tmp_path / "strange.onnx", levers="fp32", threads=1)
    assert advice.levers[0].status == "measured"
    assert advice.levers[0].bytes is not None
    assert advice.levers[0].snr_db is None
    assert advice.original.latency_ms is None
    said = [text for text in advice.warnings if text.startswith(("Nothing was compared", "Nothing was timed"))]
    assert len(said) == 2


@pytest.mark.slow
def test_channels_are_ranked_once_for_all_shares(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tmp_path / "dead.onnx"
    onnx.save(dead(0.5), model)
    calls = []
    rank = Effect.rank

    def counted(self: Effect, subject: object) -> object:
        calls.append(subject)
        return rank(self, subject)

    monkeypatch.setattr(Effect, "rank", counted)
    together = yocc.advise(model, calibration=pictures, levers="prune", threads=1)
    assert len(calls) == 1
    out = model.parent / "out"
    alone = yocc.compile(
        model, prune=0.4, recover="statistics", rounds=1, calibration=pictures, count=6, out=out, bench=False,
        fidelity=False, html=False, threads=1,
    )  # fmt: skip
    assert by_options(together)["--prune 0.4"].parameters == alone.after.parameters


def test_the_command_repeats_what_was_stated(tmp_path: Path, pictures: Path) -> None:
    model = tmp_path / "my dense.onnx"
    onnx.save(dense_model(), model)
    advice = yocc.advise(
        model, calibration=pictures, levers="fp16", threads=1, seed=3, input_color="bgr", input_mean=[1, 2, 3],
        options={"channel_multiple": "4"},
    )  # fmt: skip
    assert advice.recommended is not None
    assert advice.recommended.command == (
        f"yocc compile '{model}' --fp16 --calib {pictures} --seed 3 --threads 1 "
        "--target-option channel_multiple=4 --input-color bgr --input-mean 1,2,3 -o out/"
    )


def test_a_model_in_memory_can_be_asked_about() -> None:
    advice = yocc.advise(tiny_model(), levers="fp32", threads=1)
    assert advice.model == ""
    assert advice.levers[0].status == "measured"


def test_what_cannot_be_done_is_refused(model: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="int9"):
        yocc.advise(model, levers="int9")
    with pytest.raises(OptionError, match="duration"):
        yocc.advise(model, budget="soon")
    with pytest.raises(ModelError):
        yocc.advise(tmp_path / "none.onnx")
    with pytest.raises(CalibrationError):
        yocc.advise(model, calibration=tmp_path / "none")
    with pytest.raises(OptionError, match="nowhere"):
        yocc.advise(model, target="nowhere")


def test_an_input_is_run_once(model: Path) -> None:
    with reference_session(model, 1) as session:
        remembering = Remembering(session)
        feeds = {"x": np.ones((1, 3, 16, 16), np.float32)}
        first = remembering.run(feeds)
        assert remembering.run({"x": feeds["x"].copy()}) is first
        other = remembering.run({"x": feeds["x"] * 2})
        assert not np.array_equal(other["y"], first["y"])
