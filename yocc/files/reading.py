"""Opening files that users name: a pipe or a device is rejected, because reading it may never end."""

from __future__ import annotations

import errno
import stat
from pathlib import Path

from yocc.errors import YoccError

MEGABYTE = 10**6
_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def require_regular(path: Path, refusal: type[YoccError], *, limit: int | None = None) -> None:
    """Reject what is neither a regular file nor a folder, and files that are too large.

    A path that does not exist passes: opening it states more precisely what is wrong.

    Args:
        path: given by the user.
        refusal: the error to raise, which determines the exit status.
        limit: largest size in bytes; None for unlimited.

    Raises:
        YoccError: of the given class.
    """
    try:
        found = path.stat()
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise refusal(f"{str(path)!r} is a link that leads in a circle.", "Name the file itself.") from None
        return
    except ValueError:
        return
    kind = _KINDS.get(stat.S_IFMT(found.st_mode))
    if kind is not None:
        raise refusal(f"{str(path)!r} is {kind}, not a file.", "Save its content as a file and name that.")
    if limit is not None and stat.S_ISREG(found.st_mode) and found.st_size > limit:
        raise refusal(
            f"{str(path)!r} has {found.st_size / MEGABYTE:,.0f} MB; at most {limit / MEGABYTE:,.0f} MB can be read.",
            "Check that it is the right file.",
        )


def exists(path: Path) -> bool:
    """Whether a path exists; False for invalid or too long names, for which `Path` raises."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def why(error: OSError | ValueError) -> str:
    """The reason for a failed file operation, without its path and number."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
