from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from tests.compiler.output.folders import fill, made, names
from yocc.compiler.output.folder import OutputFolder, output_path
from yocc.errors import OptionError, OutputError

REPORT = json.dumps({"tool": "yocc", "schema": 1, "files": [{"path": "model.onnx", "bytes": 1, "sha256": ""}]})


def test_folders_that_only_look_alike_are_left_alone(tmp_path: Path) -> None:
    (made(tmp_path / ".out.yocc-notes") / "notes.txt").touch()
    (made(tmp_path / ".out.other") / "lock").touch()
    with OutputFolder(tmp_path / "out"):
        pass
    assert names(tmp_path) == {".out.yocc-notes", ".out.other"}


def test_changed_files_of_yocc_are_not_replaced(tmp_path: Path) -> None:
    fill(made(tmp_path / "out"))
    (tmp_path / "out" / "model.onnx").write_text("own")
    with pytest.raises(OptionError, match=r"model\.onnx"):
        OutputFolder(tmp_path / "out")


def test_report_that_nests_too_deep_is_not_of_yocc(tmp_path: Path) -> None:
    (made(tmp_path / "out") / "report.json").write_text("[" * 100_000)
    with pytest.raises(OptionError, match=r"report\.json"):
        OutputFolder(tmp_path / "out")


def test_links_in_circles_are_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(OptionError, match="is not a path"):
        OutputFolder(tmp_path / "loop")
    with pytest.raises(OptionError, match="is not a path"):
        output_path(tmp_path / "m.onnx", tmp_path / "loop")


@pytest.mark.parametrize("name", ["a\0b", os.fsdecode(b"caf\xe9")])
def test_names_no_folder_can_have_are_one_sentence(name: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError):
        OutputFolder(tmp_path / name)


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
        fill(output.path)
        output.commit()
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "model.onnx").exists()


def test_operating_system_errors_while_writing_are_output_errors(tmp_path: Path) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with OutputFolder(tmp_path / "out") as output, pytest.raises(OutputError, match="No space left"), output.writing():
        raise full


def test_a_name_of_a_model_file_is_refused_unless_such_a_folder_stands_there(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"'.*small\.onnx' is named like a file.*-o .*small;"):
        output_path(tmp_path / "m.onnx", tmp_path / "small.onnx")
    (tmp_path / "small.onnx").mkdir()
    assert output_path(tmp_path / "m.onnx", tmp_path / "small.onnx") == tmp_path / "small.onnx"
