"""Ground truth from COCO JSON or from a folder of YOLO text files."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from yocc.errors import CalibrationError
from yocc.files.reading import exists, require_regular
from yocc.runtime.data.letterbox import picture_size

_FIELDS = "class cx cy w h"
_ROUNDING = 1e-3
"""How far normalized numbers may leave 0..1: tools that write labels round."""


@dataclass(frozen=True)
class Truth:
    """The objects in one picture.

    Attributes:
        boxes: `[n, 4]` x1, y1, x2, y2 in picture pixels.
        classes: `[n]` class numbers.
        crowd: `[n]` whether the box is a crowd region, in which detections count as neither right nor wrong.
    """

    boxes: NDArray[np.float64]
    classes: NDArray[np.int64]
    crowd: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.classes)


def read_labels(labels: Path | None, pictures: Sequence[Path], classes: Sequence[str]) -> tuple[Truth, ...]:
    """Read the objects in each picture.

    Args:
        labels: a COCO JSON file; a folder of YOLO text files, one line `class cx cy w h` (0..1 of the picture) per
            object, an empty file for a picture without objects; or None for the folder `labels` beside `images`.
        pictures: the picture files.
        classes: the model's class names by number.

    Returns:
        One entry per picture, in their order.

    Raises:
        CalibrationError: labels are missing, malformed, or name a class the model does not have.
    """
    if labels is None:
        labels = labels_beside(pictures)
    if not exists(labels):
        raise CalibrationError(f"There are no labels at {labels}.", "Check the path.")
    require_regular(labels, CalibrationError)
    if labels.is_dir():
        return _from_folder(labels, pictures, len(classes))
    if labels.suffix.lower() == ".json":
        return _from_coco(labels, pictures, classes)
    raise CalibrationError(
        f"{labels} is neither a COCO .json file nor a folder.", "Give one of the two; YOLO text files as a folder."
    )


def labels_beside(pictures: Sequence[Path]) -> Path:
    """The folder `labels` beside the folder `images` that pictures lie in, which may not be there.

    Raises:
        CalibrationError: they lie in no such folder.
    """
    for folder in pictures[0].absolute().parents:
        if folder.name == "images":
            return folder.parent / "labels"
    raise CalibrationError(f"There is no labels folder beside {pictures[0].parent}.", "Name it with --labels.")


def _from_folder(folder: Path, pictures: Sequence[Path], classes: int) -> tuple[Truth, ...]:
    files = {file.stem: file for file in sorted(folder.rglob("*.txt"))}
    if not files:
        raise CalibrationError(f"The folder {folder} holds no label files.", f"Put one .txt per picture: {_FIELDS}.")
    missing = [picture for picture in pictures if picture.stem not in files]
    if missing:
        raise CalibrationError(
            f"{len(missing)} of {len(pictures)} pictures have no labels in {folder}; the first is {missing[0].name}.",
            "Add an empty .txt file for each picture without objects.",
        )
    _refuse_twins(pictures)
    return tuple(_read_text(files[picture.stem], picture, classes) for picture in pictures)


def _refuse_twins(pictures: Sequence[Path]) -> None:
    stem, count = Counter(picture.stem for picture in pictures).most_common(1)[0]
    if count > 1:
        raise CalibrationError(f"{count} pictures are called {stem!r}.", "Labels are found by name; rename them.")


def _read_text(file: Path, picture: Path, classes: int) -> Truth:
    require_regular(file, CalibrationError)
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CalibrationError(f"The label file {file} cannot be read ({error}).", "Write it again.") from error
    rows = [_read_line(line, f"{file}:{number}", classes) for number, line in enumerate(lines, 1) if line.strip()]
    values = np.array(rows, np.float64).reshape(-1, 5)
    height, width = picture_size(picture)
    half = values[:, 3:] / 2
    corners = np.concatenate([values[:, 1:3] - half, values[:, 1:3] + half], axis=1)
    return Truth(
        corners * np.array([width, height, width, height]),
        values[:, 0].astype(np.int64),
        np.zeros(len(values), bool),
    )


def _read_line(line: str, where: str, classes: int) -> list[float]:
    fields = line.split()
    try:
        values = [float(field) for field in fields]
    except ValueError:
        raise CalibrationError(f"{where}: {line!r} is not made of numbers.", f"Write {_FIELDS}.") from None
    if len(values) != 5:
        raise CalibrationError(f"{where}: {len(values)} numbers instead of 5.", f"Write {_FIELDS}.")
    if values[0] not in range(classes):
        raise CalibrationError(
            f"{where}: class {fields[0]} is not one of the model's {classes} classes.", "Number them from 0."
        )
    if not all(-_ROUNDING <= value <= 1 + _ROUNDING for value in values[1:]):
        raise CalibrationError(
            f"{where}: {line!r} has a coordinate outside 0..1.", "Divide by the picture's width and height."
        )
    return values


def _from_coco(file: Path, pictures: Sequence[Path], classes: Sequence[str]) -> tuple[Truth, ...]:
    data = _load_json(file)
    try:
        numbers = _class_numbers(file, data["categories"], classes)
        ids = {Path(entry["file_name"]).name: entry["id"] for entry in data["images"]}
        by_picture: dict[Any, list[Mapping[str, Any]]] = {}
        for annotation in data["annotations"]:
            by_picture.setdefault(annotation["image_id"], []).append(annotation)
        missing = [picture for picture in pictures if picture.name not in ids]
        if missing:
            raise CalibrationError(
                f"{file} does not list {len(missing)} of {len(pictures)} pictures; the first is {missing[0].name}.",
                "Use the file that belongs to the pictures.",
            )
        return tuple(_truth(file, by_picture.get(ids[picture.name], []), numbers) for picture in pictures)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CalibrationError(
            f"{file} is not in the COCO format ({type(error).__name__}: {error}).",
            "It needs images (id, file_name), categories (id, name) and annotations (image_id, category_id, bbox).",
        ) from error


def _load_json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CalibrationError(f"{file} cannot be read as JSON ({error}).", "Write it again.") from error


def _class_numbers(file: Path, categories: Sequence[Mapping[str, Any]], classes: Sequence[str]) -> dict[int, int]:
    """The model's class number for each category id: by name, or by order where names differ and counts agree."""
    by_name = {name: number for number, name in enumerate(classes)}
    if all(category["name"] in by_name for category in categories):
        return {category["id"]: by_name[category["name"]] for category in categories}
    if len(categories) == len(classes):
        return {identity: number for number, identity in enumerate(sorted(category["id"] for category in categories))}
    unknown = next(category["name"] for category in categories if category["name"] not in by_name)
    raise CalibrationError(
        f"The category {unknown!r} in {file} is not one of the model's {len(classes)} classes.",
        "Use labels for the classes the model was trained on.",
    )


def _truth(file: Path, annotations: Sequence[Mapping[str, Any]], numbers: Mapping[int, int]) -> Truth:
    boxes = np.zeros((len(annotations), 4))
    for row, annotation in enumerate(annotations):
        box = np.asarray(annotation["bbox"], np.float64)
        if box.shape != (4,) or not np.isfinite(box).all() or annotation["category_id"] not in numbers:
            raise CalibrationError(
                f"Annotation {annotation.get('id', row)} in {file} has no valid bbox or category.",
                "A bbox is x, y, width, height in pixels.",
            )
        boxes[row] = [box[0], box[1], box[0] + box[2], box[1] + box[3]]
    return Truth(
        boxes,
        np.array([numbers[annotation["category_id"]] for annotation in annotations], np.int64),
        np.array([bool(annotation.get("iscrowd", 0)) for annotation in annotations], bool),
    )
