"""The command line: read options, call the library, print. The only place that ends the process."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType
from typing import Literal

import click

from yocc import __version__
from yocc.commands.terminal import INTERRUPTED_EXIT, Bars, Commands, Settings, say, show_json, show_table, warn

_TERMINATED_EXIT = 143
"""128 + SIGTERM, as shells count."""


def main() -> None:
    """Entry point of the command `yocc`."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        cli(prog_name="yocc")
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED_EXIT) from None


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="yocc")
def cli() -> None:
    """Compress trained ONNX models without their training code.

    \b
    Examples:
      yocc inspect model.onnx
      yocc compile model.onnx --prune 0.4 --int8 --calib pictures/ -o out/
      yocc eval out/ --data pictures/ --against model.onnx
    """


def _set(name: str) -> Callable[[click.Context, click.Parameter, bool], None]:
    def set_it(ctx: click.Context, _: click.Parameter, value: bool) -> None:
        root = ctx.find_root()
        root.obj = root.obj or Settings()
        if value:
            setattr(root.obj, name, True)

    return set_it


def common(command: Callable[..., None]) -> Callable[..., None]:
    """Options every command has."""
    for flags, name, text in (
        (("-v", "--verbose"), "verbose", "Say more, and show where an error comes from."),
        (("--json",), "as_json", "Print JSON on standard output and nothing else there."),
    ):
        command = click.option(
            *flags, name, is_flag=True, is_eager=True, expose_value=False, callback=_set(name), help=text
        )(command)
    return command


def _pairs(kind: str) -> Callable[[click.Context, click.Parameter, tuple[str, ...]], dict[str, str]]:
    def split(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
        pairs = {}
        for value in values:
            name, equals, text = value.partition("=")
            if not name or not equals:
                raise click.BadParameter(f"{value!r} is not of the form {kind}.")
            pairs[name] = text
        return pairs

    return split


def _shapes(ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    shapes = {}
    for name, text in _pairs("NAME=1,3,640,640")(ctx, parameter, values).items():
        sizes = text.split(",")
        if not all(size.isascii() and size.isdigit() and int(size) > 0 for size in sizes):
            raise click.BadParameter(f"{text!r} is not a shape such as 1,3,640,640.")
        shapes[name] = tuple(map(int, sizes))
    return shapes


path_argument = click.Path(path_type=Path)
target_option = click.option("--target", default="onnxruntime", show_default=True, help="What to compile for.")
target_options = click.option(
    "-O", "--target-option", "options", multiple=True, metavar="NAME=VALUE", callback=_pairs("NAME=VALUE"),
    help="An option of the target; `yocc targets` lists them.",
)  # fmt: skip
shape_option = click.option(
    "--input-shape", "input_shapes", multiple=True, metavar="NAME=1,3,640,640", callback=_shapes,
    help="Shape of an input whose shape the model leaves open.",
)  # fmt: skip
threads_option = click.option("--threads", type=click.IntRange(1), help="Threads to run models with [default: all].")
against_option = click.option(
    "--against", type=path_argument, help="The original model [default: the one a yocc folder was compiled from]."
)


@cli.command("compile")
@click.argument("model", type=path_argument)
@click.option("--prune", type=float, help="Share of parameters and of MACs to remove, such as 0.4.")
@click.option("--int8", is_flag=True, help="Quantize weights and activations to 8 bits.")
@click.option("--fp16", is_flag=True, help="Store and compute what is left in half precision.")
@click.option("--recover", type=click.Choice(["none", "reconstruct"]),
              help="How to give a pruned model back what it lost [default: reconstruct with --calib].")  # fmt: skip
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


@cli.command()
@click.argument("model", type=path_argument)
@target_option
@target_options
@shape_option
@common
@click.pass_obj
def inspect(
    settings: Settings, model: Path, target: str, options: dict[str, str], input_shapes: dict[str, tuple[int, ...]]
) -> None:
    """Show what MODEL is made of.

    Its layers, what they cost, which are coupled, and what can be pruned or quantized and why not.

    \b
    Examples:
      yocc inspect model.onnx
      yocc inspect model.onnx --json
    """
    from yocc.commands.inspection import inspect_model
    from yocc.commands.opening import find_model
    from yocc.commands.reading import inspection_tables
    from yocc.compiler.graph import load
    from yocc.compiler.report import plain
    from yocc.runtime.registry import find_backend

    wanted = find_backend(target).target(options)
    inspection = inspect_model(load(find_model(model).artifact.model), wanted, input_shapes)
    if settings.as_json:
        show_json(plain(inspection))
        return
    _show(inspection_tables(inspection))


@cli.command("eval")
@click.argument("model", type=path_argument)
@click.option("--data", required=True, type=path_argument, help="Folder of pictures, or a yocc array file.")
@click.option("--labels", type=path_argument, help="COCO JSON or folder of YOLO text files [default: beside].")
@against_option
@threads_option
@common
@click.pass_obj
def evaluate(
    settings: Settings, model: Path, data: Path, labels: Path | None, against: Path | None, threads: int | None
) -> None:
    """Score the detector MODEL.

    mAP against labels, or with --against how well it finds what the original finds.

    \b
    Examples:
      yocc eval out/ --data val/images --labels val/labels
      yocc eval out/ --data pictures/ --against model.onnx
    """
    from yocc.commands.judging import against_labels, against_original
    from yocc.commands.reading import fidelity_tables, score_tables
    from yocc.compiler.report import plain

    bars = Bars()
    if against is not None:
        facts = against_original(model, against, data, count=None, threads=threads, progress=bars)
        tables, content = fidelity_tables(facts), plain(facts)
    else:
        scores = against_labels(model, data, labels, threads=threads, progress=bars)
        tables, content = score_tables(scores), plain(scores)
    if settings.as_json:
        show_json(content)
        return
    _show(tables)


@cli.command()
@click.argument("model", type=path_argument)
@against_option
@click.option("--data", type=path_argument, help="Pictures or .npz to compare on [default: pictures yocc draws].")
@click.option("--count", type=int, default=16, show_default=True, help="Samples to compare on.")
@threads_option
@common
@click.pass_obj
def compare(
    settings: Settings, model: Path, against: Path | None, data: Path | None, count: int, threads: int | None
) -> None:
    """Compare outputs with the original's.

    Output by output, boxes and scores of a detector apart, and the detections themselves.

    \b
    Examples:
      yocc compare out/ --data pictures/
      yocc compare compressed.onnx --against model.onnx --data pictures/ --count 8
    """
    from yocc.commands.judging import against_original
    from yocc.commands.reading import fidelity_tables
    from yocc.compiler.report import plain

    facts = against_original(model, against, data, count=count, threads=threads, progress=Bars())
    if settings.as_json:
        show_json(plain(facts))
        return
    _show(fidelity_tables(facts))


@cli.command()
@click.argument("model", type=path_argument)
@against_option
@click.option("--rounds", type=click.IntRange(1), default=30, show_default=True, help="How often each is timed.")
@click.option("--data", type=path_argument, help="Pictures or .npz to run on [default: random numbers].")
@shape_option
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
    threads: int | None,
) -> None:
    """Time MODEL against the original.

    Both run in alternation, so that what disturbs the machine disturbs both.

    \b
    Examples:
      yocc bench out/
      yocc bench compressed.onnx --against model.onnx --threads 1 --rounds 50
    """
    from yocc.commands.judging import time_against
    from yocc.commands.reading import timing_tables
    from yocc.compiler.report import plain

    timing = time_against(
        model, against, data=data, rounds=rounds, input_shapes=input_shapes, threads=threads, progress=Bars()
    )
    if settings.as_json:
        show_json(plain(timing))
        return
    _show(timing_tables(timing))


@cli.command()
@click.argument("name")
@click.option("--size", type=click.IntRange(32), default=640, show_default=True, help="Input height and width.")
@click.option("--classes", type=click.IntRange(1), default=80, show_default=True, help="Number of classes.")
@click.option("--batch-norm", type=click.Choice(["kept", "fused"]), default="kept", show_default=True,
              help="Keep BatchNormalization nodes or fold them into the convolutions.")  # fmt: skip
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the weights.")
@click.option("-o", "--out", type=path_argument, help="File to write [default: <name>.onnx].")
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
) -> None:
    """Write a detector with seeded random weights.

    NAME is yolov5n, yolov5s, yolov5m, yolov5l or yolov5x. The model has the published architecture and detects nothing;
    it is there to try commands on.

    \b
    Examples:
      yocc build yolov5n -o yolov5n.onnx
      yocc build yolov5s --size 320 --classes 3 --batch-norm fused
    """
    from yocc.commands.building import build_model

    path = build_model(name, out or Path(f"{name}.onnx"), size=size, classes=classes, batch_norm=batch_norm, seed=seed)
    if settings.as_json:
        show_json({"model": str(path), "bytes": path.stat().st_size})
        return
    click.echo(f"{path} ({path.stat().st_size / 1e6:.2f} MB)")


@cli.command()
@click.option(
    "--scenes", type=click.IntRange(1), default=200, show_default=True, help="Scenes to score both models on."
)
@threads_option
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of everything random.")
@click.option("-o", "--out", type=path_argument, default=Path("yocc_demo"), show_default=True, help="Folder to write.")
@common
@click.pass_obj
def demo(settings: Settings, scenes: int, threads: int | None, seed: int, out: Path) -> None:
    """Compress the detector that comes with yocc.

    Draws street scenes, compiles a YOLOv5n trained on such scenes with --prune 0.4 --int8, scores and times the
    original and the compressed model, and draws what both find side by side. Needs no network and takes about a minute.

    \b
    Examples:
      yocc demo
      yocc demo --scenes 500 --threads 1 -o demo/
    """
    from yocc.commands.demo import DemoPlan, closing_lines, demo_table, run_demo
    from yocc.compiler.observers import timing

    done = run_demo(out, DemoPlan(test=scenes, threads=threads, seed=seed), progress=Bars(), observers=[timing(say)])
    for text in done.report.warnings:
        warn(text)
    if settings.as_json:
        click.echo(done.report.to_json(), nl=False)
        return
    _show([demo_table(done)])
    for line in closing_lines(done, out):
        click.echo(line)


@cli.command()
@common
@click.pass_obj
def targets(settings: Settings) -> None:
    """List targets and their options.

    \b
    Examples:
      yocc targets
    """
    from yocc.commands.listing import target_list
    from yocc.commands.reading import target_tables

    found = target_list()
    _show(target_tables(found)) if not settings.as_json else show_json(found)


@cli.command()
@common
@click.pass_obj
def passes(settings: Settings) -> None:
    """List passes and their options.

    \b
    Examples:
      yocc passes
    """
    from yocc.commands.listing import pass_list
    from yocc.commands.reading import pass_tables

    found = pass_list()
    _show(pass_tables(found)) if not settings.as_json else show_json(found)


def _show(tables: Iterable[tuple[str, list[str], list[list[str]]]]) -> None:
    for title, columns, rows in tables:
        show_table(title, columns, rows)


def _terminate(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 # the signature of a handler
    """Unwind, so that what was half-written is removed."""
    raise SystemExit(_TERMINATED_EXIT)
