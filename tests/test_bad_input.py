"""What users get wrong: each ends in one line, an exit status that says whose fault it is, and no output folder."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from PIL import Image

from tests.sample_passes import SLEEPING
from tests.samples import strange_model, tiny_model

ROOT = Path(__file__).parents[1]
OPTION, MODEL, CALIBRATION, PASS, BACKEND, OUTPUT, INTERNAL, INTERRUPTED = 2, 3, 4, 5, 6, 7, 70, 130

pytestmark = pytest.mark.usefixtures("sample_passes")


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "from yocc.cli import main; main()", *arguments]


@pytest.fixture
def environment(sample_passes: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(sample_passes)])}


def _save(folder: Path, model: onnx.ModelProto) -> str:
    onnx.save(model, folder / "model.onnx")
    return str(folder / "model.onnx")


def _sound(folder: Path) -> list[str]:
    return [_save(folder, tiny_model())]


def _truncated(folder: Path) -> list[str]:
    data = tiny_model().SerializeToString()
    (folder / "model.onnx").write_bytes(data[: len(data) // 2])
    return [str(folder / "model.onnx")]


def _empty(folder: Path) -> list[str]:
    (folder / "model.onnx").touch()
    return [str(folder / "model.onnx")]


def _not_onnx(folder: Path) -> list[str]:
    (folder / "model.onnx").write_text("These are not the weights you are looking for.\n" * 20)
    return [str(folder / "model.onnx")]


def _no_file(folder: Path) -> list[str]:
    return [str(folder / "none.onnx")]


def _external(location: str) -> Callable[[Path], list[str]]:
    def make(folder: Path) -> list[str]:
        inner = folder / "inner"
        inner.mkdir()
        model = tiny_model()
        onnx.save_model(model, inner / "model.onnx", save_as_external_data=True, location="weights", size_threshold=0)
        (inner / "weights").rename(folder / "outside")
        model = onnx.load(inner / "model.onnx", load_external_data=False)
        for tensor in model.graph.initializer:
            for entry in tensor.external_data:
                if entry.key == "location":
                    entry.value = location.format(folder=folder)
        onnx.save(model, inner / "model.onnx")
        if location == "link":
            (inner / "link").symlink_to(folder / "outside")
        return [str(inner / "model.onnx")]

    return make


def _bad_weights(value: float) -> Callable[[Path], list[str]]:
    def make(folder: Path) -> list[str]:
        model = tiny_model()
        array = numpy_helper.to_array(model.graph.initializer[0]).copy()
        array.flat[3] = value
        model.graph.initializer[0].CopyFrom(numpy_helper.from_array(array, model.graph.initializer[0].name))
        return [_save(folder, model)]

    return make


def _empty_pictures(folder: Path) -> list[str]:
    (folder / "pictures").mkdir()
    return [*_sound(folder), "--calib", str(folder / "pictures")]


def _no_pictures(folder: Path) -> list[str]:
    return [*_sound(folder), "--calib", str(folder / "none")]


def _unreadable_pictures(folder: Path) -> list[str]:
    (folder / "pictures").mkdir()
    for number in range(3):
        (folder / "pictures" / f"{number}.jpg").write_bytes(b"\xff\xd8 not a picture")
    return [*_sound(folder), "--calib", str(folder / "pictures")]


def _cut_picture(folder: Path) -> list[str]:
    (folder / "pictures").mkdir()
    path = folder / "pictures" / "cut.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:2000])
    return [*_sound(folder), "--calib", str(folder / "pictures")]


def _npz(**arrays: np.ndarray) -> Callable[[Path], list[str]]:
    def make(folder: Path) -> list[str]:
        np.savez(folder / "data.npz", **arrays)
        return [*_sound(folder), "--calib", str(folder / "data.npz")]

    return make


def _not_npz(folder: Path) -> list[str]:
    (folder / "data.npz").write_bytes(b"PK\x03\x04 nothing")
    return [*_sound(folder), "--calib", str(folder / "data.npz")]


def _options(*options: str) -> Callable[[Path], list[str]]:
    return lambda folder: [*_sound(folder), *options]


CASES = {
    "truncated": (_truncated, MODEL),
    "empty file": (_empty, MODEL),
    "not onnx": (_not_onnx, MODEL),
    "no file": (_no_file, MODEL),
    "external data missing": (_external("weights"), MODEL),
    "external data above": (_external("../outside"), MODEL),
    "external data absolute": (_external("{folder}/outside"), MODEL),
    "external data behind a link": (_external("link"), MODEL),
    "nan": (_bad_weights(np.nan), MODEL),
    "infinity": (_bad_weights(np.inf), MODEL),
    "no picture folder": (_no_pictures, CALIBRATION),
    "empty picture folder": (_empty_pictures, CALIBRATION),
    "unreadable pictures": (_unreadable_pictures, CALIBRATION),
    "picture cut short": (_cut_picture, CALIBRATION),
    "npz of another size": (_npz(x=np.zeros((4, 3, 8, 8), np.float32)), CALIBRATION),
    "npz of another rank": (_npz(x=np.zeros((4, 3), np.float32)), CALIBRATION),
    "not an npz": (_not_npz, CALIBRATION),
    "prune 1.2": (_options("--prune", "1.2"), OPTION),
    "prune 0": (_options("--prune", "0"), OPTION),
    "prune words": (_options("--prune", "much"), OPTION),
    "unknown option": (_options("--prun", "0.4"), OPTION),
    "unknown target": (_options("--target", "toaster"), OPTION),
    "target option without value": (_options("-O", "opset"), OPTION),
    "shape of words": (_options("--input-shape", "x=big"), OPTION),
    "pass that spoils": (_options("--pipeline", "spoil"), PASS),
}


@pytest.mark.parametrize(("make", "status"), CASES.values(), ids=CASES)
def test_bad_input_is_one_line(
    make: Callable[[Path], list[str]], status: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from yocc.cli import cli

    arguments = make(tmp_path)
    before = set(tmp_path.rglob("*"))
    if not {"--prune", "--prun", "--pipeline"} & set(arguments):
        arguments += ["--pipeline", "look"]
    with pytest.raises(SystemExit) as ended:
        cli(["compile", *arguments, "-o", str(tmp_path / "out")], prog_name="yocc")
    captured = capfd.readouterr()
    assert ended.value.code == status, captured.err
    assert captured.out == ""
    errors = [line for line in captured.err.splitlines() if line.startswith("Error: ")]
    assert captured.err.splitlines()[-1:] == errors
    assert "Traceback" not in captured.err
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.slow
def test_process_ends_with_the_status(environment: dict[str, str], tmp_path: Path) -> None:
    arguments = _command("compile", *_truncated(tmp_path), "--pipeline", "look", "-o", str(tmp_path / "out"))
    done = subprocess.run(arguments, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == MODEL
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_verbose_shows_where(environment: dict[str, str], tmp_path: Path) -> None:
    arguments = _command("compile", *_truncated(tmp_path), "--pipeline", "look", "-v", "-o", str(tmp_path / "out"))
    done = subprocess.run(arguments, capture_output=True, text=True, env=environment, check=False)
    assert "Traceback" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("Error: ")


@pytest.mark.slow
def test_output_below_a_file(environment: dict[str, str], tmp_path: Path) -> None:
    arguments = _command(
        "compile", *_sound(tmp_path), "--pipeline", "sleep", "-o", str(tmp_path / "model.onnx" / "out")
    )
    done = subprocess.run(arguments, capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (OUTPUT, 1)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_output_without_permission(environment: dict[str, str], tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    arguments = _command("compile", *_sound(tmp_path), "--pipeline", "look", "-o", str(closed / "out"))
    done = subprocess.run(arguments, capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (OUTPUT, 1)


@pytest.mark.slow
def test_output_on_a_read_only_file_system(environment: dict[str, str], tmp_path: Path) -> None:
    arguments = _command("compile", *_sound(tmp_path), "--pipeline", "look", "-o", "/proc/yocc/out")
    done = subprocess.run(arguments, capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (OUTPUT, 1)


@pytest.mark.slow
def test_disk_full_while_writing(environment: dict[str, str], tmp_path: Path) -> None:
    """A limit on the size of files makes the same system call fail in the same place as a full disk."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600))

    arguments = _command("compile", *_sound(tmp_path), "--pipeline", "negate", "-o", str(tmp_path / "out"))
    done = subprocess.run(arguments, capture_output=True, text=True, env=environment, check=False, preexec_fn=limit)
    assert done.returncode == OUTPUT, done.stderr
    assert done.stderr.splitlines()[-1].startswith("Error: The result cannot be written")
    assert {path.name for path in tmp_path.iterdir()} == {"model.onnx"}


@pytest.mark.slow
def test_disk_really_full(environment: dict[str, str], tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("only root may mount a small disk")
    try:
        arguments = _command("compile", *_sound(tmp_path), "--pipeline", "look", "-o", str(disk / "out"))
        (disk / "filler").write_bytes(b"x" * 4096)
        done = subprocess.run(arguments, capture_output=True, text=True, env=environment, check=False)
        left = {path.name for path in disk.iterdir()}
    finally:
        subprocess.run(["umount", str(disk)], check=True)
    assert done.returncode == OUTPUT, done.stderr
    assert "No space left" in done.stderr
    assert left == {"filler"}


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, INTERRUPTED), (signal.SIGTERM, 143)])
def test_interrupted_in_the_middle(
    number: signal.Signals, status: int, environment: dict[str, str], tmp_path: Path
) -> None:
    marker = tmp_path / "sleeping"
    arguments = _command("compile", *_sound(tmp_path), "--pipeline", "look,sleep", "-o", str(tmp_path / "deep" / "out"))
    process = subprocess.Popen(
        arguments,
        stderr=subprocess.PIPE,
        text=True,
        env={**environment, SLEEPING: str(marker)},
        # Shells start what runs in the background with SIGINT ignored, and so do its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        deadline = time.monotonic() + 600
        while not marker.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        assert marker.exists()
        assert (tmp_path / "deep").exists(), "something to clean up"
        process.send_signal(number)
        _, errors = process.communicate(timeout=300)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == status, errors
    assert "Traceback" not in errors
    assert {path.name for path in tmp_path.iterdir()} == {"model.onnx", "sleeping"}


@pytest.mark.slow
def test_unknown_operator_is_left_alone_with_a_note(environment: dict[str, str], tmp_path: Path) -> None:
    source = _save(tmp_path, strange_model())
    arguments = _command("compile", source, "--pipeline", "prune{ratio=0.3}", "-v", "-o", str(tmp_path / "out"))
    done = subprocess.run(arguments, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert "Whiten" in done.stderr
    nodes = onnx.load(tmp_path / "out" / "model.onnx").graph.node
    assert [(node.op_type, node.domain) for node in nodes if node.domain] == [("Whiten", "strange.kernels")]
