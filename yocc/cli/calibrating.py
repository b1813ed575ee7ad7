"""Commands that observe: `yocc calibrate`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from yocc.cli.compile_options import (
    option_of,
    picture_options,
    shape_option,
    target_option,
    target_options,
    threads_option,
)
from yocc.cli.options import common, force_option, path_argument
from yocc.cli.terminal import Bars, Settings, show_json, warn


@click.command()
@click.argument("model", type=path_argument)
@click.option("--calib", "calibration", type=path_argument, required=True,
              help="Folder of pictures, or .npz, to run the model on.")  # fmt: skip
@click.option("--count", type=click.IntRange(1), help="Samples to use [default: all].")
@option_of("side")
@option_of("input_size")
@option_of("batch")
@click.option("--pipeline", metavar="PASSES",
              help="The passes before quantization, as in the compilation that will use the file, where that is given "
              "--pipeline or prunes [default: fp32,simplify,fuse].")  # fmt: skip
@target_option
@target_options
@shape_option
@picture_options
@threads_option
@click.option("-o", "--out", type=path_argument, default="calibration.npz", show_default=True, help="File to write.")
@force_option
@common
@click.pass_obj
def calibrate(settings: Settings, /, model: Path, calibration: Path, out: Path, force: bool, **values: Any) -> None:
    """Write how MODEL's values are distributed over pictures, for --statistics of compilations.

    Parts of the pictures may be run on several machines; the files together say what one over all pictures would.

    \b
    Examples:
      yocc calibrate model.onnx --calib part1/ -o part1.npz
      yocc calibrate model.onnx --calib part2/ --target openvino -o part2.npz
      yocc calibrate model.onnx --calib pictures/ --side 480 -o at480.npz
    """
    from yocc.api.calibrate import calibrate_model

    progress = Bars(quiet=settings.quiet)
    found = calibrate_model(model, calibration, out, warn=warn, force=force, progress=progress, **values)
    if settings.as_json:
        show_json({"file": str(out), "network": found.network, "samples": found.samples})
    elif not settings.quiet:
        click.echo(f"{out} ({found.samples} samples, {len(found.statistics)} tensors, network {found.network[:12]})")
