"""What is fitted on and what is judged by have nothing in common."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from yocc.errors import CalibrationError, OutputError
from yocc.searching.pictures import MOST_JUDGED, Split, split_again, split_pictures


def _names(folder: Path | None) -> set[str]:
    assert folder is not None
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def _pictures(folder: Path, count: int) -> Path:
    (folder / "inner").mkdir(parents=True)
    for number in range(count):
        place = folder / ("inner" if number % 2 else ".") / f"{number}.png"
        Image.new("RGB", (4, 4)).save(place)
    return folder


def test_pictures_are_divided_by_the_seed_and_by_their_names(tmp_path: Path) -> None:
    first, other = _pictures(tmp_path / "a", 12), _pictures(tmp_path / "b", 12)
    split = split_pictures(first, tmp_path / "one", 0)
    fitted, judged = _names(split.fitting), _names(split.judging)
    assert (len(fitted), len(judged)) == (8, 4)
    assert fitted | judged == _names(first)
    assert not fitted & judged
    again = split_pictures(other, tmp_path / "two", 0)
    assert (_names(again.fitting), _names(again.judging)) == (fitted, judged)
    assert _names(split_pictures(other, tmp_path / "two", 1).judging) != judged
    assert split_again(first, tmp_path / "one") == split


def test_few_are_judged_of_many(tmp_path: Path) -> None:
    split = split_pictures(_pictures(tmp_path / "many", 3 * MOST_JUDGED + 9), tmp_path / "out", 0)
    assert len(_names(split.judging)) == MOST_JUDGED


@pytest.mark.parametrize("suffix", [".npz", ".npy"])
def test_arrays_are_divided_by_sample(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"samples{suffix}"
    values = np.arange(20, dtype=np.float32).reshape(10, 2)
    np.savez(file, x=values) if suffix == ".npz" else np.save(file, values)
    split = split_pictures(file, tmp_path / "out", 0)
    assert split_again(file, tmp_path / "out") == split
    parts = [np.load(part)[np.load(part).files[0]] for part in (split.fitting, split.judging) if part is not None]
    assert sorted(np.concatenate(parts)[:, 0].tolist()) == values[:, 0].tolist()
    assert [len(part) for part in parts] == [7, 3]


def test_without_pictures_nothing_is_divided(tmp_path: Path) -> None:
    assert split_pictures(None, tmp_path, 0) == split_again(None, tmp_path) == Split(None, None)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_divided_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="holds 3 samples, too few"):
        split_pictures(_pictures(tmp_path / "few", 3), tmp_path / "out", 0)
    with pytest.raises(CalibrationError, match="There is no"):
        split_pictures(tmp_path / "none", tmp_path / "out", 0)
    np.savez(tmp_path / "uneven.npz", x=np.zeros((5, 2)), y=np.zeros((6, 2)))
    with pytest.raises(CalibrationError, match="cannot be divided"):
        split_pictures(tmp_path / "uneven.npz", tmp_path / "out", 0)
    (tmp_path / "broken.npz").write_bytes(b"none")
    with pytest.raises(CalibrationError, match="cannot be read"):
        split_pictures(tmp_path / "broken.npz", tmp_path / "out", 0)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="Nothing can be written"):
        split_pictures(_pictures(tmp_path / "enough", 6), tmp_path / "file", 0)


def test_a_picture_that_cannot_be_read_is_named_before_any_trial(tmp_path: Path) -> None:
    folder = _pictures(tmp_path / "many", 12)
    (folder / "torn.jpg").write_bytes(b"none")
    (folder / "._0.png").write_bytes(b"notes of a file manager")
    with pytest.raises(CalibrationError, match=r"The picture .*torn\.jpg cannot be read"):
        split_pictures(folder, tmp_path / "out", 0)
