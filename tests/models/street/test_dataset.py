from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from yocc.errors import OptionError
from yocc.models.street import CLASSES, SPLITS, draw_scene, write
from yocc.runtime.data.labels import read_labels


def test_both_kinds_of_labels_say_what_was_drawn(tmp_path: Path) -> None:
    files = write(tmp_path, "test", 4, size=128)
    text = read_labels(tmp_path / "labels", files, CLASSES)
    coco = read_labels(tmp_path / "labels.json", files, CLASSES)
    for seed, file, one, other in zip(SPLITS["test"][:4], files, text, coco, strict=True):
        scene = draw_scene(seed, 128)
        np.testing.assert_array_equal(np.asarray(Image.open(file)), scene.picture)
        for truth in (one, other):
            np.testing.assert_array_equal(truth.classes, scene.classes)
            np.testing.assert_allclose(truth.boxes, scene.boxes, atol=1e-3, rtol=0)


def test_writing_again_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    for folder in (first, second):
        write(folder, "calibration", 2, size=64)
    names = sorted(file.relative_to(first) for file in first.rglob("*") if file.is_file())
    assert len(names) == 5
    assert all((first / name).read_bytes() == (second / name).read_bytes() for name in names)


def test_coco_lists_every_class(tmp_path: Path) -> None:
    write(tmp_path, "train", 1, size=64)
    content = json.loads((tmp_path / "labels.json").read_text())
    assert [category["name"] for category in content["categories"]] == list(CLASSES)


@pytest.mark.parametrize(("split", "count"), [("val", 1), ("test", 0), ("test", 100_001)])
def test_bad_arguments_are_refused_and_write_nothing(split: str, count: int, tmp_path: Path) -> None:
    with pytest.raises(OptionError):
        write(tmp_path / "out", split, count)
    assert not (tmp_path / "out").exists()
