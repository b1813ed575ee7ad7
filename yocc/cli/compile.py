"""`yocc compile`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from yocc.cli.caching import chosen_cache, place_options
from yocc.cli.compile_options import compile_options, without_outvoted
from yocc.cli.config import config_option
from yocc.cli.grouped import GroupedCommand
from yocc.cli.options import Publishing, common, path_argument, published
from yocc.cli.terminal import Bars, Settings, announce_config, say, show_json, show_tables, warn
from yocc.errors import MeasurementError

if TYPE_CHECKING:
    from yocc.api.compiling import Compiled
    from yocc.options import CompileOptions


@click.command("compile", cls=GroupedCommand)
@click.argument("model", type=path_argument)
@compile_options
@published
@click.option("--print-after", is_flag=True, help="Print the graph after each pass that changed it.")
@place_options
@click.option("--no-cache", is_flag=True, help="Do not read or write the cache.")
@config_option
@common
@click.pass_obj
def compile_command(
    settings: Settings,
    /,
    model: Path,
    publishing: Publishing,
    print_after: bool,
    cache_folder: Path | None,
    cache_limit: str,
    no_cache: bool,
    **values: Any,
) -> None:
    """Compress MODEL into a folder.

    The folder holds the compiled model, report.json and report.html; it appears when all is done, or not at all. It is
    there too when a gate fails (exit status 8), when something could not be measured (9), or when it is of little use
    and --strict is given (10).

    \b
    Examples:
      yocc compile model.onnx --int8 --calib pictures/ -o out/
      yocc compile model.onnx --int8 --calib pictures/ --eval val/images --gate 'map50_95>=-0.01'
      yocc compile model.onnx --int8 --max-accuracy-drop 0.03 --calib pictures/
      yocc compile yunet.onnx --int8 --calib pictures/ --input-color bgr --input-scale 1
      yocc compile model.onnx --weights log2:0.2 --calib pictures/ -o out/
      yocc compile model.onnx --side 480 --int8 --calib pictures/ -o out/
      yocc compile model.onnx --input uint8,nhwc,bgr --int8 --calib pictures/ -o out/
      yocc compile model.onnx --nms --int8 --calib pictures/ -o out/
      yocc compile model.onnx --outputs raw --target tensorrt -o out/
      yocc compile model.onnx --factorize 0.2 --calib pictures/ -o out/
      yocc compile model.onnx --prune 0.4 --int8 --calib pictures/ -o out/
      yocc compile model.onnx --pipeline 'simplify,prune{ratio=0.4},fuse' -o out/
      yocc compile model.onnx --int8 --calib pictures/ -o out/ --dry-run
    """
    from yocc.api.compiling import compile_or_restore
    from yocc.cli.concluding import conclude
    from yocc.cli.publishing import require_publishable
    from yocc.compiler.pipeline.observers import printing, timing
    from yocc.options import CompileOptions

    announce_config(settings)
    require_publishable(publishing)
    options = CompileOptions.of(**without_outvoted(values))
    if options.output.dry_run:
        _show_plan(settings, model, options)
        return
    done = compile_or_restore(
        model,
        options,
        # Looking at the graph after each pass takes passes that run.
        cache=None if print_after else chosen_cache(cache_folder, cache_limit, off=no_cache),
        warn=warn,
        progress=Bars(quiet=settings.quiet),
        observers=([] if settings.quiet else [timing(say)]) + ([printing(say)] if print_after else []),
    )
    _show(settings, done)
    conclude(settings, done.content, done.outcomes, publishing, strict=options.measure.strict)
    if done.unmeasured:
        raise MeasurementError(done.unmeasured[0], f"The result is in {str(done.folder)!r}.")


def _show_plan(settings: Settings, model: Path, options: CompileOptions) -> None:
    """Print what would be done."""
    from yocc.api.planning import plan_model
    from yocc.cli.plan_table import show_plan

    plan = plan_model(model, options, progress=Bars(quiet=settings.quiet))
    for text in plan.warnings:
        warn(text)
    if settings.as_json:
        show_json(plan.content())
        return
    show_plan(plan)


def _show(settings: Settings, done: Compiled) -> None:
    """Print what was done."""
    from yocc.cli.concluding import show_summary
    from yocc.cli.summary import layer_tables

    if done.restored and not settings.quiet:
        say(f"Restored from the cache, compiled and measured {done.restored}; --no-cache compiles anew.")
    content = done.content
    for text in content["warnings"]:
        warn(text, grave=text in content["alarms"])
    if settings.verbose:
        for step in content["passes"]:
            for note in step["notes"]:
                say(f"{note['origin']}: {note['message']}" + (f" ({note['node']})" if note["node"] else ""))
        show_tables(layer_tables(content), error=True)
    if settings.as_json:
        click.echo(done.text, nl=False)
    elif not settings.quiet:
        show_summary(content, done.model)
