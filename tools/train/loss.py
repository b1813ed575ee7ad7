"""The loss of YOLOv5: boxes by CIoU, objectness and classes by cross-entropy, targets spread over near cells."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

from yocc.models.yolov5_head import ANCHORS, STRIDES

_BALANCE = (4.0, 1.0, 0.4)
"""Weight of the objectness of each level: fine levels have many more cells."""
_OFFSET = 0.5


@dataclass(frozen=True)
class LossWeights:
    """Weights of the three parts, as in the reference's low-augmentation settings.

    Attributes:
        box: of 1 - CIoU.
        objectness: of objectness, at 640 pixels.
        classes: of the classes, with 80 of them.
        widest: largest ratio of a side to its anchor's for the two to be matched.
    """

    box: float = 0.05
    objectness: float = 1.0
    classes: float = 0.5
    widest: float = 4.0


@dataclass(frozen=True)
class Matches:
    """Objects assigned to the cells and anchors of one level.

    Attributes:
        images: `[m]` place in the batch.
        anchors: `[m]` which of the level's anchors.
        rows: `[m]` cell row.
        columns: `[m]` cell column.
        boxes: `[m, 4]` centre relative to the cell, width and height, in cells.
        sizes: `[m, 2]` the anchors' width and height in cells.
        classes: `[m]` class numbers.
    """

    images: Tensor
    anchors: Tensor
    rows: Tensor
    columns: Tensor
    boxes: Tensor
    sizes: Tensor
    classes: Tensor


def detection_loss(logits: list[Tensor], targets: Tensor, weights: LossWeights, size: int) -> tuple[Tensor, Tensor]:
    """The loss of a batch.

    Args:
        logits: `[n, anchors, h, w, 5 + classes]` of each level.
        targets: `[m, 6]` place in the batch, class, centre x and y, width, height in pixels.
        weights: of the parts.
        size: input pixels per side.

    Returns:
        The loss, summed over the batch, and its three parts (box, objectness, classes) for one image, detached.
    """
    box, objectness, classes = (logits[0].new_zeros(()) for _ in range(3))
    for level, rows in enumerate(logits):
        present = torch.zeros_like(rows[..., 4])
        found = match(targets, level, (rows.shape[2], rows.shape[3]), weights.widest)
        if len(found.classes):
            chosen = rows[found.images, found.anchors, found.rows, found.columns]
            centre = chosen[:, :2].sigmoid() * 2 - 0.5
            extent = (chosen[:, 2:4].sigmoid() * 2) ** 2 * found.sizes
            overlap = complete_iou(torch.cat([centre, extent], 1), found.boxes)
            box = box + (1 - overlap).mean()
            present[found.images, found.anchors, found.rows, found.columns] = overlap.detach().clamp(0)
            wanted = torch.zeros_like(chosen[:, 5:])
            wanted[torch.arange(len(wanted), device=wanted.device), found.classes] = 1
            classes = classes + cross_entropy(chosen[:, 5:], wanted)
        objectness = objectness + _BALANCE[level] * cross_entropy(rows[..., 4], present)
    count = logits[0].shape[-1] - 5
    parts = torch.stack(
        [
            weights.box * box,
            weights.objectness * (size / 640) ** 2 * objectness,
            weights.classes * count / 80 * classes,
        ]
    )
    return parts.sum() * logits[0].shape[0], parts.detach()


def match(targets: Tensor, level: int, cells: tuple[int, int], widest: float) -> Matches:
    """Assign objects to anchors of like size, in their own cell and the two nearest to their centre.

    Args:
        targets: as in `detection_loss`.
        level: which level.
        cells: height and width of its grid.
        widest: largest ratio of a side to the anchor's.
    """
    stride = STRIDES[level]
    anchors = torch.tensor(ANCHORS[level], dtype=targets.dtype, device=targets.device) / stride
    scaled = targets.clone()
    scaled[:, 2:] /= stride
    ratio = scaled[:, None, 4:] / anchors
    fits = torch.maximum(ratio, 1 / ratio).amax(2) < widest
    objects, which = fits.nonzero(as_tuple=True)
    kept = scaled[objects]
    centre = kept[:, 2:4]
    limit = torch.tensor([cells[1], cells[0]], dtype=targets.dtype, device=targets.device)
    low = (centre % 1 < _OFFSET) & (centre > 1)
    high = ((limit - centre) % 1 < _OFFSET) & (limit - centre > 1)
    # The own cell, then left, upper, right, lower.
    chosen = torch.cat([torch.ones_like(low[:, :1]), low, high], 1).T
    shifts = torch.tensor([[0, 0], [-1, 0], [0, -1], [1, 0], [0, 1]], dtype=targets.dtype, device=targets.device)
    direction, place = chosen.nonzero(as_tuple=True)
    kept, which = kept[place], which[place]
    cell = (kept[:, 2:4] + shifts[direction] * _OFFSET).floor()
    cell = torch.minimum(cell.clamp(min=0), limit - 1)
    return Matches(
        images=kept[:, 0].long(),
        anchors=which,
        rows=cell[:, 1].long(),
        columns=cell[:, 0].long(),
        boxes=torch.cat([kept[:, 2:4] - cell, kept[:, 4:]], 1),
        sizes=anchors[which],
        classes=kept[:, 1].long(),
    )


def complete_iou(first: Tensor, second: Tensor, epsilon: float = 1e-7) -> Tensor:
    """Complete IoU of paired boxes (Zheng et al. 2020, equation 10).

    Args:
        first: `[m, 4]` centre x and y, width, height.
        second: the same of the other boxes.
        epsilon: keeps divisions finite.

    Returns:
        `[m]`, at most 1.
    """
    one_low, one_high = first[:, :2] - first[:, 2:] / 2, first[:, :2] + first[:, 2:] / 2
    two_low, two_high = second[:, :2] - second[:, 2:] / 2, second[:, :2] + second[:, 2:] / 2
    shared = (torch.minimum(one_high, two_high) - torch.maximum(one_low, two_low)).clamp(0).prod(1)
    union = first[:, 2:].prod(1) + second[:, 2:].prod(1) - shared + epsilon
    iou = shared / union
    diagonal = ((torch.maximum(one_high, two_high) - torch.minimum(one_low, two_low)) ** 2).sum(1) + epsilon
    distance = ((first[:, :2] - second[:, :2]) ** 2).sum(1)
    angles = torch.atan(second[:, 2] / (second[:, 3] + epsilon)) - torch.atan(first[:, 2] / (first[:, 3] + epsilon))
    aspect = 4 / math.pi**2 * angles**2
    with torch.no_grad():
        share = aspect / (1 - iou + aspect + epsilon)
    return iou - distance / diagonal - share * aspect
