"""Running something in a copy of this process, which may crash without ending this one."""

from __future__ import annotations

import os
import pickle
import select
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from typing import Any, NoReturn

from yocc.containment.supervisor import die_with

_HEADER = 8
_SECONDS_TO_END = 5.0
Tell = Callable[[Any], None]


class Crashed(Exception):  # noqa: N818 # what happened, not what went wrong here
    """The copy ended without an answer.

    Args:
        how: in a few words, such as "SIGSEGV".
    """

    def __init__(self, how: str) -> None:
        super().__init__(how)
        self.how = how


def run_forked(work: Callable[[Tell], Any], heard: Tell = lambda _: None, seconds: float | None = None) -> Any:
    """Run something in a copy of this process.

    Threads are not copied. Where a library has started some, as OpenVINO and torch do, it may wait for them forever in
    the copy: to be called before such a library computes, or with a limit of time.

    Args:
        work: gets a function that sends this process something; what it returns can be pickled.
        heard: receives what is sent.
        seconds: after which the copy is ended; None for no limit.

    Returns:
        What `work` returned.

    Raises:
        Crashed: the copy was ended by a signal, or took too long.
        Exception: what `work` raised.
    """
    with tempfile.TemporaryDirectory(prefix="yocc-") as folder:  # where a copy that crashes leaves its files
        return _run(work, heard, seconds, folder)


def _run(work: Callable[[Tell], Any], heard: Tell, seconds: float | None, folder: str) -> Any:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    readable, writable = os.pipe()
    parent = os.getpid()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python's, where this process has threads
        child = os.fork()
    if not child:
        os.close(readable)
        tempfile.tempdir = folder
        _work(work, writable, parent)
    os.close(writable)
    try:
        answer = _listen(readable, heard, None if seconds is None else time.monotonic() + seconds)
    except TimeoutError:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise Crashed(f"more than {seconds:g} s") from None
    except BaseException:  # such as an interruption
        _end(child)
        raise
    finally:
        os.close(readable)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if answer is None:
        raise Crashed(_how(status))
    kind, value = answer
    if kind == "raised":
        raise value
    return value


def _work(work: Callable[[Tell], Any], pipe: int, parent: int) -> NoReturn:
    """Be the copy."""
    try:
        die_with(parent)
        try:
            answer = ("returned", work(lambda message: _send(pipe, ("told", message))))
        except BaseException as error:  # is raised again on the other side
            answer = ("raised", _portable(error))
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        _send(pipe, answer)
    finally:
        os._exit(0)  # without what this process would do at its end


def _portable(error: BaseException) -> BaseException:
    """An exception that can be sent, with where it was raised as a note."""
    try:
        sent: BaseException = pickle.loads(pickle.dumps(error))
    except Exception:  # exceptions of others may need more than their message
        sent = RuntimeError(f"{type(error).__name__}: {error}")
    sent.add_note("".join(traceback.format_tb(error.__traceback__)))
    return sent


def _send(pipe: int, message: object) -> None:
    content = pickle.dumps(message)
    view = memoryview(len(content).to_bytes(_HEADER, "little") + content)
    while view:
        view = view[os.write(pipe, view) :]


def _listen(pipe: int, heard: Tell, deadline: float | None) -> tuple[str, Any] | None:
    """The answer, or None where there is none."""
    while True:
        head = _read(pipe, _HEADER, deadline)
        content = _read(pipe, int.from_bytes(head, "little"), deadline)
        if not head or not content:
            return None
        kind, value = pickle.loads(content)
        if kind != "told":
            return kind, value
        heard(value)


def _read(pipe: int, length: int, deadline: float | None) -> bytes:
    parts = bytearray()
    while len(parts) < length:
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and (left <= 0 or not select.select((pipe,), (), (), left)[0]):
            raise TimeoutError
        part = os.read(pipe, length - len(parts))
        if not part:
            return b""
        parts += part
    return bytes(parts)


def _end(child: int) -> None:
    """Interrupt the copy, so that it removes its temporary files."""
    os.kill(child, signal.SIGINT)
    deadline = time.monotonic() + _SECONDS_TO_END
    while time.monotonic() < deadline:
        if os.waitpid(child, os.WNOHANG)[0]:
            return
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def _how(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"
