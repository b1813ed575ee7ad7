from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.compiler.output.folders import fill, made, names
from yocc.compiler.output import folder as output_module
from yocc.compiler.output.folder import OutputFolder
from yocc.report.report import foreign_files

_KILLS = """
import os, signal, sys
from pathlib import Path
from tests.compiler.output.folders import fill, made
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
        fill(output.path)
        output.commit()
    os._exit(0)

for last in range(1000):
    folder = made(top / str(last))
    out = folder / "out"
    if earlier:
        fill(made(out), "old")
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
        fill(first.path, "first")
        with OutputFolder(tmp_path / "out") as second:
            fill(second.path, "second")
            second.commit()
        assert (tmp_path / "out" / "model.onnx").read_text() == "second"
        first.commit()
    assert (tmp_path / "out" / "model.onnx").read_text() == "first"
    assert names(tmp_path) == {"out"}


_COMMITS = """
import sys
from pathlib import Path
from tests.compiler.output.folders import fill
from yocc.compiler.output import folder as module

if sys.argv[2] == "False":
    module.exchange = lambda *_: False
for number in range(60):
    with module.OutputFolder(Path(sys.argv[1])) as output:
        fill(output.path, f"{sys.argv[3]} {number}")
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
    assert names(tmp_path / "out") == {"model.onnx", "report.json"}
    assert names(tmp_path) == {"out"}


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
    with OutputFolder(made(tmp_path / "out")):
        assert len(looks) == 2


def test_what_a_killed_run_left_is_not_deleted_with_files_in_it_that_are_not_of_yocc(tmp_path: Path) -> None:
    left = made(tmp_path / ".out.yocc-12345678")
    (left / "lock").touch()
    (left / "unchecked").touch()
    fill(made(left / "new"), "old")
    (left / "new" / "notes.txt").write_text("precious")
    with OutputFolder(tmp_path / "out"):
        pass
    assert (tmp_path / "out.kept" / "notes.txt").read_text() == "precious"
    assert names(tmp_path) == {"out.kept"}
