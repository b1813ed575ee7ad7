from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path

import pytest

from yocc.driver.output import OutputFolder
from yocc.errors import OptionError, OutputError

REPORT = json.dumps({"tool": "yocc", "schema": 1, "files": [{"path": "model.onnx"}]})


def _fill(folder: Path, text: str = "new") -> None:
    (folder / "model.onnx").write_text(text)
    (folder / "report.json").write_text(REPORT)


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_folder_appears_on_commit_only(tmp_path: Path) -> None:
    with OutputFolder(tmp_path / "out") as output:
        _fill(output.path)
        assert not (tmp_path / "out").exists()
        output.commit()
    assert _names(tmp_path) == {"out"}
    assert _names(tmp_path / "out") == {"model.onnx", "report.json"}


def test_folder_has_the_permissions_of_an_ordinary_one(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    with OutputFolder(tmp_path / "out") as output:
        output.commit()
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def test_without_commit_nothing_is_left(tmp_path: Path) -> None:
    with OutputFolder(tmp_path / "out") as output:
        _fill(output.path)
    assert _names(tmp_path) == set()


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_nothing_is_left_after(error: type[BaseException], tmp_path: Path) -> None:
    def fail() -> None:
        with OutputFolder(tmp_path / "deep" / "er" / "out") as output:
            _fill(output.path)
            raise error

    with pytest.raises(error):
        fail()
    assert _names(tmp_path) == set()


def test_missing_parents_are_made(tmp_path: Path) -> None:
    with OutputFolder(tmp_path / "deep" / "er" / "out") as output:
        output.commit()
    assert (tmp_path / "deep" / "er" / "out").is_dir()


def test_parents_others_use_meanwhile_stay(tmp_path: Path) -> None:
    with OutputFolder(tmp_path / "deep" / "out"):
        (tmp_path / "deep" / "notes.txt").write_text("mine")
    assert (tmp_path / "deep" / "notes.txt").exists()


def test_empty_folder_is_used(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with OutputFolder(tmp_path / "out") as output:
        _fill(output.path)
        output.commit()
    assert _names(tmp_path / "out") == {"model.onnx", "report.json"}


def test_earlier_output_is_replaced_only_on_commit(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    _fill(out, "old")
    with OutputFolder(out) as output:
        _fill(output.path)
        assert (out / "model.onnx").read_text() == "old"
        output.commit()
    assert (out / "model.onnx").read_text() == "new"
    assert _names(tmp_path) == {"out"}


def test_earlier_output_survives_a_failure(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    _fill(out, "old")
    with OutputFolder(out) as output:
        _fill(output.path)
    assert (out / "model.onnx").read_text() == "old"


def test_earlier_output_survives_a_rename_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    out.mkdir()
    _fill(out, "old")
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if target == out and (self / "model.onnx").read_text() == "new":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with OutputFolder(out) as output:
        _fill(output.path)
        with pytest.raises(OutputError):
            output.commit()
    assert (out / "model.onnx").read_text() == "old"
    assert _names(tmp_path) == {"out"}


@pytest.mark.parametrize("beside", ["", REPORT], ids=["foreign", "ours with something added"])
def test_folder_with_something_else_in_it_is_refused(tmp_path: Path, beside: str) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    if beside:
        (tmp_path / "report.json").write_text(beside)
    with pytest.raises(OptionError, match=r"notes\.txt"):
        OutputFolder(tmp_path)


def test_file_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(OptionError, match="is a file"):
        OutputFolder(tmp_path / "out")


def test_parent_that_is_a_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file")
    with pytest.raises(OutputError), OutputFolder(tmp_path / "file" / "out"):
        pass


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_parent_without_permission_is_one_sentence(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError), OutputFolder(tmp_path / "out"):
        pass


def test_link_to_a_folder_keeps_pointing_there(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with OutputFolder(tmp_path / "link") as output:
        _fill(output.path)
        output.commit()
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "model.onnx").exists()


def test_operating_system_errors_while_writing_are_output_errors(tmp_path: Path) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with OutputFolder(tmp_path / "out") as output, pytest.raises(OutputError, match="No space left"), output.writing():
        raise full
