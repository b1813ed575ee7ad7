"""`yocc check`."""

from __future__ import annotations

from pathlib import Path

import click

from yocc.cli.compile_options import gate_option
from yocc.cli.config import config_option
from yocc.cli.options import Publishing, common, pairs, path_argument, published
from yocc.cli.terminal import Settings, announce_config, show_json


@click.command()
@click.argument("folder", type=path_argument)
@gate_option
@published
@click.option("--baseline", type=path_argument,
              help="An earlier report.json, or its folder: no figure may be worse than in it.")  # fmt: skip
@click.option("--tolerance", "tolerances", multiple=True, metavar="METRIC=NUMBER", callback=pairs("METRIC=NUMBER"),
              help="By how much a metric may be worse than in the baseline [default: 0].")  # fmt: skip
@click.option("--strict", is_flag=True, help="Exit status 10 if the result is of little use, as its report says.")
@config_option
@common
@click.pass_obj
def check(
    settings: Settings,
    folder: Path,
    gates: tuple[str, ...],
    publishing: Publishing,
    baseline: Path | None,
    tolerances: dict[str, str],
    strict: bool,
) -> None:
    """Hold what was compiled into FOLDER against gates.

    Nothing is measured anew: the figures are those of its report. The files must be those the report describes.

    \b
    Examples:
      yocc check out/ --gate 'map50_95>=-0.01' --gate 'size_mb<=2.5'
      yocc check out/ --baseline baseline.json --tolerance map50_95=0.005
    """
    from yocc.api.checking import check_output, read_report, require_unchanged
    from yocc.cli.concluding import conclude
    from yocc.cli.publishing import require_publishable
    from yocc.report.gates.baseline import parse_tolerances
    from yocc.report.gates.gate import parse_gates

    announce_config(settings)
    bounds, allowed = parse_gates(gates), parse_tolerances(tolerances)
    require_publishable(publishing)
    content = read_report(folder)
    before = None if baseline is None else read_report(baseline)
    outcomes = check_output(content, bounds, before, allowed)
    files = require_unchanged(folder, content)
    if settings.as_json:
        show_json({"files": files, "gates": [vars(each) for each in outcomes]})
    elif not settings.quiet:
        click.echo(f"{folder}: {files} file{'' if files == 1 else 's'} as the report describes")
    conclude(settings, content, outcomes, publishing, strict=strict)
