"""Mean average precision of a detector, against labels or against the detections of another model."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from yocc.compiler.pipeline.passes import Progress, silent
from yocc.errors import CalibrationError, InternalError
from yocc.models.families.profile import ModelProfile
from yocc.runtime.data.feeds import find_pictures
from yocc.runtime.data.labels import Truth, read_labels
from yocc.runtime.data.letterbox import read_picture
from yocc.runtime.data.preprocess import prepare
from yocc.runtime.data.readable import check_readable
from yocc.runtime.detection.boxes import SCORING, Detections, Selection, detect, selection_of

CONFIDENT = 0.25
"""Confidence from which a detection of the original model counts as an object in `fidelity`."""

_IOU_50 = 0
_ALL_SIZES = (0.0, 1e10)


class Runnable(Protocol):
    """Anything that runs a network."""

    def run(self, feeds: dict[str, np.ndarray[Any, Any]]) -> dict[str, np.ndarray[Any, Any]]:
        """Arrays by input name in, all outputs by name out."""


@dataclass(frozen=True)
class DetectionSet:
    """What a model found in some pictures.

    Attributes:
        pictures: the files.
        classes: class names by number.
        found: the detections of each picture, boxes in its own pixels.
    """

    pictures: tuple[Path, ...]
    classes: tuple[str, ...]
    found: tuple[Detections, ...]


@dataclass(frozen=True)
class DetectionScores:
    """COCO figures, 0..1.

    Attributes:
        map50_95: mean average precision over overlaps 0.50 to 0.95 and over the classes that occur.
        map50: the same at overlap 0.50.
        pictures: how many were scored.
        objects: how many objects there were to find.
        per_class: average precision over overlaps 0.50 to 0.95 of each class that occurs.
    """

    map50_95: float
    map50: float
    pictures: int
    objects: int
    per_class: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Fidelity:
    """How well a compressed model finds what the original finds.

    Attributes:
        scores: with the original's confident detections as ground truth; None when there are none.
        reason: why there are no scores, or empty.
    """

    scores: DetectionScores | None
    reason: str = ""


def evaluate(
    session: Runnable,
    profile: ModelProfile,
    pictures: Path | Sequence[Path],
    labels: Path | None = None,
    progress: Progress = silent,
    selection: Selection | None = None,
) -> DetectionScores:
    """Score a detector against labels.

    One that suppresses within the graph is scored by the detections it gives.

    Args:
        session: runs the model.
        profile: how to feed and decode it.
        pictures: a folder, or the files.
        labels: a COCO JSON file, a folder of YOLO text files, or None for the folder `labels` beside `images`.
        progress: shows how far it is.
        selection: which candidates to keep; as `selection_of` says when None.

    Raises:
        CalibrationError: pictures or labels are missing or malformed, or the labels have no objects.
    """
    files, truths = scoring_set(pictures, labels, profile.classes)
    return score(detections(session, profile, files, selection or selection_of(profile), progress), truths)


def scoring_set(
    pictures: Path | Sequence[Path], labels: Path | None, classes: Sequence[str]
) -> tuple[tuple[Path, ...], tuple[Truth, ...]]:
    """Pictures to score with and the objects in each, checked as far as can be without decoding the pictures.

    Args:
        pictures: a folder, or the files.
        labels: a COCO JSON file, a folder of YOLO text files, or None for the folder `labels` beside `images`.
        classes: the model's class names by number.

    Raises:
        CalibrationError: pictures or labels are missing or malformed, or the labels have no objects.
    """
    files = find_pictures(pictures) if isinstance(pictures, Path) else tuple(pictures)
    if not files:
        raise CalibrationError("There are no pictures to score with.", "Give at least one.")
    truths = read_labels(labels, files, classes)
    _require_objects(truths)
    check_readable(files, pictures if isinstance(pictures, Path) else files[0].parent)
    return files, truths


def detections(
    session: Runnable,
    profile: ModelProfile,
    pictures: Sequence[Path],
    selection: Selection = SCORING,
    progress: Progress = silent,
) -> DetectionSet:
    """Run a detector on pictures, one at a time.

    Raises:
        CalibrationError: a picture cannot be read.
    """
    found = []
    for path in progress(pictures, "detecting", len(pictures)):
        array, placement = prepare(read_picture(path), profile.preprocess, profile.input)
        outputs = session.run({profile.input_name: array})
        found.append(detect(outputs, profile, placement, selection))
    return DetectionSet(tuple(pictures), profile.classes, tuple(found))


def score(detected: DetectionSet, truths: Sequence[Truth]) -> DetectionScores:
    """Compare detections with the truth by the COCO protocol, 100 detections per picture and class at most.

    Args:
        detected: what was found, most confident first.
        truths: the objects in each of the same pictures.

    Raises:
        CalibrationError: there are no objects to find.
    """
    if len(detected.found) != len(truths):
        raise InternalError(f"{len(detected.found)} pictures of detections against {len(truths)} of truth.")
    _require_objects(truths)
    precision = _precision(detected, truths)
    # [overlaps, recalls, classes]; -1 marks classes without objects.
    present = [number for number in range(len(detected.classes)) if (precision[:, :, number] > -1).any()]
    return DetectionScores(
        map50_95=float(precision[:, :, present].mean()),
        map50=float(precision[_IOU_50][:, present].mean()),
        pictures=len(truths),
        objects=int(sum((~truth.crowd).sum() for truth in truths)),
        per_class={detected.classes[number]: float(precision[:, :, number].mean()) for number in present},
    )


def fidelity(original: DetectionSet, compressed: DetectionSet) -> Fidelity:
    """Score a compressed model with the original's confident detections as ground truth; needs no labels.

    Args:
        original: what the original found, by `SCORING`.
        compressed: what the compressed model found in the same pictures, by `SCORING`.
    """
    if original.pictures != compressed.pictures:
        raise InternalError("Fidelity compares two models on the same pictures.")
    confident = [found.above(CONFIDENT) for found in original.found]
    if not any(len(found) for found in confident):
        return Fidelity(
            None,
            f"the original model finds nothing with a confidence of {CONFIDENT} in {len(confident)} pictures",
        )
    truths = [Truth(found.boxes.astype(np.float64), found.classes, np.zeros(len(found), bool)) for found in confident]
    return Fidelity(score(compressed, truths))


def _require_objects(truths: Sequence[Truth]) -> None:
    if not any(len(truth) for truth in truths):
        raise CalibrationError(
            f"The labels of {len(truths)} pictures hold no object.", "Score on pictures with something to find."
        )
    if all(truth.crowd.all() for truth in truths):
        raise CalibrationError("The labels have only crowd regions.", "Label single objects too.")


def _precision(detected: DetectionSet, truths: Sequence[Truth]) -> np.ndarray[Any, Any]:
    """Precisions `[10 overlaps, 101 recalls, classes]` by pycocotools."""
    from pycocotools.cocoeval import COCOeval

    wanted = [
        _boxes(truth.boxes, truth.classes, picture, [{"iscrowd": int(crowd)} for crowd in truth.crowd])
        for picture, truth in enumerate(truths)
    ]
    found = [
        _boxes(some.boxes, some.classes, picture, [{"score": float(one)} for one in some.scores])
        for picture, some in enumerate(detected.found)
    ]
    # pycocotools reports its progress by printing.
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(_coco(wanted, detected.classes), _coco(found, detected.classes), "bbox")
        evaluation.params.areaRng = [list(_ALL_SIZES)]
        evaluation.params.areaRngLbl = ["all"]
        evaluation.evaluate()
        evaluation.accumulate()
    precision: np.ndarray[Any, Any] = evaluation.eval["precision"][:, :, :, 0, -1]
    return precision


def _boxes(
    boxes: np.ndarray[Any, Any], classes: np.ndarray[Any, Any], picture: int, extras: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """COCO annotations of one picture."""
    sides = boxes[:, 2:] - boxes[:, :2]
    return [
        {
            "image_id": picture,
            "category_id": int(number),
            "bbox": [*corner, *side],
            "area": side[0] * side[1],
            "iscrowd": 0,
            **extra,
        }
        for number, corner, side, extra in zip(classes, boxes[:, :2].tolist(), sides.tolist(), extras, strict=True)
    ]


def _coco(per_picture: Sequence[list[dict[str, Any]]], classes: Sequence[str]) -> Any:
    from pycocotools.coco import COCO

    boxes = [box for some in per_picture for box in some]
    coco = COCO()
    coco.dataset = {
        "images": [{"id": picture} for picture in range(len(per_picture))],
        "annotations": [box | {"id": number} for number, box in enumerate(boxes, 1)],
        "categories": [{"id": number, "name": name} for number, name in enumerate(classes)],
    }
    coco.createIndex()
    return coco
