from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from yocc.compiler.pipeline.latency import LatencyTable, PairTime, WidthTime, content_of, read_table, write_table
from yocc.errors import OptionError, OutputError

TABLE = LatencyTable("a board", 2, 0.25, {"conv": (WidthTime(3, 16, 1.5), WidthTime(3, 8, 1.0))})


PAIR = {"form": "outputs", "rank": 8, "first": 0.5, "second": 0.25, "whole": 1.5}
PAIRS = replace(
    TABLE, pairs={"conv": (PairTime("outputs", 8, 0.5, 0.25, 1.5), PairTime("vertical", 8, 0.0, 2.25, 1.5))}
)


@pytest.mark.parametrize("table", [TABLE, PAIRS])
def test_a_table_survives_its_file(table: LatencyTable, tmp_path: Path) -> None:
    write_table(table, tmp_path / "table.json")
    assert read_table(tmp_path / "table.json") == table
    assert [pair.share for pair in table.pairs.get("conv", ())] in ([], [0.5, 1.5])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"yocc_latency": 2}, "format 2"),
        ({"layers": []}, "not a latency table"),
        ({"layers": {"conv": [{"inputs": 3, "outputs": 16}]}}, "ms"),
        ({"layers": {"conv": [{"inputs": 3, "outputs": 16, "ms": -1.0}]}}, "no time"),
        ({"layers": {"conv": [{"inputs": -3, "outputs": 16, "ms": 1.0}]}}, "out of range"),
        ({"rest_ms": "nan"}, "no time"),
        ({"pairs": {"conv": [{"form": "outputs", "rank": 8}]}}, "first"),
        ({"pairs": {"conv": [{**PAIR, "rank": 0}]}}, "out of range"),
        ({"pairs": {"conv": [{**PAIR, "form": "diagonal"}]}}, "out of range"),
        ({"pairs": {"conv": [{**PAIR, "whole": 0}]}}, "out of range"),
        ({"pairs": {"conv": [{**PAIR, "first": -1}]}}, "no time"),
        ({"pairs": []}, "not a latency table"),
    ],
)
def test_what_is_no_table_is_refused(change: dict[str, object], said: str, tmp_path: Path) -> None:
    (tmp_path / "table.json").write_text(json.dumps({**content_of(TABLE), **change}))
    with pytest.raises(OptionError, match=said):
        read_table(tmp_path / "table.json")


@pytest.mark.parametrize("text", ["", "[1, 2]", "no json"])
def test_other_files_are_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "table.json").write_text(text)
    with pytest.raises(OptionError, match=r"table\.json"):
        read_table(tmp_path / "table.json")


@pytest.mark.parametrize(
    "text",
    [
        "[" * 200_000,
        json.dumps({**content_of(TABLE), "threads": float("inf")}),
        json.dumps(content_of(TABLE)).replace("0.25", "9" * 4000),
        json.dumps(content_of(LatencyTable("a", 1, 0.0, {"conv": (WidthTime(3, 16, 0.0),)}))),
        json.dumps(content_of(LatencyTable("a", 1, 1e308, {"conv": (WidthTime(3, 16, 1e308),)}))),
        json.dumps(content_of(LatencyTable("a", 1, 1.0, {"conv": ()}))),
    ],
    ids=["nested", "infinite threads", "digits", "no time", "endless", "no points"],
)
def test_tables_that_say_nothing_are_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "table.json").write_text(text)
    with pytest.raises(OptionError, match="latency table"):
        read_table(tmp_path / "table.json")


def test_a_table_replaces_a_table_and_nothing_else(tmp_path: Path) -> None:
    write_table(TABLE, tmp_path / "table.json")
    write_table(TABLE, tmp_path / "table.json")
    (tmp_path / "own.json").write_text('["yocc_latency"]')
    with pytest.raises(OptionError, match="did not write it"):
        write_table(TABLE, tmp_path / "own.json")
    write_table(TABLE, tmp_path / "own.json", force=True)
    assert read_table(tmp_path / "own.json") == TABLE


def test_a_missing_file_and_a_folder_that_is_none_are_named(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="Cannot read"):
        read_table(tmp_path / "none.json")
    with pytest.raises(OutputError, match="cannot be written"):
        write_table(TABLE, tmp_path / "none" / "table.json")
