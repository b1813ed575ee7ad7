from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import yocc
from tests.samples import tiny_model
from yocc.cli import cli
from yocc.models.shipped import shipped_detector
from yocc.models.street import CLASSES, write
from yocc.runtime.data.letterbox import read_picture

MODEL = shipped_detector()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    write(folder, "test", 2)
    return folder / "images"


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["detect", *map(str, arguments)], prog_name="yocc")


def test_boxes_are_those_that_are_in_the_picture(pictures: Path) -> None:
    result = _run(MODEL, pictures, "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert [Path(each["picture"]) for each in found] == sorted(pictures.iterdir())
    for each in found:
        labels = Path(each["picture"]).parents[1] / "labels" / Path(each["picture"]).with_suffix(".txt").name
        truths = [list(map(float, line.split())) for line in labels.read_text().splitlines()]
        assert any(_overlap(one, truth) > 0.5 for one in each["detections"] for truth in truths)
        assert all(one["score"] >= 0.25 and one["class"] == CLASSES[one["number"]] for one in each["detections"])


def _overlap(found: dict, truth: list[float]) -> float:
    """Intersection over union with a label of YOLO in a picture of 320 pixels."""
    if found["number"] != int(truth[0]):
        return 0.0
    x, y, width, height = (320 * value for value in truth[1:])
    left, top, right, bottom = found["box"]
    across = min(right, x + width / 2) - max(left, x - width / 2)
    down = min(bottom, y + height / 2) - max(top, y - height / 2)
    if min(across, down) <= 0:
        return 0.0
    return across * down / ((right - left) * (bottom - top) + width * height - across * down)


def test_a_table_has_a_row_for_each_box(pictures: Path) -> None:
    picture = min(pictures.iterdir())
    result = _run(MODEL, picture)
    (found,) = yocc.detect(MODEL, picture).found
    assert sum(name in line for line in result.stdout.splitlines() for name in CLASSES) == len(found)


@pytest.mark.slow
def test_boxes_are_drawn_into_a_folder(pictures: Path, tmp_path: Path) -> None:
    for _ in range(2):  # its own pictures are replaced
        assert _run(MODEL, pictures, "-o", tmp_path / "boxes").exit_code == 0
    drawn, plain = (sorted(folder.iterdir()) for folder in (tmp_path / "boxes", pictures))
    assert [path.name for path in drawn] == [path.name for path in plain]
    for before, after in zip(plain, drawn, strict=True):
        assert read_picture(before).tobytes() != read_picture(after).tobytes()


def test_one_picture_is_drawn_into_a_file(pictures: Path, tmp_path: Path) -> None:
    assert _run(MODEL, min(pictures.iterdir()), "-o", tmp_path / "boxes.jpg").exit_code == 0
    assert read_picture(tmp_path / "boxes.jpg").size == (320, 320)


def test_pictures_of_others_are_not_replaced(pictures: Path, tmp_path: Path) -> None:
    picture = min(pictures.iterdir())
    (tmp_path / "mine.png").write_bytes(picture.read_bytes())
    result = _run(MODEL, picture, "-o", tmp_path / "mine.png")
    assert result.exit_code == 2
    assert "yocc did not write it" in result.stderr
    assert (tmp_path / "mine.png").read_bytes() == picture.read_bytes()
    assert _run(MODEL, picture, "-o", tmp_path / "mine.png", "--force").exit_code == 0


@pytest.mark.parametrize(
    ("out", "words"),
    [("boxes.jpg", "one file for 2 pictures"), ("notes.txt", "is no folder"), ("images", "is one of the pictures")],
)
def test_places_that_cannot_be_drawn_to_are_refused(pictures: Path, tmp_path: Path, out: str, words: str) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    result = _run(MODEL, pictures, "-o", pictures if out == "images" else tmp_path / out)
    assert result.exit_code == 2
    assert words in result.stderr


@pytest.mark.slow
def test_nothing_found_is_said(pictures: Path) -> None:
    result = _run(MODEL, pictures, "--confidence", "1", "--json")
    assert result.exit_code == 0
    assert "try a lower --confidence" in result.stderr
    assert [each["detections"] for each in json.loads(result.stdout)] == [[], []]


def test_a_model_that_is_no_detector_is_refused(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "tiny.onnx").write_bytes(tiny_model().SerializeToString())
    result = _run(tmp_path / "tiny.onnx", pictures)
    assert result.exit_code == 2
    assert "no detector of a known family" in result.stderr
