"""`yocc search`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from yocc.cli.caching import chosen_cache, place_options
from yocc.cli.compile_options import option_of, picture_options, shape_option, target_option, target_options
from yocc.cli.config import config_option
from yocc.cli.options import common, pairs, path_argument
from yocc.cli.terminal import INTERRUPTED_EXIT, Bars, Failure, Settings, announce_config, say, show_json, warn

if TYPE_CHECKING:
    from yocc.searching.request import Request
    from yocc.searching.searching import Progress

_SAMPLERS = ("auto", "tpe", "nsga2", "grid")


class SearchCommand(click.Command):
    """A command whose first word may be `show` or `serve`, which then takes the rest."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """The context of this command, or of `show` or `serve`."""
        for other in (show, serve):
            if args[:1] == [other.name]:
                return other.make_context(f"{info_name} {other.name}", args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)


def _limits(command: Callable[..., None]) -> Callable[..., None]:
    """What is asked for and how long it may take."""
    for option in (
        click.option("--minutes", type=float, metavar="MINUTES",
                     help="Start no trial after this time [default: 60, or as long as --trials takes]."),
        click.option("--trials", type=click.IntRange(1), help="How many configurations to try."),
        click.option("--max-memory", metavar="SHARE|SIZE",
                     help="Most memory that loading and running it may take: a share of the original's, or 60MB."),
        click.option("--max-size", metavar="SHARE|SIZE",
                     help="Most that the model's files may take: a share of the original's such as 0.25, or 2MB."),
        click.option("--max-loss", type=float, metavar="LOSS",
                     help="Most that may be lost, 0 to 1: of fidelity to the original, or of mAP50-95 with --eval."),
        click.option("--max-latency", metavar="SHARE|TIME",
                     help="Most that a run may take: a share of the original's time such as 0.4, or 12ms."),
    ):  # fmt: skip
        command = option(command)
    return command


def _engine(command: Callable[..., None]) -> Callable[..., None]:
    """How it is searched."""
    for option in (
        click.option("--heartbeat", type=click.IntRange(1), default=30, show_default=True, metavar="SECONDS",
                     help="With --storage: time between signs of life of a worker; without two, its trial is retried."),
        click.option("--storage", metavar="URL",
                     help="A database that several machines share, such as postgresql://user@host/name, or "
                          "grpc://host:13000 for `yocc search serve` [default: a file in the -o folder]."),
        click.option("--workers", type=click.IntRange(1), default=1, show_default=True,
                     help="Processes on this machine, each on cores of its own."),
        click.option("--sampler", type=click.Choice(_SAMPLERS), default="auto", show_default=True,
                     help="How configurations are chosen: auto is tpe, from 200 trials nsga2; grid takes all."),
        click.option("--space", multiple=True, metavar="NAME=VALUES", callback=pairs("NAME=VALUES"),
                     help="Search other values, such as prune=0..0.3:0.1 or precision=int8,fp16; one value fixes it."),
    ):  # fmt: skip
        command = option(command)
    return command


@click.command(cls=SearchCommand)
@click.argument("model", type=path_argument)
@option_of("calibration")
@_limits
@click.option("-o", "--out", type=path_argument, metavar="DIR", help="Folder to write [default: <model>_search].")
@_engine
@target_option
@target_options
@option_of("evaluate")
@option_of("labels")
@click.option("--count", type=click.IntRange(1), help="Samples to calibrate with [default: all that are fitted on].")
@shape_option
@picture_options
@option_of("seed")
@option_of("threads")
@place_options
@click.option("--no-cache", is_flag=True, help="Do not read or write the cache.")
@config_option
@common
@click.pass_obj
def search(settings: Settings, /, **values: Any) -> None:
    """Search for the options that make MODEL fast or small enough at the least loss.

    Each trial is a compilation, compared with the original on pictures that no trial is fitted on and timed against it
    in alternation. The folder holds the models that nothing beats, front.json and search.html. The same command goes
    on where it was interrupted. Exit status 8 if no configuration is within the limits.

    `yocc search show FOLDER` shows a result again and compiles one of its points. `yocc search serve` stands in front
    of a database for many workers.

    \b
    Examples:
      yocc search model.onnx --calib pictures/ --max-latency 0.4 --max-loss 0.02 -o front/
      yocc search model.onnx --calib pictures/ --trials 100 --workers 4 -o front/
      yocc search model.onnx --calib pictures/ --space precision=int8 --space prune=0 -o front/
      yocc search model.onnx --calib pictures/ --trials 200 --storage postgresql://yocc@host/yocc -o front/
      yocc search s3://bucket/model.onnx --calib s3://bucket/pictures --trials 200 --storage grpc://host:13000 -o front/
      yocc search show front/
    """
    from yocc.cli.search_table import show_front
    from yocc.errors import GateError
    from yocc.searching.front import shortfall
    from yocc.searching.searching import search_model

    announce_config(settings)
    request = _request(values)
    ended = 0

    def tell(progress: Progress) -> None:
        nonlocal ended
        ended = progress.ended
        if not settings.quiet:
            say(_progress_line(progress))

    try:
        front = search_model(request, tell)
    except KeyboardInterrupt as error:
        raise Failure(
            f"Interrupted after {ended} trials; the same command goes on from there.", INTERRUPTED_EXIT
        ) from error
    if settings.as_json:
        show_json(dataclasses.asdict(front))
    else:
        show_front(front, request.out)
    if front.recommended is None:
        raise GateError(front.rule, shortfall(front))


@click.command("show")
@click.argument("folder", type=path_argument)
@click.option("--pick", metavar="WHAT=BOUND",
              help="Compile one point: latency=0.4 takes the one within it that loses least, loss=0.02 the fastest, "
                   "trial=12 that one.")  # fmt: skip
@click.option(
    "-o", "--out", type=path_argument, metavar="DIR", help="With --pick: folder to write [default: <model>_yocc]."
)
@place_options
@click.option("--no-cache", is_flag=True, help="Do not read or write the cache.")
@common
@click.pass_obj
def show(
    settings: Settings,
    /,
    folder: Path,
    pick: str | None,
    out: Path | None,
    cache_folder: Path | None,
    cache_limit: str,
    no_cache: bool,
) -> None:
    """Show what a search found, or compile one of its points.

    \b
    Examples:
      yocc search show front/
      yocc search show front/ --pick latency=0.4 -o out/
    """
    from yocc.cli.search_table import show_front
    from yocc.searching.folder import read_front
    from yocc.searching.front import pick as choose
    from yocc.searching.picking import emit_point

    front = read_front(folder)
    if pick is None:
        show_json(dataclasses.asdict(front)) if settings.as_json else show_front(front, folder)
        return
    point = choose(front, pick)
    done = emit_point(
        front, point, out, chosen_cache(cache_folder, cache_limit, off=no_cache), warn, Bars(quiet=settings.quiet)
    )
    if settings.as_json:
        click.echo(done.text, nl=False)
    else:
        click.echo(f"{done.model}  # trial {point.trial}: {point.options or '(no option)'}")


@click.command("serve")
@click.option("--storage", required=True, metavar="URL", help="The database, such as postgresql://user@host/name.")
@click.option("--host", default="localhost", show_default=True, help="Address to listen on; 0.0.0.0 for all.")
@click.option("--port", type=click.IntRange(1, 65535), default=13000, show_default=True, help="Port to listen on.")
@common
@click.pass_obj
def serve(settings: Settings, /, storage: str, host: str, port: int) -> None:
    """Stand in front of a database for searches by hundreds of workers, which then hold no connections to it.

    Workers give --storage grpc://HOST:PORT. Whoever reaches the port can change the search: keep it in your network.

    \b
    Examples:
      yocc search serve --storage postgresql://yocc@host/yocc --host 0.0.0.0
      yocc search model.onnx --calib pictures/ --trials 2000 --storage grpc://host:13000 -o front/
    """
    from yocc.searching.storages import serve_proxy, without_password
    from yocc.searching.study import require_optuna

    require_optuna()
    if not settings.quiet:
        say(f"{without_password(storage)} at grpc://{host}:{port}; Ctrl-C ends it.")
    serve_proxy(storage, host, port)


def _request(values: dict[str, Any]) -> Request:
    """The request that the options stand for."""
    from yocc.searching.limits import read_limits
    from yocc.searching.request import Request

    limits = read_limits(*(values.pop(f"max_{name}") for name in ("latency", "loss", "size", "memory")))
    cache = chosen_cache(values.pop("cache_folder"), values.pop("cache_limit"), off=values.pop("no_cache"))
    own = {each.name for each in dataclasses.fields(Request)} - {"keywords", "limits", "cache"}
    asked = {name: values.pop(name) for name in list(values) if name in own}
    asked["out"] = asked["out"] or Path(f"{asked['model'].stem}_search")
    keywords = {name: value for name, value in values.items() if value not in (None, {}, ())}
    return Request(**asked, limits=limits, cache=cache, keywords=keywords)


def _progress_line(progress: Progress) -> str:
    from yocc.cli.search_table import brief
    from yocc.report.page.numbers import seconds

    amount = f"{progress.ended} of {progress.wanted}" if progress.wanted else str(progress.ended)
    left = "" if progress.seconds_left is None else f", about {seconds(round(progress.seconds_left))} left"
    front = progress.front
    best = front.recommended if front.recommended is not None else front.nearest
    if best is None:
        return f"{amount} trials{left}"
    kind = "best" if front.recommended is not None else "nearest to the limits"
    return f"{amount} trials{left}; {kind} so far: {brief(front.point(best))}"
