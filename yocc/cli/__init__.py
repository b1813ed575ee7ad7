"""The command line: read options, call the library, print. The only place that ends the process."""

from __future__ import annotations

import signal
from types import FrameType

import click

from yocc import __version__
from yocc.cli.advising import advise
from yocc.cli.building import build
from yocc.cli.caching import cache
from yocc.cli.calibrating import calibrate
from yocc.cli.checking import check
from yocc.cli.compile import compile_command
from yocc.cli.debugging import debug
from yocc.cli.demo import demo
from yocc.cli.detecting import detect
from yocc.cli.differing import diff
from yocc.cli.judging import bench, compare, evaluate, verify
from yocc.cli.latency import latency
from yocc.cli.looking import families, inspect, passes, report, targets
from yocc.cli.searching import search
from yocc.cli.terminal import INTERRUPTED_EXIT, Commands, Failure
from yocc.containment.supervisor import can_supervise, supervise

_TERMINATED_EXIT = 143
"""128 + SIGTERM, as shells count."""


class Terminated(SystemExit):
    """The process was asked to end, unlike where some code calls `sys.exit`."""


def main() -> None:
    """Entry point of the command `yocc`."""
    if not can_supervise():
        _run()
        return
    ending = supervise(_run)
    if ending.message:
        Failure(ending.message, ending.exit_code).show()
    raise SystemExit(ending.exit_code)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="yocc")
def cli() -> None:
    """Compress trained ONNX models without their training code.

    \b
    Examples:
      yocc inspect model.onnx
      yocc advise model.onnx --calib pictures/
      yocc search model.onnx --calib pictures/ --max-latency 0.4 --max-loss 0.02
      yocc compile model.onnx --prune 0.4 --int8 --calib pictures/ -o out/
      yocc eval out/ --data pictures/ --against model.onnx
    """


COMMANDS = (
    compile_command,
    advise,
    search,
    calibrate,
    check,
    inspect,
    report,
    detect,
    evaluate,
    compare,
    diff,
    debug,
    bench,
    latency,
    verify,
    build,
    demo,
    cache,
    targets,
    passes,
    families,
)
for command in COMMANDS:
    cli.add_command(command)


def _run() -> None:
    signal.signal(signal.SIGTERM, _terminate)
    try:
        cli(prog_name="yocc")
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED_EXIT) from None


def _terminate(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 # the signature of a handler
    """Unwind, so that what was half-written is removed; asking again changes nothing."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Terminated(_TERMINATED_EXIT)
