from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.passes.factorize.networks import separable
from tests.passes.feeding import context
from yocc.compiler.graph import load
from yocc.compiler.pipeline.latency import LatencyTable, WidthTime, write_table
from yocc.compiler.pipeline.target import Target
from yocc.compiler.stages.timing import clock_for, measure_all
from yocc.errors import OptionError
from yocc.runtime.measuring.profiling import OnnxRuntimeProfiler

TABLE = LatencyTable("a board", 2, 0.25, {"conv": (WidthTime(3, 16, 1.5), WidthTime(3, 8, 1.0))})


def test_onnxruntime_is_timed_here() -> None:
    clock = clock_for("onnxruntime", None, 1)
    assert isinstance(clock.profiler, OnnxRuntimeProfiler)
    assert clock.profiler.threads == 1
    assert clock.table is None


@pytest.mark.parametrize("target", ["onnxruntime", "openvino"])
def test_a_table_of_a_board_is_taken_in_place_of_this_machine(target: str, tmp_path: Path) -> None:
    write_table(TABLE, tmp_path / "table.json")
    clock = clock_for(target, tmp_path / "table.json", None)
    assert clock.profiler is None
    assert clock.table == TABLE


def test_a_table_of_this_machine_is_corrected_by_timing(tmp_path: Path) -> None:
    table = replace(TABLE, device=OnnxRuntimeProfiler().device)
    write_table(table, tmp_path / "table.json")
    clock = clock_for("onnxruntime", tmp_path / "table.json", None)
    assert clock.profiler is not None
    assert clock.table == table


def test_another_runtime_is_not_timed_here() -> None:
    assert clock_for("openvino", None, None).profiler is None


def test_a_file_that_is_no_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "table.json").write_text("{}")
    with pytest.raises(OptionError, match=r"table\.json"):
        clock_for("onnxruntime", tmp_path / "table.json", None)


@pytest.mark.slow
def test_onnxruntime_tells_both_layers_of_a_pair() -> None:
    graph = load(separable())
    table = measure_all(graph, context(Target("test", channel_multiple=2)), OnnxRuntimeProfiler(1, rounds=2))
    assert set(table.pairs) == {"a", "b", "c", "last"}
    assert all(min(point.first, point.second, point.whole) > 0 for points in table.pairs.values() for point in points)
    assert set(table.pairs) < set(table.layers)
