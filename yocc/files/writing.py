"""Writing files that users name: whole or not at all, and never over a file that yocc did not write."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from yocc.errors import OptionError, OutputError

Ours = Callable[[Path], bool]
"""Whether yocc wrote an existing file; an exception means that it did not."""


def require_replaceable(path: Path, ours: Ours, *, force: bool = False) -> None:
    """Reject an existing file that yocc did not write; devices and pipes are written to, not replaced.

    Raises:
        OptionError: the file exists and is not yocc's.
    """
    if force or not path.is_file() or path.stat().st_size == 0:
        return
    try:
        known = ours(path)
    except Exception:  # readers of other kinds of files raise anything
        known = False
    if not known:
        raise OptionError(
            f"{str(path)!r} exists, and yocc did not write it.", "Choose another file, or replace it with --force."
        )


def write_whole(path: Path, data: bytes, ours: Ours, *, force: bool = False) -> None:
    """Write a file that appears whole or not at all.

    Args:
        path: the file; for a link, its target.
        data: its content.
        ours: recognizes what may be replaced.
        force: replace any file.

    Raises:
        OptionError: the file exists and is not yocc's.
        OutputError: it cannot be written.
    """
    require_replaceable(path, ours, force=force)
    temporary: Path | None = None
    try:
        path = path.resolve()
        if path.exists() and not path.is_file() and not path.is_dir():
            path.write_bytes(data)
            return
        handle, text = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        temporary = Path(text)
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        temporary.chmod(0o644)
        temporary.replace(path)
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise OutputError(f"{str(path)!r} cannot be written: {reason}.", "Choose another file.") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
