"""`yocc latency`, and pruning to a share of the time with the table it writes."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
from click.testing import CliRunner, Result

from tests.networks.topologies import TOPOLOGIES
from yocc.cli import cli
from yocc.compiler.pipeline.latency import LatencyTable, WidthTime, read_table, write_table


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    onnx.save(TOPOLOGIES["c2f"](0), tmp_path / "model.onnx")
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments), prog_name="yocc")


@pytest.mark.slow
def test_the_table_is_written_shown_and_refused_over_another_file() -> None:
    shown = run("latency", "model.onnx", "--threads", "1", "-o", "table.json")
    assert shown.exit_code == 0, shown.stderr
    assert "error of fit" in shown.stdout
    assert "Pairs of layers in place of one" in shown.stdout
    table = read_table(Path("table.json"))
    assert table.threads == 1
    assert table.pairs.keys() & table.layers.keys()
    again = run("latency", "model.onnx", "--threads", "1", "-o", "table.json", "--json")
    assert json.loads(again.stdout) == json.loads(Path("table.json").read_text())
    Path("other.json").write_text("[]")
    refused = run("latency", "model.onnx", "-o", "other.json")
    assert refused.exit_code == 2
    assert Path("other.json").read_text() == "[]"
    assert run("latency", "model.onnx", "--threads", "1", "-o", "other.json", "--force", "-q").stdout == ""
    assert set(read_table(Path("other.json")).layers) == set(table.layers)


def board(slow: str) -> None:
    """A table of a board on which one layer takes nearly all the time, in proportion to its channels."""
    assert run("latency", "model.onnx", "--threads", "1", "-q", "-o", "table.json").exit_code == 0
    layers = {
        name: tuple(
            WidthTime(point.inputs, point.outputs, point.inputs * point.outputs * (10.0 if name == slow else 1e-4))
            for point in points
        )
        for name, points in read_table(Path("table.json")).layers.items()
    }
    assert slow in layers
    write_table(LatencyTable("a board", 4, 0.0, layers), Path("board.json"))


@pytest.mark.slow
@pytest.mark.parametrize("slow", ["Conv_20", "Conv_68"])
def test_a_share_of_the_time_is_cut_where_the_board_spends_it(slow: str) -> None:
    board(slow)
    options = "--prune-target latency=0.5 --latency-table board.json --recover none --no-bench --no-html -o out"
    result = run("compile", "model.onnx", *options.split())
    assert result.exit_code == 0, result.stderr
    content = json.loads(Path("out/report.json").read_text())
    (time,) = (entry["details"]["latency"] for entry in content["passes"] if "latency" in entry["details"])
    assert time["predictor"] == "table of a board"
    assert time["predicted"] == pytest.approx(0.5, abs=0.05)
    assert time["measured"] is None
    (layer,) = (layer for layer in content["layers"] if layer["name"] == slow)
    assert layer["after"]["macs"] / layer["before"]["macs"] == pytest.approx(0.5, abs=0.05)


def test_a_table_that_cannot_be_read_is_refused_before_anything_is_written() -> None:
    result = run("compile", "model.onnx", "--prune-target", "latency=0.7", "--latency-table", "none.json", "-o", "out")
    assert result.exit_code == 2
    assert "none.json" in result.stderr
    assert not Path("out").exists()
