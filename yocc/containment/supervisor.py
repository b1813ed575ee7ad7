"""Running a command in a child process, so that a crash of native code ends in a sentence and an exit status."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass

from yocc.containment import VARIABLE, activity, is_contained

_SHELL = 128
"""Shells add the number of the signal to it."""
_PR_SET_PDEATHSIG = 1
_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


@dataclass(frozen=True)
class Ending:
    """How a command ended.

    Attributes:
        exit_code: for the supervising process.
        message: what to say about it; empty where the command has said all.
    """

    exit_code: int
    message: str = ""


def can_supervise() -> bool:
    """Whether this system has what supervising needs, and nobody has turned it off."""
    return sys.platform == "linux" and is_contained()


def supervise(command: Callable[[], None]) -> Ending:
    """Run a command in a child process and wait for it.

    Signals that are sent to this process reach the child; when this process is killed, the child is too. To be called
    before there are threads.

    Args:
        command: ends by returning or raising, in the child.

    Returns:
        How it ended. The child does not return.
    """
    activity.share()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    parent = os.getpid()
    waited = {signal.SIGCHLD, *_FORWARDED}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, waited)
    child = os.fork()
    if child:
        try:
            return _ending(_wait(child, waited))
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
    die_with(parent)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    command()
    raise SystemExit(0)


def _wait(child: int, waited: set[signal.Signals]) -> int:
    """Until the child has ended; its status as `os.waitstatus_to_exitcode` gives it."""
    while True:
        received = signal.sigwaitinfo(waited)
        if received.si_signo == signal.SIGCHLD:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status)
        elif received.si_code <= 0:  # from a process; what the terminal sends reaches the child too
            os.kill(child, received.si_signo)


def _ending(status: int) -> Ending:
    if status >= 0:
        return Ending(status)
    number = -status
    doing = activity.current()
    where = f" while {doing.text}" if doing else ""
    if number in (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGINT):
        hint = " That is what the system does when memory runs out." if number == signal.SIGKILL else ""
        return Ending(_SHELL + number, f"yocc was ended by {_name(number)}{where}.{hint}")
    return Ending(
        doing.exit_code if doing else _SHELL + number,
        f"A library that yocc uses crashed ({_name(number)}){where}. If the model is sound, report it with the "
        f"output of the same command under {VARIABLE}=off.",
    )


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def die_with(parent: int) -> None:
    """Have the system kill this process when the one that started it is gone; only on Linux."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # gone before
        os.kill(os.getpid(), signal.SIGKILL)
