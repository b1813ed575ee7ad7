"""One process of a machine times at a time."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path


def lock_file() -> Path:
    """The file that stands for the clock of this machine; one for each user, as others may not open it."""
    user = os.getuid() if hasattr(os, "getuid") else "user"
    return Path(tempfile.gettempdir()) / f"yocc-timing-{user}.lock"


@contextlib.contextmanager
def alone_timing() -> Iterator[None]:
    """Wait until no other process of this user is in here; where files cannot be locked, go on at once."""
    with locked(lock_file(), wait=True):
        yield


@contextlib.contextmanager
def locked(file: Path, *, wait: bool) -> Iterator[bool]:
    """Hold a file that only one process holds at a time, until the block ends or the process does.

    Args:
        file: made where it is missing.
        wait: until it is free.

    Yields:
        Whether it is held; always where files cannot be locked.

    Raises:
        OSError: the file cannot be opened.
    """
    try:
        import fcntl
    except ImportError:  # not on this system
        yield True
        return
    handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(handle)
