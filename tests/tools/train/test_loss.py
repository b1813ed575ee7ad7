from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the extra yocc[torch] is not installed")

from tools.train.loss import LossWeights, complete_iou, detection_loss, match
from yocc.models.yolov5_head import STRIDES

SIZE = 128
CLASSES = 3


def _target(x: float, y: float, width: float, height: float, number: int = 1) -> torch.Tensor:
    return torch.tensor([[0, number, x, y, width, height]], dtype=torch.float32)


def _logits(fill: float = 0.0) -> list[torch.Tensor]:
    return [torch.full((1, 3, SIZE // stride, SIZE // stride, 5 + CLASSES), fill) for stride in STRIDES]


def test_complete_iou_of_known_boxes() -> None:
    boxes = torch.tensor([[5.0, 5.0, 4.0, 4.0]])
    assert complete_iou(boxes, boxes).item() == pytest.approx(1.0, abs=1e-5)
    # Side by side, same shape: no overlap, minus squared distance over squared diagonal, 16 / (64 + 16).
    beside = torch.tensor([[9.0, 5.0, 4.0, 4.0]])
    assert complete_iou(boxes, beside).item() == pytest.approx(-16 / 80, abs=1e-5)
    # The same centre and area, another aspect: below the plain IoU of 8 / 24.
    flat = torch.tensor([[5.0, 5.0, 8.0, 2.0]])
    assert complete_iou(boxes, flat).item() < 8 / 24


def test_an_object_is_assigned_to_its_cell_and_the_two_nearest() -> None:
    found = match(_target(34.0, 46.0, 16.0, 30.0), 0, (16, 16), 4.0)
    assert {(int(row), int(column)) for row, column in zip(found.rows, found.columns, strict=True)} == {
        (5, 4),
        (5, 3),
        (6, 4),
    }
    own = (found.rows == 5) & (found.columns == 4)
    assert found.boxes[own][0].tolist() == pytest.approx([0.25, 0.75, 2.0, 3.75])


def test_an_object_unlike_every_anchor_of_a_level_is_left_to_others() -> None:
    wide = _target(64.0, 64.0, 120.0, 110.0)
    assert len(match(wide, 0, (16, 16), 4.0).classes) == 0
    assert len(match(wide, 2, (4, 4), 4.0).classes) > 0


def test_cells_stay_in_the_grid() -> None:
    for x in (0.5, 127.5):
        found = match(_target(x, x, 16.0, 16.0), 0, (16, 16), 4.0)
        assert found.rows.min() >= 0
        assert found.columns.max() <= 15


def test_the_right_answer_costs_less_than_any_other() -> None:
    # So small that no other level has a like anchor.
    target = _target(36.0, 36.0, 7.0, 7.0)
    right = _logits(-8.0)
    found = match(target, 0, (16, 16), 4.0)
    rows = right[0]
    ratio = found.boxes[:, 2:] / found.sizes
    sigmoid = torch.cat([(found.boxes[:, :2] + 0.5) / 2, ratio.sqrt() / 2], 1).clamp(1e-4, 1 - 1e-4)
    rows[found.images, found.anchors, found.rows, found.columns, :4] = sigmoid.logit()
    rows[found.images, found.anchors, found.rows, found.columns, 4] = 8.0
    rows[found.images, found.anchors, found.rows, found.columns, 6] = 8.0
    loss, parts = detection_loss(right, target, LossWeights(), SIZE)
    assert parts[0] < 0.001
    for place, change in ((0, 2.0), (2, 2.0), (4, -8.0), (6, -8.0), (7, 16.0)):
        wrong = [level.clone() for level in right]
        wrong[0][found.images, found.anchors, found.rows, found.columns, place] += change
        assert detection_loss(wrong, target, LossWeights(), SIZE)[0] > loss


def test_a_batch_without_objects_wants_no_objectness() -> None:
    none = torch.zeros((0, 6))
    low, high = (detection_loss(_logits(fill), none, LossWeights(), SIZE) for fill in (-8.0, 8.0))
    assert low[0] < high[0]
    assert low[1][0] == low[1][2] == 0


def test_gradients_are_finite_for_extreme_logits() -> None:
    logits = [level.requires_grad_() for level in _logits(30.0)]
    detection_loss(logits, _target(36.0, 36.0, 20.0, 20.0), LossWeights(), SIZE)[0].backward()
    assert all(level.grad.isfinite().all() for level in logits)
