from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from click.testing import CliRunner

from yocc.api.build import build_model
from yocc.cli import cli
from yocc.compiler.graph import load
from yocc.compiler.graph.verify import problems
from yocc.errors import OptionError, OutputError
from yocc.models.yolov5 import build_yolov5


def _build(path: Path, name: str = "yolov5n", size: int = 64) -> Path:
    return build_model(name, path, size=size, classes=3, batch_norm="fused", seed=1)


def test_a_sound_model_is_written_and_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = _build(tmp_path / "a.onnx"), _build(tmp_path / "b.onnx")
    graph = load(first)
    assert problems(graph) == []
    assert graph.outputs[0].shape[-1] == 8
    assert not any(node.op == "BatchNormalization" for node in graph.nodes)
    assert first.read_bytes() == second.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.onnx", "b.onnx"]


def test_a_model_this_command_built_is_replaced(tmp_path: Path) -> None:
    path = _build(tmp_path / "a.onnx")
    assert load(_build(path, size=96)).inputs[0].shape == [1, 3, 96, 96]


def _trained(path: Path) -> None:
    model = onnx.load_model(path)
    model.graph.initializer[0].raw_data = bytes(len(model.graph.initializer[0].raw_data))
    onnx.save_model(model, path)


def _unmarked(path: Path) -> None:
    onnx.save_model(build_yolov5("n", size=64), path)


@pytest.mark.parametrize(
    "put", [_trained, _unmarked, lambda path: path.write_text("notes")], ids=["trained", "unmarked", "no model"]
)
def test_what_this_command_did_not_write_is_replaced_by_force_only(put: Callable[[Path], None], tmp_path: Path) -> None:
    path = _build(tmp_path / "a.onnx")
    put(path)
    before = path.read_bytes()
    done = CliRunner().invoke(cli, ["build", "yolov5n", "--size", "64", "-o", str(path)])
    assert done.exit_code == 2
    assert "did not write it" in done.output
    assert path.read_bytes() == before
    done = CliRunner().invoke(cli, ["build", "yolov5n", "--size", "64", "-o", str(path), "--force"])
    assert done.exit_code == 0
    assert path.read_bytes() != before
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.onnx"]


def test_an_unknown_name_gets_a_hint(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"There is no builder of 'yolov5q'\. Did you mean 'yolov5"):
        _build(tmp_path / "a.onnx", name="yolov5q")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [65, 100])
def test_an_impossible_size_is_refused_and_nothing_is_written(tmp_path: Path, size: int) -> None:
    with pytest.raises(OptionError, match=f"{size}x{size}"):
        _build(tmp_path / "a.onnx", size=size)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_an_error_of_the_output(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        _build(tmp_path / "absent" / "a.onnx")
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(OutputError, match="cannot be written"):
        _build(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_the_command_writes_and_says_where(tmp_path: Path) -> None:
    path = tmp_path / "tiny.onnx"
    done = CliRunner().invoke(cli, ["build", "yolov5n", "--size", "64", "-o", str(path)])
    assert done.exit_code == 0, done.output
    assert done.output.startswith(f"{path} (")
    assert path.is_file()
    failed = CliRunner().invoke(cli, ["build", "yolov4", "-o", str(path)])
    assert failed.exit_code == 2
