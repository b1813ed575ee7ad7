"""`yocc compile`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from yocc.cli.caching import chosen_cache, place_options
from yocc.cli.config import config_option, outvoted
from yocc.cli.options import (
    common,
    path_argument,
    picture_options,
    reports,
    shape_option,
    target_option,
    target_options,
    threads_option,
)
from yocc.cli.terminal import Bars, Settings, announce_config, say, warn
from yocc.errors import MeasurementError


@click.command("compile")
@click.argument("model", type=path_argument)
@click.option("--prune", type=float, help="Share of parameters and of MACs to remove, such as 0.4.")
@click.option("--prune-target", metavar="WHAT=SHARE",
              help="What is to be left instead, such as latency=0.7; also parameters, macs or channels.")  # fmt: skip
@click.option("--latency-table", type=path_argument, metavar="FILE",
              help="How long layers take, as `yocc latency` writes it [default: measured here].")  # fmt: skip
@click.option("--int8/--no-int8", default=False, help="Quantize weights and activations to 8 bits.  [default: off]")
@click.option("--max-accuracy-drop", "max_drop", type=float,
              help="With --int8: keep agreement with the original network (mAP50-95 on its own detections) within this "
              "of 1, by leaving layers float.")  # fmt: skip
@click.option("--max-latency", type=float,
              help="With --int8: leave layers float as far as the modelled time of all stays within this share of "
              "float's, 0.5 to 1.")  # fmt: skip
@click.option("--weights", metavar="CODE:BITS",
              help="Weights in codes of 2 to 8 bits, packed: log2:4, apot:4, uniform:4, where first, last and small "
              "layers have 8; log2:0.2 chooses each layer's bits for a file of that share of its size.")  # fmt: skip
@click.option("--fp16/--no-fp16", default=False, help="Store and compute the rest in half precision.  [default: off]")
@click.option("--recover", type=click.Choice(["none", "statistics", "reconstruct", "distill"]),
              help="How to give a pruned model back what it lost: refit it layer by layer, or also train it for "
              "minutes to hours (extra torch) [default: reconstruct].")  # fmt: skip
@click.option("--schedule", type=click.Choice(["oneshot", "iterative"]),
              help="Prune at once, or in rounds with recovery between [default: up to a quarter each].")  # fmt: skip
@click.option("--rounds", type=click.IntRange(1), help="How many rounds.")
@click.option("--budget", metavar="TIME",
              help="Time for pruning and recovery together: 90s, 30m, 2h [default: what it takes].")  # fmt: skip
@click.option(
    "--sparsity", type=click.Choice(["2:4"]), help="Set two of each four weights to zero, for sparse tensor cores."
)
@click.option("--pipeline", help="The passes as text instead, such as 'simplify,prune{ratio=0.4},fuse'.")
@target_option
@target_options
@click.option("--calib", "--calibration", "calibration", type=path_argument,
              help="Folder of pictures, or .npz, to calibrate with [default: pictures yocc draws].")  # fmt: skip
@click.option("--statistics", type=path_argument, multiple=True, metavar="FILE",
              help="Take ranges from what `yocc calibrate` wrote; files of several machines are merged.")  # fmt: skip
@click.option("--count", type=int, help="Samples to calibrate with [default: all].")
@shape_option
@picture_options
@click.option("--eval", "evaluate", type=path_argument, help="Folder of labelled pictures to score both models on.")
@click.option("--labels", type=path_argument, help="COCO JSON or folder of YOLO text files [default: beside].")
@click.option("--fidelity/--no-fidelity", default=True, help="Compare outputs with the original's.  [default: on]")
@click.option("--bench/--no-bench", default=True, help="Time both models.  [default: on]")
@click.option("--html/--no-html", default=True,
              help="Write report.html, which holds a few of the pictures compared on.  [default: on]")  # fmt: skip
@threads_option
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of everything random.")
@reports
@click.option("--print-after", is_flag=True, help="Print the graph after each pass that changed it.")
@click.option("-o", "--out", type=path_argument, help="Folder to write [default: <model>_yocc].")
@place_options
@click.option("--no-cache", is_flag=True, help="Neither take the result from the cache nor keep it there.")
@config_option
@common
@click.pass_obj
def compile_command(
    settings: Settings,
    model: Path,
    prune: float | None,
    prune_target: str | None,
    latency_table: Path | None,
    int8: bool,
    max_drop: float | None,
    max_latency: float | None,
    weights: str | None,
    fp16: bool,
    recover: Literal["none", "statistics", "reconstruct", "distill"] | None,
    schedule: Literal["oneshot", "iterative"] | None,
    rounds: int | None,
    budget: str | None,
    sparsity: Literal["2:4"] | None,
    pipeline: str | None,
    target: str,
    options: dict[str, str],
    calibration: Path | None,
    statistics: tuple[Path, ...],
    count: int | None,
    input_shapes: dict[str, tuple[int, ...]],
    input_color: str | None,
    input_scale: str | None,
    input_mean: str | None,
    input_std: str | None,
    evaluate: Path | None,
    labels: Path | None,
    fidelity: bool,
    bench: bool,
    html: bool,
    threads: int | None,
    seed: int,
    gates: tuple[str, ...],
    junit_file: Path | None,
    page: Path | None,
    force: bool,
    print_after: bool,
    out: Path | None,
    cache_folder: Path | None,
    cache_limit: str,
    no_cache: bool,
) -> None:
    """Compress MODEL into a folder.

    The folder holds the compiled model, report.json and report.html; it appears when all is done, or not at all. It is
    there too when a gate does not hold (exit code 8), or when something could not be measured (9).

    \b
    Examples:
      yocc compile model.onnx --prune 0.4 --int8 --calib pictures/ -o out/
      yocc compile model.onnx --int8 --calib pictures/ --eval val/images --gate 'map50_95>=-0.01'
      yocc compile model.onnx --int8 --max-accuracy-drop 0.03 --calib pictures/
      yocc compile yunet.onnx --int8 --calib pictures/ --input-color bgr --input-scale 1
      yocc compile model.onnx --weights log2:0.2 --calib pictures/ -o out/
      yocc compile model.onnx --pipeline 'simplify,prune{ratio=0.4},fuse' -o out/
    """
    from yocc.api.compiling import compile_or_restore
    from yocc.cli.concluding import conclude, show_summary
    from yocc.cli.publishing import require_publishable
    from yocc.compiler.pipeline.observers import printing, timing

    announce_config(settings)
    require_publishable(junit_file, page, force=force)
    short = (
        "prune", "prune_target", "int8", "max_drop", "max_latency", "weights", "fp16", "recover", "schedule", "rounds",
        "sparsity",
    )  # fmt: skip
    dropped = {*outvoted(("pipeline",), short), *outvoted(("prune",), ("prune_target",))}
    done = compile_or_restore(
        model,
        {
            "prune": None if "prune" in dropped else prune,
            "prune_target": None if "prune_target" in dropped else prune_target,
            "latency_table": latency_table,
            "int8": int8 and "int8" not in dropped,
            "max_drop": None if "max_drop" in dropped else max_drop,
            "max_latency": None if "max_latency" in dropped else max_latency,
            "weights": None if "weights" in dropped else weights,
            "fp16": fp16 and "fp16" not in dropped,
            "recover": None if "recover" in dropped else recover,
            "schedule": None if "schedule" in dropped else schedule,
            "rounds": None if "rounds" in dropped else rounds,
            "budget": budget,
            "sparsity": None if "sparsity" in dropped else sparsity,
            "pipeline": None if "pipeline" in dropped else pipeline,
            "target": target,
            "options": options,
            "calibration": calibration,
            "count": count,
            "statistics": statistics,
            "input_shapes": input_shapes,
            "input_color": input_color,
            "input_scale": input_scale,
            "input_mean": input_mean,
            "input_std": input_std,
            "seed": seed,
            "evaluate": evaluate,
            "labels": labels,
            "fidelity": fidelity,
            "bench": bench,
            "html": html,
            "threads": threads,
            "gates": gates,
        },
        out=out,
        # Looking at the graph after each pass takes passes that run.
        cache=None if print_after else chosen_cache(cache_folder, cache_limit, off=no_cache),
        warn=warn,
        progress=Bars(quiet=settings.quiet),
        observers=([] if settings.quiet else [timing(say)]) + ([printing(say)] if print_after else []),
    )
    if done.restored and not settings.quiet:
        say(f"Restored from the cache, compiled and measured {done.restored}; --no-cache compiles anew.")
    content = done.content
    for text in content["warnings"]:
        warn(text, grave=text in content["alarms"])
    if settings.verbose:
        for step in content["passes"]:
            for note in step["notes"]:
                say(f"{note['origin']}: {note['message']}" + (f" ({note['node']})" if note["node"] else ""))
    if settings.as_json:
        click.echo(done.text, nl=False)
    elif not settings.quiet:
        show_summary(content, done.model)
    conclude(settings, content, done.outcomes, junit_file, page, force=force)
    if done.unmeasured:
        raise MeasurementError(done.unmeasured[0], f"The result is in {str(done.folder)!r}.")
