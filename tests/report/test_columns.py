from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import onnx
from click.testing import CliRunner

import yocc
from tests.report.page.contents import content
from tests.samples import tiny_model
from yocc.cli import cli
from yocc.cli.summary import layer_tables
from yocc.compiler.graph import Graph
from yocc.compiler.pipeline.columns import Column
from yocc.compiler.pipeline.passes import Pass, PassContext
from yocc.compiler.pipeline.pipeline import Pipeline
from yocc.compiler.pipeline.result import PassResult
from yocc.compiler.pipeline.target import Target
from yocc.report.columns import cell, declared_columns
from yocc.report.page.layers import layer_view
from yocc.report.report import pass_reports, plain


@dataclass(frozen=True, kw_only=True)
class Weigh(Pass):
    """Measures, and rewrites nothing."""

    name: ClassVar[str] = "weigh"
    summary: ClassVar[str] = "weigh layers"
    columns: ClassVar[tuple[Column, ...]] = (
        Column("heavy", "Heaviness <b>", "How heavy it is", "share", of="whole"),
        Column("unused", "Unused", "Never given"),
    )

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:  # noqa: ARG002 # the protocol's
        return PassResult(
            0, layers={node.name: {"heavy": 1.0, "whole": 4.0} for node in graph.nodes if node.op == "Conv"}
        )


def weighed() -> dict[str, Any]:
    """A report with the figures of a pass that yocc does not know."""
    graph = yocc.load(tiny_model())
    _, runs = Pipeline((Weigh(),)).run(graph, PassContext(Target("any")))
    made = content(passes=tuple(plain(report) for report in pass_reports(runs)))
    made["layers"][0]["figures"] = {"weigh": {"heavy": 1.0, "whole": 4.0}}
    return made


def test_columns_that_any_pass_declares_are_shown_by_page_and_terminal() -> None:
    made = weighed()
    assert [column["title"] for _, column in declared_columns(made)] == ["Heaviness <b>"]
    view = layer_view(made)
    assert view is not None
    assert view.columns == (("Heaviness <b>", "How heavy it is"),)
    assert view.rows[0].figures == ("25.0\N{NO-BREAK SPACE}%",)
    ((title, columns, rows),) = layer_tables(made)
    assert (title, columns) == ("Layers", ["layer", "op", "#Heaviness <b>"])
    assert rows[0][2] == "25.0 %"


def test_a_pass_that_runs_twice_declares_its_columns_once() -> None:
    made = weighed()
    made["passes"] = [*made["passes"], *made["passes"]]
    assert len(declared_columns(made)) == 1


def test_reports_without_columns_have_no_table() -> None:
    made = content()
    for step in made["passes"]:
        step.pop("columns")
    assert list(layer_tables(made)) == []


def test_cells_follow_the_unit() -> None:
    def written(unit: str, value: object, **figures: object) -> str:
        layer: Mapping[str, Any] = {"figures": {"p": {"f": value, **figures}}}
        return cell(layer, ("p", {"figure": "f", "unit": unit, "of": "w" if figures else ""}))

    assert written("number", 1234.5678) == "1235"
    assert written("decibels", "nan") == "nan"
    assert written("milliseconds", 12.34) == "12.3\N{NO-BREAK SPACE}ms"
    assert written("share", None) == ""
    assert written("number", 1.0, w=0.0) == ""


def test_verbose_compile_prints_the_figures_of_layers(tmp_path: Path) -> None:

    onnx.save(tiny_model(), tmp_path / "m.onnx")
    options = "--int8 --count 4 --no-bench --no-html --no-cache -v -o".split()
    done = CliRunner().invoke(cli, ["compile", str(tmp_path / "m.onnx"), *options, str(tmp_path / "out")])
    assert done.exit_code == 0, done.stderr
    assert "Weight, dB" in done.stderr
