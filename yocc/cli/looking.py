"""Commands that only look: `yocc inspect`, `yocc targets`, `yocc passes`, `yocc families`."""

from __future__ import annotations

from pathlib import Path

import click

from yocc.cli.compile_options import shape_option, target_option, target_options
from yocc.cli.options import common, force_option, path_argument
from yocc.cli.terminal import Settings, show_json, show_tables


@click.command()
@click.argument("model", type=path_argument)
@target_option
@target_options
@shape_option
@click.option("--full", is_flag=True, help="Whole names, output shapes, a reason beside each layer, all groups.")
@common
@click.pass_obj
def inspect(
    settings: Settings,
    model: Path,
    target: str,
    options: dict[str, str],
    input_shapes: dict[str, tuple[int, ...]],
    full: bool,
) -> None:
    """Show the layers of MODEL.

    Its layers, what they cost, which are coupled, and what can be pruned or quantized and why not.

    \b
    Examples:
      yocc inspect model.onnx
      yocc inspect model.onnx --full
      yocc inspect model.onnx --json
    """
    from yocc.api.inspection import inspect_model
    from yocc.api.opening import find_model
    from yocc.cli.inspection_table import inspection_tables
    from yocc.compiler.graph import load
    from yocc.report.report import plain
    from yocc.runtime.backends.registry import find_backend

    wanted = find_backend(target).target(options)
    inspection = inspect_model(load(find_model(model).artifact.model), wanted, input_shapes)
    if settings.as_json:
        show_json(plain(inspection))
        return
    show_tables(inspection_tables(inspection, full=full))


@click.command()
@common
@click.pass_obj
def targets(settings: Settings) -> None:
    """List targets and their options.

    \b
    Examples:
      yocc targets
    """
    from yocc.cli.listing import target_list
    from yocc.cli.reading import target_tables

    found = target_list()
    show_tables(target_tables(found)) if not settings.as_json else show_json(found)


@click.command()
@click.argument("name", required=False)
@common
@click.pass_obj
def passes(settings: Settings, name: str | None) -> None:
    """List passes and their options, or show what the pass NAME does and what each option means.

    \b
    Examples:
      yocc passes
      yocc passes prune
    """
    from yocc.cli.listing import pass_list
    from yocc.cli.pass_help import help_tables, pass_help
    from yocc.cli.reading import pass_tables

    if name is not None:
        one = pass_help(name)
        show_tables(help_tables(one)) if not settings.as_json else show_json(one)
        return
    found = pass_list()
    show_tables(pass_tables(found)) if not settings.as_json else show_json(found)


@click.command()
@common
@click.pass_obj
def families(settings: Settings) -> None:
    """List the families of detectors that are recognized, and the names that --preprocess takes.

    \b
    Examples:
      yocc families
    """
    from yocc.cli.listing import family_list, preprocess_list
    from yocc.cli.reading import family_tables

    found, named = family_list(), preprocess_list()
    if settings.as_json:
        meant = dict(named)
        show_json([{**each, "preprocess": meant.get(each["name"], "")} for each in found])
        return
    show_tables([*family_tables(found), ("Preprocessing", ["--preprocess", "meaning"], [list(each) for each in named])])


@click.command()
@click.argument("source", type=path_argument, metavar="FOLDER")
@click.option("-o", "--out", type=path_argument, help="File to write [default: report.html in the folder].")
@force_option
@common
@click.pass_obj
def report(settings: Settings, source: Path, out: Path | None, force: bool) -> None:
    """Write the page report.html of FOLDER, which yocc compile wrote.

    One self-contained file, made from report.json and the pictures it names.

    \b
    Examples:
      yocc report out/
      yocc report out/ -o report.html
    """
    from yocc.api.reporting import write_page

    path = write_page(source, out, force=force)
    if settings.as_json:
        show_json({"page": str(path), "bytes": path.stat().st_size})
        return
    click.echo(f"{path} ({path.stat().st_size / 1e3:.0f} kB)")
