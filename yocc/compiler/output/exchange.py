"""Swapping two paths in one step, where the operating system and the file system can."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from pathlib import Path

_LINUX_EXCHANGE = 2
"""RENAME_EXCHANGE of linux/fs.h."""
_DARWIN_SWAP = 2
"""RENAME_SWAP of sys/stdio.h."""
_CWD = -100
"""AT_FDCWD of fcntl.h."""
_CANNOT = frozenset({errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP})


def exchange(one: Path, other: Path) -> bool:
    """Swap two paths of one file system, so that at no moment one of them names nothing.

    By renameat2(2) on Linux and renamex_np(2) on macOS.

    Returns:
        False where the operating system or the file system cannot; nothing has changed then.

    Raises:
        OSError: it can, and does not for another reason.
    """
    try:
        library = ctypes.CDLL(None, use_errno=True)
        names = os.fsencode(one), os.fsencode(other)
        if sys.platform == "darwin":
            failed = library.renamex_np(*names, _DARWIN_SWAP)
        else:
            failed = library.renameat2(_CWD, names[0], _CWD, names[1], _LINUX_EXCHANGE)
    except (AttributeError, TypeError, OSError):  # a C library without the function, or a system without one
        return False
    if not failed:
        return True
    number = ctypes.get_errno()
    if number in _CANNOT:
        return False
    raise OSError(number, os.strerror(number), str(other))
