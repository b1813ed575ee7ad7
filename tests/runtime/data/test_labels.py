from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from yocc.errors import CalibrationError
from yocc.runtime.data.labels import Truth, read_labels

CLASSES = ("cat", "dog")


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "images"
    folder.mkdir()
    files = [folder / "a.png", folder / "b.png"]
    Image.new("RGB", (200, 100)).save(files[0])
    Image.new("RGB", (50, 50)).save(files[1])
    return files


def written(folder: Path, **lines: str) -> Path:
    labels = folder / "labels"
    labels.mkdir(exist_ok=True)
    for stem, text in lines.items():
        (labels / f"{stem}.txt").write_text(text)
    return labels


def coco(folder: Path, **changes: Any) -> Path:
    data = {
        "images": [{"id": 7, "file_name": "b.png"}, {"id": 3, "file_name": "train/a.png"}, {"id": 9, "file_name": "c"}],
        "categories": [{"id": 18, "name": "dog"}, {"id": 17, "name": "cat"}],
        "annotations": [
            {"id": 1, "image_id": 3, "category_id": 18, "bbox": [80, 30, 40, 20]},
            {"id": 2, "image_id": 3, "category_id": 17, "bbox": [0, 0, 200, 100], "iscrowd": 1},
            {"id": 3, "image_id": 9, "category_id": 17, "bbox": [0, 0, 1, 1]},
        ],
    }
    file = folder / "instances.json"
    file.write_text(json.dumps(data | changes))
    return file


def as_lists(truth: Truth) -> tuple[list[list[float]], list[int], list[bool]]:
    return truth.boxes.tolist(), truth.classes.tolist(), truth.crowd.tolist()


class TestYolo:
    def test_boxes_in_picture_pixels(self, pictures: list[Path], tmp_path: Path) -> None:
        labels = written(tmp_path, a="1 0.5 0.4 0.2 0.2\n\n0 0.5 0.5 1 1\n", b="")
        first, second = read_labels(labels, pictures, CLASSES)
        assert first.boxes == pytest.approx(np.array([[80, 30, 120, 50], [0, 0, 200, 100]]), abs=1e-9)
        assert first.classes.tolist() == [1, 0]
        assert not first.crowd.any()
        assert as_lists(second) == ([], [], [])
        assert second.boxes.shape == (0, 4)

    def test_found_beside_the_pictures(self, pictures: list[Path], tmp_path: Path) -> None:
        written(tmp_path, a="0 0.5 0.5 1 1", b="")
        assert [len(truth) for truth in read_labels(None, pictures, CLASSES)] == [1, 0]

    def test_other_places_are_not_guessed(self, tmp_path: Path) -> None:
        with pytest.raises(CalibrationError, match=r"no labels folder beside .*--labels"):
            read_labels(None, [tmp_path / "a.png"], CLASSES)

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("0 0.5 0.5 1", r"a\.txt:2: 4 numbers"),
            ("0 0.5 0.5 1 1 0.9", r"a\.txt:2: 6 numbers"),
            ("cat 0.5 0.5 1 1", r"a\.txt:2: .* not made of numbers"),
            ("2 0.5 0.5 1 1", r"a\.txt:2: class 2 is not one of the model's 2"),
            ("-1 0.5 0.5 1 1", r"a\.txt:2: class -1"),
            ("0.5 0.5 0.5 1 1", r"a\.txt:2: class 0\.5"),
            ("nan 0.5 0.5 1 1", r"a\.txt:2: class nan"),
            ("0 0.5 0.5 nan 1", r"a\.txt:2: .* outside"),
            ("0 100 50 20 20", r"a\.txt:2: .* outside"),
            ("0 0.5 -0.5 1 1", r"a\.txt:2: .* outside"),
        ],
    )
    def test_malformed_lines_are_named(self, pictures: list[Path], tmp_path: Path, line: str, message: str) -> None:
        labels = written(tmp_path, a=f"0 0.5 0.5 1 1\n{line}\n", b="")
        with pytest.raises(CalibrationError, match=message):
            read_labels(labels, pictures, CLASSES)

    def test_rounded_coordinates_are_accepted(self, pictures: list[Path], tmp_path: Path) -> None:
        labels = written(tmp_path, a="0 0.5 0.5 1.0000005 1", b="")
        assert len(read_labels(labels, pictures, CLASSES)[0]) == 1

    def test_a_picture_without_labels_is_named(self, pictures: list[Path], tmp_path: Path) -> None:
        with pytest.raises(CalibrationError, match=r"1 of 2 pictures have no labels .* b\.png"):
            read_labels(written(tmp_path, a=""), pictures, CLASSES)

    def test_an_empty_folder(self, pictures: list[Path], tmp_path: Path) -> None:
        with pytest.raises(CalibrationError, match="holds no label files"):
            read_labels(written(tmp_path), pictures, CLASSES)

    def test_two_pictures_of_one_name(self, pictures: list[Path], tmp_path: Path) -> None:
        with pytest.raises(CalibrationError, match="2 pictures are called 'a'"):
            read_labels(written(tmp_path, a=""), [pictures[0], tmp_path / "a.png"], CLASSES)

    def test_binary_labels(self, pictures: list[Path], tmp_path: Path) -> None:
        labels = written(tmp_path, b="")
        (labels / "a.txt").write_bytes(b"\xff\xfe\x00")
        with pytest.raises(CalibrationError, match=r"a\.txt cannot be read"):
            read_labels(labels, pictures, CLASSES)


class TestCoco:
    def test_boxes_classes_and_crowds(self, pictures: list[Path], tmp_path: Path) -> None:
        first, second = read_labels(coco(tmp_path), pictures, CLASSES)
        assert as_lists(first) == ([[80, 30, 120, 50], [0, 0, 200, 100]], [1, 0], [False, True])
        assert len(second) == 0

    def test_other_names_of_equal_number_go_by_order(self, pictures: list[Path], tmp_path: Path) -> None:
        first, _ = read_labels(coco(tmp_path), pictures, ("kitten", "puppy"))
        assert first.classes.tolist() == [1, 0]

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"images": []}, r"does not list 2 of 2 pictures; the first is a\.png"),
            ({"images": [{"id": 3}]}, "not in the COCO format .*file_name"),
            ({"annotations": 3}, "not in the COCO format"),
            ({"annotations": [{"id": 5, "image_id": 3, "category_id": 17, "bbox": [1, 2, 3]}]}, "Annotation 5"),
            ({"annotations": [{"id": 5, "image_id": 3, "category_id": 17, "bbox": [1, 2, 3, None]}]}, "Annotation 5"),
            ({"annotations": [{"id": 5, "image_id": 3, "category_id": 99, "bbox": [1, 2, 3, 4]}]}, "Annotation 5"),
            ({"annotations": [{"id": 5, "image_id": 3, "category_id": 17, "bbox": ["x"]}]}, "COCO format|Annotation 5"),
            ({"categories": [{"id": 1, "name": "ship"}]}, "'ship'"),
        ],
    )
    def test_malformed(self, pictures: list[Path], tmp_path: Path, changes: dict[str, Any], message: str) -> None:
        with pytest.raises(CalibrationError, match=message):
            read_labels(coco(tmp_path, **changes), pictures, CLASSES)

    @pytest.mark.parametrize("text", ["{", "", "[]", "3"])
    def test_not_coco(self, pictures: list[Path], tmp_path: Path, text: str) -> None:
        file = tmp_path / "labels.json"
        file.write_text(text)
        with pytest.raises(CalibrationError, match=r"labels\.json"):
            read_labels(file, pictures, CLASSES)


def test_missing_and_unknown_labels(pictures: list[Path], tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="absent"):
        read_labels(tmp_path / "absent", pictures, CLASSES)
    with pytest.raises(CalibrationError, match="neither"):
        read_labels(pictures[0], pictures, CLASSES)
