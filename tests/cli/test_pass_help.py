"""`yocc passes NAME`: every pass explains itself, from its docstring."""

from __future__ import annotations

import dataclasses
import json

import pytest
from click.testing import CliRunner, Result

from yocc.cli import cli
from yocc.cli.pass_help import pass_help
from yocc.compiler.pipeline.pipeline import known_passes


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["passes", *arguments], prog_name="yocc")


OURS = sorted(plugin.name for plugin in known_passes().values() if plugin.distribution == "yocc")


@pytest.mark.parametrize("name", OURS)
def test_every_option_of_our_passes_is_explained(name: str) -> None:
    found = pass_help(name)
    loaded = next(plugin.loaded for plugin in known_passes().values() if plugin.name == name)
    assert [option["name"] for option in found["options"]] == [field.name for field in dataclasses.fields(loaded)]
    assert all(option["text"] and option["values"] for option in found["options"])
    assert found["text"]


def test_values_and_defaults_are_those_of_pipelines() -> None:
    options = {option["name"]: option for option in pass_help("prune")["options"]}
    assert options["budget"]["values"] == "both, parameters, macs, channels, latency"
    assert options["multiple"]["values"] == "whole number or none"
    assert options["multiple"]["default"] is None
    assert options["granularity"]["text"].startswith("what is removed at once: `channels` of all layers")
    assert pass_help("simplify")["options"][0]["values"] == "true, false"


def test_it_is_shown_as_tables_and_as_json() -> None:
    shown = _run("prune").stdout
    for word in ("remove channels until", "Options, as in prune{ratio=...}", "0.4", "whole number or none"):
        assert word in shown
    assert json.loads(_run("prune", "--json").stdout) == pass_help("prune")
    assert "Options" not in _run("fuse").stdout


def test_an_unknown_pass_is_one_sentence_with_the_right_word() -> None:
    result = _run("prunes")
    assert result.exit_code == 2
    assert "'prunes'" in result.stderr
    assert "prune" in result.stderr.split("'prunes'")[1]
