"""Keeping quiet what native libraries write to the terminal on their own."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def captured_output() -> Iterator[None]:
    """Send what is written to standard output and standard error meanwhile, by native code too, to nowhere.

    Libraries write to the file descriptors themselves, past `sys.stdout` and `sys.stderr`, where a traceback of theirs
    looks like one of yocc's and spoils output that a program reads. Not for use in several threads at once.
    """
    saved = {}
    with tempfile.TemporaryFile() as sink:
        for number, stream in ((1, sys.stdout), (2, sys.stderr)):
            if stream is not None:
                stream.flush()
            try:
                saved[number] = os.dup(number)
            except OSError:  # closed by whoever started the process
                continue
            os.dup2(sink.fileno(), number)
        try:
            yield
        finally:
            for number, copy in saved.items():
                os.dup2(copy, number)
                os.close(copy)
