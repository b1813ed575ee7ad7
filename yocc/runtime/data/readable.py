"""Whether pictures can be read, before long work begins on them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from yocc.errors import CalibrationError
from yocc.runtime.data.letterbox import picture_size

_NAMED = 10
"""Pictures named in one sentence."""


def check_readable(files: Sequence[Path], source: Path) -> None:
    """Read every header, so that a wrong file is named before the long work rather than in the middle of it.

    Args:
        files: pictures.
        source: where they are from, for the sentence.

    Raises:
        CalibrationError: some are no pictures, or too large to decode.
    """
    unreadable = [file for file in files if not _has_picture_header(file)]
    if not unreadable:
        return
    if len(unreadable) == len(files) > 1:
        raise CalibrationError(
            f"None of the {len(files)} pictures in {source} can be read.",
            f"Check that they are pictures; the first is {unreadable[0]}.",
        )
    if len(unreadable) == 1:
        raise CalibrationError(
            f"The picture {unreadable[0]} cannot be read.", "Remove it from the folder or save it again."
        )
    named = ", ".join(str(file) for file in unreadable[:_NAMED])
    more = f" and {len(unreadable) - _NAMED} more" if len(unreadable) > _NAMED else ""
    raise CalibrationError(
        f"{len(unreadable)} of {len(files)} pictures cannot be read: {named}{more}.",
        "Remove them from the folder or save them again.",
    )


def _has_picture_header(file: Path) -> bool:
    try:
        picture_size(file)
    except CalibrationError:
        return False
    return True
