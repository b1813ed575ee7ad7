"""Commands that make models: `yocc build`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from yocc.cli.options import common, force_option, path_argument
from yocc.cli.terminal import Settings, show_json


@click.command()
@click.argument("name")
@click.option("--size", type=click.IntRange(32), default=640, show_default=True, help="Input height and width.")
@click.option("--classes", type=click.IntRange(1), default=80, show_default=True, help="Number of classes.")
@click.option("--batch-norm", type=click.Choice(["kept", "fused"]), default="kept", show_default=True,
              help="Keep BatchNormalization nodes or fold them into the convolutions.")  # fmt: skip
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the weights.")
@click.option("-o", "--out", type=path_argument, help="File to write [default: <name>.onnx].")
@force_option
@common
@click.pass_obj
def build(
    settings: Settings,
    name: str,
    size: int,
    classes: int,
    batch_norm: Literal["kept", "fused"],
    seed: int,
    out: Path | None,
    force: bool,
) -> None:
    """Write a detector with seeded random weights.

    NAME is yolov5n, yolov5s, yolov5m, yolov5l or yolov5x. The model has the published architecture and detects nothing;
    it is there to try commands on. A file is replaced only if this command wrote it and nothing has changed it since.

    \b
    Examples:
      yocc build yolov5n -o yolov5n.onnx
      yocc build yolov5s --size 320 --classes 3 --batch-norm fused
    """
    from yocc.api.build import build_model

    file = out or Path(f"{name}.onnx")
    path = build_model(name, file, size=size, classes=classes, batch_norm=batch_norm, seed=seed, force=force)
    if settings.as_json:
        show_json({"model": str(path), "bytes": path.stat().st_size})
        return
    click.echo(f"{path} ({path.stat().st_size / 1e6:.2f} MB)")
