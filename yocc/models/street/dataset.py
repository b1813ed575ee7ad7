"""Splits of the scenes, and scenes written out as pictures with labels."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from PIL import Image

from yocc.errors import OptionError
from yocc.models.street.objects import CLASSES
from yocc.models.street.scene import Scene, draw_scene

SPLITS: Mapping[str, range] = MappingProxyType(
    {
        "train": range(1_000_000),
        "calibration": range(1_000_000, 1_100_000),
        "test": range(2_000_000, 2_100_000),
    }
)
"""Seeds of each split; none is in two."""


def write(folder: Path, split: str, count: int, *, size: int = 320) -> list[Path]:
    """Write the first scenes of a split as `images/*.png`, `labels/*.txt` (YOLO) and `labels.json` (COCO).

    Args:
        folder: created where it is missing.
        split: one of `SPLITS`.
        count: how many scenes.
        size: height and width in pixels.

    Returns:
        The picture files in order.

    Raises:
        OptionError: there is no such split, or it does not have that many scenes.
    """
    if split not in SPLITS:
        raise OptionError(f"There is no split {split!r}.", f"Use one of {', '.join(SPLITS)}.")
    if not 1 <= count <= len(SPLITS[split]):
        raise OptionError(
            f"Cannot write {count} scenes of {split!r}.", f"It has {len(SPLITS[split])}; ask for 1 or more."
        )
    images, labels = folder / "images", folder / "labels"
    for needed in (images, labels):
        needed.mkdir(parents=True, exist_ok=True)
    files = []
    coco: dict[str, list[dict[str, object]]] = {
        "images": [],
        "annotations": [],
        "categories": [{"id": number, "name": name} for number, name in enumerate(CLASSES)],
    }
    for seed in SPLITS[split][:count]:
        scene = draw_scene(seed, size)
        file = images / f"{seed:07d}.png"
        # The pictures are read once or twice: little compression is the quicker choice.
        Image.fromarray(scene.picture).save(file, compress_level=1)
        (labels / f"{file.stem}.txt").write_text(_yolo(scene, size), encoding="utf-8")
        _append_coco(coco, scene, seed, file.name)
        files.append(file)
    (folder / "labels.json").write_text(json.dumps(coco), encoding="utf-8")
    return files


def _yolo(scene: Scene, size: int) -> str:
    lines = []
    for (left, upper, right, lower), number in zip(scene.boxes.tolist(), scene.classes.tolist(), strict=True):
        centre = (left + right) / 2 / size, (upper + lower) / 2 / size
        extent = (right - left) / size, (lower - upper) / size
        lines.append(" ".join([str(number), *(f"{value:.6f}" for value in (*centre, *extent))]) + "\n")
    return "".join(lines)


def _append_coco(coco: dict[str, list[dict[str, object]]], scene: Scene, seed: int, name: str) -> None:
    height, width = scene.picture.shape[:2]
    coco["images"].append({"id": seed, "file_name": name, "height": height, "width": width})
    for (left, upper, right, lower), number in zip(scene.boxes.tolist(), scene.classes.tolist(), strict=True):
        extent = right - left, lower - upper
        coco["annotations"].append(
            {
                "id": len(coco["annotations"]) + 1,
                "image_id": seed,
                "category_id": number,
                "bbox": [left, upper, *extent],
                "area": extent[0] * extent[1],
                "iscrowd": 0,
            }
        )
