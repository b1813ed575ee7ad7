from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from yocc.errors import CalibrationError
from yocc.runtime.data.letterbox import crop, letterbox, picture_size, read_picture, stretch

sides = st.integers(1, 300)


@pytest.mark.parametrize(
    ("picture", "inner", "offset"),
    [
        ((480, 640), (480, 640), (80, 0)),
        ((640, 480), (640, 480), (0, 80)),
        ((1080, 810), (640, 480), (0, 80)),
        ((425, 640), (425, 640), (107, 0)),
        ((100, 100), (640, 640), (0, 0)),
    ],
)
def test_geometry_of_yolov5(picture: tuple[int, int], inner: tuple[int, int], offset: tuple[int, int]) -> None:
    fitted, placement = letterbox(Image.new("RGB", (picture[1], picture[0]), "white"), (640, 640), 114)
    pixels = np.asarray(fitted)
    assert pixels.shape == (640, 640, 3)
    assert placement.offset == offset
    top, left = offset
    white = np.zeros((640, 640), bool)
    white[top : top + inner[0], left : left + inner[1]] = True
    assert (pixels[white] == 255).all()
    assert (pixels[~white] == 114).all()


@given(sides, sides, st.sampled_from([(64, 64), (32, 96), (96, 32)]), st.booleans())
def test_boxes_come_back(height: int, width: int, size: tuple[int, int], boxed: bool) -> None:
    picture = Image.new("RGB", (width, height))
    fitted, placement = letterbox(picture, size, 114) if boxed else stretch(picture, size)
    assert (fitted.height, fitted.width) == size
    boxes = np.array([[0, 0, width, height], [width / 4, height / 3, width / 2, height / 2]])
    inside = placement.to_input(boxes)
    assert placement.to_picture(inside) == pytest.approx(boxes, abs=1e-6)
    assert inside.min() >= 0
    assert (inside[:, [0, 2]] <= size[1] + 1e-6).all()
    assert (inside[:, [1, 3]] <= size[0] + 1e-6).all()


@given(sides, sides, st.sampled_from([(64, 64), (32, 96), (96, 32)]))
def test_a_cut_picture_covers_the_input(height: int, width: int, size: tuple[int, int]) -> None:
    fitted, placement = crop(Image.new("RGB", (width, height), "white"), size)
    assert (np.asarray(fitted) == 255).all()
    assert (fitted.height, fitted.width) == size
    corners = placement.to_input(np.array([[0, 0, width, height]]))[0]
    assert corners[:2].max() <= 0
    assert corners[2] >= size[1] - 1e-6
    assert corners[3] >= size[0] - 1e-6
    assert min(-corners[0] - (corners[2] - size[1]), -corners[1] - (corners[3] - size[0]), key=abs) <= 1


def test_boxes_are_clipped_to_the_picture() -> None:
    _, placement = letterbox(Image.new("RGB", (200, 100)), (64, 64), 114)
    assert placement.to_picture(np.array([[-5.0, 0.0, 99.0, 64.0]])).tolist() == [[0, 0, 200, 100]]


def test_a_mark_lands_where_the_placement_says() -> None:
    pixels = np.zeros((120, 200, 3), np.uint8)
    pixels[30:40, 150:160] = 255
    fitted, placement = letterbox(Image.fromarray(pixels), (100, 100), 0)
    rows, columns = np.nonzero(np.asarray(fitted)[..., 0] > 127)
    marked = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
    assert placement.to_input(np.array([[150.0, 30.0, 160.0, 40.0]]))[0] == pytest.approx(marked, abs=1.0)


def test_grey_pictures() -> None:
    fitted, _ = letterbox(Image.new("L", (20, 10), 255), (20, 20), 114)
    assert np.unique(np.asarray(fitted)).tolist() == [114, 255]


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1"])
def test_every_mode_is_read_as_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("picture.jpg" if mode == "CMYK" else "picture.png")
    Image.new(mode, (8, 6)).save(path)
    picture = read_picture(path)
    assert (picture.mode, picture.size) == ("RGB", (8, 6))
    assert picture_size(path) == (6, 8)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_stand_upright(tmp_path: Path, orientation: int) -> None:
    path = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (8, 6)).save(path, exif=exif)
    picture = read_picture(path)
    assert (picture.height, picture.width) == picture_size(path) == ((6, 8) if orientation < 5 else (8, 6))


def test_a_missing_picture(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="no picture"):
        read_picture(tmp_path / "absent.jpg")
    with pytest.raises(CalibrationError, match="cannot be read"):
        picture_size(tmp_path / "absent.jpg")


def test_a_picture_cut_short_is_named(tmp_path: Path) -> None:
    path = tmp_path / "short.jpg"
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(CalibrationError, match=r"short\.jpg cannot be read"):
        read_picture(path)


def test_not_a_picture(tmp_path: Path) -> None:
    path = tmp_path / "text.png"
    path.write_text("no picture")
    with pytest.raises(CalibrationError, match=r"text\.png cannot be read"):
        read_picture(path)


def test_sixteen_bits_are_read_as_a_viewer_shows_them(tmp_path: Path) -> None:
    gray = np.random.default_rng(0).integers(0, 256, (6, 8)).astype(np.uint16)
    path = tmp_path / "deep.png"
    Image.fromarray(gray * 257).save(path)
    picture = read_picture(path)
    assert picture.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(picture)[..., 1], gray)


def test_a_picture_at_the_top_left_comes_back() -> None:
    fitted, placement = letterbox(Image.new("RGB", (200, 100), "white"), (64, 64), 114, "top_left")
    pixels = np.asarray(fitted)
    assert (pixels[:32] == 255).all()
    assert (pixels[32:] == 114).all()
    assert placement.offset == (0, 0)
    box = np.array([[20.0, 10.0, 100.0, 90.0]])
    np.testing.assert_allclose(placement.to_picture(placement.to_input(box)), box)
