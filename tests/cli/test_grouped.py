from __future__ import annotations

from click.testing import CliRunner

from yocc.cli import cli
from yocc.cli.grouped import FIRST
from yocc.options import flag_of


def test_help_of_compile_is_in_groups_with_the_most_used_options_first() -> None:
    text = CliRunner().invoke(cli, ["compile", "--help"]).output
    titles = [
        "Most used:",
        "Compression:",
        "Target:",
        "Model and data:",
        "Measuring:",
        "Output:",
        "Cache and messages:",
    ]
    places = [text.index(f"\n{title}\n") for title in titles]
    assert places == sorted(places)
    first = text[places[0] : places[1]]
    assert len(FIRST) == 10
    assert all(flag_of(name) in first for name in FIRST)


def test_every_option_stands_in_the_help_once() -> None:
    command = cli.commands["compile"]
    lines = CliRunner().invoke(cli, ["compile", "--help"]).output.splitlines()
    shown = [line.replace(",", " ").split()[:2] for line in lines if line.startswith("  -")]
    for parameter in command.params:
        if parameter.param_type_name == "option":
            assert sum(parameter.opts[-1] in words for words in shown) == 1, parameter.opts
