from __future__ import annotations

import os
from pathlib import Path

import pytest

from yocc.errors import OptionError, OutputError
from yocc.files.writing import write_whole


def _ours(path: Path) -> bool:
    return path.read_bytes().startswith(b"yocc")


def test_a_file_of_ours_is_replaced(tmp_path: Path) -> None:
    for text in (b"yocc 1", b"yocc 2"):
        write_whole(tmp_path / "a", text, _ours)
        assert (tmp_path / "a").read_bytes() == text
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_any_other_file_is_left_alone_without_force(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("precious")
    with pytest.raises(OptionError, match="did not write it"):
        write_whole(tmp_path / "a", b"yocc", _ours)
    assert (tmp_path / "a").read_text() == "precious"
    write_whole(tmp_path / "a", b"yocc", _ours, force=True)
    assert (tmp_path / "a").read_bytes() == b"yocc"


def test_a_file_that_cannot_be_read_as_one_of_ours_is_none(tmp_path: Path) -> None:
    def broken(path: Path) -> bool:
        raise ValueError(path)

    (tmp_path / "a").write_text("precious")
    with pytest.raises(OptionError):
        write_whole(tmp_path / "a", b"yocc", broken)


def test_an_empty_file_is_used(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    write_whole(tmp_path / "a", b"yocc", _ours)
    assert (tmp_path / "a").read_bytes() == b"yocc"


def test_a_link_keeps_pointing_there(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "a")
    write_whole(tmp_path / "link", b"yocc", _ours)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "a").read_bytes() == b"yocc"


def test_a_device_is_written_to_and_not_replaced() -> None:
    write_whole(Path(os.devnull), b"yocc", _ours)
    assert not Path(os.devnull).is_file()


@pytest.mark.parametrize("name", [".", "absent/a", "a\0b"])
def test_what_cannot_be_written_is_one_sentence(name: str, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        write_whole(tmp_path / name, b"yocc", _ours)
    assert list(tmp_path.iterdir()) == []
