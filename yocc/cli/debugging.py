"""`yocc debug`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from yocc.cli.compile_options import compile_options_but, without_outvoted
from yocc.cli.config import config_option
from yocc.cli.grouped import GroupedCommand
from yocc.cli.options import common, path_argument
from yocc.cli.terminal import Bars, Settings, announce_config, say, show_json, warn


@click.command(cls=GroupedCommand)
@click.argument("model", type=path_argument)
@click.option("--samples", type=click.IntRange(1), default=8, show_default=True,
              help="Inputs that the model is compared with the original on after each pass.")  # fmt: skip
@click.option("--max-loss", type=click.FloatRange(0, 1, max_open=True), default=0.1, show_default=True,
              metavar="SHARE", help="Loss of fidelity up to which a pass is not guilty.")  # fmt: skip
@click.option("-o", "--out", type=path_argument,
              help="Folder for what is found [default: <model>_debug].")  # fmt: skip
@compile_options_but("out", "dry_run")
@config_option
@common
@click.pass_obj
def debug(settings: Settings, /, model: Path, samples: int, max_loss: float, **values: Any) -> None:
    """Find which pass, then which layer, ruins MODEL.

    Takes the options of yocc compile: put debug in place of compile. The model is compared with the original after
    each pass and in the target's runtime. Where one loses more than --max-loss, fails, crashes, or makes the target
    reject the model, the layers are bisected, and the smallest model that shows the fault is written into a folder,
    with its inputs and the commands that show it. What only measures or reports is left out.

    \b
    Examples:
      yocc debug model.onnx --int8 --calib pictures/ --count 32
      yocc debug model.onnx --pipeline 'fuse,prune{ratio=0.4},quantize' --calib pictures/ -o found/
      yocc debug model.onnx --int8 --target openvino --calib data.npz --max-loss 0.02 --json
    """
    from yocc.api.debugging.debugging import debug_model
    from yocc.cli.debug_table import show_diagnosis
    from yocc.compiler.pipeline.observers import timing
    from yocc.containment.supervisor import can_supervise
    from yocc.options import CompileOptions

    announce_config(settings)
    found = debug_model(
        model,
        CompileOptions.of(**without_outvoted(values)),
        samples=samples,
        max_loss=max_loss,
        progress=Bars(quiet=settings.quiet),
        observers=[] if settings.quiet else [timing(say)],
        contained=can_supervise(),
    )
    for text in found.warnings:
        warn(text)
    if settings.as_json:
        show_json({**found.content(), "folder": str(found.folder)})
        return
    show_diagnosis(found)
