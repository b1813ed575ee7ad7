"""`yocc advise`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from yocc.cli.compile_options import option_of, picture_options, shape_option, target_option, target_options
from yocc.cli.options import common, path_argument
from yocc.cli.terminal import Bars, Settings, show_json, warn


@click.command()
@click.argument("model", type=path_argument)
@option_of("calibration")
@click.option("--levers", metavar="NAMES", help="Levers to measure, such as int8,side "
              "[default: int8, fp16 where the target computes in it, side, prune, weights, fp32].")  # fmt: skip
@click.option("--budget", default="2m", show_default=True, metavar="TIME",
              help="Time for all of it; levers that do not fit are listed as out of time.")  # fmt: skip
@target_option
@target_options
@click.option("--count", type=click.IntRange(1), help="Samples to calibrate each lever with [default: 16 or fewer].")
@shape_option
@picture_options
@option_of("seed")
@option_of("threads")
@common
@click.pass_obj
def advise(settings: Settings, /, model: Path, levers: str | None, budget: str, **values: Any) -> None:
    """Measure what each lever alone would buy for MODEL.

    A lever is one option of yocc compile: 8 bits, a smaller input, pruning, weights in codes. Each is compiled for the
    target and compared with the original on pictures that were not calibrated with; fidelity is 1 where it finds
    exactly what the original finds. Times are medians of runs in alternation with the original. The fastest lever that
    is close to the original is recommended. Nothing is written.

    \b
    Examples:
      yocc advise model.onnx --calib pictures/
      yocc advise model.onnx --calib pictures/ --target openvino --threads 1
      yocc advise model.onnx --calib pictures/ --levers int8,side --budget 30s --json
    """
    from yocc.api.advising import advise_model
    from yocc.cli.advice_table import show_advice
    from yocc.report.report import plain

    advice = advise_model(model, levers=levers, budget=budget, progress=Bars(quiet=settings.quiet), **values)
    for text in advice.warnings:
        warn(text)
    if settings.as_json:
        show_json(plain(advice))
        return
    show_advice(advice)
