"""`yocc detect`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from yocc.cli.compile_options import stated_options, threads_option
from yocc.cli.options import common, force_option, path_argument
from yocc.cli.terminal import Bars, Settings, say, show_json, show_table, warn

if TYPE_CHECKING:
    from yocc.runtime.data.stated import InputOptions
    from yocc.runtime.detection.metrics import DetectionSet


@click.command()
@click.argument("model", type=path_argument)
@click.argument("pictures", type=path_argument)
@click.option("-o", "--out", type=path_argument,
              help="Folder to write the pictures with their boxes to, or a file such as boxes.jpg.")  # fmt: skip
@click.option("--confidence", type=click.FloatRange(0, 1), default=0.25, show_default=True,
              help="Least score of a detection.")  # fmt: skip
@stated_options
@threads_option
@force_option
@common
@click.pass_obj
def detect(
    settings: Settings,
    /,
    model: Path,
    pictures: Path,
    out: Path | None,
    confidence: float,
    threads: int | None,
    force: bool,
    stated: InputOptions,
) -> None:
    """Show what the detector MODEL finds in PICTURES, a picture or a folder of them.

    MODEL is a folder yocc wrote, which runs in its target's runtime, or an ONNX file. Boxes are left, top, right and
    bottom in pixels of the picture.

    \b
    Examples:
      yocc detect out/ picture.jpg
      yocc detect out/ pictures/ -o boxes/
      yocc detect model.onnx picture.jpg -o boxes.jpg --confidence 0.4
      yocc detect out/ pictures/ --json
    """
    from yocc.api.detecting import detect_pictures, draw, plan_drawings

    drawings = () if out is None else plan_drawings(pictures, out, force=force)
    found = detect_pictures(
        model,
        pictures,
        confidence=confidence,
        stated=stated,
        threads=threads,
        progress=Bars(quiet=settings.quiet),
    )
    draw(found, drawings, force=force)
    if settings.as_json:
        show_json(_content(found))
    else:
        show_table("", ["picture", "class", "#score", "#left", "#top", "#right", "#bottom"], list(_rows(found)))
    if not any(len(each) for each in found.found):
        warn("Nothing was found; try a lower --confidence.")
    if drawings and not settings.quiet:
        say(f"{len(drawings)} picture{'' if len(drawings) == 1 else 's'} with boxes in {str(out)!r}")


def _rows(found: DetectionSet) -> Iterator[list[str]]:
    for picture in _content(found):
        for each in picture["detections"]:
            yield [picture["picture"], each["class"], f"{each['score']:.2f}", *(f"{edge:.0f}" for edge in each["box"])]


def _content(found: DetectionSet) -> list[dict[str, Any]]:
    """As JSON, with the keys of `run.py`."""
    return [
        {
            "picture": str(picture),
            "detections": [
                {
                    "class": found.classes[int(number)],
                    "number": int(number),
                    "score": round(float(score), 4),
                    "box": [round(float(edge), 1) for edge in box],
                }
                for box, score, number in zip(each.boxes, each.scores, each.classes, strict=True)
            ],
        }
        for picture, each in zip(found.pictures, found.found, strict=True)
    ]
