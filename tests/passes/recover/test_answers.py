from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.oracles import run
from tests.passes.feeding import Trial, run_pass
from yocc.compiler.graph import clone, load, refresh, to_proto
from yocc.compiler.pipeline.passes import Detection
from yocc.compiler.pipeline.pipeline import Pipeline
from yocc.fitting.logistic import divergence
from yocc.models.families.family import find_profile
from yocc.models.shipped import shipped_detector
from yocc.models.street import write
from yocc.passes.recover import Recover
from yocc.passes.recover.answers import Answers, believed, refit_answers
from yocc.runtime.backends.onnxruntime import OnnxRuntimeBackend, reference_executor
from yocc.runtime.data.feeds import open_feeds

ANCHORS = Detection(classes=2, objectness=True)
FREE = Detection(classes=2, objectness=False)


def drawn(channels: int, *, noise: float = 1.0, seed: int = 0) -> tuple[Answers, np.ndarray, np.ndarray]:
    """Answers of a layer whose inputs do not quite say them, and its least squares weights."""
    random = np.random.default_rng(seed)
    inputs = random.normal(size=(3000, 8)).astype(np.float32)
    outputs = (inputs @ random.normal(size=(8, channels)) - 2 + noise * random.normal(size=(3000, channels))) * 2
    solved = np.linalg.lstsq(np.column_stack([inputs, np.ones(3000)]), outputs, rcond=None)[0]
    counts, there = np.ones(3000, np.float32), random.uniform(0, 1, 3000).astype(np.float32)
    answers = Answers(inputs, outputs.astype(np.float16), counts, there, np.arange(3000) % 5 == 0)
    return answers, solved[:-1], solved[-1]


@pytest.mark.parametrize(("channels", "detection"), [(14, ANCHORS), (2, FREE)])
def test_probabilities_come_nearer_than_by_least_squares(channels: int, detection: Detection) -> None:
    answers, weight, bias = drawn(channels, noise=2.0)
    fit = refit_answers(answers, weight, bias, detection)
    assert fit.loss < fit.loss_before
    score = 4 if channels == 14 else 0
    wanted = answers.outputs[:, score].astype(np.float64)
    losses = [
        divergence(answers.inputs @ w[:, score] + b[score], wanted).mean()
        for w, b in ((weight, bias), (fit.weight, fit.bias))
    ]
    assert losses[1] < 0.98 * losses[0]


def test_a_layer_that_answers_rightly_is_kept() -> None:
    answers, weight, bias = drawn(14, noise=0.0)
    fit = refit_answers(answers, weight, bias, ANCHORS)
    np.testing.assert_allclose(fit.weight, weight, atol=0.05)
    np.testing.assert_allclose(fit.bias, bias, atol=0.05)


def test_what_does_not_hold_for_other_pictures_is_left_alone() -> None:
    """The pictures held out contradict the others: nothing learned from these helps on them."""
    answers, weight, bias = drawn(2, noise=0.0)
    outputs = np.where(answers.held_out[:, None], answers.inputs @ weight + bias, 20.0)
    contradicted = Answers(answers.inputs, outputs, answers.counts, answers.there, answers.held_out)
    fit = refit_answers(contradicted, weight, bias, FREE)
    np.testing.assert_allclose(fit.weight, weight, atol=1e-5)
    assert fit.loss == fit.loss_before


def test_a_decoupled_objectness_says_where_classes_and_boxes_count() -> None:
    decoupled = Detection(classes=2, objectness=True, decoupled=True)
    values = {name: np.zeros((1, channels, 1, 2), np.float32) for name, channels in (("b", 4), ("o", 1), ("c", 2))}
    values["o"][0, 0, 0] = [-20.0, 20.0]
    there = believed(values, {"boxes": "b", "objectness": "o", "classes": "c"}, decoupled)
    assert {name: found.round().tolist() for name, found in there.items()} == {"boxes": [0, 1], "classes": [0, 1]}
    for channels in (1, 2, 4):
        answers, weight, bias = drawn(channels, noise=2.0)
        fit = refit_answers(answers, weight, bias, decoupled)
        assert fit.loss <= fit.loss_before


def test_classes_that_compete_are_compared_by_their_softmax() -> None:
    """What all logits have in common says nothing, so that a layer without it is as good."""
    competing = Detection(classes=3, objectness=True, decoupled=True, candidates=2, competing=True)
    answers, weight, bias = drawn(3, noise=0.0)
    shifted = replace(answers, outputs=answers.outputs + np.linspace(0, 30, len(answers.outputs))[:, None])
    fit = refit_answers(shifted, weight, bias, competing)
    assert fit.loss <= fit.loss_before < 1e-3
    apart = refit_answers(shifted, weight, bias, replace(competing, competing=False))
    assert apart.loss_before > 1
    noisy, weight, bias = drawn(3, noise=2.0)
    fit = refit_answers(noisy, weight, bias, competing)
    assert fit.loss < fit.loss_before


def test_boxes_count_where_something_is() -> None:
    answers, weight, bias = drawn(4)
    random = np.random.default_rng(3)
    there = random.integers(0, 2, len(answers.inputs)).astype(np.float32)
    right = answers.inputs @ weight + bias + 1.0
    outputs = np.where(there[:, None] > 0, right, random.normal(size=right.shape) * 30)
    fit = refit_answers(Answers(answers.inputs, outputs, answers.counts, there, answers.held_out), weight, bias, FREE)
    np.testing.assert_allclose(fit.weight, weight, atol=0.01)
    np.testing.assert_allclose(fit.bias, bias + 1, atol=0.05)


def test_a_layer_of_classes_and_boxes_is_fitted_as_two_layers_are() -> None:
    answers, weight, bias = drawn(2 + 4, noise=2.0)
    fit = refit_answers(answers, weight, bias, Detection(classes=2, objectness=False, behind=4))
    scores = Answers(answers.inputs, answers.outputs[:, :2], answers.counts, answers.there, answers.held_out)
    alone = refit_answers(scores, weight[:, :2], bias[:2], FREE)
    np.testing.assert_allclose(fit.weight[:, :2], alone.weight, rtol=1e-4)
    assert fit.loss < fit.loss_before
    assert believed({"a": np.zeros((1, 6, 2, 2))}, {"both": "a"}, Detection(2, objectness=False, behind=4)) == {}


def test_a_softmax_with_a_background_says_where_boxes_count() -> None:
    detection = Detection(classes=1, objectness=False, background=frozenset({4}))
    values = {"s": np.zeros((1, 4, 1, 2), np.float32), "b": np.zeros((1, 8, 1, 2), np.float32)}
    values["s"][0, :, 0, 0] = [20, -20, 20, -20]
    values["s"][0, :, 0, 1] = [20, -20, -20, 20]
    there = believed(values, {"scores": "s", "boxes": "b"}, detection)
    assert {name: found.round().tolist() for name, found in there.items()} == {"boxes": [0, 1]}
    answers, weight, bias = drawn(4, noise=2.0)
    fit = refit_answers(answers, weight, bias, detection)
    assert fit.loss < fit.loss_before


@pytest.mark.parametrize("size", [0.0, 1e-18])
def test_the_weight_of_a_dead_input_stays(size: float) -> None:
    answers, weight, bias = drawn(14)
    silent = answers.inputs * np.array([1] * 7 + [size], np.float32)
    fit = refit_answers(
        Answers(silent, answers.outputs, answers.counts, answers.there, answers.held_out), weight, bias, ANCHORS
    )
    assert np.isfinite(fit.weight).all()
    np.testing.assert_allclose(fit.weight[-1], weight[-1], rtol=1e-4)


def test_boxes_are_believed_as_the_likeliest_class_at_their_place() -> None:
    random = np.random.default_rng(0)
    values = {name: random.normal(size=(1, channels, 3, 4)) for name, channels in (("c", 2), ("b", 16))}
    found = believed(values, {"classes": "c", "boxes": "b"}, FREE)
    assert list(found) == ["boxes"]
    np.testing.assert_allclose(found["boxes"], 1 / (1 + np.exp(-values["c"].max(axis=1).ravel())))
    assert believed({"a": np.zeros((1, 14, 2, 2))}, {"anchors": "a"}, ANCHORS) == {}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    write(folder / "fit", "calibration", 32, size=256)
    write(folder / "judge", "test", 12, size=256)
    return folder


@pytest.mark.slow
def test_a_pruned_detector_answers_more_like_the_original(scenes: Path) -> None:
    model = load(shipped_detector("plain"))
    profile = find_profile(model)
    assert profile is not None
    judges = list(open_feeds(scenes / "judge" / "images", [profile.input], profile.preprocess))
    original = [run(to_proto(model), arrays)["output0"][0, :, 4] for arrays in judges]
    ctx = Trial(
        target=OnnxRuntimeBackend().target({}),
        feeds=open_feeds(scenes / "fit" / "images", [profile.input], profile.preprocess),
        executor=reference_executor(threads=1),
        detection=profile.detection,
    )
    pruned, runs = Pipeline.parse("fp32,simplify,fuse,prune{ratio=0.3,criterion=effect}").run(model, ctx)
    for each in runs:
        ctx = ctx.after(each.name, each.result)
    losses, details = {}, {}
    for answers in (True, False):
        graph = clone(pruned)
        run_pass(Recover(answers=answers), graph, ctx)
        refresh(graph)
        found = [run(to_proto(graph), arrays)["output0"][0, :, 4] for arrays in judges]
        losses[answers] = np.mean([_divergence(q, p) for q, p in zip(found, original, strict=True)])
        layers = ctx.details["recover"]["layers"].values()
        details[answers] = [layer for layer in layers if "loss" in layer]
    assert losses[True] < 0.95 * losses[False]
    assert len(details[True]) == 3
    assert all(fit["loss"] <= fit["loss_before"] for fit in details[True])
    assert details[False] == []


def _divergence(given: np.ndarray, wanted: np.ndarray) -> float:
    p, q = (np.clip(values.astype(np.float64), 1e-7, 1 - 1e-7) for values in (wanted, given))
    return float((p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))).sum())
