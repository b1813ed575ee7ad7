from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from yocc.compiler.output import folder as output_module
from yocc.compiler.output.exchange import exchange
from yocc.compiler.output.folder import OutputFolder, output_path
from yocc.errors import OptionError, OutputError
from yocc.report.report import file_facts, foreign_files, plain

REPORT = json.dumps({"tool": "yocc", "schema": 1, "files": [{"path": "model.onnx", "bytes": 1, "sha256": ""}]})


def _fill(folder: Path, text: str = "new") -> None:
    (folder / "model.onnx").write_text(text)
    files = [plain(file_facts(folder / "model.onnx", "model.onnx"))]
    (folder / "report.json").write_text(json.dumps({"tool": "yocc", "schema": 1, "files": files}))


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


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
    assert (_names(tmp_path / "a"), _names(tmp_path / "b")) == ({"b"}, {"a"})


def test_exchange_with_nothing_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(FileNotFoundError):
        exchange(tmp_path / "a", tmp_path / "b")


def test_result_that_cannot_be_put_in_place_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    out.mkdir()
    _fill(out, "old")
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if target == out and (self / "model.onnx").read_text() == "new":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return rename(self, target)

    monkeypatch.setattr(output_module, "exchange", lambda *_: False)
    monkeypatch.setattr(Path, "rename", failing)
    with OutputFolder(out) as output:
        _fill(output.path)
        with pytest.raises(OutputError, match=r"out\.new"):
            output.commit()
    assert (out / "model.onnx").read_text() == "old"
    assert (tmp_path / "out.new" / "model.onnx").read_text() == "new"
    assert _names(tmp_path) == {"out", "out.new"}


@pytest.mark.usefixtures("at_once")
def test_replaced_by_both_ways(tmp_path: Path) -> None:
    _fill(_folder(tmp_path / "out"), "old")
    with OutputFolder(tmp_path / "out") as output:
        _fill(output.path)
        output.commit()
    assert (tmp_path / "out" / "model.onnx").read_text() == "new"
    assert _names(tmp_path) == {"out"}


@pytest.mark.parametrize("name", ["notes.txt", "deep/er/notes.txt", "model.onnx", "report.html"])
@pytest.mark.parametrize("earlier", [True, False])
@pytest.mark.usefixtures("at_once")
def test_file_that_appears_meanwhile_is_kept(name: str, earlier: bool, tmp_path: Path) -> None:
    out = tmp_path / "out"
    if earlier:
        _fill(_folder(out), "old")
    with OutputFolder(out) as output:
        _fill(output.path)
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text("precious")
        with pytest.raises(OutputError, match="did not write all of it") as caught:
            output.commit()
    assert str(tmp_path / "out.new") in str(caught.value)
    assert (out / name).read_text() == "precious"
    assert (tmp_path / "out.new" / "model.onnx").read_text() == "new"
    assert _names(tmp_path) == {"out", "out.new"}


@pytest.mark.usefixtures("at_once")
def test_file_that_appears_between_the_look_and_the_swap_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    _fill(_folder(out), "old")
    put = OutputFolder._put

    def late(self: OutputFolder) -> bool:
        (out / "notes.txt").write_text("precious")
        return put(self)

    monkeypatch.setattr(OutputFolder, "_put", late)
    with OutputFolder(out) as output:
        _fill(output.path)
        with pytest.raises(OutputError, match=r"out\.kept"):
            output.commit()
    assert (out / "model.onnx").read_text() == "new"
    assert (tmp_path / "out.kept" / "notes.txt").read_text() == "precious"
    assert _names(tmp_path) == {"out", "out.kept"}


_KILLS = """
import os, signal, sys
from pathlib import Path
from tests.compiler.output.test_folder import _fill, _folder
from yocc.compiler.output import folder as module
from yocc.compiler.output.folder import OutputFolder

top, swaps, earlier = Path(sys.argv[1]), sys.argv[2] == "True", sys.argv[3] == "True"
if not swaps:
    module.exchange = lambda *_: False

def compile_into(out, last):
    seen = 0
    def hook(event, _):
        nonlocal seen
        if event != "os.kill" and event.startswith(("os.", "shutil.", "open", "ctypes.")):
            seen += 1
            if seen > last:
                os.kill(os.getpid(), signal.SIGKILL)
    with OutputFolder(out) as output:
        sys.addaudithook(hook)
        _fill(output.path)
        output.commit()
    os._exit(0)

for last in range(1000):
    folder = _folder(top / str(last))
    out = folder / "out"
    if earlier:
        _fill(_folder(out), "old")
    child = os.fork()
    if not child:
        compile_into(out, last)
    _, status = os.waitpid(child, 0)
    if swaps and earlier:
        assert (out / "model.onnx").read_text() in ("old", "new"), last
    module.settle(out)
    if earlier or out.exists():
        assert (out / "model.onnx").read_text() in ("old", "new"), last
        assert {path.name for path in out.iterdir()} == {"model.onnx", "report.json"}, last
    assert {path.name for path in folder.iterdir()} <= {"out"}, (last, list(folder.iterdir()))
    if os.WIFEXITED(status):
        assert (out / "model.onnx").read_text() == "new"
        print(last)
        break
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")
@pytest.mark.parametrize("earlier", [True, False])
@pytest.mark.parametrize("swaps", [True, False])
def test_killed_at_any_moment_the_old_or_the_new_result_stands(swaps: bool, earlier: bool, tmp_path: Path) -> None:
    command = [sys.executable, "-c", _KILLS, str(tmp_path), str(swaps), str(earlier)]
    run = subprocess.run(command, cwd=Path(__file__).parents[3], capture_output=True, text=True, check=False)
    assert not run.returncode, run.stderr
    assert int(run.stdout) > 10


def test_folder_of_a_live_run_is_left_alone(tmp_path: Path) -> None:
    with OutputFolder(tmp_path / "out") as first:
        _fill(first.path, "first")
        with OutputFolder(tmp_path / "out") as second:
            _fill(second.path, "second")
            second.commit()
        assert (tmp_path / "out" / "model.onnx").read_text() == "second"
        first.commit()
    assert (tmp_path / "out" / "model.onnx").read_text() == "first"
    assert _names(tmp_path) == {"out"}


_COMMITS = """
import sys
from pathlib import Path
from tests.compiler.output.test_folder import _fill
from yocc.compiler.output import folder as module

if sys.argv[2] == "False":
    module.exchange = lambda *_: False
for number in range(60):
    with module.OutputFolder(Path(sys.argv[1])) as output:
        _fill(output.path, f"{sys.argv[3]} {number}")
        output.commit()
"""


@pytest.mark.slow
@pytest.mark.parametrize("swaps", [True, False])
def test_two_processes_may_write_to_one_folder(swaps: bool, tmp_path: Path) -> None:
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", _COMMITS, str(tmp_path / "out"), str(swaps), name],
            cwd=Path(__file__).parents[3], stderr=subprocess.PIPE, text=True,
        )
        for name in ("one", "other")
    ]  # fmt: skip
    errors = [run.communicate()[1] for run in runs]
    assert errors == ["", ""]
    assert [run.returncode for run in runs] == [0, 0]
    assert (tmp_path / "out" / "model.onnx").read_text().endswith(" 59")
    assert _names(tmp_path / "out") == {"model.onnx", "report.json"}
    assert _names(tmp_path) == {"out"}


def test_a_folder_replaced_while_it_is_looked_at_is_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []

    def replaced(folder: Path) -> list[str]:
        looks.append(folder)
        if len(looks) == 1:
            folder.rmdir()
            folder.mkdir()  # with the inode of the one before, where the file system reuses them
            return ["model.onnx"]
        return foreign_files(folder)

    monkeypatch.setattr(output_module, "foreign_files", replaced)
    with OutputFolder(_folder(tmp_path / "out")):
        assert len(looks) == 2


def test_what_a_killed_run_left_is_not_deleted_with_files_in_it_that_are_not_of_yocc(tmp_path: Path) -> None:
    left = _folder(tmp_path / ".out.yocc-12345678")
    (left / "lock").touch()
    (left / "unchecked").touch()
    _fill(_folder(left / "new"), "old")
    (left / "new" / "notes.txt").write_text("precious")
    with OutputFolder(tmp_path / "out"):
        pass
    assert (tmp_path / "out.kept" / "notes.txt").read_text() == "precious"
    assert _names(tmp_path) == {"out.kept"}


def test_folders_that_only_look_alike_are_left_alone(tmp_path: Path) -> None:
    (_folder(tmp_path / ".out.yocc-notes") / "notes.txt").touch()
    (_folder(tmp_path / ".out.other") / "lock").touch()
    with OutputFolder(tmp_path / "out"):
        pass
    assert _names(tmp_path) == {".out.yocc-notes", ".out.other"}


def test_changed_files_of_yocc_are_not_replaced(tmp_path: Path) -> None:
    _fill(_folder(tmp_path / "out"))
    (tmp_path / "out" / "model.onnx").write_text("own")
    with pytest.raises(OptionError, match=r"model\.onnx"):
        OutputFolder(tmp_path / "out")


def test_report_that_nests_too_deep_is_not_of_yocc(tmp_path: Path) -> None:
    (_folder(tmp_path / "out") / "report.json").write_text("[" * 100_000)
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
        _fill(output.path)
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
