"""What yocc is doing right now, where a supervising process can still read it after a crash."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_SIZE = 4096


@dataclass(frozen=True)
class Activity:
    """One thing that is being done.

    Attributes:
        text: as in "it crashed while ...".
        exit_code: of the process, if this ends it.
    """

    text: str
    exit_code: int


_now: list[Activity] = []
_page: list[mmap.mmap] = []


def share() -> None:
    """Write activities, from now on, where processes that are forked from this one share them with it."""
    if not _page:
        _page.append(mmap.mmap(-1, _SIZE))


@contextmanager
def during(text: str, exit_code: int) -> Iterator[None]:
    """Say what the block does.

    Args:
        text: as in "it crashed while ...", such as "reading the model".
        exit_code: of the process, if the block crashes it.
    """
    _now.append(Activity(text, exit_code))
    _write()
    try:
        yield
    finally:
        _now.pop()
        _write()


def current() -> Activity | None:
    """What the process that shares its activities with this one does, or did last; None where it is nothing.

    The text has the outermost activity and, in parentheses, the innermost, whose exit code it is.
    """
    if not _page:
        return None
    code, _, text = bytes(_page[0]).rstrip(b"\0").decode("utf-8", "replace").partition(" ")
    return Activity(text, int(code)) if text else None


def _write() -> None:
    if _page:
        within = f" ({_now[-1].text})" if len(_now) > 1 else ""
        line = f"{_now[-1].exit_code} {_now[0].text}{within}" if _now else ""
        _page[0][:] = line.encode("utf-8", "replace")[: _SIZE - 1].ljust(_SIZE, b"\0")
