"""`yocc demo`."""

from __future__ import annotations

from pathlib import Path

import click

from yocc.cli.compile_options import threads_option
from yocc.cli.options import common, path_argument
from yocc.cli.terminal import Bars, Settings, say, show_tables, warn


@click.command()
@click.option(
    "--scenes", type=click.IntRange(1), default=200, show_default=True, help="Scenes to score both models on."
)
@click.option(
    "--prune", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.4, show_default=True,
    help="Share of the parameters and MACs to remove.",
)  # fmt: skip
@threads_option
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of everything random.")
@click.option("-o", "--out", type=path_argument, default=Path("yocc_demo"), show_default=True, help="Folder to write.")
@common
@click.pass_obj
def demo(settings: Settings, scenes: int, prune: float, threads: int | None, seed: int, out: Path) -> None:
    """Compress the detector that comes with yocc.

    Draws street scenes, compiles a YOLOv5n trained on such scenes with --prune and --int8, scores and times the
    original and the compressed model, and draws what both find side by side. Needs no network and takes a minute or
    two.

    \b
    Examples:
      yocc demo
      yocc demo --prune 0.7
      yocc demo --scenes 500 --threads 1 -o demo/
    """
    from yocc.api.demo import DemoPlan, run_demo
    from yocc.cli.demo_table import closing_lines, demo_table
    from yocc.compiler.pipeline.observers import timing

    plan = DemoPlan(test=scenes, prune=prune, threads=threads, seed=seed)
    observers = [] if settings.quiet else [timing(say)]
    done = run_demo(out, plan, progress=Bars(quiet=settings.quiet), observers=observers)
    for text in done.report.warnings:
        warn(text)
    if settings.as_json:
        click.echo(done.report.to_json(), nl=False)
        return
    if settings.quiet:
        return
    show_tables([demo_table(done)])
    for line in closing_lines(done, out):
        click.echo(line)
