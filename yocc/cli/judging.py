"""Commands that judge a model: `yocc eval`, `yocc compare`, `yocc bench`, `yocc verify`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from yocc.cli.compile_options import shape_option, stated_options, threads_option
from yocc.cli.options import against_option, common, path_argument
from yocc.cli.terminal import Bars, Settings, show_json, show_tables, warn

if TYPE_CHECKING:
    from yocc.runtime.data.stated import InputOptions


@click.command("eval")
@click.argument("model", type=path_argument)
@click.option("--data", required=True, type=path_argument, help="Folder of pictures, or a yocc array file.")
@click.option("--labels", type=path_argument, help="COCO JSON or folder of YOLO text files [default: beside].")
@against_option
@stated_options
@threads_option
@common
@click.pass_obj
def evaluate(
    settings: Settings,
    model: Path,
    data: Path,
    labels: Path | None,
    against: Path | None,
    stated: InputOptions,
    threads: int | None,
) -> None:
    """Score the detector MODEL.

    mAP against labels, or with --against how well it finds what the original finds.

    \b
    Examples:
      yocc eval out/ --data val/images --labels val/labels
      yocc eval out/ --data pictures/ --against model.onnx
    """
    from yocc.api.judging import against_labels, against_original
    from yocc.cli.reading import fidelity_tables, score_tables
    from yocc.report.report import plain

    bars = Bars(quiet=settings.quiet)
    if against is not None:
        agreement = against_original(model, against, data, count=None, stated=stated, threads=threads, progress=bars)
        for remark in agreement.remarks:
            warn(remark.text, grave=remark.severe)
        tables, content = fidelity_tables(agreement.facts), plain(agreement.facts)
    else:
        scores = against_labels(model, data, labels, stated=stated, threads=threads, progress=bars)
        tables, content = score_tables(scores), plain(scores)
    if settings.as_json:
        show_json(content)
        return
    show_tables(tables)


@click.command()
@click.argument("model", type=path_argument)
@against_option
@click.option("--data", type=path_argument, help="Pictures or .npz to compare on [default: synthetic pictures].")
@click.option("--count", type=int, default=16, show_default=True, help="Samples to compare on.")
@stated_options
@threads_option
@common
@click.pass_obj
def compare(
    settings: Settings,
    model: Path,
    against: Path | None,
    data: Path | None,
    count: int,
    stated: InputOptions,
    threads: int | None,
) -> None:
    """Compare outputs with the original's.

    Output by output, boxes and scores of a detector apart, and the detections themselves. The original runs in
    onnxruntime without graph optimizations, MODEL in its target's runtime.

    \b
    Examples:
      yocc compare out/ --data pictures/
      yocc compare compressed.onnx --against model.onnx --data pictures/ --count 8
    """
    from yocc.api.judging import against_original
    from yocc.cli.reading import fidelity_tables
    from yocc.report.report import plain

    agreement = against_original(
        model,
        against,
        data,
        count=count,
        stated=stated,
        threads=threads,
        progress=Bars(quiet=settings.quiet),
    )
    for remark in agreement.remarks:
        warn(remark.text, grave=remark.severe)
    if settings.as_json:
        show_json(plain(agreement.facts))
        return
    show_tables(fidelity_tables(agreement.facts))


@click.command()
@click.argument("model", type=path_argument)
@common
@click.pass_obj
def verify(settings: Settings, model: Path) -> None:
    """Make sure that MODEL works on its target.

    MODEL is a folder yocc wrote, or an ONNX file. Its files are held against the hashes in the report; it runs on
    samples, must give finite outputs of the shapes in the report, and is compared with the original where that is at
    hand; then come the checks of the target. What was left out is said with what to install. Ends with 6 when a check
    fails.

    \b
    Examples:
      yocc verify out/
    """
    from yocc.api.verifying import verify_model
    from yocc.cli.reading import check_tables
    from yocc.errors import BackendError
    from yocc.report.report import plain

    checks = verify_model(model)
    if settings.as_json:
        show_json({"checks": plain(checks)})
    else:
        show_tables(check_tables(checks))
    failed = [check for check in checks if check.passed is False]
    if failed:
        raise BackendError(f"{str(model)!r} does not pass: {failed[0].name}.", failed[0].message)


@click.command()
@click.argument("model", type=path_argument)
@against_option
@click.option("--rounds", type=click.IntRange(1), default=30, show_default=True, help="How many times each is run.")
@click.option("--data", type=path_argument, help="Pictures or .npz to run on [default: random numbers].")
@shape_option
@stated_options
@threads_option
@common
@click.pass_obj
def bench(
    settings: Settings,
    model: Path,
    against: Path | None,
    rounds: int,
    data: Path | None,
    input_shapes: dict[str, tuple[int, ...]],
    stated: InputOptions,
    threads: int | None,
) -> None:
    """Time MODEL against the original.

    They run in alternation, so that what disturbs the machine disturbs both: MODEL in its target's runtime, the
    original in the same, which tells what compression brought, and in onnxruntime, which tells what the target
    brought as well.

    \b
    Examples:
      yocc bench out/
      yocc bench compressed.onnx --against model.onnx --threads 1 --rounds 50
    """
    from yocc.api.judging import time_against
    from yocc.cli.reading import speed_tables
    from yocc.report.report import plain

    speed = time_against(
        model,
        against,
        data=data,
        rounds=rounds,
        input_shapes=input_shapes,
        stated=stated,
        threads=threads,
        progress=Bars(quiet=settings.quiet),
    )
    if settings.as_json:
        show_json(plain(speed))
        return
    show_tables(speed_tables(speed))
