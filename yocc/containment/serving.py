"""The other side of a worker: reads tasks, runs them, writes what they return."""

from __future__ import annotations

import json
import os
import sys

from yocc.containment.worker import MOST_MEMORY, one_line, perform

_HEADER = 8
_UNUSED = ("torch",)
"""Packages that libraries import where they are installed, which takes seconds, and that no task needs."""


def serve() -> None:
    """Answer tasks until nobody asks any more."""
    requests, answers = _own_pipes()
    _limit_memory()
    for package in _UNUSED:
        sys.modules.setdefault(package, None)  # type: ignore[arg-type] # says that it cannot be imported
    answer_all(requests, answers)


def answer_all(requests: int, answers: int) -> None:
    """Run the tasks that come through one pipe and write what they return into another, until the first is closed."""
    while head := _read(requests, 2 * _HEADER):
        size, length = (int.from_bytes(head[at : at + _HEADER], "little") for at in (0, _HEADER))
        task, options = json.loads(_read(requests, size))
        try:
            answer = b"o" + perform(task, _read(requests, length), options)
        except Exception as error:  # a task may raise anything
            answer = b"e" + one_line(error).encode("utf-8", "replace")
        _write(answers, len(answer).to_bytes(_HEADER, "little") + answer)


def _own_pipes() -> tuple[int, int]:
    """Descriptors of the pipes, moved away from where native code prints to."""
    requests, answers = os.dup(0), os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nowhere, number)
    return requests, answers


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:  # not on this system
        return
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = MOST_MEMORY if hard == resource.RLIM_INFINITY else min(MOST_MEMORY, hard)
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def _read(pipe: int, length: int) -> bytes:
    """So many bytes, or none at the end."""
    parts = bytearray()
    while len(parts) < length:
        part = os.read(pipe, length - len(parts))
        if not part:
            return b""
        parts += part
    return bytes(parts)


def _write(pipe: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(pipe, view) :]
