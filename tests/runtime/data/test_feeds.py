from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from yocc.errors import CalibrationError, OptionError
from yocc.runtime.data.feeds import SYNTHETIC_COUNT, InputSpec, find_pictures, open_feeds, spread
from yocc.runtime.data.preprocess import Preprocess

PIXELS = InputSpec("pixels", (1, 3, 8, 8), np.dtype(np.float32))
TOKENS = InputSpec("tokens", (1, 5), np.dtype(np.int64))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five pictures, told apart by their grey level; written in another order than they sort."""
    (tmp_path / "deeper").mkdir()
    for name, level in (("e.png", 50), ("b.jpeg", 20), ("deeper/c.bmp", 30), ("a.JPG", 10), ("deeper/d.webp", 40)):
        Image.new("RGB", (8, 8), (level,) * 3).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture")
    return tmp_path


def levels(feeds: object) -> list[int]:
    return [round(float(sample["pixels"].mean()) * 255) for sample in feeds]


def test_a_folder_in_the_order_of_its_names(folder: Path) -> None:
    feeds = open_feeds(folder, [PIXELS], None)
    assert levels(feeds) == [10, 20, 30, 40, 50]
    assert levels(feeds) == [10, 20, 30, 40, 50]
    assert len(feeds) == 5
    assert feeds.description == f"5 pictures from {folder}"
    assert not feeds.synthetic


def test_parts_of_it(folder: Path) -> None:
    feeds = open_feeds(str(folder), [PIXELS], None)
    assert levels(feeds.head(2)) == [10, 20]
    assert levels(feeds.spread(2)) == [10, 30]
    assert levels(feeds.spread(3).head(9)) == [10, 20, 40]
    assert levels(open_feeds(folder, [PIXELS], None, count=2)) == [10, 30]
    assert len(open_feeds(folder, [PIXELS], None, count=99)) == 5


def test_one_picture(folder: Path) -> None:
    feeds = open_feeds(folder / "e.png", [PIXELS], None)
    assert levels(feeds) == [50]
    assert feeds.description.startswith("1 picture from")


def test_preprocessing_is_applied(folder: Path) -> None:
    Image.new("RGB", (8, 4), "white").save(folder / "wide.png")
    boxed = open_feeds(folder / "wide.png", [PIXELS], Preprocess(scale=1.0, letterbox=True))
    (sample,) = boxed
    assert np.unique(sample["pixels"]).tolist() == [114, 255]


def test_pictures_are_decoded_only_when_iterated(folder: Path) -> None:
    feeds = open_feeds(folder, [PIXELS], None)
    for file in find_pictures(folder)[1:]:
        file.unlink()
    assert levels(feeds.head(1)) == [10]
    with pytest.raises(CalibrationError, match=r"no picture .*b\.jpeg"):
        list(feeds)


def test_arrays(tmp_path: Path) -> None:
    path = tmp_path / "samples.npz"
    np.savez(path, pixels=np.arange(5, dtype=np.float32)[:, None, None, None] * np.ones((3, 8, 8), np.float32) / 255)
    feeds = open_feeds(path, [PIXELS], None, count=2)
    assert levels(feeds) == [0, 2]
    assert feeds.description == f"2 samples from {path}"
    assert not feeds.synthetic


def test_several_inputs_from_arrays(tmp_path: Path) -> None:
    path = tmp_path / "samples.npz"
    np.savez(path, pixels=np.zeros((2, 3, 8, 8), np.float32), tokens=np.zeros((2, 5), np.int64))
    assert [sorted(sample) for sample in open_feeds(path, [PIXELS, TOKENS], None)] == [["pixels", "tokens"]] * 2


class TestDrawn:
    def test_without_a_source_yocc_draws(self) -> None:
        feeds = open_feeds(None, [PIXELS], None, seed=3)
        assert feeds.synthetic
        assert len(feeds) == SYNTHETIC_COUNT
        assert feeds.description == "64 synthetic pictures, seed 3"

    def test_the_seed_decides(self) -> None:
        once, again, other = (open_feeds(None, [PIXELS], None, count=3, seed=seed) for seed in (3, 3, 4))
        once_bytes = [sample["pixels"].tobytes() for sample in once]
        assert once_bytes == [sample["pixels"].tobytes() for sample in again]
        assert set(once_bytes).isdisjoint(sample["pixels"].tobytes() for sample in other)

    def test_a_part_is_a_part_of_the_whole(self) -> None:
        feeds = open_feeds(None, [PIXELS], None, count=6)
        whole = [sample["pixels"].tobytes() for sample in feeds]
        assert [sample["pixels"].tobytes() for sample in feeds.spread(3)] == whole[::2]

    def test_letterboxed_as_photographs_are(self) -> None:
        spec = InputSpec("pixels", (1, 3, 64, 64), np.dtype(np.float32))
        (sample,) = open_feeds(None, [spec], Preprocess(scale=1.0, letterbox=True), count=1)
        assert (sample["pixels"][0, :, :8] == 114).all()
        assert not (sample["pixels"][0, :, 8:56] == 114).all()

    @pytest.mark.parametrize("inputs", [[TOKENS], [PIXELS, TOKENS], []])
    def test_only_for_one_picture_input(self, inputs: list[InputSpec]) -> None:
        with pytest.raises(CalibrationError, match=r"\.npz"):
            open_feeds(None, inputs, None)


class TestErrors:
    def test_missing_folder(self, tmp_path: Path) -> None:
        with pytest.raises(CalibrationError, match="absent"):
            open_feeds(tmp_path / "absent", [PIXELS], None)

    def test_folder_without_pictures(self, tmp_path: Path) -> None:
        (tmp_path / "notes.txt").write_text("no picture")
        with pytest.raises(CalibrationError, match="holds no pictures"):
            open_feeds(tmp_path, [PIXELS], None)

    def test_all_unreadable_pictures_are_named_at_once(self, folder: Path) -> None:
        for number in range(12):
            (folder / f"bad{number:02}.jpg").write_bytes(b"no picture")
        pattern = r"^12 of \d+ pictures cannot be read: .*bad00\.jpg, .*bad09\.jpg and 2 more\. Remove them"
        with pytest.raises(CalibrationError, match=pattern):
            open_feeds(folder, [PIXELS], None)

    def test_one_unreadable_picture_is_named(self, folder: Path) -> None:
        (folder / "bad.jpg").write_text("no picture")
        with pytest.raises(CalibrationError, match=r"bad\.jpg cannot be read.*Remove"):
            open_feeds(folder, [PIXELS], None)

    def test_nothing_readable(self, tmp_path: Path) -> None:
        for name in ("a.jpg", "b.jpg"):
            (tmp_path / name).write_text("no picture")
        with pytest.raises(CalibrationError, match="None of the 2 pictures"):
            open_feeds(tmp_path, [PIXELS], None)

    def test_a_video_is_refused_with_the_line_that_takes_pictures_out_of_it(self, folder: Path) -> None:
        (folder / "clip.MP4").write_bytes(b"")
        with pytest.raises(CalibrationError, match=r"does not decode.*ffmpeg -i .*clip\.MP4 -r 1 frames"):
            find_pictures(folder / "clip.MP4")

    def test_neither_pictures_nor_arrays(self, folder: Path) -> None:
        with pytest.raises(CalibrationError, match="neither"):
            open_feeds(folder / "notes.txt", [PIXELS], None)

    def test_pictures_for_an_input_that_takes_none(self, folder: Path) -> None:
        with pytest.raises(CalibrationError, match=r"'tokens' \[1, 5\].*\.npz"):
            open_feeds(folder, [TOKENS], None)

    def test_pictures_for_two_inputs(self, folder: Path) -> None:
        with pytest.raises(CalibrationError, match=r"'pixels'.*'tokens'"):
            open_feeds(folder, [PIXELS, TOKENS], None)

    @pytest.mark.parametrize("count", [0, -3])
    def test_counts_are_checked(self, folder: Path, count: int) -> None:
        feeds = open_feeds(folder, [PIXELS], None)
        for ask in (feeds.head, feeds.spread, lambda some: open_feeds(folder, [PIXELS], None, count=some)):
            with pytest.raises(OptionError, match=str(count)):
                ask(count)

    def test_seeds_are_checked(self) -> None:
        with pytest.raises(OptionError, match="-1"):
            open_feeds(None, [PIXELS], None, seed=-1)


@pytest.mark.parametrize(("available", "count", "expected"), [(5, 2, (0, 2)), (3, 3, (0, 1, 2)), (2, 9, (0, 1))])
def test_spread(available: int, count: int, expected: tuple[int, ...]) -> None:
    assert spread(available, count) == expected


def test_calibration_pictures(shared_data: Path) -> None:
    spec = InputSpec("images", (1, 3, 640, 640), np.dtype(np.float32))
    feeds = open_feeds(shared_data / "images" / "calib178", [spec], Preprocess(letterbox=True))
    assert len(feeds) == 178
    for sample in feeds.spread(3):
        assert sample["images"].shape == (1, 3, 640, 640)
        assert 0.0 <= sample["images"].min() < sample["images"].max() <= 1.0


def test_hidden_files_and_folders_are_no_pictures(folder: Path) -> None:
    seen = find_pictures(folder)
    (folder / "._0.png").write_bytes(b"\0\5\x16\7")
    (folder / ".thumbnails").mkdir()
    (folder / ".thumbnails" / "0.png").write_bytes(b"nothing")
    assert find_pictures(folder) == seen


@pytest.mark.parametrize("channels", [2, 4])
def test_a_number_of_channels_that_no_picture_has_is_the_reason(folder: Path, channels: int) -> None:
    spec = InputSpec("images", (1, channels, 8, 8), np.dtype(np.float32))
    with pytest.raises(CalibrationError, match=rf"inputs of 1 or 3 channels, and 'images' \[1, {channels}, 8, 8\]"):
        open_feeds(folder, [spec], None)


@pytest.mark.parametrize("given", [False, True])
def test_an_input_too_large_for_a_picture_is_refused(folder: Path, given: bool) -> None:
    huge = InputSpec("pixels", (1, 3, 10**6, 10**6), np.dtype(np.float32))
    with pytest.raises(CalibrationError, match=r"\[1, 3, 1000000, 1000000\] is too large"):
        open_feeds(folder if given else None, [huge], None)


def test_a_folder_of_arrays_is_refused_with_the_way_to_give_them(tmp_path: Path) -> None:
    np.savez(tmp_path / "first.npz", images=np.zeros((1, 3, 8, 8), np.float32))
    with pytest.raises(CalibrationError, match=r"holds arrays, such as first\.npz, and no pictures\. Give one \.npz"):
        open_feeds(tmp_path, [InputSpec("images", (1, 4, 8, 8), np.dtype(np.float32))], None)
