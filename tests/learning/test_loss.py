from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra yocc[torch] is not installed")

from yocc.analysis.effect import fisher
from yocc.compiler.pipeline.passes import Detection
from yocc.learning.loss import output_loss, relative_error, variances

ANCHORS = Detection(classes=2, objectness=True)
FREE = Detection(classes=2, objectness=False)


def outputs(detection: Detection) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    channels = {"y": 14} if detection.objectness else {"classes": 2, "boxes": 16}
    return {name: random.normal(size=(1, count, 4, 5)) for name, count in channels.items()}


def loss(student: dict[str, np.ndarray], teacher: dict[str, np.ndarray], detection: Detection | None) -> float:
    tensors = [{name: torch.from_numpy(values) for name, values in each.items()} for each in (student, teacher)]
    return float(output_loss(tensors[0], tensors[1], detection))


@pytest.mark.parametrize("detection", [ANCHORS, FREE, None])
def test_no_difference_costs_nothing(detection: Detection | None) -> None:
    teacher = outputs(ANCHORS)
    assert loss(teacher, teacher, detection) == pytest.approx(0, abs=1e-9)


def test_small_differences_of_scores_and_boxes_cost_what_the_ranking_of_channels_says() -> None:
    teacher = outputs(ANCHORS)
    random = np.random.default_rng(1)
    change = {name: 1e-2 * random.normal(size=values.shape) for name, values in teacher.items()}
    found = loss({name: teacher[name] + change[name] for name in teacher}, teacher, ANCHORS)
    rows = teacher["y"].reshape(1, 2, 7, 4, 5)
    objects = (1 / (1 + np.exp(-rows[:, :, 4]))).sum()
    information = fisher(teacher, ANCHORS)["y"]
    assert found == pytest.approx(0.5 * (information * change["y"] ** 2).sum() / objects, rel=1e-2)


def test_detectors_without_objectness_weigh_boxes_by_their_likeliest_class() -> None:
    teacher = outputs(FREE)
    teacher["classes"][:] = -20.0
    moved = {**teacher, "boxes": teacher["boxes"] + 1.0}
    assert loss(moved, teacher, FREE) < 1e-6
    teacher["classes"][:, 0, 0, 0] = 20.0
    moved = {**teacher, "boxes": teacher["boxes"] + 1.0}
    assert loss(moved, teacher, FREE) > 1


def test_a_decoupled_objectness_weighs_classes_and_boxes() -> None:
    detection = Detection(classes=2, objectness=True, decoupled=True)
    random = np.random.default_rng(0)
    channels = {"boxes": 4, "there": 1, "classes": 2}
    teacher = {name: random.normal(size=(1, count, 4, 5)) for name, count in channels.items()}
    teacher["there"][:] = -20.0
    for name in ("boxes", "classes"):
        assert loss({**teacher, name: teacher[name] + 1.0}, teacher, detection) < 1e-6
    teacher["there"][:, 0, 0, 0] = 20.0
    for name in ("boxes", "classes"):
        assert loss({**teacher, name: teacher[name] + 3.0}, teacher, detection) > 0.1
    assert loss({**teacher, "there": teacher["there"] * 0.1}, teacher, detection) > 0.1


def test_classes_that_compete_cost_the_divergence_of_their_softmax() -> None:
    detection = Detection(classes=3, objectness=True, decoupled=True, candidates=2, competing=True)
    random = np.random.default_rng(0)
    channels = {"boxes": 8, "there": 2, "classes": 3}
    teacher = {name: random.normal(size=(1, count, 4, 5)) for name, count in channels.items()}
    assert loss({**teacher, "classes": teacher["classes"] + 7}, teacher, detection) == pytest.approx(0, abs=1e-6)
    moved = {**teacher, "classes": teacher["classes"] + np.array([2.0, 0, 0])[:, None, None]}
    there = (1 / (1 + np.exp(-teacher["there"]))).max(axis=1)[0]
    ours, theirs = (
        values - np.log(np.exp(values).sum(axis=1, keepdims=True)) for values in (moved["classes"], teacher["classes"])
    )
    lost = (np.exp(theirs) * (theirs - ours)).sum(axis=1)[0]
    assert loss(moved, teacher, detection) == pytest.approx((there * lost).sum() / there.sum(), rel=1e-4)


def test_a_layer_of_classes_and_boxes_costs_what_two_layers_do() -> None:
    ours, theirs = (torch.from_numpy(np.random.default_rng(seed).normal(size=(1, 10, 3, 4))) for seed in (0, 1))
    split = [{"classes": each[:, :2], "boxes": each[:, 2:]} for each in (ours, theirs)]
    apart = output_loss(*split, Detection(classes=2, objectness=False))
    joined = output_loss({"both": ours}, {"both": theirs}, Detection(classes=2, objectness=False, behind=8))
    assert float(joined) == pytest.approx(float(apart), rel=1e-5)


def test_candidates_with_a_background_cost_the_divergence_of_their_softmax() -> None:
    detection = Detection(classes=2, objectness=False, background=frozenset({6}))
    ours, theirs = (np.random.default_rng(seed).normal(size=(1, 6, 1, 1)) for seed in (0, 1))
    first, second = ((rows := np.exp(each.reshape(2, 3))) / rows.sum(1, keepdims=True) for each in (ours, theirs))
    wanted = (second * np.log(second / first)).sum() / max((1 - second[:, 0]).max(), 1.0)
    found = output_loss({"s": torch.from_numpy(ours)}, {"s": torch.from_numpy(theirs)}, detection)
    assert float(found) == pytest.approx(wanted, rel=1e-5)


def test_a_class_matters_where_something_is() -> None:
    teacher = outputs(ANCHORS)
    rows = teacher["y"].reshape(1, 2, 7, 4, 5)
    rows[:, :, 4] = -20.0
    rows[:, 0, 4, 0, 0] = 20.0
    wrong = teacher["y"].copy().reshape(rows.shape)
    wrong[:, 1, 5] += 3.0
    nothing = loss({"y": wrong.reshape(1, 14, 4, 5)}, teacher, ANCHORS)
    wrong[:, 0, 5, 0, 0] += 3.0
    something = loss({"y": wrong.reshape(1, 14, 4, 5)}, teacher, ANCHORS)
    assert nothing < 1e-6 < 0.01 < something


def test_relative_errors_do_not_depend_on_scale() -> None:
    random = torch.Generator().manual_seed(0)
    teacher = torch.randn(2, 3, 8, 8, generator=random)
    student = teacher + 0.1 * torch.randn(2, 3, 8, 8, generator=random)
    scale = torch.tensor([1.0, 10.0, 100.0]).reshape(1, 3, 1, 1)
    one = relative_error(student, teacher, variances(teacher))
    other = relative_error(student * scale, teacher * scale, variances(teacher * scale))
    assert float(one) == pytest.approx(float(other), rel=1e-3)
    assert float(one) == pytest.approx(0.01, rel=0.5)


def test_where_the_original_sees_nothing_classes_and_boxes_are_not_compared() -> None:
    teacher = outputs(ANCHORS)
    rows = teacher["y"].reshape(1, 2, 7, 4, 5)
    rows[:, :, 4] = -7.0  # a probability of 0.0009
    wrong = rows.copy()
    wrong[:, :, :4] += 9.0
    wrong[:, :, 5:] += 9.0
    assert loss({"y": wrong.reshape(1, 14, 4, 5)}, teacher, ANCHORS) == 0
    wrong[:, :, 4] += 1.0
    assert loss({"y": wrong.reshape(1, 14, 4, 5)}, teacher, ANCHORS) > 0
