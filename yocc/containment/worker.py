"""A process that is started once and runs one task after another; when it dies, the next task starts another."""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from importlib import import_module
from typing import IO, Any

from yocc.containment import is_contained

MOST_MEMORY = 4 << 30
"""Bytes a worker may map. Tasks are given models without their large weights."""
_HEADER = 8
_CHUNK = 1 << 20
_SECONDS_TO_END = 1.0
_SERVE = "from yocc.containment.serving import serve; serve()"


class NativeError(Exception):
    """What was run in the worker failed, crashed, or took too long; says so in one line without a period."""


class Worker:
    """One process for tasks: functions of bytes and options to bytes, named `module:function`."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = os.getpid()
        self._lock = threading.Lock()

    def start(self) -> None:
        """Start the process, if it does not run, without waiting for it."""
        with self._lock:
            self._running()

    def call(self, task: str, payload: bytes, options: Mapping[str, Any], seconds: float) -> bytes:
        """Run a task.

        Args:
            task: `module:function`.
            payload: its first argument.
            options: further arguments, as JSON can hold them.
            seconds: after which the process is ended.

        Raises:
            NativeError: the task raised an exception, ended its process, or took too long.
        """
        with self._lock:
            process = self._running()
            try:
                answer = self._exchange(process, _framed(task, options, payload), time.monotonic() + seconds)
            except TimeoutError:
                process.kill()
                self._end(process)
                raise NativeError(f"it took longer than {seconds:g} s") from None
            except (OSError, EOFError):
                raise NativeError(_how_it_ended(self._end(process))) from None
            except BaseException:  # an answer that nobody reads would be taken for the next one
                self._end(process)
                raise
        if answer[:1] == b"e":
            raise NativeError(answer[1:].decode("utf-8", "replace"))
        return answer[1:]

    def stop(self) -> None:
        """End the process."""
        with self._lock:
            if self._process is not None and self._owner == os.getpid():
                self._end(self._process)

    def _running(self) -> subprocess.Popen[bytes]:
        process = self._process
        if process is not None and self._owner != os.getpid():
            # After a fork the process belongs to the parent, whose answers would get mixed up with ours.
            process.returncode = 0  # nothing to wait for
            self._end(process)
        if process is None or process.poll() is not None:
            if process is not None:
                self._end(process)
            process = self._process = _started()
            self._owner = os.getpid()
        return process

    def _end(self, process: subprocess.Popen[bytes]) -> int:
        """Make sure that the process has ended; its status, negative for a signal."""
        self._process = None
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()  # nobody asks any more, which ends it
        try:
            return process.wait(timeout=_SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    @staticmethod
    def _exchange(process: subprocess.Popen[bytes], request: bytes, deadline: float) -> bytes:
        assert process.stdin is not None
        assert process.stdout is not None
        _send(process.stdin, request, deadline)
        length = int.from_bytes(_receive(process.stdout, _HEADER, deadline), "little")
        return _receive(process.stdout, length, deadline)


def run_contained(task: str, payload: bytes, options: Mapping[str, Any], seconds: float) -> bytes:
    """Run a task in the worker of this process, or here if containment is off.

    Raises:
        NativeError: the task failed.
    """
    if is_contained():
        return _WORKER.call(task, payload, options, seconds)
    try:
        return perform(task, payload, options)
    except Exception as error:  # a task may raise anything
        raise NativeError(one_line(error)) from error


def start_worker() -> None:
    """Start this process's worker, so that it is there when it is needed."""
    if is_contained():
        _WORKER.start()


def perform(task: str, payload: bytes, options: Mapping[str, Any]) -> bytes:
    """Run a task in this process."""
    module, _, name = task.partition(":")
    done: bytes = getattr(import_module(module), name)(payload, **options)
    return done


def one_line(error: BaseException) -> str:
    """The first line of an exception's message without a period, or its type."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(". ") if lines else type(error).__name__


def _framed(task: str, options: Mapping[str, Any], payload: bytes) -> bytes:
    head = json.dumps([task, dict(options)]).encode()
    return len(head).to_bytes(_HEADER, "little") + len(payload).to_bytes(_HEADER, "little") + head + payload


def _started() -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", _SERVE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        start_new_session=True,  # Ctrl-C is for the process that waits
        bufsize=0,
    )
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        os.set_blocking(pipe.fileno(), False)
    return process


def _send(pipe: IO[bytes], content: bytes, deadline: float) -> None:
    view = memoryview(content)
    while view:
        _wait((), (pipe,), deadline)
        view = view[os.write(pipe.fileno(), view[:_CHUNK]) :]


def _receive(pipe: IO[bytes], length: int, deadline: float) -> bytes:
    parts = bytearray()
    while len(parts) < length:
        _wait((pipe,), (), deadline)
        part = os.read(pipe.fileno(), min(_CHUNK, length - len(parts)))
        if not part:
            raise EOFError
        parts += part
    return bytes(parts)


def _wait(readable: tuple[IO[bytes], ...], writable: tuple[IO[bytes], ...], deadline: float) -> None:
    left = deadline - time.monotonic()
    if left <= 0 or not any(select.select(readable, writable, (), left)):
        raise TimeoutError


def _how_it_ended(status: int) -> str:
    if status >= 0:
        return f"it ended its process with status {status}"
    try:
        return f"it crashed ({signal.Signals(-status).name})"
    except ValueError:
        return f"it crashed (signal {-status})"


_WORKER = Worker()
atexit.register(_WORKER.stop)
