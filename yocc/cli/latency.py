"""`yocc latency`."""

from __future__ import annotations

from pathlib import Path

import click

from yocc.cli.compile_options import shape_option, threads_option
from yocc.cli.options import common, force_option, path_argument
from yocc.cli.terminal import Bars, Settings, show_json, show_tables


@click.command()
@click.argument("model", type=path_argument)
@click.option("-o", "--output", type=path_argument, metavar="FILE", help="Write the table, for --latency-table.")
@force_option
@shape_option
@threads_option
@common
@click.pass_obj
def latency(
    settings: Settings,
    model: Path,
    output: Path | None,
    force: bool,
    input_shapes: dict[str, tuple[int, ...]],
    threads: int | None,
) -> None:
    """Measure how long the layers of MODEL take at several widths, and as pairs of low rank.

    In onnxruntime, on the machine this runs on. Compressing to a share of the time, --prune-target latency=0.7, does so
    by itself; with a table measured on a board, given as --latency-table, it does so for the board. --prune and
    --factorize do not take pairs that are slower than their layer by the table.

    \b
    Examples:
      yocc latency model.onnx -o board.json
      yocc latency model.onnx --threads 1
    """
    from yocc.api.latencies import measure_latencies
    from yocc.cli.latency_table import latency_tables
    from yocc.cli.publishing import require_writable
    from yocc.compiler.pipeline.latency import content_of, is_table, write_table
    from yocc.files.writing import require_replaceable

    require_writable((output,))
    if output is not None:
        require_replaceable(output, is_table, force=force)
    table = measure_latencies(model, input_shapes, threads, Bars(quiet=settings.quiet))
    if output is not None:
        write_table(table, output, force=force)
    if settings.as_json:
        show_json(content_of(table))
    elif not settings.quiet:
        show_tables(latency_tables(table))
