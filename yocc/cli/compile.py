"""`yocc compile`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from yocc.cli.options import common, path_argument, shape_option, target_option, target_options, threads_option
from yocc.commands.terminal import Bars, Settings, say, warn


@click.command("compile")
@click.argument("model", type=path_argument)
@click.option("--prune", type=float, help="Share of parameters and of MACs to remove, such as 0.4.")
@click.option("--int8", is_flag=True, help="Quantize weights and activations to 8 bits.")
@click.option("--fp16", is_flag=True, help="Store and compute what is left in half precision.")
@click.option("--recover", type=click.Choice(["none", "reconstruct"]),
              help="How to give a pruned model back what it lost [default: reconstruct with --calib].")  # fmt: skip
@click.option(
    "--sparsity", type=click.Choice(["2:4"]), help="Set two of each four weights to zero, for sparse tensor cores."
)
@click.option("--pipeline", help="The passes as text instead, such as 'simplify,prune{ratio=0.4},fuse'.")
@target_option
@target_options
@click.option("--calib", "--calibration", "calibration", type=path_argument,
              help="Folder of pictures, or .npz, to calibrate with [default: pictures yocc draws].")  # fmt: skip
@click.option("--count", type=int, help="Samples to calibrate with [default: all].")
@shape_option
@click.option("--eval", "evaluate", type=path_argument, help="Folder of labelled pictures to score both models on.")
@click.option("--labels", type=path_argument, help="COCO JSON or folder of YOLO text files [default: beside].")
@click.option("--fidelity/--no-fidelity", default=True, help="Compare outputs with the original's.  [default: on]")
@click.option("--bench/--no-bench", default=True, help="Time both models.  [default: on]")
@threads_option
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of everything random.")
@click.option("--print-after", is_flag=True, help="Print the graph after each pass that changed it.")
@click.option("-o", "--out", type=path_argument, help="Folder to write [default: <model>_yocc].")
@common
@click.pass_obj
def compile_command(
    settings: Settings,
    model: Path,
    prune: float | None,
    int8: bool,
    fp16: bool,
    recover: Literal["none", "reconstruct"] | None,
    sparsity: Literal["2:4"] | None,
    pipeline: str | None,
    target: str,
    options: dict[str, str],
    calibration: Path | None,
    count: int | None,
    input_shapes: dict[str, tuple[int, ...]],
    evaluate: Path | None,
    labels: Path | None,
    fidelity: bool,
    bench: bool,
    threads: int | None,
    seed: int,
    print_after: bool,
    out: Path | None,
) -> None:
    """Compress MODEL into a folder.

    The folder holds the compiled model and report.json; it appears when all is done, or not at all.

    \b
    Examples:
      yocc compile model.onnx --prune 0.4 --int8 --calib pictures/ -o out/
      yocc compile model.onnx --int8 --calib pictures/ --eval val/images -o out/
      yocc compile model.onnx --pipeline 'simplify,prune{ratio=0.4},fuse' -o out/
    """
    from yocc.commands.reading import summary
    from yocc.compiler.observers import printing, timing
    from yocc.driver import compile_model

    observers = [timing(say)] + ([printing(say)] if print_after else [])
    report = compile_model(
        model,
        prune=prune,
        int8=int8,
        fp16=fp16,
        recover=recover,
        sparsity=sparsity,
        pipeline=pipeline,
        target=target,
        options=options,
        calibration=calibration,
        count=count,
        input_shapes=input_shapes,
        out=out,
        seed=seed,
        evaluate=evaluate,
        labels=labels,
        fidelity=fidelity,
        bench=bench,
        threads=threads,
        progress=Bars(),
        observers=observers,
    )
    for text in report.warnings:
        warn(text)
    if settings.verbose:
        for step in report.passes:
            for note in step.notes:
                say(f"{note.origin}: {note.message}" + (f" ({note.node})" if note.node else ""))
    if settings.as_json:
        click.echo(report.to_json(), nl=False)
        return
    for line in summary(report):
        click.echo(line)
