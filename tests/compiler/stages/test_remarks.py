"""What is told of figures that are conspicuous, and what is not."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from yocc.compiler.stages.remarks import (
    Circumstances,
    Remark,
    calibration_remarks,
    compression_remarks,
    fidelity_remarks,
    likely_reason,
    request_remarks,
    size_remarks,
)
from yocc.report.report import CalibrationFacts, ModelFacts
from yocc.runtime.backends.compare import Difference
from yocc.runtime.data.description import InputOptions, describe_input
from yocc.runtime.data.preprocess import InputSpec
from yocc.runtime.detection.metrics import DetectionScores
from yocc.runtime.measuring.fidelity import FidelityFacts

PICTURES = CalibrationFacts("64 pictures", 64, synthetic=False, used=True)
AROUND = Circumstances("simplify,fuse,quantize", calibration=PICTURES)
SIZE = ModelFacts(1000, 10, 5, 4000, 13)


def _outputs(snr: float | None, *, finite: bool = True, reference_finite: bool = True) -> FidelityFacts:
    return FidelityFacts("data", 4, True, (Difference("y", "", 1.0, 1.0, 0.5, snr, finite, reference_finite),))


def _found(fidelity: float, before: int, after: int, collapsed: str = "") -> FidelityFacts:
    scores = DetectionScores(fidelity, fidelity, 4, before)
    return replace(_outputs(3.0), detection=scores, confident=(before, after), collapsed=collapsed)


def _said(facts: FidelityFacts, around: Circumstances = AROUND) -> list[Remark]:
    return list(fidelity_remarks(facts, around))


@pytest.mark.parametrize("facts", [_outputs(None), _outputs(6.0), _found(0.5, 100, 91), _found(0.9, 10, 14)])
def test_sound_figures_are_not_remarked_on(facts: FidelityFacts) -> None:
    assert _said(facts) == []
    assert list(fidelity_remarks(None, AROUND)) == []


@pytest.mark.parametrize(
    ("facts", "words", "severe"),
    [
        (_outputs(5.9), ["'y'", "5.9 dB", "--fp16"], True),
        (_outputs(-math.inf), ["-inf dB"], True),
        (_outputs(None, finite=False), ["'y'", "NaN or infinity"], True),
        (_outputs(None, finite=False, reference_finite=False), ["the original itself"], False),
        (_found(0.9, 100, 90), ["10 of the original's 100", "10%", "--max-accuracy-drop"], False),
        (_found(0.9, 30, 20), ["33%"], True),
        (_found(0.49, 30, 30), ["0.490 of 1"], True),
        (_found(0.0, 30, 0, "The compiled model finds nothing."), ["finds nothing."], True),
    ],
)
def test_collapses_are_told_with_a_reason(facts: FidelityFacts, words: list[str], severe: bool) -> None:
    (remark,) = _said(facts)
    assert remark.severe == severe
    assert "Likely reason: " in remark.text
    for word in words:
        assert word in remark.text


def test_a_runtime_that_is_off_is_told_once_even_above_the_bound() -> None:
    off = replace(AROUND, target="tvm", target_snr=9.5)
    (remark,) = _said(_outputs(9.5), off)
    assert "tvm computes even the original differently than onnxruntime does (9.5 dB)" in remark.text
    (remark,) = _said(_outputs(3.0), off)
    assert "3.0 dB signal to noise" in remark.text
    assert "tvm computes" in remark.text


def test_an_original_that_finds_nothing_is_told() -> None:
    nothing = replace(_outputs(30.0), confident=(0, 0))
    description = describe_input([InputSpec("x", (1, 3, 8, 8), np.dtype(np.float32))], [], InputOptions())
    (given,) = _said(nothing, replace(AROUND, description=description))
    (drawn,) = _said(nothing, Circumstances(calibration=replace(PICTURES, synthetic=True), description=description))
    (arrays,) = _said(nothing)
    for remark, word in ((given, "--input-color"), (drawn, "--calib"), (arrays, "arrays")):
        assert "original itself finds nothing" in remark.text
        assert word in remark.text


@pytest.mark.parametrize(
    ("around", "word"),
    [
        (replace(AROUND, target="openvino", target_snr=-189.0), "openvino computes even the original differently"),
        (replace(AROUND, target="openvino", target_snr=60.0), "8 bits"),
        (replace(AROUND, calibration=replace(PICTURES, synthetic=True)), "--calib"),
        (replace(AROUND, calibration=replace(PICTURES, samples=2)), "only 2 samples"),
        (Circumstances("fuse,encode{code=log2}"), "--weights"),
        (Circumstances("prune{ratio=0.9},fuse,quantize"), "prune less"),
        (Circumstances("fp16"), "half precision"),
        (Circumstances("simplify,fuse"), "yocc debug"),
    ],
)
def test_the_likeliest_reason_comes_first(around: Circumstances, word: str) -> None:
    assert word in likely_reason(around, detector=False)


@pytest.mark.parametrize(
    ("after", "around", "words"),
    [
        (replace(SIZE, parameters=6010), AROUND, ["parameters 1,000 -> 6,010 (+501%)", "share"]),
        (replace(SIZE, bytes=4100), AROUND, ["4,000 -> 4,100 (+2%)", "--int8"]),
        (replace(SIZE, bytes=9000), replace(AROUND, target="openvino"), ["files of openvino"]),
        (replace(SIZE, bytes=9000), Circumstances("simplify"), ["descriptions"]),
        (replace(SIZE, bytes=9000), Circumstances("simplify", "tensorrt"), ["files of tensorrt"]),
    ],
)
def test_growth_is_told(after: ModelFacts, around: Circumstances, words: list[str]) -> None:
    (remark,) = size_remarks(SIZE, after, around)
    assert remark.severe
    assert not remark.wrong
    for word in ["larger than the original", "Likely reason: ", *words]:
        assert word in remark.text


def test_a_result_that_equals_its_input_is_an_alarm() -> None:
    (remark,) = compression_remarks(["quantize"], [], "ncnn")
    assert remark.severe
    assert "quantize changed nothing" in remark.text
    assert "yocc inspect --target ncnn" in remark.text
    assert list(compression_remarks(["quantize"], ["prune"], "ncnn")) == []
    assert list(compression_remarks([], [], "ncnn")) == []


def test_that_nothing_was_asked_for_is_said() -> None:
    (remark,) = request_remarks(asked=False)
    assert "--int8" in remark.text
    assert not remark.severe
    assert list(request_remarks(asked=True)) == []


def test_half_precision_that_became_float_is_the_reason() -> None:
    half = replace(SIZE, bytes=2100)
    (remark,) = size_remarks(half, replace(half, bytes=4200), Circumstances("fp32,simplify"))
    assert "--fp16" in remark.text
    codes = replace(SIZE, bytes=1400)
    (remark,) = size_remarks(codes, replace(codes, bytes=4200), Circumstances("fp32,simplify"))
    assert "codes of 8 bits or less" in remark.text
    for around, reason in (("fp32,quantize", "scales"), ("fp32,encode", "scales")):
        (remark,) = size_remarks(half, replace(half, bytes=4200), Circumstances(around))
        assert reason in remark.text
        assert "--fp16" not in remark.text


def test_no_growth_and_nothing_to_compare_with_are_not_told() -> None:
    assert list(size_remarks(SIZE, SIZE, AROUND)) == []
    assert list(size_remarks(SIZE, replace(SIZE, bytes=4039), AROUND)) == []
    assert list(size_remarks(replace(SIZE, parameters=0), replace(SIZE, parameters=5), AROUND)) == []


@pytest.mark.parametrize(
    ("parameters", "size", "new_biases"), [(1050, 3000, True), (1050, 4200, False), (1500, 3000, False)]
)
def test_new_biases_are_the_reason_for_a_few_parameters_in_a_smaller_file(
    parameters: int, size: int, new_biases: bool
) -> None:
    (remark,) = size_remarks(SIZE, replace(SIZE, parameters=parameters, bytes=size), AROUND)
    assert ("were given one" in remark.text) is new_biases
    assert remark.severe is not new_biases
    assert ("share became a copy" in remark.text) is (parameters == 1500)


def test_tables_of_codes_are_the_reason_where_weights_are_encoded() -> None:
    grown = replace(SIZE, parameters=1800, bytes=6000)
    (remark,) = size_remarks(SIZE, grown, Circumstances("simplify,encode"))
    assert "the tables of values" in remark.text
    (remark,) = size_remarks(SIZE, replace(grown, parameters=9000), Circumstances("simplify,encode"))
    assert "share became a copy" in remark.text


@pytest.mark.parametrize(
    ("samples", "synthetic", "used", "held_out", "said"),
    [
        (1, False, True, False, "Calibrated and compared on a single sample"),
        (1, False, True, True, "Calibrated with a single sample"),
        (3, False, True, False, "on the same 3 samples"),
        (3, False, True, True, ""),
        (3, True, True, False, ""),
        (1, False, False, False, ""),
    ],
)
def test_too_few_samples_are_remarked_on(samples: int, synthetic: bool, used: bool, held_out: bool, said: str) -> None:
    found = list(calibration_remarks(CalibrationFacts("pictures", samples, synthetic, used), held_out=held_out))
    assert [said in remark.text for remark in found] == [True] * bool(said)
    assert not any(remark.severe for remark in found)
    assert list(calibration_remarks(None, held_out=False)) == []
