from __future__ import annotations

import errno
import os
import stat
import sys
from pathlib import Path

import pytest

from tests.compiler.output.folders import fill, made, names
from yocc.compiler.output import folder as output_module
from yocc.compiler.output.exchange import exchange
from yocc.compiler.output.folder import OutputFolder
from yocc.errors import OutputError


def test_folder_appears_on_commit_only(tmp_path: Path) -> None:
    with OutputFolder(tmp_path / "out") as output:
        fill(output.path)
        assert not (tmp_path / "out").exists()
        output.commit()
    assert names(tmp_path) == {"out"}
    assert names(tmp_path / "out") == {"model.onnx", "report.json"}


def test_folder_has_the_permissions_of_an_ordinary_one(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    with OutputFolder(tmp_path / "out") as output:
        output.commit()
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def test_without_commit_nothing_is_left(tmp_path: Path) -> None:
    with OutputFolder(tmp_path / "out") as output:
        fill(output.path)
    assert names(tmp_path) == set()


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_nothing_is_left_after(error: type[BaseException], tmp_path: Path) -> None:
    def fail() -> None:
        with OutputFolder(tmp_path / "deep" / "er" / "out") as output:
            fill(output.path)
            raise error

    with pytest.raises(error):
        fail()
    assert names(tmp_path) == set()


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
        fill(output.path)
        output.commit()
    assert names(tmp_path / "out") == {"model.onnx", "report.json"}


def test_earlier_output_is_replaced_only_on_commit(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    fill(out, "old")
    with OutputFolder(out) as output:
        fill(output.path)
        assert (out / "model.onnx").read_text() == "old"
        output.commit()
    assert (out / "model.onnx").read_text() == "new"
    assert names(tmp_path) == {"out"}


def test_earlier_output_survives_a_failure(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    fill(out, "old")
    with OutputFolder(out) as output:
        fill(output.path)
    assert (out / "model.onnx").read_text() == "old"


@pytest.fixture(params=[True, False], ids=["exchange", "renames"])
def at_once(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """With and without a file system that swaps folders in one step."""
    if not request.param:
        monkeypatch.setattr(output_module, "exchange", lambda *_: False)
    return bool(request.param)


@pytest.mark.skipif(sys.platform != "linux", reason="of Linux file systems")
def test_folders_are_exchanged(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    assert exchange(tmp_path / "a", tmp_path / "b")
    assert (names(tmp_path / "a"), names(tmp_path / "b")) == ({"b"}, {"a"})


def test_exchange_with_nothing_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(FileNotFoundError):
        exchange(tmp_path / "a", tmp_path / "b")


def test_result_that_cannot_be_put_in_place_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    out.mkdir()
    fill(out, "old")
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if target == out and (self / "model.onnx").read_text() == "new":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return rename(self, target)

    monkeypatch.setattr(output_module, "exchange", lambda *_: False)
    monkeypatch.setattr(Path, "rename", failing)
    with OutputFolder(out) as output:
        fill(output.path)
        with pytest.raises(OutputError, match=r"out\.new"):
            output.commit()
    assert (out / "model.onnx").read_text() == "old"
    assert (tmp_path / "out.new" / "model.onnx").read_text() == "new"
    assert names(tmp_path) == {"out", "out.new"}


@pytest.mark.usefixtures("at_once")
def test_replaced_by_both_ways(tmp_path: Path) -> None:
    fill(made(tmp_path / "out"), "old")
    with OutputFolder(tmp_path / "out") as output:
        fill(output.path)
        output.commit()
    assert (tmp_path / "out" / "model.onnx").read_text() == "new"
    assert names(tmp_path) == {"out"}


@pytest.mark.parametrize("name", ["notes.txt", "deep/er/notes.txt", "model.onnx", "report.html"])
@pytest.mark.parametrize("earlier", [True, False])
@pytest.mark.usefixtures("at_once")
def test_file_that_appears_meanwhile_is_kept(name: str, earlier: bool, tmp_path: Path) -> None:
    out = tmp_path / "out"
    if earlier:
        fill(made(out), "old")
    with OutputFolder(out) as output:
        fill(output.path)
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text("precious")
        with pytest.raises(OutputError, match="did not write all of it") as caught:
            output.commit()
    assert str(tmp_path / "out.new") in str(caught.value)
    assert (out / name).read_text() == "precious"
    assert (tmp_path / "out.new" / "model.onnx").read_text() == "new"
    assert names(tmp_path) == {"out", "out.new"}


@pytest.mark.usefixtures("at_once")
def test_file_that_appears_between_the_look_and_the_swap_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    fill(made(out), "old")
    put = OutputFolder._put

    def late(self: OutputFolder) -> bool:
        (out / "notes.txt").write_text("precious")
        return put(self)

    monkeypatch.setattr(OutputFolder, "_put", late)
    with OutputFolder(out) as output:
        fill(output.path)
        with pytest.raises(OutputError, match=r"out\.kept"):
            output.commit()
    assert (out / "model.onnx").read_text() == "new"
    assert (tmp_path / "out.kept" / "notes.txt").read_text() == "precious"
    assert names(tmp_path) == {"out", "out.kept"}
